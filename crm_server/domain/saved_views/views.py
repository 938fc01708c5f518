"""API: the saved views of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer, empty, expected_version
from crm_server.api.body import json_object
from crm_server.api.context import key_of, named
from crm_server.api.idempotency import Done, once
from crm_server.api.records import represent
from crm_server.domain.actions import COLLECTION, add_action, key_pattern
from crm_server.domain.saved_views.services import SavedViewService
from crm_server.kernel.errors import NotFound
from crm_server.kernel.presenter import present_record
from crm_server.permissions import Action, EntityContext
from crm_server.services import service

if TYPE_CHECKING:
    from typing import Any

    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def list_views(context: EntityContext, request: Request) -> Response:
    """GET one's own views of a list and the shared ones."""
    named(request, ())
    own = service(request.db, SavedViewService)
    found = own.visible(context.entity.name)
    return answer({"data": [present_record(own.entity, view, request.actor) for view in found]})


def create_view(context: EntityContext, request: Request) -> Response:
    """POST a new view."""
    own = service(request.db, SavedViewService)

    def act() -> Done:
        record = own.create(json_object(request) | {"entity": context.entity.name})
        return Done(201, f"{request.path}/{record.id}", record.id)

    def respond(done: Done) -> Response:
        assert done.record_id is not None  # noqa: S101 - what makes a record keeps its key
        location = [("Location", done.location or "")]
        return represent(request, own, own.get(done.record_id), done.status, location)

    return once(request, act, respond)


def update_view(context: EntityContext, request: Request) -> Response:
    """PATCH a view."""
    own = service(request.db, SavedViewService)
    key = _of_list(own, context, request).id
    return represent(request, own, own.update(key, json_object(request), version=expected_version(request)))


def delete_view(context: EntityContext, request: Request) -> Response:
    """DELETE a view."""
    own = service(request.db, SavedViewService)
    own.delete(_of_list(own, context, request).id, version=expected_version(request))
    return empty()


def _of_list(own: Any, context: EntityContext, request: Request) -> Any:
    view = own.get(key_of(request, "view_id"))
    if view.entity != context.entity.name:
        raise NotFound
    return view


def includeme_api(config: Configurator) -> None:
    """Add the addresses."""
    add_action(
        config,
        "api_views",
        f"{COLLECTION}/views",
        {"GET": (list_views, Action.READ), "POST": (create_view, Action.READ)},
    )
    add_action(
        config,
        "api_view",
        f"{COLLECTION}/views/{key_pattern('view_id')}",
        {"PATCH": (update_view, Action.READ), "DELETE": (delete_view, Action.READ)},
    )
