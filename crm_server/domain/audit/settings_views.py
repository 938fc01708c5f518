"""Pages of the audit administrator beside the log: security alerts with their rules, and how long events are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther

from crm_server.domain.approvals.services import ApprovalRequired
from crm_server.domain.audit import alerts, events, queries, releasing, retention, words
from crm_server.domain.audit.queries import Filters
from crm_server.kernel.errors import AppError, NotFound, ValidationFailed
from crm_server.kernel.jobs import defer
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap.text import Text

_TEMPLATES = "crm_server.domain.audit:templates/audit"
_SHOWN_ALERTS = 20


def alerts_page(request: Request, **more: Any) -> dict[str, Any]:
    """Security figures of the week, the newest alerts, and the rules that raise them."""
    db = request.db
    rows, _following = queries.page(
        db, request.registry.datamap, Filters(event_class="detection"), limit=_SHOWN_ALERTS
    )
    events.record(db, events.listed({"event_class": "detection"}, len(rows)))
    found = {
        "figures": alerts.figures(db),
        "rows": rows,
        "people": queries.people(db, request.registry.datamap, {row.record for row in rows if row.record}),
        "rules": alerts.rules(db),
        "words": words,
        "errors": {},
        "changed": None,
    }
    return found | more


def change_rule(request: Request) -> dict[str, Any] | Response:
    """Set a rule."""
    code = request.matchdict["code"]
    if code not in alerts.RULES:
        raise NotFound
    given = {name: str(request.POST.get(name, "")) for name in _RULE_FIELDS}
    try:
        alerts.change(request.db, code, given)
    except ValidationFailed as refused:
        request.db.rollback()
        request.response.status_int = 422
        errors = {item.pointer.strip("/"): item.message for item in refused.errors}
        return alerts_page(request, errors=errors, changed=code)
    except ApprovalRequired as needed:
        return releasing_page(
            request, needed, lambda problem: alerts_page(request, errors={"reason": problem}, changed=code)
        )
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("audit_alerts"))


def releasing_page(
    request: Request, needed: ApprovalRequired, again: Callable[[Text], dict[str, Any]]
) -> dict[str, Any] | Response:
    """Ask a second person, with the form's reason; lead to the request, or back to the form with what is missing."""
    try:
        asked = releasing.ask_for(request.db, needed, str(request.POST.get("reason", "")))
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        said = refused.errors[0].message if isinstance(refused, ValidationFailed) else refused.detail
        return again(said or refused.title)
    flash.add(request, "approval_asked")
    return HTTPSeeOther(request.route_path("approval", id=asked))


_RULE_FIELDS = ("enabled", "threshold", "minutes", "from", "to", "records")


def retention_page(request: Request, **more: Any) -> dict[str, Any]:
    """How long each class is kept, and what would go now."""
    found = {
        "due": retention.due(request.db),
        "choices": retention.CHOICES,
        "words": words,
        "error": None,
    }
    return found | more


def change_retention(request: Request) -> dict[str, Any] | Response:
    """Ask a second person to let classes be kept for another time."""
    changed: dict[str, int] = {}
    for name, months in retention.months_of(request.db).items():
        text = str(request.POST.get(name, months))
        wanted = int(text) if text.isdecimal() and len(text) < 5 else 0
        if wanted != months:
            changed[name] = wanted
    if not changed:
        return HTTPSeeOther(request.route_path("audit_retention"))
    try:
        asked = releasing.ask(request.db, changed, str(request.POST.get("reason", "")))
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        said = refused.errors[0].message if isinstance(refused, ValidationFailed) else refused.detail
        return retention_page(request, error=said or refused.title)
    flash.add(request, "approval_asked")
    return HTTPSeeOther(request.route_path("approval", id=asked))


def prune_now(request: Request) -> Response:
    """Prune in the background, instead of tonight."""
    defer(request.db, "audit_retention", once="audit_retention")
    flash.add(request, "audit_prune_begun")
    return HTTPSeeOther(request.route_path("audit_retention"))


def includeme(config: Configurator) -> None:
    """Add the pages."""
    flash.TEXTS.setdefault("audit_prune_begun", ("success", words.PRUNE_BEGUN))
    for route, pattern, view, template, method, permission in (
        ("audit_alerts", "/audit-alerts", alerts_page, "alerts", "GET", Permission.AUDIT_READ),
        ("audit_rule", "/audit-alerts/{code}", change_rule, "alerts", "POST", Permission.AUDIT_MANAGE),
        ("audit_retention", "/audit-retention", retention_page, "retention", "GET", Permission.AUDIT_MANAGE),
        (
            "audit_retention_set",
            "/audit-retention/set",
            change_retention,
            "retention",
            "POST",
            Permission.AUDIT_MANAGE,
        ),
        ("audit_prune", "/audit-retention/prune", prune_now, None, "POST", Permission.AUDIT_MANAGE),
    ):
        config.add_route(route, pattern)
        config.add_view(
            view,
            route_name=route,
            request_method=method,
            permission=permission,
            renderer=f"{_TEMPLATES}/{template}.jinja2" if template else None,
            step_up=method == "POST",
        )
