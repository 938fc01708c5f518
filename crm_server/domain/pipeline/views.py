"""API: the board of a pipeline. Moving opportunities on it is in `crm_server.api.actions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer
from crm_server.api.context import key_of, named
from crm_server.domain.actions import add_action, key_in, one_of, page_of
from crm_server.domain.pipeline import queries
from crm_server.permissions import Action, record_permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

_CARDS = 20


def board(request: Request) -> Response:
    """GET the stages of a pipeline with counts, sums by currency and the first cards."""
    given = named(request, {"owner_id"})
    found = queries.board(
        request.db,
        request.registry.datamap,
        key_of(request),
        owner_id=key_in(given, "owner_id"),
        cards=_CARDS,
    )
    return answer(found)


def cards(request: Request) -> Response:
    """GET further cards of a stage."""
    given, limit, after = page_of(request, "owner_id", default=_CARDS, largest=100)
    found, following = queries.more_cards(
        request.db,
        request.registry.datamap,
        key_of(request),
        owner_id=key_in(given, "owner_id"),
        cards=limit,
        after=after,
    )
    return answer({"data": found, "next_cursor": following})


def includeme_api(config: Configurator) -> None:
    """Add the addresses."""
    seeing = record_permission("opportunity", Action.READ)
    add_action(config, "api_board", f"{one_of('pipelines')}/board", {"GET": (board, seeing)})
    add_action(config, "api_cards", f"{one_of('stages')}/cards", {"GET": (cards, seeing)})
