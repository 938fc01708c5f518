"""API: making two tags one. Tags on records are in `crm_server.api.actions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer
from crm_server.api.context import key_of
from crm_server.domain.actions import add_action, body_of, one_of
from crm_server.domain.tags.services import TagService
from crm_server.permissions import Action
from crm_server.services import service

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def merge(request: Request) -> Response:
    """POST gives the records of this tag the tag `into`; this one goes into the bin."""
    given = body_of(request, into="id!")
    return answer({"records": service(request.db, TagService).merge(key_of(request), given["into"])})


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_tag_merge", f"{one_of('tags')}/merge", {"POST": (merge, Action.DELETE)})
