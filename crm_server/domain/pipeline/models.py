"""Pipelines, their stages, opportunities with their lines, and the history of stages."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Search, Semantic, field
from compliance.datamap.text import _
from crm_server.domain.choices import SOURCES
from crm_server.kernel.handling import BUSINESS, FIGURES, SYSTEM
from crm_server.kernel.ids import new_id
from crm_server.kernel.model import Audited, Record

STAGE_KINDS = {"open": _("Open"), "won": _("Won"), "lost": _("Lost")}
FORECAST = {
    "pipeline": _("Pipeline"),
    "best_case": _("Best case"),
    "commit": _("Commit"),
    "closed": _("Closed"),
    "omitted": _("Omitted"),
}
LOST_REASONS = {
    "price": _("Price"),
    "competitor": _("Competitor"),
    "no_budget": _("No budget"),
    "no_decision": _("No decision"),
    "timing": _("Timing"),
    "product": _("Product does not fit"),
    "other": _("Other"),
}


class Pipeline(Record, Base):
    """A sales process: an ordered list of stages."""

    __tablename__ = "pipeline"
    __entity__ = EntityPolicy(
        5,
        "pipeline",
        "pipelines",
        _("Pipeline"),
        _("Pipelines"),
        list_fields=("name", "is_default", "active"),
        icon="git-branch",
    )
    __table_args__ = (
        Index("ix_pipeline_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT)
    is_default: Mapped[bool] = field(
        21,
        Semantic.BOOLEAN,
        _("Default"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
    active: Mapped[bool] = field(
        22, Semantic.BOOLEAN, _("Active"), BUSINESS, required=True, default=True, server_default=text("true")
    )


class Stage(Record, Base):
    """A step of a pipeline, with the probability that deals in it are won."""

    __tablename__ = "stage"
    __entity__ = EntityPolicy(
        6,
        "stage",
        "stages",
        _("Stage"),
        _("Stages"),
        list_fields=("name", "pipeline_id", "position", "kind", "probability"),
        icon="columns",
    )
    __table_args__ = (
        Index("ix_stage_pipeline", "pipeline_id", "position"),
        Index("ix_stage_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )

    pipeline_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Pipeline"),
        BUSINESS,
        required=True,
        target="pipeline",
        references="crm.pipeline.id",
        ondelete="CASCADE",
    )
    name: Mapped[str] = field(21, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT)
    position: Mapped[int] = field(
        22,
        Semantic.SMALL_INTEGER,
        _("Position"),
        BUSINESS,
        required=True,
        minimum=0,
        maximum=999,
        default=0,
        server_default=text("0"),
    )
    kind: Mapped[str] = field(
        23,
        Semantic.CHOICE,
        _("Kind"),
        BUSINESS,
        required=True,
        choices=STAGE_KINDS,
        default="open",
        server_default=text("'open'"),
    )
    probability: Mapped[int] = field(
        24,
        Semantic.PERCENT,
        _("Probability (%)"),
        BUSINESS,
        required=True,
        default=0,
        server_default=text("0"),
    )


class Opportunity(Record, Base):
    """A possible deal. Stage, probability, status and forecast category are kept in step by the service."""

    __tablename__ = "opportunity"
    __entity__ = EntityPolicy(
        4,
        "opportunity",
        "opportunities",
        _("Opportunity"),
        _("Opportunities"),
        list_fields=("name", "account_id", "stage_id", "amount", "close_date", "owner_id"),
        icon="currency-euro",
    )

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT)
    account_id: Mapped[UUID | None] = field(
        21,
        Semantic.REFERENCE,
        _("Account"),
        BUSINESS,
        target="account",
        references="crm.account.id",
        ondelete="SET NULL",
    )
    contact_id: Mapped[UUID | None] = field(
        22,
        Semantic.REFERENCE,
        _("Main contact"),
        BUSINESS,
        target="contact",
        references="crm.contact.id",
        ondelete="SET NULL",
    )
    pipeline_id: Mapped[UUID] = field(
        23,
        Semantic.REFERENCE,
        _("Pipeline"),
        BUSINESS,
        nullable=False,
        target="pipeline",
        references="crm.pipeline.id",
        ondelete="RESTRICT",
        help=_("The default pipeline when empty."),
    )
    stage_id: Mapped[UUID] = field(
        24,
        Semantic.REFERENCE,
        _("Stage"),
        BUSINESS,
        nullable=False,
        target="stage",
        references="crm.stage.id",
        ondelete="RESTRICT",
        help=_("The first stage of the pipeline when empty."),
    )
    amount: Mapped[int | None] = field(
        25, Semantic.MONEY, _("Amount"), FIGURES, currency_field="currency", minimum=0
    )
    currency: Mapped[str] = field(
        26,
        Semantic.CURRENCY,
        _("Currency"),
        BUSINESS,
        required=True,
        default="EUR",
        server_default=text("'EUR'"),
    )
    probability: Mapped[int] = field(
        27,
        Semantic.PERCENT,
        _("Probability (%)"),
        BUSINESS,
        required=True,
        default=0,
        server_default=text("0"),
    )
    close_date: Mapped[date | None] = field(28, Semantic.DATE, _("Close date"), BUSINESS)
    status: Mapped[str] = field(
        29,
        Semantic.CHOICE,
        _("Status"),
        BUSINESS,
        required=True,
        managed=True,
        choices=STAGE_KINDS,
        default="open",
        server_default=text("'open'"),
    )
    forecast: Mapped[str] = field(
        30,
        Semantic.CHOICE,
        _("Forecast category"),
        BUSINESS,
        required=True,
        choices=FORECAST,
        default="pipeline",
        server_default=text("'pipeline'"),
    )
    lost_reason: Mapped[str | None] = field(
        31, Semantic.CHOICE, _("Why lost"), BUSINESS, choices=LOST_REASONS
    )
    source: Mapped[str | None] = field(32, Semantic.CHOICE, _("Source"), BUSINESS, choices=SOURCES)
    next_step: Mapped[str | None] = field(33, Semantic.TEXT, _("Next step"), BUSINESS)
    description: Mapped[str | None] = field(34, Semantic.LONG_TEXT, _("Description"), BUSINESS)
    closed_at: Mapped[datetime | None] = field(35, Semantic.DATETIME, _("Closed"), BUSINESS, managed=True)
    stage_since: Mapped[datetime | None] = field(
        36, Semantic.DATETIME, _("In this stage since"), BUSINESS, managed=True
    )
    external_id: Mapped[str | None] = field(
        37, Semantic.TEXT, _("External id"), BUSINESS, search=Search.EXACT, max_length=100
    )
    team_id: Mapped[UUID | None] = field(
        38,
        Semantic.REFERENCE,
        _("Team"),
        BUSINESS,
        target="team",
        references="identity.team.id",
        ondelete="SET NULL",
    )
    territory_id: Mapped[UUID | None] = field(
        39,
        Semantic.REFERENCE,
        _("Territory"),
        BUSINESS,
        target="territory",
        references="identity.territory.id",
        ondelete="SET NULL",
    )

    __table_args__ = (
        Index("ix_opportunity_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_opportunity_live_name", "name", "id", postgresql_where=text("deleted_at is null")),
        Index(
            "ix_opportunity_owner",
            "owner_id",
            "created_at",
            "id",
            postgresql_where=text("deleted_at is null"),
        ),
        Index("ix_opportunity_account", "account_id", postgresql_where=text("deleted_at is null")),
        Index("ix_opportunity_contact", "contact_id", postgresql_where=text("deleted_at is null")),
        Index("ix_opportunity_stage", "stage_id", "close_date", postgresql_where=text("deleted_at is null")),
        Index("ix_opportunity_close", "close_date", "id", postgresql_where=text("deleted_at is null")),
        Index(
            "uq_opportunity_external_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id is not null and deleted_at is null"),
        ),
        Index("ix_opportunity_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )


class StageChange(Base):
    """One step in the life of an opportunity. Append-only; reports on speed and conversion read it."""

    __tablename__ = "stage_change"
    __entity__ = EntityPolicy(
        7,
        "stage_change",
        "stage-changes",
        _("Stage change"),
        _("Stage changes"),
        EntityKind.PART,
        title="id",
        parent="opportunity_id",
    )
    __table_args__ = (Index("ix_stage_change_opportunity", "opportunity_id", "changed_at"), {"schema": "crm"})

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), SYSTEM, primary_key=True, default=new_id)
    opportunity_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("Opportunity"),
        BUSINESS,
        required=True,
        target="opportunity",
        references="crm.opportunity.id",
        ondelete="CASCADE",
    )
    from_stage_id: Mapped[UUID | None] = field(
        3,
        Semantic.REFERENCE,
        _("From stage"),
        BUSINESS,
        target="stage",
        references="crm.stage.id",
        ondelete="SET NULL",
    )
    to_stage_id: Mapped[UUID | None] = field(
        4,
        Semantic.REFERENCE,
        _("To stage"),
        BUSINESS,
        target="stage",
        references="crm.stage.id",
        ondelete="SET NULL",
    )
    amount: Mapped[int | None] = field(5, Semantic.MONEY, _("Amount"), FIGURES, currency_field="currency")
    currency: Mapped[str | None] = field(6, Semantic.CURRENCY, _("Currency"), BUSINESS)
    changed_at: Mapped[datetime] = field(
        7, Semantic.DATETIME, _("Time"), BUSINESS, required=True, server_default=text("now()")
    )
    changed_by: Mapped[UUID | None] = field(8, Semantic.REFERENCE, _("Changed by"), SYSTEM, target="user")


class OpportunityLine(Audited, Base):
    """A product in an opportunity. Quantities are in thousandths, prices in minor units of the currency."""

    __tablename__ = "opportunity_line"
    __entity__ = EntityPolicy(
        11,
        "opportunity_line",
        "opportunity-lines",
        _("Product line"),
        _("Product lines"),
        EntityKind.PART,
        title="description",
        parent="opportunity_id",
    )
    __table_args__ = (
        Index("ix_opportunity_line_opportunity", "opportunity_id", "position"),
        Index("ix_opportunity_line_product", "product_id"),
        {"schema": "crm"},
    )

    opportunity_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Opportunity"),
        BUSINESS,
        required=True,
        target="opportunity",
        references="crm.opportunity.id",
        ondelete="CASCADE",
    )
    product_id: Mapped[UUID | None] = field(
        21,
        Semantic.REFERENCE,
        _("Product"),
        BUSINESS,
        target="product",
        references="crm.product.id",
        ondelete="SET NULL",
    )
    description: Mapped[str | None] = field(22, Semantic.TEXT, _("Description"), BUSINESS, max_length=500)
    quantity_milli: Mapped[int] = field(
        23,
        Semantic.INTEGER,
        _("Quantity (thousandths)"),
        BUSINESS,
        required=True,
        sql=BigInteger(),
        minimum=0,
        maximum=10**12,
        default=1000,
        server_default=text("1000"),
    )
    unit_price: Mapped[int] = field(
        24,
        Semantic.MONEY,
        _("Unit price"),
        FIGURES,
        required=True,
        currency_field="currency",
        default=0,
        server_default=text("0"),
    )
    discount_percent: Mapped[int] = field(
        25, Semantic.PERCENT, _("Discount (%)"), BUSINESS, required=True, default=0, server_default=text("0")
    )
    total: Mapped[int] = field(
        26,
        Semantic.MONEY,
        _("Total"),
        FIGURES,
        required=True,
        managed=True,
        currency_field="currency",
        default=0,
        server_default=text("0"),
    )
    currency: Mapped[str] = field(27, Semantic.CURRENCY, _("Currency"), BUSINESS, required=True, managed=True)
    position: Mapped[int] = field(
        28,
        Semantic.SMALL_INTEGER,
        _("Position"),
        BUSINESS,
        required=True,
        default=0,
        server_default=text("0"),
        minimum=0,
        maximum=999,
    )
