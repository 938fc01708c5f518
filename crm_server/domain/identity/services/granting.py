"""Roles that make or unmake an administrator take two persons (separation of duties).

Registered with the mechanism of two-person release; `UserService.set_roles` refuses without a release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from compliance.datamap.text import _
from crm_server.domain.approvals.services import Kind, Release, register
from crm_server.domain.identity.models import Role, User, UserRole
from crm_server.domain.identity.services.sessions import SessionService
from crm_server.domain.identity.services.users import GRANT, UserService
from crm_server.kernel.errors import Conflict
from crm_server.permissions import Permission
from security.identity.password import PasswordHasher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text


def grant(session: Session, release: Release) -> Mapping[str, Any]:
    """Give the roles that were released. Raises Conflict when the person's roles have changed since."""
    user = UUID(release.parameters["user"])
    held = set(session.scalars(select(UserRole.role_id).where(UserRole.user_id == user)))
    if held != set(map(UUID, release.parameters["before"])):
        raise Conflict(_("The roles of this person have changed since. Ask again."))
    service = UserService(PasswordHasher(), SessionService())
    service.set_roles(session, user, list(map(UUID, release.parameters["roles"])), release=release)
    return {"roles": len(release.parameters["roles"])}


def describe(session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    """Who gets and loses which roles."""
    before, after = (set(map(UUID, parameters[name])) for name in ("before", "roles"))
    person = session.scalar(select(User.name).where(User.id == UUID(parameters["user"])))
    lines: list[tuple[Text, str | Text]] = [(_("Person"), person or "–")]
    if after - before:
        lines.append((_("Gets"), _names(session, after - before)))
    if before - after:
        lines.append((_("Loses"), _names(session, before - after)))
    return lines


def _names(session: Session, keys: Iterable[UUID]) -> str:
    return ", ".join(session.scalars(select(Role.name).where(Role.id.in_(keys)).order_by(Role.name))) or "–"


register(
    Kind(
        GRANT,
        _("Grant of an administrator's role"),
        str(Permission.ADMINISTRATORS_RELEASE),
        execute=grant,
        describe=describe,
    )
)
