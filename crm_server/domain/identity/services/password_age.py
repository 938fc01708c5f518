"""How old a password that is kept here may become (AUTH-17).

Rotation makes passwords weaker, so NIST SP 800-63B and OWASP ASVS advise against it, and it is off. Where a law or a
contract demands it all the same, `KONTOR_LOCAL_PASSWORD_DAYS` says after how many days whoever logs in with the
password has to choose another one before anything else. The old password opens that one page for as long as it takes,
so nobody is locked out; log-in by passkey or single sign-on and API tokens go on. An account that may take
emergency access is told and never held up: its password lies in a sealed envelope.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import exists, select, update

from crm_server.domain.identity.models import LoginSession, Role, UserRole
from crm_server.kernel.clock import now
from crm_server.kernel.db import setting
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.models import User

WARNING = timedelta(days=14)
"""So long before it is due, people are told at each log-in."""


def due(db: Session, user: User) -> datetime | None:
    """When the password of a user has to be changed; None when never, or when it isn't kept here."""
    days = int(setting(db, "local_password_days"))
    if not days or user.source != "local" or user.password_hash is None:
        return None
    return (user.password_changed_at or user.created_at) + timedelta(days=days)


def days_left(db: Session, user: User) -> int | None:
    """Whole days until it is due, once the warning counts; 0 or less when it is over; None when nothing is to say."""
    at = due(db, user)
    left = None if at is None else at - now()
    return None if left is None or left > WARNING else left.days


def must_change(db: Session, user: User, method: str) -> bool:
    """Whether a user who has just logged in has to choose another password first.

    Args:
        db: Any session.
        user: Who.
        method: How they logged in, such as "password+totp".
    """
    at = due(db, user)
    if at is None or at > now() or method.partition("+")[0] != "password":
        return False
    return not _break_glass(db, user.id)


def changed(db: Session, session_id: UUID) -> None:
    """Open a session that waited for another password."""
    db.execute(
        update(LoginSession)
        .where(LoginSession.id == session_id, LoginSession.must_change_password)
        .values(must_change_password=False)
    )


def _break_glass(db: Session, user_id: UUID) -> bool:
    entitled = exists().where(
        UserRole.user_id == user_id,
        UserRole.role_id == Role.id,
        Role.permissions.contains([str(Permission.EMERGENCY_USE)]),
    )
    return bool(db.scalar(select(entitled)))
