"""What every request carries: an id, the actor, the host check, and one log line and one metric when it is done."""

from __future__ import annotations

import linecache
import time
from io import BufferedRandom
from typing import TYPE_CHECKING
from uuid import UUID

from pyramid.httpexceptions import HTTPBadRequest
from pyramid.interfaces import IRequestExtensions
from pyramid.request import Request

from compliance.datamap.text import _
from crm_server.kernel.errors import BadRequest
from crm_server.kernel.ids import new_id
from monitoring import metrics
from monitoring.logs import request_line
from security.web.hosts import is_served
from security.web.proxies import client_scheme

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator
    from pyramid.registry import Registry
    from pyramid.response import Response
    from pyramid.router import Router

    from crm_server.kernel.actor import Actor

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
    """Checks the host name and the address, times the request, logs it without addresses, bodies or query strings."""
    hosts = frozenset(registry.settings["kontor"].hosts)
    proxies = registry.settings["kontor"].trusted_proxies

    def tween(request: Request) -> Response:
        started = time.perf_counter()
        said = request.environ.get("HTTP_X_FORWARDED_PROTO")
        if said and proxies:
            request.scheme = client_scheme(request.remote_addr, said, proxies, request.scheme)
        if not is_served(request.host, hosts):
            # A page built with a wrong host name could send links and cookies elsewhere.
            response: Response = _refused_host(request)
        elif not _is_text(request):
            response = HTTPBadRequest("The address is not valid UTF-8.")
        else:
            response = handler(request)
        body = request.environ.get("wsgi.input")
        if isinstance(body, BufferedRandom):
            # WebOb copies a large body into a temporary file and would leave it to the collector.
            body.close()
        seconds = time.perf_counter() - started
        matched = getattr(request, "matched_route", None)
        route = "none" if matched is None else matched.name
        # A client can make up methods; each would be a time series of its own.
        method = request.method if request.method in _METHODS else "other"
        status = response.status_int
        metrics.REQUESTS.labels(route, method, status).observe(seconds)
        key = str(request.request_id)
        response.headerlist.append(("X-Request-Id", key))
        request_line(request=key, method=method, route=route, status=status, ms=round(seconds * 1000, 1))
        return response

    return tween


def _refused_host(request: Request) -> Response:
    """The API answers as it answers any error; people get plain text without a link."""
    sentence = _("This host name is not served here.")
    if not request.environ.get("PATH_INFO", "").startswith("/api/") or not _is_text(request):
        return HTTPBadRequest(sentence)
    return request.invoke_exception_view((BadRequest, BadRequest(sentence), None))


def _is_text(request: Request) -> bool:
    """Whether path and query are UTF-8: routes, views and error pages all read them as text."""
    try:
        request.path_info  # noqa: B018 - reading decodes
        request.GET  # noqa: B018 - as above
    except UnicodeDecodeError:
        return False
    return True


def settle(app: Router) -> None:
    """Put the attributes that were added to requests on the application's own class of requests, once.

    Pyramid makes a new class for each request to hold them, which costs as much as finding the route.
    """
    extensions = app.registry.queryUtility(IRequestExtensions)
    if extensions is not None:
        for name, attribute in extensions.descriptors.items():
            setattr(app.request_factory, name, attribute)
        extensions.descriptors.clear()
    # The lines of the sources that the start looked at are not needed any more.
    linecache.clearcache()


def includeme(config: Configurator) -> None:
    """Add the request's id and actor, and the tween; only the one that sets headers is further out."""
    config.set_request_factory(type("Request", (Request,), {}))
    config.add_request_method(request_id, "request_id", reify=True)
    config.add_request_method(actor, "actor", reify=True)
    config.add_tween(
        "crm_server.kernel.request.request_tween",
        under="security.web.headers.headers_tween",
        over="pyramid.tweens.excview_tween_factory",
    )
