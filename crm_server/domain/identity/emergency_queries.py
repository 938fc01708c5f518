"""What pages show of emergency access."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from crm_server.domain.identity.models import Emergency
from crm_server.domain.identity.queries import names_of
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

MOST = 100


@dataclass(frozen=True, slots=True)
class EmergencyRow:
    """One use of emergency access."""

    id: UUID
    user_id: UUID
    person: str = field(repr=False)
    role: str
    reason: str = field(repr=False)
    begun_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    reviewed_at: datetime | None
    reviewer: str | None = field(repr=False)
    review: str | None = field(repr=False)
    mine: bool

    def plain(self) -> dict[str, object]:
        """As JSON, by whom and when; what was written about it stays on the page."""
        return {
            "id": str(self.id),
            "user_id": str(self.user_id),
            "person": self.person,
            "role": self.role,
            "begun_at": self.begun_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "reviewed_at": self.reviewed_at.isoformat() if self.reviewed_at else None,
            "running": self.running,
        }

    @property
    def running(self) -> bool:
        """Whether the role counts still."""
        return self.ended_at is None and self.ends_at > now()


def unreviewed(db: Session) -> int:
    """How many uses wait for the actor's review, running ones included."""
    actor = actor_of(db)
    if not actor.may(Permission.EMERGENCY_REVIEW):
        return 0
    query = select(func.count()).where(Emergency.reviewed_at.is_(None), Emergency.user_id != actor.id)
    return db.scalar(query) or 0


def listed(db: Session) -> list[EmergencyRow]:
    """The uses that concern the actor, newest first: their own, or all for those who review."""
    actor = actor_of(db)
    query = select(Emergency).order_by(Emergency.created_at.desc()).limit(MOST)
    if not actor.may(Permission.EMERGENCY_REVIEW):
        query = query.where(Emergency.user_id == actor.id)
    rows = list(db.scalars(query))
    names = names_of(db, [key for row in rows for key in (row.user_id, row.reviewed_by)])
    return [
        EmergencyRow(
            id=row.id,
            user_id=row.user_id,
            person=names.get(row.user_id, "–"),
            role=row.role_name,
            reason=row.reason,
            begun_at=row.created_at,
            ends_at=row.ends_at,
            ended_at=row.ended_at,
            reviewed_at=row.reviewed_at,
            reviewer=names.get(row.reviewed_by) if row.reviewed_by else None,
            review=row.review,
            mine=row.user_id == actor.id,
        )
        for row in rows
    ]
