"""Cases and the comments on them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, text
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
from crm_server.kernel.handling import BUSINESS, SUPPORT_NOTE, SYSTEM
from crm_server.kernel.model import Audited, Record

STATUS = {
    "new": _("New"),
    "open": _("In progress"),
    "waiting": _("Waiting for customer"),
    "resolved": _("Resolved"),
    "closed": _("Closed"),
}
ORIGINS = {
    "mail": _("E-mail"),
    "phone": _("Phone"),
    "web": _("Website"),
    "portal": _("Portal"),
    "chat": _("Chat"),
    "visit": _("Visit"),
}


class Case(Record, Base):
    """A request of a customer, numbered by the database."""

    __tablename__ = "case"
    __entity__ = EntityPolicy(
        14,
        "case",
        "cases",
        _("Case"),
        _("Cases"),
        title="title",
        subject="subject_id",
        list_fields=("number", "title", "status", "priority", "contact_id", "account_id", "owner_id"),
        icon="lifebuoy",
    )

    number: Mapped[int] = field(
        20,
        Semantic.INTEGER,
        _("Number"),
        BUSINESS,
        managed=True,
        sql=BigInteger(),
        search=Search.EXACT,
        nullable=False,
        server_default=Identity(start=1001),
    )
    sealed_support: Mapped[bytes | None] = sealed_document(19, KeyClass.SUPPORT)
    sealed_version: Mapped[int] = document_version(18)
    title: Sealed[str] = sealed(
        21, Semantic.TEXT, _("Subject"), SUPPORT_NOTE, required=True, search=Search.TEXT
    )
    description: Sealed[str | None] = sealed(22, Semantic.LONG_TEXT, _("Description"), SUPPORT_NOTE)
    status: Mapped[str] = field(
        23,
        Semantic.CHOICE,
        _("Status"),
        BUSINESS,
        required=True,
        choices=STATUS,
        default="new",
        server_default=text("'new'"),
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
    origin: Mapped[str | None] = field(25, Semantic.CHOICE, _("Origin"), BUSINESS, choices=ORIGINS)
    account_id: Mapped[UUID | None] = field(
        26,
        Semantic.REFERENCE,
        _("Account"),
        BUSINESS,
        target="account",
        references="crm.account.id",
        ondelete="SET NULL",
    )
    contact_id: Mapped[UUID | None] = field(
        27,
        Semantic.REFERENCE,
        _("Contact"),
        BUSINESS,
        target="contact",
        references="crm.contact.id",
        ondelete="SET NULL",
    )
    product_id: Mapped[UUID | None] = field(
        28,
        Semantic.REFERENCE,
        _("Product"),
        BUSINESS,
        target="product",
        references="crm.product.id",
        ondelete="SET NULL",
    )
    resolved_at: Mapped[datetime | None] = field(
        29, Semantic.DATETIME, _("Resolved at"), BUSINESS, managed=True
    )
    closed_at: Mapped[datetime | None] = field(30, Semantic.DATETIME, _("Closed at"), BUSINESS, managed=True)
    resolution: Sealed[str | None] = sealed(31, Semantic.LONG_TEXT, _("Resolution"), SUPPORT_NOTE)
    subject_id: Mapped[UUID | None] = field(
        32,
        Semantic.REFERENCE,
        _("Data subject"),
        SYSTEM,
        managed=True,
        target="data_subject",
        references="crm.data_subject.id",
        ondelete="RESTRICT",
        deferred=True,
    )
    team_id: Mapped[UUID | None] = field(
        33,
        Semantic.REFERENCE,
        _("Team"),
        BUSINESS,
        target="team",
        references="identity.team.id",
        ondelete="SET NULL",
    )
    external_id: Mapped[str | None] = field(
        34, Semantic.TEXT, _("External id"), BUSINESS, search=Search.EXACT, max_length=100
    )

    __table_args__ = (
        Index("uq_case_number", "number", unique=True),
        Index("ix_case_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_case_owner", "owner_id", "status", postgresql_where=text("deleted_at is null")),
        Index("ix_case_account", "account_id", postgresql_where=text("account_id is not null")),
        Index("ix_case_contact", "contact_id", postgresql_where=text("contact_id is not null")),
        Index("ix_case_subject", "subject_id", postgresql_where=text("subject_id is not null")),
        Index("ix_case_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )


class CaseComment(Audited, Base):
    """A comment on a case: internal, or also for the customer."""

    __tablename__ = "case_comment"
    __entity__ = EntityPolicy(
        15,
        "case_comment",
        "case-comments",
        _("Comment"),
        _("Comments"),
        EntityKind.PART,
        title="id",
        parent="case_id",
        subject="subject_id",
    )
    __table_args__ = (
        Index("ix_case_comment_case", "case_id", "created_at"),
        Index("ix_case_comment_subject", "subject_id", postgresql_where=text("subject_id is not null")),
        {"schema": "crm"},
    )

    case_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Case"),
        BUSINESS,
        required=True,
        target="case",
        references="crm.case.id",
        ondelete="CASCADE",
    )
    sealed_support: Mapped[bytes | None] = sealed_document(19, KeyClass.SUPPORT)
    sealed_version: Mapped[int] = document_version(18)
    body: Sealed[str] = sealed(21, Semantic.LONG_TEXT, _("Text"), SUPPORT_NOTE, required=True)
    public: Mapped[bool] = field(
        22,
        Semantic.BOOLEAN,
        _("Visible to the customer"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
    subject_id: Mapped[UUID | None] = field(
        23,
        Semantic.REFERENCE,
        _("Data subject"),
        SYSTEM,
        managed=True,
        target="data_subject",
        references="crm.data_subject.id",
        ondelete="RESTRICT",
        deferred=True,
    )
