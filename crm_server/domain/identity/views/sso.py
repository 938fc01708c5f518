"""Single sign-on in the browser: off to the provider, back with its answer, and log-out that begins there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity.services.login import Step
from crm_server.domain.identity.views.common import (
    REQUEST_COOKIE,
    TEMPLATES,
    client_of,
    forget,
    safe_next,
    services_of,
    set_request,
    set_session,
    set_step,
    uuid_of,
)
from crm_server.domain.identity.views.login import signed_in
from crm_server.kernel.errors import NotAuthenticated, TooManyRequests
from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.request import Request

_PARAMETERS = ("code", "state", "iss", "error")


def callback_url(request: Request) -> str:
    """Our address for a provider's answer: one for each provider, so that answers can't be mixed up."""
    return str(request.route_url("sso_callback", id=request.matchdict["id"]))


@view_config(
    route_name="sso_start", request_method="GET", permission=PUBLIC, renderer=f"{TEMPLATES}/sso_failed.jinja2"
)
def start(request: Request) -> dict[str, Any] | Response:
    """Lead the browser to the provider: to log in, or with `step_up` to prove once more who one is."""
    from security.identity.oidc import Unavailable

    session_id = None
    if request.params.get("step_up") == "true":
        if request.identity is None or request.identity.session_ref is None:
            raise NotAuthenticated
        session_id = request.identity.session_ref
    try:
        begun = services_of(request).sso.begin(
            uuid_of(request),
            callback_url(request),
            safe_next(request),
            client_of(request),
            session_id=session_id,
        )
    except (Unavailable, ValueError):
        request.response.status_int = 503
        return {
            "error": _("The provider can't be reached at the moment. Log in another way, or try again."),
            "next": safe_next(request),
        }
    if begun is None:
        raise TooManyRequests("login/address", 60)
    response = HTTPSeeOther(begun.url)
    set_request(response, begun.token)
    return response


@view_config(
    route_name="sso_callback",
    request_method="GET",
    permission=PUBLIC,
    renderer=f"{TEMPLATES}/sso_failed.jinja2",
)
def callback(request: Request) -> dict[str, Any] | Response:
    """The provider's answer."""
    # A parameter that stands twice could be read differently by two readers.
    answer = {name: request.GET.getone(name) for name in _PARAMETERS if len(request.GET.getall(name)) == 1}
    done = services_of(request).sso.finish(
        uuid_of(request),
        request.cookies.get(REQUEST_COOKIE, ""),
        answer,
        callback_url(request),
        client_of(request),
    )
    result = done.result
    if result.step is Step.REFUSED or result.token is None:
        request.response.status_int = 422
        forget(request.response, REQUEST_COOKIE)
        return {
            "error": _("The log-in did not succeed. Try again; if it fails again, ask your administrator."),
            "next": done.wanted,
        }
    response: Response
    if result.step is Step.SECOND_STEP:
        response = HTTPSeeOther(request.route_path("login_code", _query={"next": done.wanted}))
        set_step(response, result.token)
    elif done.stepped_up:
        response = HTTPSeeOther(done.wanted)
        set_session(response, result.token)
    else:
        response = signed_in(request, result)
        response.location = request.host_url + done.wanted
    forget(response, REQUEST_COOKIE)
    return response


@view_config(route_name="sso_logout", request_method="POST", permission=PUBLIC, require_csrf=False)
def end_from_provider(request: Request) -> Response:
    """Back-Channel Logout 1.0 §2.5: the provider tells that somebody has logged out there.

    It comes from the provider's server and carries a signed token, so it needs no form token.
    """
    token = str(request.POST.get("logout_token", ""))
    believed = services_of(request).sso.end_from_provider(uuid_of(request), token, client_of(request))
    return Response(status=200 if believed else 400, content_type="text/plain", charset="utf-8")
