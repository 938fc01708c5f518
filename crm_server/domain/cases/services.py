"""The rules of cases and of the comments on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from compliance.datamap.text import _
from crm_server.domain.base import DomainService
from crm_server.domain.cases.models import Case, CaseComment
from crm_server.kernel.clock import now
from crm_server.kernel.errors import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from crm_server.kernel.errors import Errors

TRANSITIONS: Mapping[str, frozenset[str]] = {
    "new": frozenset({"open", "waiting", "resolved", "closed"}),
    "open": frozenset({"waiting", "resolved", "closed"}),
    "waiting": frozenset({"open", "resolved", "closed"}),
    "resolved": frozenset({"open", "closed"}),
    "closed": frozenset({"open"}),
}
"""From each status where a case can go. Nothing becomes new again: that would hide that somebody worked on it."""
_ENDED = frozenset({"resolved", "closed"})


class CaseService(DomainService):
    """Cases. Their number comes from the database."""

    entity_name = "case"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Follow the status machine, the times that hang on it, and the customer."""
        status = self.later(values, record, "status") or "new"
        before = record.status if record is not None else None
        if before is not None and status != before and status not in TRANSITIONS[before]:
            allowed = ", ".join(sorted(TRANSITIONS[before]))
            errors.add(
                "/status", "transition", _("From here a case can become: ${keys}.", mapping={"keys": allowed})
            )
        if status != before:
            moment = now()
            if status not in _ENDED:
                values["resolved_at"] = values["closed_at"] = None
            elif self.later(values, record, "resolved_at") is None:
                values["resolved_at"] = moment
            values["closed_at"] = moment if status == "closed" else None
        if record is None or "contact_id" in values:
            self._follow_contact(values, record)

    def saved(self, record: Any, before: Mapping[str, Any] | None) -> None:
        """Comments belong to the person that the case belongs to."""
        if before is not None and "subject_id" in before:
            for comment in self.session.scalars(select(CaseComment).where(CaseComment.case_id == record.id)):
                comment.subject_id = record.subject_id
            self._flush()

    def _follow_contact(self, values: dict[str, Any], record: Any | None) -> None:
        contact_id: UUID | None = self.later(values, record, "contact_id")
        values["subject_id"] = None
        if contact_id is None:
            return
        contact = self.datamap["contact"].table
        row = self.session.execute(
            select(contact.c.subject_id, contact.c.account_id).where(contact.c.id == contact_id)
        ).first()
        if row is not None:
            values["subject_id"] = row.subject_id
            if self.later(values, record, "account_id") is None and "account_id" not in values:
                values["account_id"] = row.account_id


class CaseCommentService(DomainService):
    """Comments: internal, or also for the customer. Only who wrote one may change it."""

    entity_name = "case_comment"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Take the data subject from the case; keep comments where and by whom they were written."""
        if record is not None:
            self._own(record)
            if values.get("case_id", record.case_id) != record.case_id:
                errors.add("/case_id", "fixed", _("A comment stays with its case."))
            return
        case = self.session.get(Case, values.get("case_id")) if values.get("case_id") else None
        if case is not None:
            values["subject_id"] = case.subject_id

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Remove a comment of one's own."""
        self._own(self.get(record_id))
        return super().delete(record_id, version=version)

    def _own(self, record: Any) -> None:
        if not self.actor.all_permissions and record.created_by != self.actor.id:
            raise NotAllowed("not_author", _("Only who wrote a comment may change it."))
