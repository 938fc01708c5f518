"""Pages and API of the audit log, for audit administrators. Looking at the log is an event of the log (AUD-11)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from pyramid.response import Response

from compliance.audit.log.reading import NotSealedError
from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.context import named
from crm_server.domain.audit import (
    api,
    events,
    explorer_views,
    facts,
    queries,
    services,
    settings_views,
    sink_views,
    words,
)
from crm_server.domain.audit.explorer_views import FILTERS, LONGEST_FILTER
from crm_server.domain.audit.queries import Filters
from crm_server.kernel.errors import BadQuery, Conflict, NotFound
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request

    from crm_server.domain.audit.rows import EventRow

_TEMPLATES = "crm_server.domain.audit:templates/audit"
_PAGE = 50


def audit_page(request: Request) -> dict[str, Any]:
    """The log, newest first, narrowed by what the form asks for."""
    given = {name: str(request.GET.get(name, "")).strip()[:LONGEST_FILTER] for name in FILTERS}
    problem = None
    try:
        filters = filters_of({name: text for name, text in given.items() if text}, request.ui.zone)
        after = _key("after", request.GET["after"]) if request.GET.get("after") else None
        rows, following = queries.page(
            request.db, request.registry.datamap, filters, limit=_PAGE, after=after
        )
    except BadQuery as error:
        request.response.status_int = error.status
        problem, filters, rows, following = error.detail, Filters(), [], None
    else:
        events.record(request.db, events.listed(filters.given(), len(rows)))
    here = {name: text for name, text in given.items() if text}
    return {
        "rows": rows,
        "given": given,
        "narrowed": bool(here),
        "problem": problem,
        "next": f"/audit?{urlencode({**here, 'after': following})}" if following else None,
        "table": f"/audit-table?{urlencode(here)}",
        "searches": [
            (one, explorer_views.link_of(one))
            for one in explorer_views.searches(request.db, request.actor.id)
        ],
        "people": queries.people(request.db, request.registry.datamap),
        "words": words,
    }


def table(request: Request) -> Response:
    """The events that were found, as a file for a spreadsheet."""
    given = {name: str(request.GET.get(name, "")).strip()[:LONGEST_FILTER] for name in FILTERS}
    filters = filters_of({name: text for name, text in given.items() if text}, request.ui.zone)
    return explorer_views.table(request, filters)


def event_page(request: Request) -> dict[str, Any]:
    """One event with everything that the reader may see of it."""
    return {"event": _found(request), "facts": facts, "words": words}


def proof(request: Request) -> Response:
    """The event with its inclusion proof, as a file that anyone can verify without Kontor."""
    event_id = _event_id(request)
    settings = request.registry.settings["kontor"]
    try:
        name, content = services.proof_archive(request.db, settings, event_id)
    except NotSealedError:
        raise Conflict(
            _("This event is not sealed yet. It is after a second, if the sealer is running.")
        ) from None
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body=content, content_type="application/zip", headers=headers)


def api_events(request: Request) -> Response:
    """GET events, newest first; `next` of the answer is the `after` of the following page."""
    given = named(request, {*FILTERS, "after", "limit"})
    limit = given.pop("limit", str(_PAGE))
    if not limit.isdecimal() or not 1 <= int(limit) <= queries.LARGEST_PAGE:
        raise BadQuery("limit", _("A whole number from 1 to 200 is expected here."))
    after = _key("after", given.pop("after")) if "after" in given else None
    for name, text in given.items():
        if not 0 < len(text) <= LONGEST_FILTER:
            raise BadQuery(name, _("A text of 1 to 100 characters is expected here."))
    filters = filters_of(given, ZoneInfo("UTC"))
    rows, following = queries.page(
        request.db, request.registry.datamap, filters, limit=int(limit), after=after
    )
    events.record(request.db, events.listed(filters.given(), len(rows)))
    return answer({"data": [row.plain() for row in rows], "next": following})


def api_event(request: Request) -> Response:
    """GET one event with the values that the caller may see."""
    named(request, ())
    return answer(_found(request).plain())


def filters_of(given: dict[str, str], zone: ZoneInfo) -> Filters:
    """Filters as a form or an address says them. A day counts in `zone`; `until` includes a day that is named.

    Raises:
        BadQuery: one that can't be understood.
    """
    since = _moment("since", given["since"], zone) if "since" in given else None
    until = _moment("until", given["until"], zone, days=1) if given.get("until") else None
    if since is not None and until is not None and since >= until:
        raise BadQuery("until", _("The end lies before the beginning."))
    return Filters(
        since=since,
        until=until,
        person=_key("person", given["person"]) if "person" in given else None,
        record=_key("record", given["record"]) if "record" in given else None,
        action=given.get("action"),
        event_class=_word("class", given.get("class"), queries.CLASSES),
        outcome=_word("outcome", given.get("outcome"), queries.OUTCOMES),
        subject=_key("subject", given["subject"]) if "subject" in given else None,
        purpose=given.get("purpose"),
    )


def _found(request: Request) -> EventRow:
    event_id = _event_id(request)
    found = queries.one(request.db, request.registry.datamap, event_id)
    if found is None:
        raise NotFound
    events.record(request.db, events.seen(event_id))
    return found


def _event_id(request: Request) -> UUID:
    try:
        return UUID(request.matchdict["id"])
    except ValueError:
        raise NotFound from None


def _key(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadQuery(name, _("An id is expected here.")) from None


def _word(name: str, text: str | None, allowed: tuple[str, ...]) -> str | None:
    if text is not None and text not in allowed:
        raise BadQuery(name, _("There is no such choice."))
    return text


def _moment(name: str, text: str, zone: ZoneInfo, *, days: int = 0) -> datetime:
    """A day in the reader's time zone, or a moment with its zone."""
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text) + timedelta(days=days), time(), zone)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise BadQuery(name, _("A day or a time is expected here, such as 2026-01-31.")) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def includeme_api(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    sink_views.includeme_api(config)
    api.includeme(config)
    config.add_route("api_audit_events", "/audit/events")
    config.add_route("api_audit_event", "/audit/events/{id}")
    config.add_route("api_audit_proof", "/audit/events/{id}/proof")
    for route, view in (
        ("api_audit_events", api_events),
        ("api_audit_event", api_event),
        ("api_audit_proof", proof),
    ):
        config.add_view(view, route_name=route, request_method="GET", permission=Permission.AUDIT_READ)


def includeme(config: Configurator) -> None:
    """Add the pages."""
    sink_views.includeme(config)
    explorer_views.includeme(config)
    config.add_route("audit_table", "/audit-table")
    config.add_view(table, route_name="audit_table", request_method="GET", permission=Permission.AUDIT_READ)
    config.add_route("audit_search_save", "/audit-searches")
    config.add_view(
        explorer_views.save_search,
        route_name="audit_search_save",
        request_method="POST",
        permission=Permission.AUDIT_READ,
    )
    settings_views.includeme(config)
    for route, pattern, view, renderer in (
        ("audit", "/audit", audit_page, f"{_TEMPLATES}/index.jinja2"),
        ("audit_event", "/audit/{id}", event_page, f"{_TEMPLATES}/event.jinja2"),
        ("audit_proof", "/audit/{id}/proof", proof, None),
    ):
        config.add_route(route, pattern)
        config.add_view(
            view, route_name=route, request_method="GET", permission=Permission.AUDIT_READ, renderer=renderer
        )
