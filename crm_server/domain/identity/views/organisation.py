"""Teams and the tree of territories: groups of people, on pages of one kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import queries
from crm_server.domain.identity.views.common import TEMPLATES, services_of, uuid_of, uuids
from crm_server.kernel.errors import Conflict, NotFound, ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap.text import Text

_MANAGED = {"permission": Permission.USERS_MANAGE}
_MEMBERS = f"{TEMPLATES}/members.jinja2"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of group: the names of its routes, and what its pages ask."""

    many: str
    one: str
    title: Text
    listed: Callable[[Any], Any]
    get: Callable[[Any, UUID], Any]
    members: Callable[[Any, UUID], queries.Members]
    tree: bool


_TEAMS = _Kind("teams", "team", _("Teams"), queries.teams, queries.team, queries.team_members, tree=False)
_TERRITORIES = _Kind(
    "territories",
    "territory",
    _("Territories"),
    queries.territory_tree,
    queries.territory,
    queries.territory_members,
    tree=True,
)
_KINDS = {name: kind for kind in (_TEAMS, _TERRITORIES) for name in (kind.many, kind.one)}


def _kind(request: Request) -> _Kind:
    return _KINDS[request.matched_route.name]


@view_config(route_name="teams", request_method="GET", renderer=f"{TEMPLATES}/teams.jinja2", **_MANAGED)
@view_config(
    route_name="territories", request_method="GET", renderer=f"{TEMPLATES}/territories.jinja2", **_MANAGED
)
def groups_page(request: Request, errors: dict[str, Any] | None = None) -> dict[str, Any]:
    """All groups, and a form for a new one."""
    kind = _kind(request)
    found = {"rows": kind.listed(request.db), "errors": errors or {}, "given": {}}
    if errors:
        # What was refused stays, to be corrected.
        found["given"] = {name: str(value)[:500] for name, value in request.POST.items()}
    return found | ({"nodes": queries.territories(request.db)} if kind.tree else {})


@view_config(route_name="teams", request_method="POST", renderer=f"{TEMPLATES}/teams.jinja2", **_MANAGED)
@view_config(
    route_name="territories", request_method="POST", renderer=f"{TEMPLATES}/territories.jinja2", **_MANAGED
)
def create_group(request: Request) -> dict[str, Any] | Response:
    """Create a group."""
    kind, users, name = _kind(request), services_of(request).users, str(request.POST.get("name", ""))
    try:
        if kind.tree:
            made: Any = users.create_territory(request.db, name, _parent(request))
        else:
            made = users.create_team(request.db, name, str(request.POST.get("description", "")))
    except ValidationFailed as failed:
        request.response.status_int = 422
        return groups_page(request, {one.pointer.strip("/"): one.message for one in failed.errors})
    flash.add(request, "created")
    return HTTPSeeOther(request.route_path(kind.one, id=made.id))


@view_config(route_name="team", request_method="GET", renderer=_MEMBERS, **_MANAGED)
@view_config(route_name="territory", request_method="GET", renderer=_MEMBERS, **_MANAGED)
def group_page(request: Request, error: Any = None) -> dict[str, Any]:
    """One group, where it lies, and who is in it."""
    kind = _kind(request)
    group = kind.get(request.db, uuid_of(request))
    page = {
        "title": group.name,
        "back": (kind.many, kind.title),
        "address": request.path,
        "members": kind.members(request.db, group.id),
        "error": error,
        # What was refused stays, to be corrected.
        "login": str(request.POST.get("login", ""))[:100] if error else "",
    }
    if kind.tree:
        nodes = [node for node in queries.territories(request.db) if node.id != group.id]
        page |= {"nodes": nodes, "parent": group.parent_id}
    return page


@view_config(route_name="team", request_method="POST", renderer=_MEMBERS, **_MANAGED)
@view_config(route_name="territory", request_method="POST", renderer=_MEMBERS, **_MANAGED)
def set_group(request: Request) -> dict[str, Any] | Response:
    """Let somebody join or leave a group, by log-in name; or hang a territory below another."""
    kind, users, db = _kind(request), services_of(request).users, request.db
    group = kind.get(db, uuid_of(request))
    try:
        if "parent" in request.POST:
            users.move_territory(db, group.id, _parent(request))
        else:
            one = {users.find(db, str(request.POST.get("login", ""))).id}
            change = users.change_territory if kind.tree else users.change_team
            change(db, group.id, **{"leaving" if request.POST.get("remove") else "joining": one})
    except (Conflict, NotFound) as refused:
        db.rollback()
        request.response.status_int = refused.status
        unknown = _("Nobody has this log-in name.")
        return group_page(
            request, unknown if isinstance(refused, NotFound) else refused.detail or refused.title
        )
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path(kind.one, id=group.id))


def _parent(request: Request) -> UUID | None:
    return next(iter(uuids([str(request.POST.get("parent", ""))])), None)
