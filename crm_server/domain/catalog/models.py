"""Products, price lists and prices."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Search, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, FIGURES
from crm_server.kernel.model import Audited, Record


class Product(Record, Base):
    """Something that is sold."""

    __tablename__ = "product"
    __entity__ = EntityPolicy(
        8,
        "product",
        "products",
        _("Product"),
        _("Products"),
        list_fields=("name", "sku", "category", "unit", "active"),
        icon="package",
    )
    __table_args__ = (
        Index("ix_product_live_created", "created_at", "id", postgresql_where=text("deleted_at is null")),
        Index("ix_product_live_name", "name", "id", postgresql_where=text("deleted_at is null")),
        Index(
            "uq_product_sku",
            "sku",
            unique=True,
            postgresql_where=text("deleted_at is null and sku is not null"),
        ),
        Index("ix_product_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT)
    sku: Mapped[str | None] = field(
        21, Semantic.TEXT, _("Article number"), BUSINESS, search=Search.EXACT, max_length=60
    )
    category: Mapped[str | None] = field(22, Semantic.TEXT, _("Category"), BUSINESS, max_length=100)
    unit: Mapped[str | None] = field(23, Semantic.TEXT, _("Unit"), BUSINESS, max_length=30)
    active: Mapped[bool] = field(
        24, Semantic.BOOLEAN, _("Active"), BUSINESS, required=True, default=True, server_default=text("true")
    )
    description: Mapped[str | None] = field(25, Semantic.LONG_TEXT, _("Description"), BUSINESS)
    external_id: Mapped[str | None] = field(
        26, Semantic.TEXT, _("External id"), BUSINESS, search=Search.EXACT, max_length=100
    )


class PriceList(Record, Base):
    """Prices in one currency, valid for a time."""

    __tablename__ = "price_list"
    __entity__ = EntityPolicy(
        9,
        "price_list",
        "price-lists",
        _("Price list"),
        _("Price lists"),
        list_fields=("name", "currency", "valid_from", "valid_to", "active"),
        icon="list-details",
    )
    __table_args__ = (
        Index("ix_price_list_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT)
    currency: Mapped[str] = field(21, Semantic.CURRENCY, _("Currency"), BUSINESS, required=True)
    valid_from: Mapped[date | None] = field(22, Semantic.DATE, _("Valid from"), BUSINESS)
    valid_to: Mapped[date | None] = field(23, Semantic.DATE, _("Valid to"), BUSINESS)
    active: Mapped[bool] = field(
        24, Semantic.BOOLEAN, _("Active"), BUSINESS, required=True, default=True, server_default=text("true")
    )


class Price(Audited, Base):
    """The price of a product in a price list."""

    __tablename__ = "price"
    __entity__ = EntityPolicy(
        10, "price", "prices", _("Price"), _("Prices"), EntityKind.PART, title="id", parent="price_list_id"
    )
    __table_args__ = (
        Index("uq_price_list_product", "price_list_id", "product_id", unique=True),
        Index("ix_price_product", "product_id"),
        {"schema": "crm"},
    )

    price_list_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Price list"),
        BUSINESS,
        required=True,
        target="price_list",
        references="crm.price_list.id",
        ondelete="CASCADE",
    )
    product_id: Mapped[UUID] = field(
        21,
        Semantic.REFERENCE,
        _("Product"),
        BUSINESS,
        required=True,
        target="product",
        references="crm.product.id",
        ondelete="CASCADE",
    )
    unit_price: Mapped[int] = field(
        22, Semantic.MONEY, _("Unit price"), FIGURES, required=True, currency_field="currency", minimum=0
    )
    currency: Mapped[str] = field(23, Semantic.CURRENCY, _("Currency"), BUSINESS, required=True, managed=True)
