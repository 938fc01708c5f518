"""Errors as problem+json (RFC 9457): stable `type` and `code`, pointers to each place, the request's id, translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from pyramid.csrf import BadCSRFOrigin, BadCSRFToken
from pyramid.exceptions import PredicateMismatch
from pyramid.httpexceptions import HTTPException

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.texts import language_tag, translate
from crm_server.kernel import denials
from crm_server.kernel.errors import (
    AppError,
    BadRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ValidationFailed,
)
from crm_server.kernel.views import allowed_methods

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

log = structlog.get_logger("kontor.api")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:kontor:problem:"
PATHS = r"^/api/"
READ_ONLY = ("GET", "HEAD")
"""The methods of parts that only the system adds to, such as the history of stages."""


class MethodNotAllowed(AppError):
    """The address exists, but does not take this method; `allow` lists those it takes."""

    status = 405
    code = "method_not_allowed"
    title = _("This address does not take this method.")

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__()
        self.allow = allow


class CrossSite(AppError):
    """A call with a browser's session and without the form token that proves that our own page made it."""

    status = 403
    code = "csrf"
    title = _("Send the form token (X-CSRF-Token) with calls that use a browser's session.")


def problem(error: AppError, request: Request) -> Response:
    """The answer to an error."""
    document = problem_document(error, request)
    headers = [("Content-Language", language_tag(request))]
    if error.status == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="Kontor"'))
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", ", ".join(error.allow)))
    retry_after = error.extra.get("retry_after")
    if retry_after is not None or error.status == 503:
        headers.append(("Retry-After", str(retry_after or 1)))
    return answer(document, error.status, headers, MEDIA_TYPE)


def problem_document(error: AppError, request: Request) -> dict[str, Any]:
    """The body of a problem. Extra members of the error stand beside the standard ones."""
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": translate(request, error.title),
        "status": error.status,
        "code": error.code,
        "request_id": str(request.request_id),
    }
    if error.detail is not None:
        document["detail"] = translate(request, error.detail)
    if isinstance(error, ValidationFailed):
        document["errors"] = [
            {"pointer": item.pointer, "code": item.code, "message": translate(request, item.message)}
            for item in error.errors
        ]
    return document | error.extra


def app_error(error: AppError, request: Request) -> Response:
    """An error that the application raised on purpose. What is not allowed is told to the audit log."""
    if isinstance(error, NotAllowed):
        denials.tell(request, error.reason)
    return problem(error, request)


def not_found(error: Any, request: Request) -> Response:
    """No such address, or none that takes this method."""
    route = getattr(request, "matched_route", None)
    if route is not None and isinstance(error, PredicateMismatch):
        allowed = allowed_methods(request.registry).get(route.name, ())
        if request.matchdict and "part" in request.matchdict:
            known = request.registry.api_parts.get(
                (request.matchdict["collection"], request.matchdict["part"])
            )
            allowed = READ_ONLY if known is not None and "version" not in known[0].fields else allowed
        return problem(MethodNotAllowed(allowed), request)
    return problem(NotFound(_("There is no such address.")), request)


def forbidden(context: Any, request: Request) -> Response:
    """Not logged in, or not allowed. A denial of somebody who is known is an audit event."""
    actor = request.actor
    if actor is None:
        return problem(NotAuthenticated(), request)
    reason = str(getattr(getattr(context, "result", None), "msg", "") or "permission")
    denials.tell(request, reason)
    return problem(NotAllowed(reason), request)


def http_error(error: HTTPException, request: Request) -> Response:
    """Errors of the framework, in our form."""
    if isinstance(error, BadCSRFToken | BadCSRFOrigin):
        return problem(CrossSite(), request)
    if error.status_int >= 500 or error.status_int < 400:
        return error
    if error.status_int == 404:
        return problem(NotFound(), request)
    return problem(BadRequest(), request)


def undecodable(_error: UnicodeDecodeError, request: Request) -> Response:
    """An address or header that is not UTF-8."""
    return problem(BadRequest(_("The address is not UTF-8.")), request)


def unexpected(error: Exception, request: Request) -> Response:
    """A bug. The client learns the request's id, the log the rest."""
    log.error("unexpected", request=str(request.request_id), exc_info=error)
    return problem(AppError(), request)


def includeme(config: Configurator) -> None:
    """Render every error below /api/ here."""
    config.add_exception_view(app_error, context=AppError, path_info=PATHS)
    config.add_exception_view(http_error, context=HTTPException, path_info=PATHS)
    # The pages have views of their own for these, so they are named as well.
    config.add_exception_view(http_error, context=BadCSRFToken, path_info=PATHS)
    config.add_exception_view(http_error, context=BadCSRFOrigin, path_info=PATHS)
    config.add_exception_view(undecodable, context=UnicodeDecodeError, path_info=PATHS)
    config.add_exception_view(unexpected, context=Exception, path_info=PATHS)
    config.add_notfound_view(not_found, path_info=PATHS)
    config.add_forbidden_view(forbidden, path_info=PATHS)
