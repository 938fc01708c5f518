"""The actor of a user who is not there: jobs run on the authority of whoever started them, with the rights of
now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from crm_server.domain.identity.models import Role, User, UserRole
from crm_server.kernel import rowrules
from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.clock import now
from crm_server.permissions import Permission
from security.access.fields import LEVELS

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session


def actor_of_user(session: Session, user_id: UUID) -> Actor | None:
    """A user with the rights that they have now; None when they are disabled or gone."""
    user = session.get(User, user_id)
    if user is None or user.state != "active":
        return None
    roles = session.scalars(
        select(Role)
        .join(UserRole, UserRole.role_id == Role.id)
        .where(
            UserRole.user_id == user_id,
            (UserRole.expires_at.is_(None)) | (UserRole.expires_at > now()),
        )
    ).all()
    fields: dict[str, str] = {}
    for role in roles:
        for group, level in role.field_rules.items():
            fields[group] = max(level, fields.get(group, LEVELS[0]), key=LEVELS.index)
    return Actor(
        id=user.id,
        name=user.name,
        origin=Origin.JOB,
        roles=frozenset(role.name for role in roles),
        permissions=frozenset().union(*(role.permissions for role in roles)) | {str(Permission.LOGGED_IN)},
        scopes=frozenset().union(*(rowrules.flat(role.scopes) for role in roles)),
        fields=fields,
        locale=user.locale,
        timezone=user.timezone,
        auth_method="job",
    )
