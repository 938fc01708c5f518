"""Keeping and deleting saved views of lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config
from webob.multidict import MultiDict

from crm_server.permissions import Action
from crm_server.services import records
from crm_server.web import flash, saved
from crm_server.web.routes import record_id
from crm_server.web.views.lists import State

if TYPE_CHECKING:
    from pyramid.request import Request


@view_config(route_name="view_save", permission=Action.READ, request_method="POST")
def save(request: Request) -> HTTPSeeOther:
    """Keep the list as it is shown under a name."""
    entity = request.context.entity
    address = urlsplit(request.POST.get("address", ""))
    shown = SimpleNamespace(GET=MultiDict(parse_qsl(address.query)))
    definition = saved.definition_of(request, entity, State(shown, entity))
    view = records(request.db, "saved_view").create(
        {
            "name": request.POST.get("name", ""),
            "entity": entity.name,
            "definition": definition,
            "shared": request.POST.get("shared") == "true",
        }
    )
    flash.add(request, "view_saved")
    query = f"{address.query}&" if address.query else ""
    kept = "&".join(part for part in query.split("&") if part and not part.startswith("view="))
    return HTTPSeeOther(f"/{entity.policy.collection}?{kept}{'&' if kept else ''}view={view.id}")


@view_config(route_name="view_delete", permission=Action.READ, request_method="POST")
def delete(request: Request) -> HTTPSeeOther:
    """Delete a view."""
    records(request.db, "saved_view").delete(record_id(request))
    flash.add(request, "view_deleted")
    return HTTPSeeOther(f"/{request.context.entity.policy.collection}")
