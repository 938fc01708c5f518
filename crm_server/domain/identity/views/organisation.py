"""Teams, and the tree of territories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import queries
from crm_server.domain.identity.views.common import TEMPLATES, services_of, uuid_of, uuids
from crm_server.kernel.errors import ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response


@view_config(
    route_name="teams",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/teams.jinja2",
)
def teams_page(request: Request, errors: list[Any] | None = None) -> dict[str, Any]:
    """All teams, and a form for a new one."""
    return {"rows": queries.teams(request.db), "errors": errors or []}


@view_config(
    route_name="teams",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/teams.jinja2",
)
def create_team(request: Request) -> dict[str, Any] | Response:
    """Create a team."""
    try:
        team = services_of(request).users.create_team(
            request.db, str(request.POST.get("name", "")), str(request.POST.get("description", ""))
        )
    except ValidationFailed as failed:
        request.response.status_int = 422
        return teams_page(request, [one.message for one in failed.errors])
    flash.add(request, "created")
    return HTTPSeeOther(request.route_path("team", id=team.id))


@view_config(
    route_name="team",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/members.jinja2",
)
def team_page(request: Request) -> dict[str, Any]:
    """One team and its members."""
    team = queries.team(request.db, uuid_of(request))
    return {
        "title": team.name,
        "back": ("teams", _("Teams")),
        "users": queries.users(request.db),
        "chosen": queries.team_members(request.db, team.id),
    }


@view_config(route_name="team", request_method="POST", permission=Permission.USERS_MANAGE)
def set_team(request: Request) -> Response:
    """Save the members of a team."""
    team = queries.team(request.db, uuid_of(request))
    services_of(request).users.set_team_members(request.db, team.id, _chosen(request))
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("team", id=team.id))


@view_config(
    route_name="territories",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/territories.jinja2",
)
def territories_page(request: Request, errors: list[Any] | None = None) -> dict[str, Any]:
    """The tree, and a form for a new territory."""
    return {"nodes": queries.territories(request.db), "errors": errors or []}


@view_config(
    route_name="territories",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/territories.jinja2",
)
def create_territory(request: Request) -> dict[str, Any] | Response:
    """Create a territory."""
    parents = uuids([str(request.POST.get("parent", ""))])
    try:
        made = services_of(request).users.create_territory(
            request.db, str(request.POST.get("name", "")), next(iter(parents), None)
        )
    except ValidationFailed as failed:
        request.response.status_int = 422
        return territories_page(request, [one.message for one in failed.errors])
    flash.add(request, "created")
    return HTTPSeeOther(request.route_path("territory", id=made.id))


@view_config(
    route_name="territory",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/members.jinja2",
)
def territory_page(request: Request) -> dict[str, Any]:
    """One territory, where it lies, and who has it."""
    territory = queries.territory(request.db, uuid_of(request))
    return {
        "title": territory.name,
        "back": ("territories", _("Territories")),
        "users": queries.users(request.db),
        "chosen": queries.territory_members(request.db, territory.id),
        "nodes": [node for node in queries.territories(request.db) if node.id != territory.id],
        "parent": territory.parent_id,
    }


@view_config(route_name="territory", request_method="POST", permission=Permission.USERS_MANAGE)
def set_territory(request: Request) -> Response:
    """Save the place and the members of a territory."""
    territory, users = queries.territory(request.db, uuid_of(request)), services_of(request).users
    parent = next(iter(uuids([str(request.POST.get("parent", ""))])), None)
    if parent != territory.parent_id:
        users.move_territory(request.db, territory.id, parent)
    users.set_territory_members(request.db, territory.id, _chosen(request))
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("territory", id=territory.id))


def _chosen(request: Request) -> set[UUID]:
    return uuids(str(value) for value in request.POST.getall("members"))
