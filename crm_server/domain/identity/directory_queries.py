"""What the pages read of company directories, and of the meanings of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from crm_server.domain.identity.directory_models import CompanyDirectory, GroupMapping
from crm_server.domain.identity.models import Role, Team, Territory
from crm_server.kernel.errors import NotFound
from crm_server.permissions import administration

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

_TARGETS: dict[str, Any] = {"role": Role, "team": Team, "territory": Territory}


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
    names = {
        key: name for model in _TARGETS.values() for key, name in db.execute(select(model.id, model.name))
    }
    query = (
        select(GroupMapping)
        .where(GroupMapping.source == source)
        .order_by(GroupMapping.group_name, GroupMapping.kind)
    )
    return [(one, names.get(one.target_id, "")) for one in db.scalars(query)]


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
