"""Users: list, invite, disable, reset. Roles are given on the pages of roles, by somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.renderers import render_to_response
from pyramid.view import view_config

from crm_server.domain.identity import labels, queries
from crm_server.domain.identity.views.common import TEMPLATES, services_of, uuid_of, uuids
from crm_server.kernel.clock import now
from crm_server.kernel.errors import ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response


@view_config(
    route_name="users",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/users.jinja2",
)
def users_page(request: Request) -> dict[str, Any]:
    """All users, or those whose name contains what was searched for."""
    text = str(request.GET.get("q", ""))[:100]
    rows = queries.users(request.db, text=text)
    return {"rows": rows, "q": text, "cut": len(rows) == queries.MOST_USERS}


@view_config(
    route_name="user_new",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/user_new.jinja2",
)
def new_user_page(_request: Request) -> dict[str, Any]:
    """The form for a new user."""
    return {"errors": {}, "values": {"locale": "en"}}


@view_config(
    route_name="user_new",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/user_new.jinja2",
    step_up=True,
)
def new_user(request: Request) -> dict[str, Any] | Response:
    """Create a user and show the invitation link once."""
    values = {name: str(request.POST.get(name, "")) for name in ("login", "name", "email", "locale")}
    locale = values["locale"] if values["locale"] in ("en", "zh_Hans") else "en"
    found = services_of(request)
    try:
        made = found.users.create(
            request.db, values["login"], values["name"], values["email"] or None, locale
        )
    except ValidationFailed as failed:
        request.response.status_int = 422
        return {"errors": {one.pointer.lstrip("/"): one.message for one in failed.errors}, "values": values}
    return _show_link(request, made, found.links.make(request.db, made))


@view_config(
    route_name="user",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/user.jinja2",
)
def user_page(request: Request) -> dict[str, Any]:
    """One user: state, roles, factors, sessions, API tokens."""
    user = queries.user(request.db, uuid_of(request))
    return {
        "user": user,
        "roles": queries.role_names(request.db, user.id),
        "factors": services_of(request).factors.state(request.db, user.id),
        "sessions": queries.live_sessions(request.db, user.id),
        "tokens": services_of(request).sessions.tokens(request.db, user.id, now()),
        "ways": labels.ways,
        "own": user.id == request.actor.id,
    }


@view_config(route_name="user_state", request_method="POST", permission=Permission.USERS_MANAGE, step_up=True)
def set_state(request: Request) -> Response:
    """Enable or disable the user."""
    enabled = request.POST.get("enabled") == "true"
    services_of(request).users.set_state(request.db, uuid_of(request), enabled=enabled)
    return _back(request, "user_enabled" if enabled else "user_disabled")


@view_config(route_name="user_link", request_method="POST", permission=Permission.USERS_MANAGE, step_up=True)
def make_link(request: Request) -> Response:
    """Make a new one-time link and show it once."""
    user = queries.user(request.db, uuid_of(request))
    return _show_link(request, user, services_of(request).links.make(request.db, user))


@view_config(
    route_name="user_factors", request_method="POST", permission=Permission.USERS_MANAGE, step_up=True
)
def remove_factors(request: Request) -> Response:
    """Remove all second factors of a user who lost them, and end their sessions."""
    user, found = queries.user(request.db, uuid_of(request)), services_of(request)
    found.factors.remove_all(request.db, user.id, "by_administrator")
    found.sessions.end_all(request.db, user.id, "factors_removed")
    return _back(request, "factor_removed")


@view_config(route_name="user_sessions", request_method="POST", permission=Permission.USERS_MANAGE)
def end_sessions(request: Request) -> Response:
    """End one session of a user, or all of them."""
    sessions, user = services_of(request).sessions, queries.user(request.db, uuid_of(request))
    chosen = uuids([str(request.POST.get("session", ""))])
    for key in chosen:
        sessions.end(request.db, key, user.id, "by_administrator")
    if not chosen:
        sessions.end_all(request.db, user.id, "by_administrator")
    return _back(request, "session_ended")


@view_config(route_name="user_token_revoke", request_method="POST", permission=Permission.USERS_MANAGE)
def revoke_token(request: Request) -> Response:
    """Revoke an API token of a user; making one is left to its owner (AUTH-18)."""
    user = queries.user(request.db, uuid_of(request))
    services_of(request).sessions.revoke_token(request.db, uuid_of(request, "token"), user.id)
    return _back(request, "token_revoked")


def _show_link(request: Request, user: Any, token: str) -> Response:
    values = {"user": user, "link": request.route_url("welcome", token=token)}
    response: Response = render_to_response(f"{TEMPLATES}/link.jinja2", values, request=request)
    return response


def _back(request: Request, said: str) -> Response:
    flash.add(request, said)
    return HTTPSeeOther(request.route_path("user", id=request.matchdict["id"]))
