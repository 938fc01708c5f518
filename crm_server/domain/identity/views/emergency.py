"""Emergency access: take a role, give it back, and review what others took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from crm_server.domain.identity import emergency_queries as queries
from crm_server.domain.identity import labels
from crm_server.domain.identity.views.common import TEMPLATES, services_of, set_session, uuid_of, uuids
from crm_server.domain.identity.views.roles import said_by
from crm_server.kernel.errors import AppError, NotAllowed, NotFound
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response

_PAGE = f"{TEMPLATES}/emergency.jinja2"


@view_config(route_name="emergency", request_method="GET", permission=Permission.LOGGED_IN, renderer=_PAGE)
def page(request: Request, refused: AppError | None = None) -> dict[str, Any]:
    """For those who may take a role, and for those who review."""
    actor, service = request.actor, services_of(request).emergency
    uses = actor.may(Permission.EMERGENCY_USE)
    if not uses and not actor.may(Permission.EMERGENCY_REVIEW):
        raise NotAllowed(str(Permission.EMERGENCY_USE))
    return {
        "choices": service.choices(request.db) if uses else [],
        "running": service.running(request.db, actor.id),
        "uses": uses,
        "rows": queries.listed(request.db),
        "error": None if refused is None else said_by(refused),
        "say": labels,
    }


@view_config(
    route_name="emergency",
    request_method="POST",
    permission=Permission.EMERGENCY_USE,
    renderer=_PAGE,
    step_up=True,
)
def begin(request: Request) -> dict[str, Any] | Response:
    """Take a role. The session's token changes with the privilege (AUTH-16)."""
    found, minutes = services_of(request), str(request.POST.get("minutes", ""))
    try:
        roles = uuids([str(request.POST.get("role", ""))])
        if not roles:
            raise NotFound
        found.emergency.begin(
            request.db,
            next(iter(roles)),
            str(request.POST.get("reason", "")),
            int(minutes) if minutes.isdecimal() and len(minutes) < 5 else 0,
        )
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        return page(request, refused)
    return _renewed(request, "emergency_begun", "emergency")


@view_config(route_name="emergency_end", request_method="POST", permission=Permission.LOGGED_IN)
def end(request: Request) -> Response:
    """Give the role back."""
    services_of(request).emergency.end(request.db, request.actor.id)
    return _renewed(request, "emergency_ended", "home")


@view_config(
    route_name="emergency_review",
    request_method="POST",
    permission=Permission.EMERGENCY_REVIEW,
    renderer=_PAGE,
    step_up=True,
)
def review(request: Request) -> dict[str, Any] | Response:
    """Say what was found, or end what runs."""
    service, key = services_of(request).emergency, uuid_of(request)
    try:
        if request.POST.get("stop"):
            service.stop(request.db, key)
        else:
            service.review(request.db, key, str(request.POST.get("review", "")))
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        return page(request, refused)
    flash.add(request, "emergency_ended" if request.POST.get("stop") else "emergency_reviewed")
    return HTTPSeeOther(request.route_path("emergency"))


def _renewed(request: Request, said: str, route: str) -> Response:
    actor = request.actor
    flash.add(request, said)
    response = HTTPSeeOther("/" if route == "home" else request.route_path(route))
    if actor.session_ref is not None:
        token = services_of(request).sessions.renew(request.db, actor.session_ref, actor.id)
        set_session(response, token)
    return response
