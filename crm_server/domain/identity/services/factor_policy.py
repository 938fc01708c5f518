"""What roles ask of those who hold them: no second factor, any, or a passkey (AUTH-11).

The strictest role counts once its days for setting up are over, from the later of when the role asked for it and
when the person got the role. Whoever lacks what is asked for logs in to nothing but setting it up. What an API
token does is not affected: making one takes a session that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from compliance.datamap.text import _
from crm_server.domain.identity.factor_models import Passkey, TotpFactor
from crm_server.domain.identity.models import LoginSession, Role, UserRole
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

_STRENGTH = ("none", "any", "passkey")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What is asked of a person.

    Attributes:
        now: "none", "any" or "passkey".
        later: What will be asked for, if that is more.
        due: When it will.
    """

    now: str = "none"
    later: str | None = None
    due: datetime | None = None


def requirement(db: Session, user_id: UUID) -> Requirement:
    """What the roles of a user ask for, now and later."""
    moment, present, coming = now(), "none", []
    query = (
        select(Role.factors, Role.factor_grace, Role.factors_since, UserRole.given_at)
        .join(UserRole, UserRole.role_id == Role.id)
        .where(UserRole.user_id == user_id, Role.factors != "none")
    )
    for kind, grace, since, given in db.execute(query):
        due = max(since or given, given) + timedelta(days=grace)
        if due <= moment:
            present = max(present, kind, key=_STRENGTH.index)
        else:
            coming.append((due, kind))
    later = [(due, kind) for due, kind in coming if _STRENGTH.index(kind) > _STRENGTH.index(present)]
    return Requirement(present, min(later)[1], min(later)[0]) if later else Requirement(present)


def must_enrol(db: Session, user_id: UUID, method: str = "") -> bool:
    """Whether a user has to set up a second factor before anything else.

    Args:
        db: Any session.
        user_id: Whose.
        method: How they have just logged in, such as "sso+mfa"; a second factor of the provider counts as one.
    """
    asked = requirement(db, user_id).now
    if asked == "none":
        return False
    passkeys = db.scalar(select(func.count()).where(Passkey.user_id == user_id)) or 0
    if asked == "passkey":
        return not passkeys
    return not passkeys and "+" not in method and not _has_app(db, user_id)


def passkey_only(db: Session, user_id: UUID) -> bool:
    """Whether a code of an app is not enough: a role asks for a passkey, and the user has one."""
    return requirement(db, user_id).now == "passkey" and bool(
        db.scalar(select(func.count()).where(Passkey.user_id == user_id))
    )


def enrolled(db: Session, user_id: UUID) -> None:
    """Open the sessions that waited for a second factor, if what is there now is enough."""
    if not must_enrol(db, user_id):
        db.execute(
            update(LoginSession)
            .where(LoginSession.user_id == user_id, LoginSession.must_enrol)
            .values(must_enrol=False)
        )


def check_enough_left(db: Session, user_id: UUID) -> None:
    """Refuse the removal that has just been flushed if too little is left. Raises Conflict."""
    if must_enrol(db, user_id):
        raise Conflict(
            _("Your role asks for this second factor. Set up another one first, then remove this one.")
        )


def _has_app(db: Session, user_id: UUID) -> bool:
    found = db.get(TotpFactor, user_id)
    return found is not None and found.confirmed_at is not None
