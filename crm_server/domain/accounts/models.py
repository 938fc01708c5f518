"""The account and its fields."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityPolicy, Search, Semantic, field
from compliance.datamap.text import _
from crm_server.domain.choices import LIFECYCLE
from crm_server.kernel.handling import BUSINESS, FIGURES
from crm_server.kernel.model import Record

KINDS = {
    "prospect": _("Prospect"),
    "customer": _("Customer"),
    "partner": _("Partner"),
    "supplier": _("Supplier"),
    "competitor": _("Competitor"),
    "other": _("Other"),
}
INDUSTRIES = {
    "agriculture": _("Agriculture"),
    "automotive": _("Automotive"),
    "banking": _("Banking"),
    "chemicals": _("Chemicals"),
    "construction": _("Construction"),
    "education": _("Education"),
    "energy": _("Energy"),
    "government": _("Government"),
    "healthcare": _("Healthcare"),
    "insurance": _("Insurance"),
    "it": _("Information technology"),
    "logistics": _("Logistics"),
    "machinery": _("Machinery"),
    "media": _("Media"),
    "pharma": _("Pharmaceuticals"),
    "retail": _("Retail"),
    "telecom": _("Telecommunications"),
    "other": _("Other"),
}
GRADES = {"a": _("A"), "b": _("B"), "c": _("C"), "d": _("D")}


class Account(Record, Base):
    """A company. Accounts form a hierarchy through `parent_id`; a cycle is refused by the service."""

    __tablename__ = "account"
    __entity__ = EntityPolicy(
        1,
        "account",
        "accounts",
        _("Account"),
        _("Accounts"),
        list_fields=("name", "kind", "industry", "billing_city", "billing_country", "owner_id"),
        icon="building",
    )

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT)
    legal_name: Mapped[str | None] = field(21, Semantic.TEXT, _("Legal name"), BUSINESS, search=Search.TEXT)
    kind: Mapped[str] = field(
        22,
        Semantic.CHOICE,
        _("Kind"),
        BUSINESS,
        required=True,
        choices=KINDS,
        default="prospect",
        server_default=text("'prospect'"),
    )
    parent_id: Mapped[UUID | None] = field(
        23,
        Semantic.REFERENCE,
        _("Parent account"),
        BUSINESS,
        target="account",
        references="crm.account.id",
        ondelete="SET NULL",
    )
    industry: Mapped[str | None] = field(24, Semantic.CHOICE, _("Industry"), BUSINESS, choices=INDUSTRIES)
    lifecycle_stage: Mapped[str | None] = field(
        25, Semantic.CHOICE, _("Life-cycle stage"), BUSINESS, choices=LIFECYCLE
    )
    grade: Mapped[str | None] = field(26, Semantic.CHOICE, _("Grade"), BUSINESS, choices=GRADES)
    website: Mapped[str | None] = field(27, Semantic.URL, _("Website"), BUSINESS)
    phone: Mapped[str | None] = field(28, Semantic.PHONE, _("Phone"), BUSINESS, search=Search.EXACT)
    email: Mapped[str | None] = field(29, Semantic.EMAIL, _("E-mail"), BUSINESS, search=Search.EXACT)
    billing_street: Mapped[str | None] = field(30, Semantic.TEXT, _("Street"), BUSINESS)
    billing_postal_code: Mapped[str | None] = field(
        31, Semantic.TEXT, _("Postal code"), BUSINESS, max_length=20
    )
    billing_city: Mapped[str | None] = field(32, Semantic.TEXT, _("City"), BUSINESS)
    billing_region: Mapped[str | None] = field(33, Semantic.TEXT, _("State or province"), BUSINESS)
    billing_country: Mapped[str | None] = field(34, Semantic.COUNTRY, _("Country"), BUSINESS)
    employees: Mapped[int | None] = field(35, Semantic.INTEGER, _("Employees"), BUSINESS, minimum=0)
    annual_revenue: Mapped[int | None] = field(
        36, Semantic.MONEY, _("Annual revenue"), FIGURES, currency_field="currency"
    )
    currency: Mapped[str | None] = field(37, Semantic.CURRENCY, _("Currency"), BUSINESS)
    tax_number: Mapped[str | None] = field(38, Semantic.TEXT, _("Tax number"), BUSINESS, max_length=40)
    description: Mapped[str | None] = field(39, Semantic.LONG_TEXT, _("Description"), BUSINESS)
    external_id: Mapped[str | None] = field(
        40, Semantic.TEXT, _("External id"), BUSINESS, search=Search.EXACT, max_length=100
    )
    team_id: Mapped[UUID | None] = field(
        41,
        Semantic.REFERENCE,
        _("Team"),
        BUSINESS,
        target="team",
        references="identity.team.id",
        ondelete="SET NULL",
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
        Index("ix_account_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_account_live_name", "name", "id", postgresql_where=text("deleted_at is null")),
        Index(
            "ix_account_owner", "owner_id", "created_at", "id", postgresql_where=text("deleted_at is null")
        ),
        Index(
            "uq_account_external_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id is not null and deleted_at is null"),
        ),
        Index("ix_account_parent", "parent_id", postgresql_where=text("parent_id is not null")),
        Index("ix_account_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )
