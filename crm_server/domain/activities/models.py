"""Activities and who took part in them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import (
    Base,
    EntityKind,
    EntityPolicy,
    KeyClass,
    Sealed,
    Search,
    Semantic,
    document_version,
    field,
    sealed,
    sealed_document,
)
from compliance.datamap.text import _
from crm_server.domain.choices import PRIORITIES
from crm_server.kernel.handling import BUSINESS, PERSON_NOTE, SYSTEM
from crm_server.kernel.model import USER_KEY, Audited, Record

KINDS = {
    "task": _("Task"),
    "call": _("Call"),
    "meeting": _("Meeting"),
    "mail": _("Mail"),
    "note": _("Note"),
}
STATUS = {"open": _("Open"), "done": _("Done"), "cancelled": _("Cancelled")}
DIRECTIONS = {"in": _("Incoming"), "out": _("Outgoing")}
PARTICIPATION = {
    "organiser": _("Organiser"),
    "attendee": _("Attendee"),
    "sender": _("Sender"),
    "recipient": _("Recipient"),
}


class Activity(Record, Base):
    """Something that was or will be done. It stands on the timeline of each record that it names."""

    __tablename__ = "activity"
    __entity__ = EntityPolicy(
        12,
        "activity",
        "activities",
        _("Activity"),
        _("Activities"),
        title="title",
        subject="subject_id",
        list_fields=("title", "kind", "status", "due_at", "contact_id", "account_id", "owner_id"),
        icon="calendar-event",
    )

    kind: Mapped[str] = field(
        20,
        Semantic.CHOICE,
        _("Kind"),
        BUSINESS,
        required=True,
        choices=KINDS,
        default="task",
        server_default=text("'task'"),
    )
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    title: Sealed[str] = sealed(
        21, Semantic.TEXT, _("Subject"), PERSON_NOTE, required=True, search=Search.TEXT
    )
    body: Sealed[str | None] = sealed(22, Semantic.LONG_TEXT, _("Text"), PERSON_NOTE)
    status: Mapped[str] = field(
        23,
        Semantic.CHOICE,
        _("Status"),
        BUSINESS,
        required=True,
        choices=STATUS,
        default="open",
        server_default=text("'open'"),
    )
    priority: Mapped[str] = field(
        24,
        Semantic.CHOICE,
        _("Priority"),
        BUSINESS,
        required=True,
        choices=PRIORITIES,
        default="normal",
        server_default=text("'normal'"),
    )
    direction: Mapped[str | None] = field(25, Semantic.CHOICE, _("Direction"), BUSINESS, choices=DIRECTIONS)
    due_at: Mapped[datetime | None] = field(26, Semantic.DATETIME, _("Due"), BUSINESS)
    starts_at: Mapped[datetime | None] = field(27, Semantic.DATETIME, _("Starts"), BUSINESS)
    ends_at: Mapped[datetime | None] = field(28, Semantic.DATETIME, _("Ends"), BUSINESS)
    done_at: Mapped[datetime | None] = field(29, Semantic.DATETIME, _("Done at"), BUSINESS, managed=True)
    location: Mapped[str | None] = field(30, Semantic.TEXT, _("Place"), BUSINESS)
    account_id: Mapped[UUID | None] = field(
        31,
        Semantic.REFERENCE,
        _("Account"),
        BUSINESS,
        target="account",
        references="crm.account.id",
        ondelete="SET NULL",
    )
    contact_id: Mapped[UUID | None] = field(
        32,
        Semantic.REFERENCE,
        _("Contact"),
        BUSINESS,
        target="contact",
        references="crm.contact.id",
        ondelete="SET NULL",
    )
    lead_id: Mapped[UUID | None] = field(
        33,
        Semantic.REFERENCE,
        _("Lead"),
        BUSINESS,
        target="lead",
        references="crm.lead.id",
        ondelete="SET NULL",
    )
    opportunity_id: Mapped[UUID | None] = field(
        34,
        Semantic.REFERENCE,
        _("Opportunity"),
        BUSINESS,
        target="opportunity",
        references="crm.opportunity.id",
        ondelete="SET NULL",
    )
    case_id: Mapped[UUID | None] = field(
        35,
        Semantic.REFERENCE,
        _("Case"),
        BUSINESS,
        target="case",
        references="crm.case.id",
        ondelete="SET NULL",
    )
    subject_id: Mapped[UUID | None] = field(
        36,
        Semantic.REFERENCE,
        _("Data subject"),
        SYSTEM,
        managed=True,
        target="data_subject",
        references="crm.data_subject.id",
        ondelete="RESTRICT",
        deferred=True,
    )
    # Where it stands on a timeline. The database computes it, so that imported and bulk-loaded rows have it too.
    happened_at: Mapped[datetime] = field(
        37,
        Semantic.DATETIME,
        _("On the timeline at"),
        SYSTEM,
        managed=True,
        nullable=False,
        server_default=Computed("coalesce(done_at, starts_at, due_at, created_at)", persisted=True),
    )

    __table_args__ = (
        CheckConstraint(
            "ends_at is null or starts_at is null or ends_at >= starts_at", name="ends_after_start"
        ),
        Index("ix_activity_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index(
            "ix_activity_owner", "owner_id", "status", "due_at", postgresql_where=text("deleted_at is null")
        ),
        Index(
            "ix_activity_account",
            "account_id",
            "happened_at",
            postgresql_where=text("account_id is not null"),
        ),
        Index(
            "ix_activity_contact",
            "contact_id",
            "happened_at",
            postgresql_where=text("contact_id is not null"),
        ),
        Index("ix_activity_lead", "lead_id", "happened_at", postgresql_where=text("lead_id is not null")),
        Index(
            "ix_activity_opportunity",
            "opportunity_id",
            "happened_at",
            postgresql_where=text("opportunity_id is not null"),
        ),
        Index("ix_activity_case", "case_id", "happened_at", postgresql_where=text("case_id is not null")),
        Index("ix_activity_subject", "subject_id", postgresql_where=text("subject_id is not null")),
        Index("ix_activity_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )


class Participant(Audited, Base):
    """A contact or user who takes part in an activity."""

    __tablename__ = "activity_participant"
    __entity__ = EntityPolicy(
        13,
        "participant",
        "participants",
        _("Participant"),
        _("Participants"),
        EntityKind.PART,
        title="part",
        parent="activity_id",
    )
    __table_args__ = (
        CheckConstraint("(contact_id is null) <> (user_id is null)", name="one_person"),
        Index("ix_activity_participant_activity", "activity_id"),
        Index(
            "ix_activity_participant_contact", "contact_id", postgresql_where=text("contact_id is not null")
        ),
        Index("ix_activity_participant_user", "user_id", postgresql_where=text("user_id is not null")),
        {"schema": "crm"},
    )

    activity_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Activity"),
        BUSINESS,
        required=True,
        target="activity",
        references="crm.activity.id",
        ondelete="CASCADE",
    )
    contact_id: Mapped[UUID | None] = field(
        21,
        Semantic.REFERENCE,
        _("Contact"),
        BUSINESS,
        target="contact",
        references="crm.contact.id",
        ondelete="CASCADE",
    )
    user_id: Mapped[UUID | None] = field(
        22, Semantic.REFERENCE, _("User"), BUSINESS, target="user", references=USER_KEY, ondelete="CASCADE"
    )
    part: Mapped[str] = field(
        23,
        Semantic.CHOICE,
        _("Part"),
        BUSINESS,
        required=True,
        choices=PARTICIPATION,
        default="attendee",
        server_default=text("'attendee'"),
    )
