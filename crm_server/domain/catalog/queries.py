"""Which price a product has on a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from crm_server.domain.catalog.models import Price, PriceList, Product

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class ValidPrice:
    """A price; `unit_price` in minor units of `currency`."""

    price_list_id: UUID
    price_list: str
    unit_price: int
    currency: str


def price_at(
    session: Session, product_id: UUID, currency: str, on: date, *, price_list_id: UUID | None = None
) -> ValidPrice | None:
    """The price of a product on a day, or None.

    Of several lists that are valid then, the one that became valid last counts: a list for a season goes before
    the one that always holds.
    """
    query = (
        select(PriceList.id, PriceList.name, Price.unit_price, Price.currency)
        .join(PriceList, PriceList.id == Price.price_list_id)
        .join(Product, Product.id == Price.product_id)
        .where(
            Price.product_id == product_id,
            Price.currency == currency,
            PriceList.active,
            PriceList.deleted_at.is_(None),
            Product.deleted_at.is_(None),
            or_(PriceList.valid_from.is_(None), PriceList.valid_from <= on),
            or_(PriceList.valid_to.is_(None), PriceList.valid_to >= on),
        )
        .order_by(PriceList.valid_from.desc().nulls_last(), PriceList.id.desc())
        .limit(1)
    )
    if price_list_id is not None:
        query = query.where(PriceList.id == price_list_id)
    row = session.execute(query).first()
    return ValidPrice(*row) if row is not None else None
