"""API: the bin over all kinds of records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.domain.actions import add_action, page_of
from crm_server.domain.bin.queries import in_bin
from crm_server.kernel.errors import BadQuery
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def read_bin(request: Request) -> Response:
    """GET what lies in the bin, what was deleted last first; `entity` keeps to one kind of record."""
    given, limit, after = page_of(request, "entity", default=50, largest=200)
    entity = given.get("entity")
    known = request.registry.datamap.entities
    if entity is not None and (entity not in known or not known[entity].exposed):
        raise BadQuery("entity", _("There is no such kind of record."))
    page = in_bin(request.db, request.registry.datamap, entity=entity, limit=limit, after=after)
    return answer({"data": page.items, "next_cursor": page.next})


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_bin", "bin/records", {"GET": (read_bin, Permission.LOGGED_IN)})
