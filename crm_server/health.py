"""`/healthz` says that the process is alive; `/readyz` that it can serve: database reached, schema as expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from crm_server.kernel.errors import AppError
from crm_server.kernel.hot import Prepared
from crm_server.migrations import HEAD
from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request

# A load balancer asks often and wants to know soon.
_PATIENCE = 1.0
_REVISION = Prepared("health_revision", "select version_num from kontor.schema_version", ())


def healthz(_request: Request) -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


def readyz(request: Request) -> dict[str, Any]:
    """200 when requests can be served, else 503 with the reason. Says nothing about the inside to strangers."""
    reason = None
    try:
        rows = request.registry.hot.run(_REVISION, (), deadline=_PATIENCE)
        if not rows or rows[0][0] != HEAD:
            reason = "schema"
    except (AppError, DBAPIError):
        reason = "database"
    if reason is not None:
        request.response.status_int = 503
        return {"status": "not_ready", "reason": reason}
    return {"status": "ready"}


def includeme(config: Configurator) -> None:
    """Add both addresses."""
    config.add_route("healthz", "/healthz")
    config.add_route("readyz", "/readyz")
    config.add_view(healthz, route_name="healthz", renderer="json", permission=PUBLIC)
    config.add_view(readyz, route_name="readyz", renderer="json", permission=PUBLIC)
