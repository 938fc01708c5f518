"""Error pages: what happened and what to do, in the reader's language, never a traceback.

The API answers below its own prefix with problem+json; it registers its own views for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from pyramid.csrf import BadCSRFOrigin, BadCSRFToken
from pyramid.exceptions import PredicateMismatch
from pyramid.httpexceptions import HTTPException, HTTPForbidden, HTTPNotFound, HTTPSeeOther
from pyramid.renderers import render_to_response
from pyramid.response import Response

from compliance.datamap.text import _
from crm_server.kernel import denials
from crm_server.kernel.errors import AppError, LostUpdate, NotAllowed, NotAuthenticated, TooManyRequests
from crm_server.kernel.views import allowed_methods

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request

    from compliance.datamap.text import Text

log = structlog.get_logger("kontor.web")

WAITS_FOR = {"second_factor_required": "/profile/security", "password_expired": "/profile/security/password"}
"""Where somebody is led who has to do something first, by the reason of the refusal."""

_TITLES: dict[int, tuple[Text, Text]] = {
    400: (
        _("This request can't be understood"),
        _("The address may be old or cut off. Go back and try again."),
    ),
    403: (
        _("You may not do this"),
        _("Your role does not include it. Ask your administrator if you need it."),
    ),
    404: (
        _("There is nothing here"),
        _("The record may have been removed, or you may not see it. Look for it by search, or in the bin."),
    ),
    405: (_("This can't be done here"), _("Go back and use the buttons of the page.")),
    409: (_("This does not fit the present state"), _("Look at the record as it is now, then try again.")),
    412: (
        _("Somebody else was quicker"),
        _("The record was changed since you opened it. Open it again, then repeat your change."),
    ),
    413: (_("This is too large"), _("Choose a smaller file, or ask your administrator to raise the limit.")),
    422: (_("Some values can't be accepted"), _("Go back and correct them. Nothing was saved.")),
    428: (_("The version is missing"), _("Open the record again, then repeat your change.")),
    429: (_("Too many attempts"), _("Please wait a little, then try again.")),
    500: (
        _("Something went wrong on our side"),
        _(
            "Nothing was changed. Try again; if it happens again, give the number below to your administrator."
        ),
    ),
    503: (
        _("Kontor can't be reached for a moment"),
        _("Please try again shortly. What you typed is still there when you go back."),
    ),
}
_ICONS = {403: "lock", 404: "search", 429: "clock", 503: "refresh"}


def page(
    request: Request, status: int, detail: Any = None, reason: str | None = None, **extra: Any
) -> Response:
    """The page for a status. `detail` is a sentence for the person, `reason` a code for their administrator."""
    title, advice = _TITLES.get(status, _TITLES[500 if status >= 500 else 400])
    response: Response
    try:
        response = render_to_response(
            "pages/error.jinja2",
            {
                "status": status,
                "title": title,
                "detail": detail,
                "advice": advice,
                "reason": reason,
                "icon": _ICONS.get(status, "alert-triangle"),
                "number": str(request.request_id),
                **extra,
            },
            request=request,
        )
    except Exception:  # the page of last resort must not fail
        log.exception("error page", request=str(request.request_id))
        response = Response(f"{status}\n", content_type="text/plain", charset="utf-8")
    response.status_int = status
    return response


def app_error(error: AppError, request: Request) -> Response:
    """An error that the person can act on."""
    if isinstance(error, NotAuthenticated):
        return login(request)
    reason = error.reason if isinstance(error, NotAllowed) else None
    if reason is not None:
        denials.tell(request, reason)
    detail = error.detail or (None if isinstance(error, LostUpdate | NotAllowed) else error.title)
    response = page(request, error.status, detail, reason)
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def forbidden(error: HTTPForbidden, request: Request) -> Response:
    """Nobody is logged in: to the log-in page and back. Else why not."""
    if request.ui.actor is None:
        return login(request)
    waits = WAITS_FOR.get(request.ui.actor.reduced or "")
    if waits is not None:
        return HTTPSeeOther(waits)
    reason = str(getattr(getattr(error, "result", None), "msg", "") or "permission")
    denials.tell(request, reason)
    return page(request, 403, reason=reason)


def login(request: Request) -> Response:
    """Send to the log-in page; after logging in the person is back where they wanted to go."""
    wanted = request.path_qs if request.method == "GET" and request.path != "/" else ""
    return HTTPSeeOther(f"/login?next={quote(wanted)}" if wanted else "/login")


def bad_token(_error: Exception, request: Request) -> Response:
    """A form without a valid token: usually a page that was open for too long."""
    detail = _(
        "This page was open for too long, or cookies are switched off. Go back, reload the page and try again."
    )
    return page(request, 400, detail)


def http_error(error: HTTPException, request: Request) -> Response:
    """An error of the framework."""
    status = error.status_int
    return error if status < 400 else page(request, status)


def not_found(error: HTTPNotFound, request: Request) -> Response:
    """No such address, or one that does not take this method."""
    route = getattr(request, "matched_route", None)
    allowed = allowed_methods(request.registry).get(route.name, ()) if route is not None else ()
    if not isinstance(error, PredicateMismatch) or request.method in allowed or not allowed:
        return page(request, 404)
    response = page(request, 405)
    response.allow = allowed
    return response


def unexpected(error: Exception, request: Request) -> Response:
    """A mistake of ours: the log has the traceback, the page the number under which it stands there."""
    log.error("unexpected", request=str(request.request_id), exc_info=error)
    return page(request, 500)


def includeme(config: Configurator) -> None:
    """Add the views of errors, from the most special to the most general."""
    config.add_exception_view(app_error, context=AppError)
    config.add_exception_view(bad_token, context=BadCSRFToken)
    config.add_exception_view(bad_token, context=BadCSRFOrigin)
    config.add_exception_view(http_error, context=HTTPException)
    config.add_forbidden_view(forbidden)
    config.add_notfound_view(not_found)
    config.add_exception_view(unexpected, context=Exception)
