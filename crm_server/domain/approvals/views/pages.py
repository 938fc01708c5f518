"""The inbox of two-person release, and one request with its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from crm_server.domain.approvals import queries
from crm_server.domain.approvals.queries import STATES
from crm_server.domain.approvals.services import ApprovalService
from crm_server.kernel.errors import AppError, Conflict, NotAllowed, NotFound
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response

_TEMPLATES = "crm_server.domain.approvals:templates/approvals"
COLOURS = {
    "pending": "orange", "released": "blue", "executed": "green", "vetoed": "red", "failed": "red",
    "expired": "gray", "withdrawn": "gray",
}  # fmt: skip


@view_config(
    route_name="approvals",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{_TEMPLATES}/index.jinja2",
)
def inbox(request: Request) -> dict[str, Any]:
    """What waits for the reader, what they asked for, and what was decided."""
    rows = queries.inbox(request.db)
    live = ("pending", "released")
    return {
        "waiting": [row for row in rows if row.may_decide],
        "mine": [row for row in rows if row.mine and row.state in live],
        "others": [row for row in rows if not row.may_decide and not (row.mine and row.state in live)],
        "states": STATES,
        "colours": COLOURS,
    }


@view_config(
    route_name="approval",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{_TEMPLATES}/one.jinja2",
)
def one(request: Request) -> dict[str, Any]:
    """One request: what, why, by whom, and what became of it."""
    return _page(request)


@view_config(
    route_name="approval_act",
    request_method="POST",
    permission=Permission.LOGGED_IN,
    renderer=f"{_TEMPLATES}/one.jinja2",
    step_up=True,
)
def act(request: Request) -> dict[str, Any] | Response:
    """Release, refuse or withdraw. Whoever decides has proved within five minutes who they are (AUTH-15)."""
    service, key, act = ApprovalService(request.db), _key(request), request.matchdict["act"]
    try:
        if act == "release":
            done = service.release(key)
            said = {"pending": "seconded", "failed": "failed"}.get(done.state, "released")
        elif act == "veto":
            service.veto(key, str(request.POST.get("remark", "")))
            said = "vetoed"
        else:
            service.withdraw(key)
            said = "withdrawn"
    except (Conflict, NotAllowed) as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        return _page(request, refused)
    flash.add(request, f"approval_{said}")
    return HTTPSeeOther(request.route_path("approval", id=key))


def _page(request: Request, refused: AppError | None = None) -> dict[str, Any]:
    return {
        "row": queries.one(request.db, _key(request)),
        "states": STATES,
        "colours": COLOURS,
        "error": None if refused is None else refused.detail or refused.title,
    }


def _key(request: Request) -> UUID:
    try:
        return UUID(request.matchdict["id"])
    except ValueError:
        raise NotFound from None
