"""What a change of a role means: what it grants more and less, and how many people gain and lose by it.

Somebody loses a permission only if no other role of theirs grants it, so counts are of people and not of rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from crm_server.domain.identity.models import Role, UserRole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session


_ORDER = ("hidden", "masked", "read", "write")


@dataclass(frozen=True, slots=True)
class RoleDraft:
    """Everything that a role says, as forms and programs send it and as history keeps it."""

    name: str
    description: str = ""
    permissions: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, list[str]] = field(default_factory=dict)
    factors: str = "none"
    factor_grace: int = 0
    networks: tuple[str, ...] = ()
    emergency_minutes: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"permissions": list(self.permissions), "networks": list(self.networks)}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> RoleDraft:
        """From JSON that `document` made."""
        return cls(
            **dict(document)
            | {"permissions": tuple(document["permissions"]), "networks": tuple(document["networks"])}
        )

    @property
    def grants(self) -> tuple[Any, ...]:
        """What it gives, without what it is called and what it asks for."""
        return (
            sorted(self.permissions),
            sorted(self.fields.items()),
            sorted((key, sorted(value)) for key, value in self.scopes.items()),
        )


@dataclass(frozen=True, slots=True)
class Granted:
    """A permission that a role gains or loses, and how many people gain or lose it by that."""

    permission: str
    people: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A choice that becomes another: a level of fields, the scopes of an act, something about the role itself.

    Attributes:
        name: "personal", "contact:read", "networks", …
        wider: Whether it lets people do more; None where that has no meaning.
    """

    name: str
    before: Any
    after: Any
    wider: bool | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a change of a role does. False when it does nothing."""

    members: int
    gained: tuple[Granted, ...] = ()
    lost: tuple[Granted, ...] = ()
    fields: tuple[Changed, ...] = ()
    scopes: tuple[Changed, ...] = ()
    others: tuple[Changed, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.gained or self.lost or self.fields or self.scopes or self.others)

    def facts(self) -> dict[str, Any]:
        """For the audit event; holds no personal data."""
        return {
            "members": self.members,
            "gained": [one.permission for one in self.gained],
            "lost": [one.permission for one in self.lost],
            "fields": {one.name: [one.before, one.after] for one in self.fields},
            "scopes": {one.name: [one.before, one.after] for one in self.scopes},
            "changed": [one.name for one in self.others],
        }

    def plain(self) -> dict[str, Any]:
        """As JSON."""

        def pairs(items: tuple[Changed, ...]) -> list[dict[str, Any]]:
            return [{"name": one.name, "before": one.before, "after": one.after} for one in items]

        def grants(items: tuple[Granted, ...]) -> list[dict[str, Any]]:
            return [{"permission": one.permission, "people": one.people} for one in items]

        return {
            "members": self.members,
            "gained": grants(self.gained),
            "lost": grants(self.lost),
            "fields": pairs(self.fields),
            "scopes": pairs(self.scopes),
            "others": pairs(self.others),
        }


@dataclass(frozen=True, slots=True)
class Holders:
    """How many hold a role, and how many of them have each permission from another role as well."""

    members: int = 0
    elsewhere: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, db: Session, role: Role) -> Holders:
        """Count them."""
        other = aliased(UserRole)
        holding = select(UserRole.user_id).where(UserRole.role_id == role.id)
        held: dict[Any, set[str]] = {}
        query = (
            select(other.user_id, Role.permissions)
            .join(Role, Role.id == other.role_id)
            .where(other.role_id != role.id, other.user_id.in_(holding))
        )
        for user, permissions in db.execute(query):
            held.setdefault(user, set()).update(permissions)
        counts: Counter[str] = Counter()
        for found in held.values():
            counts.update(found)
        return cls(len(set(db.scalars(holding))), counts)


def difference(before: RoleDraft, after: RoleDraft, holders: Holders | None = None) -> Difference:
    """Compare two states of a role; without its holders, nobody is counted."""
    gained = set(after.permissions) - set(before.permissions)
    lost = set(before.permissions) - set(after.permissions)
    members, elsewhere = (holders.members, holders.elsewhere) if holders else (0, Counter[str]())
    return Difference(
        members=members,
        gained=tuple(Granted(one, members - elsewhere[one]) for one in sorted(gained)),
        lost=tuple(Granted(one, members - elsewhere[one]) for one in sorted(lost)),
        fields=_fields(before.fields, after.fields),
        scopes=tuple(
            Changed(key, before.scopes.get(key, []), after.scopes.get(key, []))
            for key in sorted(before.scopes.keys() | after.scopes.keys())
            if sorted(before.scopes.get(key, [])) != sorted(after.scopes.get(key, []))
        ),
        others=tuple(
            Changed(name, _plain(getattr(before, name)), _plain(getattr(after, name)))
            for name in ("name", "description", "factors", "factor_grace", "networks", "emergency_minutes")
            if getattr(before, name) != getattr(after, name)
        ),
    )


def _fields(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Changed, ...]:
    found = []
    for group in sorted(before.keys() | after.keys()):
        old, new = before.get(group, "hidden"), after.get(group, "hidden")
        if old != new:
            found.append(Changed(group, old, new, _ORDER.index(new) > _ORDER.index(old)))
    return tuple(found)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
