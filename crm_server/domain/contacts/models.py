"""The contact, and the roles that contacts have on accounts and opportunities (the decision chain)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
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
from crm_server.domain.choices import LIFECYCLE, SOURCES
from crm_server.kernel.handling import (
    BUSINESS,
    CONTACT_DETAIL,
    NAME,
    PERSON_FACT,
    PERSON_NOTE,
    PERSON_SEGMENT,
    SYSTEM,
)
from crm_server.kernel.model import Audited, Record

SALUTATIONS = {"mr": _("Mr"), "ms": _("Ms"), "mx": _("Mx"), "dr": _("Dr"), "prof": _("Prof.")}
ROLES = {
    "decision_maker": _("Decision maker"),
    "approver": _("Approver"),
    "influencer": _("Influencer"),
    "champion": _("Champion"),
    "user": _("User"),
    "gatekeeper": _("Gatekeeper"),
    "blocker": _("Blocker"),
    "billing": _("Billing"),
    "technical": _("Technical contact"),
    "other": _("Other"),
}


class Contact(Record, Base):
    """A person. `name` is composed by the service after the custom of the language; the parts are what is kept.

    In clear stays what identifies nobody alone and what lists are filtered by in the database.
    """

    __tablename__ = "contact"
    __entity__ = EntityPolicy(
        2,
        "contact",
        "contacts",
        _("Contact"),
        _("Contacts"),
        subject="subject_id",
        list_fields=("name", "account_id", "job_title", "email", "phone", "owner_id"),
        icon="user",
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
    account_id: Mapped[UUID | None] = field(
        21,
        Semantic.REFERENCE,
        _("Account"),
        BUSINESS,
        target="account",
        references="crm.account.id",
        ondelete="SET NULL",
    )
    salutation: Mapped[str | None] = field(
        22, Semantic.CHOICE, _("Salutation"), PERSON_SEGMENT, choices=SALUTATIONS
    )
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    given_name: Sealed[str | None] = sealed(
        23, Semantic.TEXT, _("Given name"), NAME, search=Search.TEXT, max_length=100
    )
    family_name: Sealed[str] = sealed(
        24, Semantic.TEXT, _("Family name"), NAME, required=True, search=Search.TEXT, max_length=100
    )
    name: Sealed[str] = sealed(
        25,
        Semantic.TEXT,
        _("Full name"),
        NAME,
        required=True,
        managed=True,
        search=Search.TEXT,
        max_length=250,
    )
    job_title: Sealed[str | None] = sealed(26, Semantic.TEXT, _("Job title"), PERSON_FACT)
    department: Sealed[str | None] = sealed(27, Semantic.TEXT, _("Department"), PERSON_FACT)
    email: Sealed[str | None] = sealed(28, Semantic.EMAIL, _("E-mail"), CONTACT_DETAIL, search=Search.EXACT)
    email_private: Sealed[str | None] = sealed(
        29, Semantic.EMAIL, _("Second e-mail"), CONTACT_DETAIL, search=Search.EXACT
    )
    phone: Sealed[str | None] = sealed(30, Semantic.PHONE, _("Phone"), CONTACT_DETAIL, search=Search.EXACT)
    mobile: Sealed[str | None] = sealed(31, Semantic.PHONE, _("Mobile"), CONTACT_DETAIL, search=Search.EXACT)
    street: Sealed[str | None] = sealed(32, Semantic.TEXT, _("Street"), CONTACT_DETAIL)
    postal_code: Sealed[str | None] = sealed(
        33, Semantic.TEXT, _("Postal code"), CONTACT_DETAIL, max_length=20
    )
    city: Sealed[str | None] = sealed(34, Semantic.TEXT, _("City"), CONTACT_DETAIL)
    region: Sealed[str | None] = sealed(35, Semantic.TEXT, _("State or province"), CONTACT_DETAIL)
    country: Mapped[str | None] = field(36, Semantic.COUNTRY, _("Country"), PERSON_SEGMENT)
    birth_date: Sealed[date | None] = sealed(37, Semantic.DATE, _("Date of birth"), NAME)
    language: Mapped[str | None] = field(38, Semantic.LANGUAGE, _("Language"), PERSON_SEGMENT)
    lifecycle_stage: Mapped[str | None] = field(
        39, Semantic.CHOICE, _("Life-cycle stage"), PERSON_SEGMENT, choices=LIFECYCLE
    )
    source: Mapped[str | None] = field(40, Semantic.CHOICE, _("Source"), PERSON_SEGMENT, choices=SOURCES)
    reports_to_id: Mapped[UUID | None] = field(
        41,
        Semantic.REFERENCE,
        _("Reports to"),
        PERSON_SEGMENT,
        target="contact",
        references="crm.contact.id",
        ondelete="SET NULL",
    )
    description: Sealed[str | None] = sealed(42, Semantic.LONG_TEXT, _("Description"), PERSON_NOTE)
    external_id: Mapped[str | None] = field(
        43, Semantic.TEXT, _("External id"), BUSINESS, search=Search.EXACT, max_length=100
    )
    team_id: Mapped[UUID | None] = field(
        44,
        Semantic.REFERENCE,
        _("Team"),
        BUSINESS,
        target="team",
        references="identity.team.id",
        ondelete="SET NULL",
    )
    territory_id: Mapped[UUID | None] = field(
        45,
        Semantic.REFERENCE,
        _("Territory"),
        BUSINESS,
        target="territory",
        references="identity.territory.id",
        ondelete="SET NULL",
    )

    __table_args__ = (
        Index("ix_contact_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index(
            "ix_contact_owner", "owner_id", "created_at", "id", postgresql_where=text("deleted_at is null")
        ),
        Index("ix_contact_account", "account_id", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_contact_subject", "subject_id"),
        Index(
            "uq_contact_external_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id is not null and deleted_at is null"),
        ),
        Index("ix_contact_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )


class ContactRole(Audited, Base):
    """The part a contact plays for an account or in an opportunity."""

    __tablename__ = "contact_role"
    __entity__ = EntityPolicy(
        16,
        "contact_role",
        "contact-roles",
        _("Contact role"),
        _("Contact roles"),
        EntityKind.PART,
        title="role",
        parent="contact_id",
    )

    contact_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Contact"),
        BUSINESS,
        required=True,
        target="contact",
        references="crm.contact.id",
        ondelete="CASCADE",
    )
    account_id: Mapped[UUID | None] = field(
        21,
        Semantic.REFERENCE,
        _("Account"),
        BUSINESS,
        target="account",
        references="crm.account.id",
        ondelete="CASCADE",
    )
    opportunity_id: Mapped[UUID | None] = field(
        22,
        Semantic.REFERENCE,
        _("Opportunity"),
        BUSINESS,
        target="opportunity",
        references="crm.opportunity.id",
        ondelete="CASCADE",
    )
    role: Mapped[str] = field(23, Semantic.CHOICE, _("Role"), BUSINESS, required=True, choices=ROLES)
    influence: Mapped[int | None] = field(
        24, Semantic.SMALL_INTEGER, _("Influence (1 to 5)"), BUSINESS, minimum=1, maximum=5
    )
    is_primary: Mapped[bool] = field(
        25,
        Semantic.BOOLEAN,
        _("Main contact"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
    note: Mapped[str | None] = field(26, Semantic.TEXT, _("Note"), BUSINESS, max_length=500)

    __table_args__ = (
        CheckConstraint("(account_id is null) <> (opportunity_id is null)", name="one_parent"),
        Index("ix_contact_role_account", "account_id", postgresql_where=text("account_id is not null")),
        Index(
            "ix_contact_role_opportunity",
            "opportunity_id",
            postgresql_where=text("opportunity_id is not null"),
        ),
        Index(
            "uq_contact_role",
            "contact_id",
            "account_id",
            "opportunity_id",
            "role",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        {"schema": "crm"},
    )
