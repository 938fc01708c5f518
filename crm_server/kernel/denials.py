"""Tells the audit log of what somebody who is known may not do: pages and API call this for every refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from compliance.audit.events import Event, write

if TYPE_CHECKING:
    from pyramid.request import Request

log = structlog.get_logger("kontor.denials")


def tell(request: Request, reason: str) -> None:
    """Write the event of a refusal in a transaction of its own, since that of the request is undone.

    Args:
        request: What was refused; without an actor nobody is known, and nothing is told.
        reason: Why, as a code: the permission that is missing, or the rule that forbids it.
    """
    actor = request.actor
    if actor is None:
        return
    route = getattr(request, "matched_route", None)
    meta = {"route": route.name if route else None, "method": request.method}
    event = Event("authorization", "deny", outcome="denied", reason=reason[:200], severity=2, meta=meta)
    try:
        with request.registry.engine.begin() as connection:
            write(connection, actor, [event])
    except SQLAlchemyError as error:
        # It stays refused. Nothing was done that the log would have to know of.
        log.warning("a refusal is not in the audit log", reason=reason, error=type(error).__name__)
