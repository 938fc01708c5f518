"""What every request carries: an id, the actor, the host check, and one log line and one metric when it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from pyramid.httpexceptions import HTTPBadRequest

from crm_server.kernel.ids import new_id
from monitoring import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator
    from pyramid.registry import Registry
    from pyramid.request import Request
    from pyramid.response import Response

    from crm_server.kernel.actor import Actor

log = structlog.get_logger("kontor.request")


def request_id(_request: Request) -> UUID:
    """A fresh id; it stands in the log, in audit events and in every error that a client sees."""
    return new_id()


def actor(request: Request) -> Actor | None:
    """Who the request comes from, or None. The same as `request.identity`."""
    found: Actor | None = request.identity
    return found


def request_tween(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """Outermost: checks the host name, times the request, logs it without addresses, bodies or query strings."""
    hosts = frozenset(registry.settings["kontor"].hosts)

    def tween(request: Request) -> Response:
        started = time.perf_counter()
        if request.domain not in hosts:
            # A page built with a wrong host name could send links and cookies elsewhere.
            response: Response = HTTPBadRequest("This host name is not served here.")
        else:
            response = handler(request)
        seconds = time.perf_counter() - started
        route = request.matched_route.name if getattr(request, "matched_route", None) else "none"
        metrics.REQUESTS.labels(route, request.method, response.status_int).observe(seconds)
        response.headers["X-Request-Id"] = str(request.request_id)
        log.info(
            "request",
            request=str(request.request_id),
            method=request.method,
            route=route,
            status=response.status_int,
            ms=round(seconds * 1000, 1),
        )
        return response

    return tween


def includeme(config: Configurator) -> None:
    """Add the request's id and actor, and the outermost tween."""
    config.add_request_method(request_id, "request_id", reify=True)
    config.add_request_method(actor, "actor", reify=True)
    config.add_tween("crm_server.kernel.request.request_tween", over="security.web.headers.headers_tween")
