"""The lead and its fields."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import (
    Base,
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
from crm_server.domain.choices import SOURCES
from crm_server.kernel.handling import (
    BUSINESS,
    CONTACT_DETAIL,
    NAME,
    PERSON_FACT,
    PERSON_NOTE,
    PERSON_SEGMENT,
    SYSTEM,
    TECHNICAL,
)
from crm_server.kernel.model import Record

STATUS = {
    "new": _("New"),
    "working": _("Working"),
    "qualified": _("Qualified"),
    "unqualified": _("Unqualified"),
    "converted": _("Converted"),
}
RATINGS = {"hot": _("Hot"), "warm": _("Warm"), "cold": _("Cold")}


class Lead(Record, Base):
    """A possible customer. Converting it makes an account, a contact and, if wanted, an opportunity."""

    __tablename__ = "lead"
    __entity__ = EntityPolicy(
        3,
        "lead",
        "leads",
        _("Lead"),
        _("Leads"),
        subject="subject_id",
        list_fields=("name", "company", "status", "rating", "source", "email", "owner_id"),
        icon="user-plus",
    )

    subject_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Data subject"),
        SYSTEM,
        required=True,
        managed=True,
        target="data_subject",
        references="crm.data_subject.id",
        ondelete="RESTRICT",
        deferred=True,
    )
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    given_name: Sealed[str | None] = sealed(
        21, Semantic.TEXT, _("Given name"), NAME, search=Search.TEXT, max_length=100
    )
    family_name: Sealed[str] = sealed(
        22, Semantic.TEXT, _("Family name"), NAME, required=True, search=Search.TEXT, max_length=100
    )
    name: Sealed[str] = sealed(
        23,
        Semantic.TEXT,
        _("Full name"),
        NAME,
        required=True,
        managed=True,
        search=Search.TEXT,
        max_length=250,
    )
    company: Mapped[str | None] = field(24, Semantic.TEXT, _("Company"), BUSINESS, search=Search.TEXT)
    job_title: Sealed[str | None] = sealed(25, Semantic.TEXT, _("Job title"), PERSON_FACT)
    email: Sealed[str | None] = sealed(26, Semantic.EMAIL, _("E-mail"), CONTACT_DETAIL, search=Search.EXACT)
    phone: Sealed[str | None] = sealed(27, Semantic.PHONE, _("Phone"), CONTACT_DETAIL, search=Search.EXACT)
    website: Mapped[str | None] = field(28, Semantic.URL, _("Website"), BUSINESS)
    city: Sealed[str | None] = sealed(29, Semantic.TEXT, _("City"), CONTACT_DETAIL)
    country: Mapped[str | None] = field(30, Semantic.COUNTRY, _("Country"), PERSON_SEGMENT)
    status: Mapped[str] = field(
        31,
        Semantic.CHOICE,
        _("Status"),
        BUSINESS,
        required=True,
        choices=STATUS,
        default="new",
        server_default=text("'new'"),
    )
    rating: Mapped[str | None] = field(32, Semantic.CHOICE, _("Rating"), BUSINESS, choices=RATINGS)
    source: Mapped[str | None] = field(33, Semantic.CHOICE, _("Source"), PERSON_SEGMENT, choices=SOURCES)
    language: Mapped[str | None] = field(34, Semantic.LANGUAGE, _("Language"), PERSON_SEGMENT)
    description: Sealed[str | None] = sealed(35, Semantic.LONG_TEXT, _("Description"), PERSON_NOTE)
    unqualified_reason: Mapped[str | None] = field(36, Semantic.TEXT, _("Why unqualified"), BUSINESS)
    converted_at: Mapped[datetime | None] = field(
        37, Semantic.DATETIME, _("Converted"), BUSINESS, managed=True
    )
    converted_account_id: Mapped[UUID | None] = field(
        38,
        Semantic.REFERENCE,
        _("Account made from it"),
        BUSINESS,
        managed=True,
        target="account",
        references="crm.account.id",
        ondelete="SET NULL",
    )
    converted_contact_id: Mapped[UUID | None] = field(
        39,
        Semantic.REFERENCE,
        _("Contact made from it"),
        BUSINESS,
        managed=True,
        target="contact",
        references="crm.contact.id",
        ondelete="SET NULL",
    )
    converted_opportunity_id: Mapped[UUID | None] = field(
        40,
        Semantic.REFERENCE,
        _("Opportunity made from it"),
        BUSINESS,
        managed=True,
        target="opportunity",
        references="crm.opportunity.id",
        ondelete="SET NULL",
    )
    converted_made: Mapped[list[UUID] | None] = field(
        43, Semantic.UUID_LIST, _("Records made by the conversion"), TECHNICAL, managed=True
    )
    external_id: Mapped[str | None] = field(
        41, Semantic.TEXT, _("External id"), BUSINESS, search=Search.EXACT, max_length=100
    )
    territory_id: Mapped[UUID | None] = field(
        42,
        Semantic.REFERENCE,
        _("Territory"),
        BUSINESS,
        target="territory",
        references="identity.territory.id",
        ondelete="SET NULL",
    )

    __table_args__ = (
        Index("ix_lead_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_lead_owner", "owner_id", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_lead_subject", "subject_id"),
        Index(
            "uq_lead_external_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id is not null and deleted_at is null"),
        ),
        Index("ix_lead_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )
