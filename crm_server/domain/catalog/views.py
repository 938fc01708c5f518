"""API: the price of a product on a day."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.context import key_of, named
from crm_server.domain.actions import add_action, key_in, one_of
from crm_server.domain.catalog.queries import price_at
from crm_server.kernel.clock import now
from crm_server.kernel.errors import BadQuery, NotAllowed, NotFound
from crm_server.kernel.values import currencies
from crm_server.permissions import Action
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def price(request: Request) -> Response:
    """GET the price that holds on a day (today without `on`) in a currency."""
    given = named(request, {"currency", "on", "price_list_id"})
    currency, price_list_id = given.get("currency", ""), key_in(given, "price_list_id")
    if currency not in currencies():
        raise BadQuery("currency", _("A currency code (ISO 4217), such as EUR, is expected here."))
    try:
        day = date.fromisoformat(given["on"]) if "on" in given else now().date()
    except ValueError:
        raise BadQuery("on", _("A date such as 2026-01-31 is expected here.")) from None
    if request.actor.field_level("financial") not in {"read", "write"}:
        raise NotAllowed("field:financial")
    key = records(request.db, "product").get(key_of(request)).id
    found = price_at(request.db, key, currency, day, price_list_id=price_list_id)
    if found is None:
        raise NotFound(_("This product has no price in that currency on that day."))
    return answer(found)


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_price", f"{one_of('products')}/price", {"GET": (price, Action.READ)})
