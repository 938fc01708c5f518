"""API: the timeline of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer
from crm_server.api.context import key_of
from crm_server.domain.actions import RECORD, add_action, page_of
from crm_server.domain.activities.queries import LARGEST_PAGE, timeline
from crm_server.permissions import Action, EntityContext

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def read_timeline(context: EntityContext, request: Request) -> Response:
    """GET what happened around a record, newest first."""
    _given, limit, after = page_of(request, default=50, largest=LARGEST_PAGE)
    page = timeline(
        request.db, request.registry.datamap, context.entity.name, key_of(request), limit=limit, after=after
    )
    return answer({"data": page.items, "next_cursor": page.next})


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_timeline", f"{RECORD}/timeline", {"GET": (read_timeline, Action.READ)})
