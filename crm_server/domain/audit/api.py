"""The API of what audit administrators set and look at beside the events: alerts, rules, retention, histories."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.api.answers import answer, empty
from crm_server.api.body import json_object
from crm_server.api.context import named
from crm_server.domain.approvals.services import ApprovalRequired
from crm_server.domain.audit import alerts, events, explorer_views, queries, releasing, retention
from crm_server.domain.audit.models import SavedSearch
from crm_server.domain.audit.queries import Filters
from crm_server.domain.audit.sink_views import text_of
from crm_server.kernel.errors import Conflict, Errors, NotFound
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from crm_server.domain.audit.alerts import Rule

_NEWEST = 50


def read_alerts(request: Request) -> Response:
    """GET the figures of the last seven days and the newest alerts."""
    named(request, ())
    asked = Filters(event_class="detection")
    rows, _following = queries.page(request.db, request.registry.datamap, asked, limit=_NEWEST)
    events.record(request.db, events.listed({"event_class": "detection"}, len(rows)))
    return answer({"figures": asdict(alerts.figures(request.db)), "data": [row.plain() for row in rows]})


def read_rules(request: Request) -> Response:
    """GET the rules as they are in force."""
    named(request, ())
    return answer({"data": [_plain(rule) for rule in alerts.rules(request.db)]})


def change_rule(request: Request) -> Response:
    """PATCH a rule; what is absent stays. A rule that is to find less takes a second person (`…/release`)."""
    rule = _rule(request)
    alerts.change(request.db, rule.code, _values(rule, json_object(request)))
    return answer(_plain(_rule(request)))


def release_rule(request: Request) -> Response:
    """POST: ask a second person to let a rule find less."""
    rule, body, errors = _rule(request), dict(json_object(request)), Errors()
    reason = text_of(body, "reason", errors)
    body.pop("reason", None)
    errors.raise_if_any()
    try:
        alerts.change(request.db, rule.code, _values(rule, body))
    except ApprovalRequired as needed:
        return answer({"id": releasing.ask_for(request.db, needed, reason)}, 201)
    request.db.rollback()
    raise Conflict(_("This makes the rule no milder: nobody else is needed."))


def read_retention(request: Request) -> Response:
    """GET how long each class is kept, and what is due now."""
    named(request, ())
    return answer({"data": [one.plain() | {"months": one.months} for one in retention.due(request.db)]})


def release_retention(request: Request) -> Response:
    """POST: ask a second person to let classes be kept for other times."""
    body, errors = json_object(request), Errors()
    for name in body:
        if name not in ("months", "reason"):
            errors.add(f"/{name}", "unknown_field", _("There is no such field."))
    reason, months = text_of(body, "reason", errors), body.get("months")
    if not isinstance(months, dict) or not months or any(type(value) is not int for value in months.values()):
        errors.add("/months", "type", _("Another type of value is expected here."))
    errors.raise_if_any()
    return answer({"id": releasing.ask(request.db, months or {}, reason)}, 201)


def read_searches(request: Request) -> Response:
    """GET the caller's own saved searches."""
    named(request, ())
    rows = explorer_views.searches(request.db, request.actor.id)
    return answer({"data": [_search(row) for row in rows]})


def keep_search(request: Request) -> Response:
    """POST: keep a search under a name; the same name replaces."""
    body, errors = json_object(request), Errors()
    for field in body:
        if field not in ("name", "filters"):
            errors.add(f"/{field}", "unknown_field", _("There is no such field."))
    name, filters = text_of(body, "name", errors).strip(), body.get("filters")
    if not 0 < len(name) <= 100:
        errors.add("/name", "required", _("Give a name of at most 100 characters."))
    if not isinstance(filters, dict) or not filters or not all(map(_is_filter, filters.items())):
        errors.add("/filters", "type", _("Another type of value is expected here."))
    errors.raise_if_any()
    row = explorer_views.keep(request.db, request.actor.id, name, filters or {})
    if row is None:
        raise Conflict(_("You have as many searches as one may keep. Remove one first."))
    return answer(_search(row), 201, [("Location", f"/api/v1/audit/searches/{row.id}")])


def forget_search(request: Request) -> Response:
    """DELETE a search of one's own."""
    explorer_views.forget(request.db, request.actor.id, request.matchdict["id"])
    return empty()


def read_history(request: Request) -> Response:
    """GET the changes of one record, newest first, with the values that the caller may see."""
    named(request, ())
    entity, record = explorer_views.record_of(request)
    rows = queries.history(request.db, request.registry.datamap, entity, record)
    events.record(request.db, events.history_seen(entity.number, record, len(rows)))
    return answer({"data": [row.plain() for row in rows]})


def _is_filter(pair: tuple[Any, Any]) -> bool:
    name, value = pair
    return (
        name in explorer_views.FILTERS
        and isinstance(value, str)
        and 0 < len(value) <= explorer_views.LONGEST_FILTER
        and "\x00" not in value
    )


def _search(row: SavedSearch) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "filters": row.filters}


def _rule(request: Request) -> Rule:
    for rule in alerts.rules(request.db):
        if rule.code == request.matchdict["code"]:
            return rule
    raise NotFound


def _plain(rule: Rule) -> dict[str, Any]:
    known = {"enabled": rule.enabled, "threshold": rule.threshold, "minutes": rule.minutes}
    return {"code": rule.code, **known, **rule.values}


def _values(rule: Rule, body: dict[str, Any]) -> dict[str, str]:
    """The rule as a form gives it, with what the body changes."""
    found, errors = alerts.given_of(rule), Errors()
    for name, value in body.items():
        fits = type(value) is {"enabled": bool, "records": list}.get(name, int)
        if name not in found:
            errors.add(f"/{name}", "unknown_field", _("There is no such field."))
        elif not fits or (name == "records" and any(type(one) is not str for one in value)):
            errors.add(f"/{name}", "type", _("Another type of value is expected here."))
        elif name == "records":
            found[name] = "\n".join(value)
        else:
            found[name] = str(value or "").lower() if name == "enabled" else str(value)
    errors.raise_if_any()
    return found


def includeme(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    read, manage = Permission.AUDIT_READ, Permission.AUDIT_MANAGE
    for route, pattern, views in (
        ("alerts", "/alerts", {"GET": (read_alerts, read)}),
        ("rules", "/rules", {"GET": (read_rules, read)}),
        ("rule", "/rules/{code}", {"PATCH": (change_rule, manage)}),
        ("rule_release", "/rules/{code}/release", {"POST": (release_rule, manage)}),
        ("retention", "/retention", {"GET": (read_retention, manage)}),
        ("retention_release", "/retention/release", {"POST": (release_retention, manage)}),
        ("searches", "/searches", {"GET": (read_searches, read), "POST": (keep_search, read)}),
        ("search", "/searches/{id}", {"DELETE": (forget_search, read)}),
        ("history", "/history/{entity}/{id}", {"GET": (read_history, read)}),
    ):
        config.add_route(f"api_audit_{route}", f"/audit{pattern}")
        for method, (view, permission) in views.items():
            config.add_view(
                view,
                route_name=f"api_audit_{route}",
                request_method=method,
                permission=permission,
                step_up=method == "PATCH",
            )
