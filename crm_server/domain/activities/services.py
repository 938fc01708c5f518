"""The rules of activities and of who takes part in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from compliance.datamap.text import _
from crm_server.domain.activities.models import Activity
from crm_server.domain.base import DomainService
from crm_server.kernel.clock import now

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from crm_server.kernel.errors import Errors


class ActivityService(DomainService):
    """Activities: tasks, calls, meetings, mails and notes."""

    entity_name = "activity"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Follow the data subject, and note when it was done."""
        if record is None and values.get("kind") == "note" and "status" not in values:
            values["status"] = "done"
        status = self.later(values, record, "status") or "open"
        if status == "done":
            if self.later(values, record, "done_at") is None:
                values["done_at"] = now()
        elif self.later(values, record, "done_at") is not None:
            values["done_at"] = None
        start, end = self.later(values, record, "starts_at"), self.later(values, record, "ends_at")
        if start is not None and end is not None and end < start:
            errors.add("/ends_at", "order", _("The end lies before the beginning."))
        if record is None or {"contact_id", "lead_id"} & values.keys():
            values["subject_id"] = self._subject(values, record)

    def follow_lead(
        self, lead_id: UUID, *, contact_id: UUID, account_id: UUID | None, opportunity_id: UUID | None
    ) -> int:
        """Put the activities of a converted lead on the timelines of what was made of it; returns how many.

        They keep naming the lead, so that its own timeline stays whole.
        """
        found = self.session.scalars(select(Activity).where(Activity.lead_id == lead_id)).all()
        for activity in found:
            activity.contact_id = activity.contact_id or contact_id
            activity.account_id = activity.account_id or account_id
            activity.opportunity_id = activity.opportunity_id or opportunity_id
            activity.subject_id = self._subject({}, activity)
            activity.updated_by = self._author()
        self._flush()
        return len(found)

    def leave_to_lead(self, lead_id: UUID, records: Collection[UUID]) -> None:
        """Take the activities of a lead off the timelines of `records` again."""
        for activity in self.session.scalars(select(Activity).where(Activity.lead_id == lead_id)):
            for name in ("contact_id", "account_id", "opportunity_id"):
                if getattr(activity, name) in records:
                    setattr(activity, name, None)
            activity.subject_id = self._subject({}, activity)
            activity.updated_by = self._author()
        self._flush()

    def _subject(self, values: dict[str, Any], record: Any | None) -> UUID | None:
        for field, entity in (("contact_id", "contact"), ("lead_id", "lead")):
            key = self.later(values, record, field)
            if key is not None:
                table = self.datamap[entity].table
                found: UUID | None = self.session.scalar(select(table.c.subject_id).where(table.c.id == key))
                return found
        return None


class ParticipantService(DomainService):
    """Who takes part: a contact or a user."""

    entity_name = "participant"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Exactly one of contact and user."""
        contact, user = self.later(values, record, "contact_id"), self.later(values, record, "user_id")
        if (contact is None) == (user is None):
            errors.add("/contact_id", "one_person", _("Name either the contact or the user."))
