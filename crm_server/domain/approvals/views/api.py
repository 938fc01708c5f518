"""Two-person release over the API: look, withdraw, refuse. A release takes a person in a browser.

Requests are made where the act is: an export answers 403 `approval_required`, and POST …/export/release asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.context import key_of, named
from crm_server.domain.actions import add_action, body_of, key_pattern
from crm_server.domain.approvals import queries
from crm_server.domain.approvals.queries import STATES
from crm_server.domain.approvals.services import ApprovalService
from crm_server.kernel.errors import BadQuery
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def listed(request: Request) -> Response:
    """GET the requests that concern the caller; `state` narrows them."""
    state = named(request, {"state"}).get("state")
    if state is not None and state not in STATES:
        raise BadQuery("state", _("There is no such choice."))
    rows = queries.inbox(request.db, state=state)
    return answer({"data": [row.plain() for row in rows], "waiting": queries.waiting(request.db)})


def read(request: Request) -> Response:
    """GET one request."""
    named(request, ())
    return _one(request)


def release(request: Request) -> Response:
    """POST: say yes as the second person; needs a browser's session with a fresh proof (AUTH-15)."""
    ApprovalService(request.db).release(key_of(request))
    return _one(request)


def veto(request: Request) -> Response:
    """POST: say no, with a remark."""
    ApprovalService(request.db).veto(key_of(request), body_of(request, remark="text").get("remark", ""))
    return _one(request)


def withdraw(request: Request) -> Response:
    """POST: take back what one asked for."""
    ApprovalService(request.db).withdraw(key_of(request))
    return _one(request)


def _one(request: Request) -> Response:
    request.db.flush()
    return answer(queries.one(request.db, key_of(request)).plain())


def add_addresses(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    using = Permission.LOGGED_IN
    key = key_pattern("id")
    add_action(config, "api_approvals", "approvals", {"GET": (listed, using)})
    add_action(config, "api_approval", f"approvals/{key}", {"GET": (read, using)})
    add_action(config, "api_approval_veto", f"approvals/{key}/veto", {"POST": (veto, using)})
    add_action(config, "api_approval_withdraw", f"approvals/{key}/withdraw", {"POST": (withdraw, using)})
    config.add_route("api_approval_release", f"/approvals/{key}/release")
    config.add_view(
        release, route_name="api_approval_release", request_method="POST", permission=using, step_up=True
    )
