"""The rules of price lists and prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from compliance.datamap.text import _
from crm_server.domain.base import DomainService
from crm_server.domain.catalog.models import Price, PriceList

if TYPE_CHECKING:
    from crm_server.kernel.errors import Errors


class PriceListService(DomainService):
    """Price lists: prices in one currency, valid for a time."""

    entity_name = "price_list"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Refuse a time that ends before it begins, and another currency under prices that are there."""
        start, end = self.later(values, record, "valid_from"), self.later(values, record, "valid_to")
        if start is not None and end is not None and end < start:
            errors.add("/valid_to", "order", _("The end lies before the beginning."))
        changes = record is not None and values.get("currency", record.currency) != record.currency
        if changes and record is not None:
            priced = select(Price.id).where(Price.price_list_id == record.id).limit(1)
            if self.session.scalar(priced) is not None:
                errors.add("/currency", "in_use", _("There are prices in this currency. Make a new list."))


class PriceService(DomainService):
    """The price of a product in a list; its currency is that of the list."""

    entity_name = "price"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Take the currency from the list."""
        price_list = self.session.get(PriceList, self.later(values, record, "price_list_id"))
        if price_list is not None:
            values["currency"] = price_list.currency
