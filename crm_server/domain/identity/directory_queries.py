"""What the pages read of company directories, and of the meanings of groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import func, select

from crm_server.domain.identity.directory_models import CompanyDirectory, GroupMapping
from crm_server.domain.identity.models import Role, Team, Territory
from crm_server.domain.identity.queries import names_of
from crm_server.kernel.errors import NotFound
from crm_server.permissions import administration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.services.directories import Change

_TARGETS: dict[str, Any] = {"role": Role, "team": Team, "territory": Territory}
_KINDS = ("login", *_TARGETS)


def directories(db: Session) -> list[CompanyDirectory]:
    """All directories by name."""
    return list(db.scalars(select(CompanyDirectory).order_by(func.lower(CompanyDirectory.name))))


def directory(db: Session, key: UUID) -> CompanyDirectory:
    """One directory. Raises NotFound."""
    found = db.get(CompanyDirectory, key)
    if found is None:
        raise NotFound
    return found


def mappings(db: Session, source: str) -> list[tuple[GroupMapping, str]]:
    """What the groups of a source mean, each with the name of what it gives."""
    names = _target_names(db)
    query = (
        select(GroupMapping)
        .where(GroupMapping.source == source)
        .order_by(GroupMapping.group_name, GroupMapping.kind)
    )
    return [(one, names.get(one.target_id, "") if one.target_id else "") for one in db.scalars(query)]


def gives(db: Session, source: str, groups: Collection[str]) -> list[tuple[str, str]]:
    """What somebody in these groups gets: (kind, name of what is given) without doubles; without "login", nothing.

    Args:
        db: Any session.
        source: Where the groups come from.
        groups: Their keys or names.
    """
    found = {
        (one.kind, name)
        for one, name in mappings(db, source)
        if one.group_key in groups or one.group_name in groups
    }
    return sorted(found, key=lambda one: (_KINDS.index(one[0]), one[1]))


@dataclass(frozen=True, slots=True)
class Effect:
    """What a comparison would do with one person: disable, or give and take (kind, name)."""

    name: str = field(repr=False)
    disable: bool
    given: tuple[tuple[str, str], ...]
    taken: tuple[tuple[str, str], ...]


def effects(db: Session, changes: Iterable[Change], most: int = 100) -> list[Effect]:
    """The first of what a comparison would do that people notice, by person."""
    told = [one for one in changes if one.action == "disable" or one.given or one.taken][:most]
    names = names_of(db, [one.user_id for one in told])
    targets_by_id = _target_names(db)

    def words(found: Iterable[str]) -> tuple[tuple[str, str], ...]:
        parts = (one.partition(":") for one in found)
        return tuple((kind, targets_by_id.get(UUID(key), key)) for kind, _colon, key in parts)

    return sorted(
        (
            Effect(names.get(one.user_id, ""), one.action == "disable", words(one.given), words(one.taken))
            for one in told
        ),
        key=lambda one: (not one.disable, one.name.casefold()),
    )


def _target_names(db: Session) -> dict[UUID, str]:
    return {
        key: name for model in _TARGETS.values() for key, name in db.execute(select(model.id, model.name))
    }


def targets(db: Session) -> list[tuple[str, UUID, str]]:
    """What a group may give: (kind, id, name). Roles of administrators are not among them (AUTH-7)."""
    roles = [
        role for role in db.scalars(select(Role).order_by(Role.name)) if not administration(role.permissions)
    ]
    found = [("role", role.id, role.name) for role in roles]
    for kind, model in (("team", Team), ("territory", Territory)):
        rows = db.execute(select(model.id, model.name).order_by(model.name))
        found += [(kind, key, name) for key, name in rows]
    return found
