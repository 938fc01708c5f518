"""The only wiring: which parts the application has, in which order, and why.

`main` builds the WSGI application; `kontor up` serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.config import Configurator
from pyramid.csrf import CookieCSRFStoragePolicy

from crm_server.domain.audit.guard import AuditGuard
from crm_server.domain.identity.authentication import Authenticator
from crm_server.domain.identity.policy import SecurityPolicy
from crm_server.kernel import db, scratch
from crm_server.kernel.hot import Hot
from crm_server.kernel.request import settle
from crm_server.models import datamap
from crm_server.search.client import client_of
from crm_server.settings import Settings, load
from monitoring import logs

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.router import Router


def main(settings: Settings | None = None, **overrides: Any) -> Router:
    """Build the WSGI application.

    Args:
        settings: Ready settings; read from the environment when None.
        overrides: Single settings that win over the environment.
    """
    if settings is None:
        settings = load(**overrides)
    logs.configure(settings.log_level, settings.log_format)
    config = Configurator(settings={"kontor": settings, "pyramid.csrf_trusted_origins": []})
    config.registry.datamap = datamap()
    config.registry.hot = Hot(settings)
    config.registry.search = config.registry.hot.info[db.SEARCH] = client_of(settings)
    config.registry.audit_guard = AuditGuard(config.registry.hot.engine, settings)

    # Kernel first: later parts use the request's id, actor and transaction.
    config.include("security.web.headers")
    config.include("crm_server.kernel.request")
    config.include("crm_server.kernel.transaction")
    config.include("crm_server.kernel.views")
    config.registry.hot.info[db.KEYS] = config.registry.keys

    # Who asks, and may they? Before any view exists.
    authenticator = Authenticator(config.registry.hot, settings)
    config.registry.authenticator = authenticator
    config.set_security_policy(SecurityPolicy(authenticator))
    config.set_csrf_storage_policy(
        CookieCSRFStoragePolicy(
            cookie_name="__Host-kontor-csrf", secure=True, httponly=True, samesite="Strict"
        )
    )
    config.set_default_csrf_options(require_csrf=True, callback=_has_cookie_authority)

    # Routes are tried in this order: what is asked most often comes first.
    config.include("crm_server.api", route_prefix="/api/v1")
    # Imports and exports stand below names that the pages' own patterns would take for collections and records.
    config.include("crm_server.domain.imports")
    config.include("crm_server.web")
    config.include("crm_server.domain.identity")
    config.include("crm_server.domain.approvals")
    config.include("crm_server.domain.audit.views")
    config.include("crm_server.domain.keys.views")
    config.include("crm_server.health")
    app: Router = config.make_wsgi_app()
    settle(app)
    return app


def from_environment() -> Router:
    """The application with the settings of the environment, for the server's workers."""
    scratch.keep_in_memory()
    return main()


def _has_cookie_authority(request: Request) -> bool:
    """Requests with a bearer token carry no authority that a browser would add by itself, so need no form token."""
    return not request.headers.get("Authorization")
