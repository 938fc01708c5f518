"""The tables of two-person release: what was asked for, and who said yes to it.

The database holds the rule as well as the service does: `sql/guards.sql` freezes what was asked for, lets
nobody release what they asked for themselves, and lets nothing be executed twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, SmallInteger, text
from sqlalchemy.orm import Mapped

from compliance.datamap import (
    Base,
    EntityKind,
    EntityPolicy,
    KeyClass,
    Sealed,
    Semantic,
    document_version,
    field,
    sealed,
    sealed_document,
)
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, SOUGHT, SYSTEM
from crm_server.kernel.model import USER_KEY, Audited

SCHEMA = "identity"
STATES = {
    "pending": _("Waits for a second person"),
    "released": _("Released"),
    "executed": _("Carried out"),
    "vetoed": _("Refused"),
    "withdrawn": _("Withdrawn"),
    "expired": _("Expired"),
    "failed": _("Could not be carried out"),
}


class Approval(Audited, Base):
    """One request for an act that takes two persons. `digest` binds the release to these parameters alone."""

    __tablename__ = "approval"
    __entity__ = EntityPolicy(
        120,
        "approval",
        "approvals",
        _("Approval"),
        _("Approvals"),
        EntityKind.TECHNICAL,
        icon="checkbox",
        subject="subject_id",
    )
    __table_args__ = (
        Index("ix_approval_open", "expires_at", postgresql_where=text("state in ('pending', 'released')")),
        Index("ix_approval_requested_by", "requested_by"),
        {"schema": SCHEMA},
    )

    kind: Mapped[str] = field(20, Semantic.TEXT, _("Kind"), BUSINESS, required=True, max_length=60)
    state: Mapped[str] = field(
        21,
        Semantic.CHOICE,
        _("State"),
        BUSINESS,
        required=True,
        choices=STATES,
        default="pending",
        server_default=text("'pending'"),
    )
    reason: Mapped[str] = field(22, Semantic.TEXT, _("Reason"), BUSINESS, required=True, max_length=1000)
    parameters: Mapped[dict[str, Any]] = field(23, Semantic.JSON, _("What"), BUSINESS, required=True)
    # Always empty: what is asked for belongs to nobody alone, so it is sealed under the key of the installation.
    subject_id: Mapped[UUID | None] = field(17, Semantic.ID, _("Data subject"), SYSTEM)
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    sought: Sealed[dict[str, Any] | None] = sealed(34, Semantic.JSON, _("What names people"), SOUGHT)
    digest: Mapped[str] = field(24, Semantic.TEXT, _("Fingerprint"), BUSINESS, required=True, max_length=64)
    requested_by: Mapped[UUID | None] = field(
        25,
        Semantic.REFERENCE,
        _("Asked by"),
        SYSTEM,
        target="user",
        references=USER_KEY,
        ondelete="RESTRICT",
    )
    needed: Mapped[int] = field(
        26,
        Semantic.SMALL_INTEGER,
        _("Persons needed"),
        BUSINESS,
        required=True,
        sql=SmallInteger(),
        default=1,
    )
    expires_at: Mapped[datetime] = field(27, Semantic.DATETIME, _("Expires"), BUSINESS, required=True)
    due_at: Mapped[datetime | None] = field(28, Semantic.DATETIME, _("Carried out at"), BUSINESS)
    decided_at: Mapped[datetime | None] = field(29, Semantic.DATETIME, _("Decided"), BUSINESS)
    decided_by: Mapped[UUID | None] = field(
        30,
        Semantic.REFERENCE,
        _("Decided by"),
        SYSTEM,
        target="user",
        references=USER_KEY,
        ondelete="RESTRICT",
    )
    remark: Mapped[str | None] = field(31, Semantic.TEXT, _("Remark"), BUSINESS, max_length=1000)
    executed_at: Mapped[datetime | None] = field(32, Semantic.DATETIME, _("Carried out"), BUSINESS)
    result: Mapped[dict[str, Any] | None] = field(33, Semantic.JSON, _("Result"), BUSINESS)

    @property
    def asked(self) -> dict[str, Any]:
        """All parameters, those that are sealed among them."""
        return {**self.parameters, **(self.sought or {})}


class ApprovalVote(Base):
    """One person's yes to a request. Never changed, never taken back."""

    __tablename__ = "approval_vote"
    __entity__ = EntityPolicy(
        121, "approval_vote", "approval-votes", _("Release"), _("Releases"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": SCHEMA},)

    approval_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Approval"),
        SYSTEM,
        primary_key=True,
        target="approval",
        references="identity.approval.id",
        ondelete="RESTRICT",
    )
    user_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        primary_key=True,
        target="user",
        references=USER_KEY,
        ondelete="RESTRICT",
    )
    voted_at: Mapped[datetime] = field(
        3, Semantic.DATETIME, _("Time"), SYSTEM, required=True, server_default=text("now()")
    )
