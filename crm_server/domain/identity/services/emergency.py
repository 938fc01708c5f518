"""Emergency access (break-glass): a role for a short time, with a reason, told at once and reviewed afterwards.

Who may do so was decided beforehand, by two persons: they hold the permission, usually with a local account whose
password lies in an envelope. So it works with the directory down and nobody else at hand. The role counts until its
time is over and not longer, whatever runs or doesn't: authentication looks at the end itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from compliance.datamap.text import _
from crm_server.domain.identity import events
from crm_server.domain.identity.models import Emergency, Role, UserRole
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Conflict, Errors, NotAllowed, NotFound
from crm_server.permissions import Permission, administration

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

LONGEST_REASON = 1000


class EmergencyService:
    """Takes, gives back, and reviews."""

    def choices(self, db: Session) -> list[Role]:
        """The roles that can be taken."""
        return list(db.scalars(select(Role).where(Role.emergency_minutes > 0).order_by(Role.name)))

    def running(self, db: Session, user_id: UUID) -> Emergency | None:
        """What a user has taken and not given back."""
        return db.scalars(
            select(Emergency).where(
                Emergency.user_id == user_id, Emergency.ended_at.is_(None), Emergency.ends_at > now()
            )
        ).first()

    def begin(self, db: Session, role_id: UUID, reason: str, minutes: int) -> Emergency:
        """Take a role. It counts with the next request of the actor.

        Raises:
            NotAllowed: the actor isn't entitled.
            ValidationFailed: no reason, or longer than the role lets.
            Conflict: one was taken already, they hold it anyway, or they would be two kinds of administrator.
        """
        actor, moment = actor_of(db), now()
        if actor.id == SYSTEM_ID or not actor.may(Permission.EMERGENCY_USE):
            raise NotAllowed(str(Permission.EMERGENCY_USE))
        self.tick(db)
        role = db.get(Role, role_id)
        if role is None or role.emergency_minutes <= 0:
            raise NotFound
        said, errors = " ".join(reason.split()), Errors()
        if len(said) < 10 or len(said) > LONGEST_REASON:
            errors.add(
                "/reason", "required", _("Say in at least 10 characters what happened and what you will do.")
            )
        if not 1 <= minutes <= role.emergency_minutes:
            errors.add(
                "/minutes",
                "range",
                _("This role can be taken for ${n} minutes at most.", mapping={"n": role.emergency_minutes}),
            )
        errors.raise_if_any()
        held = list(db.scalars(select(Role).join(UserRole).where(UserRole.user_id == actor.id)))
        if self.running(db, actor.id) is not None:
            raise Conflict(_("You have emergency access already. Give it back before you take another role."))
        if any(one.id == role.id for one in held):
            raise Conflict(_("You have this role anyway."))
        if len(administration(one for found in (*held, role) for one in found.permissions)) > 1:
            raise Conflict(_("Nobody can be two kinds of administrator, not even in an emergency."))
        ends = moment + timedelta(minutes=minutes)
        taken = Emergency(user_id=actor.id, role_id=role.id, role_name=role.name, reason=said, ends_at=ends)
        db.add_all([taken, UserRole(user_id=actor.id, role_id=role.id, expires_at=ends)])
        db.flush()
        events.record(db, events.emergency("begun", taken, minutes=minutes))
        return taken

    def end(self, db: Session, user_id: UUID) -> None:
        """Give the role back before its time is over. Nothing taken is nothing to do."""
        taken = self.running(db, user_id)
        if taken is not None:
            self._end(db, taken, "given_back")

    def stop(self, db: Session, key: UUID) -> None:
        """Take the role away from somebody, as one who reviews. Raises NotAllowed, NotFound."""
        taken = self._reviewable(db, key)
        if taken.ended_at is None:
            self._end(db, taken, "stopped")

    def review(self, db: Session, key: UUID, text: str) -> None:
        """Say what the look at it found. Once, by somebody else, when it is over.

        Raises:
            NotAllowed: one's own, or no permission.
            ValidationFailed: nothing said.
            Conflict: it runs still, or was reviewed.
        """
        taken = self._reviewable(db, key)
        said, errors = " ".join(text.split()), Errors()
        if not said or len(said) > 2 * LONGEST_REASON:
            errors.add("/review", "required", _("Say what you found, in at most 2,000 characters."))
        errors.raise_if_any()
        if taken.ended_at is None and taken.ends_at > now():
            raise Conflict(_("It is not over yet."))
        if taken.reviewed_at is not None:
            raise Conflict(_("It was reviewed already."))
        taken.review, taken.reviewed_at, taken.reviewed_by = said, now(), actor_of(db).id
        db.flush()
        events.record(db, events.emergency("reviewed", taken))

    def tick(self, db: Session) -> int:
        """Note what has run out; returns how many. The role has ceased to count by itself."""
        due = db.scalars(
            select(Emergency)
            .where(Emergency.ended_at.is_(None), Emergency.ends_at <= now())
            .with_for_update(skip_locked=True)
        ).all()
        for taken in due:
            self._end(db, taken, "time_over")
        return len(due)

    def _end(self, db: Session, taken: Emergency, reason: str) -> None:
        db.execute(
            delete(UserRole).where(
                UserRole.user_id == taken.user_id,
                UserRole.role_id == taken.role_id,
                UserRole.expires_at.is_not(None),
            )
        )
        taken.ended_at = now()
        db.flush()
        events.record(db, events.emergency("ended", taken, reason))

    def _reviewable(self, db: Session, key: UUID) -> Emergency:
        actor = actor_of(db)
        if not actor.may(Permission.EMERGENCY_REVIEW) or actor.id == SYSTEM_ID:
            raise NotAllowed(str(Permission.EMERGENCY_REVIEW))
        taken = db.get(Emergency, key, with_for_update=True, populate_existing=True)
        if taken is None:
            raise NotFound
        if taken.user_id == actor.id:
            raise NotAllowed("own_emergency", _("Somebody else has to review your emergency access."))
        return taken
