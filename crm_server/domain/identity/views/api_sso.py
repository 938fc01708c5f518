"""Providers of single sign-on over the API: /api/v1/sso-providers.

Changes take a browser's session with a fresh proof (AUTH-15), so no token changes how people log in. The client's
secret is written and never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.text import Text, _
from crm_server.api.answers import answer, etag, expected_version
from crm_server.api.body import json_object
from crm_server.api.context import key_of, named
from crm_server.domain.actions import key_pattern
from crm_server.domain.identity import sso_queries
from crm_server.domain.identity.services.sso import SETTABLE
from crm_server.domain.identity.views.common import services_of
from crm_server.kernel.errors import Conflict, Errors, LostUpdate, PreconditionRequired
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from crm_server.domain.identity.sso_models import SsoProvider


def listed(request: Request) -> Response:
    """GET all providers."""
    named(request, ())
    return answer({"data": [_document(request, row) for row in sso_queries.providers(request.db)]})


def read(request: Request) -> Response:
    """GET one provider, with its entity tag."""
    named(request, ())
    return _one(request, _get(request))


def create(request: Request) -> Response:
    """POST a new provider; log-in offers it once it is enabled."""
    row = services_of(request).sso.draft()
    _save(request, row)
    return _one(request, row, 201, [("Location", request.route_path("api_sso_provider", id=row.id))])


def change(request: Request) -> Response:
    """PATCH what shall be different (If-Match)."""
    row = _get(request)
    version = expected_version(request)
    if version is None:
        raise PreconditionRequired
    if version != row.version:
        raise LostUpdate(version=row.version, mine={}, theirs=_document(request, row), original=None)
    _save(request, row)
    return _one(request, row)


def enable(request: Request) -> Response:
    """POST: offer the provider at log-in."""
    return _set_state(request, enabled=True)


def disable(request: Request) -> Response:
    """POST: leave the provider out of log-in, and end the sessions that began there."""
    return _set_state(request, enabled=False)


def test(request: Request) -> Response:
    """POST: ask the provider what a log-in would ask, without logging anybody in (AUTH-10)."""
    named(request, ())
    try:
        steps = services_of(request).sso.test(request.db, _get(request))
    except ValueError as wrong:
        raise Conflict(Text(str(wrong))) from wrong
    return answer(
        {
            "passed": all(step.passed for step in steps),
            "steps": [
                {"step": one.code, "passed": one.passed, "detail": one.detail, "ms": one.milliseconds}
                for one in steps
            ],
        }
    )


def _set_state(request: Request, *, enabled: bool) -> Response:
    named(request, ())
    row = _get(request)
    services_of(request).sso.set_state(request.db, row, enabled=enabled)
    return _one(request, row)


def _save(request: Request, row: SsoProvider) -> None:
    given = dict(json_object(request))
    secret = given.pop("client_secret", None)
    if not isinstance(secret, str | None):
        errors = Errors()
        errors.add("/client_secret", "type", _("Text is expected here."))
        errors.raise_if_any()
    services_of(request).sso.save(request.db, row, given, secret)


def _get(request: Request) -> SsoProvider:
    return sso_queries.provider(request.db, key_of(request))


def _document(request: Request, row: SsoProvider) -> dict[str, Any]:
    return {
        "id": row.id,
        "version": row.version,
        "enabled": row.enabled,
        "protocol": row.protocol,
        **{name: getattr(row, name) for name in SETTABLE},
        "has_secret": row.client_secret is not None,
        "redirect_uri": request.route_url("sso_callback", id=row.id),
        "back_channel_logout_uri": request.route_url("sso_logout", id=row.id),
    }


def _one(request: Request, row: SsoProvider, status: int = 200, headers: Any = ()) -> Response:
    request.db.flush()
    return answer(_document(request, row), status, [("ETag", etag(row.version)), *headers])


def add_addresses(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    one = f"/sso-providers/{key_pattern('id')}"
    for name, pattern, views in (
        ("api_sso_providers", "/sso-providers", {"GET": listed, "POST": create}),
        ("api_sso_provider", one, {"GET": read, "PATCH": change}),
        ("api_sso_provider_enable", f"{one}/enable", {"POST": enable}),
        ("api_sso_provider_disable", f"{one}/disable", {"POST": disable}),
        ("api_sso_provider_test", f"{one}/test", {"POST": test}),
    ):
        config.add_route(name, pattern)
        for method, view in views.items():
            config.add_view(
                view,
                route_name=name,
                request_method=method,
                permission=Permission.USERS_MANAGE,
                step_up=method != "GET" and view is not test,
            )
