"""API: tags on records, and making two tags one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer, empty
from crm_server.api.context import key_of, named
from crm_server.domain.actions import RECORD, add_action, body_of, key_pattern, one_of
from crm_server.permissions import Action, EntityContext
from crm_server.services import records

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def _place(context: EntityContext, request: Request) -> tuple[str, UUID]:
    return context.entity.name, key_of(request)


def read_tags(context: EntityContext, request: Request) -> Response:
    """GET the tags of a record."""
    named(request, ())
    return answer({"data": records(request.db, "tag").of_record(_place(context, request))})


def add_tag(context: EntityContext, request: Request) -> Response:
    """POST puts a tag on a record, by `tag_id` or by `name`; a name that is new makes a tag."""
    given = body_of(request, tag_id="id", name="text")
    service = records(request.db, "tag")
    service.add(_place(context, request), **given)
    return answer({"data": service.of_record(_place(context, request))})


def remove_tag(context: EntityContext, request: Request) -> Response:
    """DELETE takes a tag off a record."""
    records(request.db, "tag").remove(_place(context, request), key_of(request, "tag_id"))
    return empty()


def merge(request: Request) -> Response:
    """POST gives the records of this tag the tag `into`; this one goes into the bin."""
    given = body_of(request, into="id!")
    return answer({"records": records(request.db, "tag").merge(key_of(request), given["into"])})


def includeme_api(config: Configurator) -> None:
    """Add the addresses."""
    add_action(
        config,
        "api_tags",
        f"{RECORD}/tags",
        {"GET": (read_tags, Action.READ), "POST": (add_tag, Action.UPDATE)},
    )
    add_action(
        config,
        "api_tag_off",
        f"{RECORD}/tags/{key_pattern('tag_id')}",
        {"DELETE": (remove_tag, Action.UPDATE)},
    )
    add_action(config, "api_tag_merge", f"{one_of('tags')}/merge", {"POST": (merge, Action.DELETE)})
