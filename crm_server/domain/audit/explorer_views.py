"""Beside the log's pages: the history of one record, saved searches, and found events as a table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from sqlalchemy import select

from compliance.audit.log.reading import NotSealedError
from compliance.datamap.text import _
from crm_server.domain.audit import events, queries, services, words
from crm_server.domain.audit.models import SavedSearch
from crm_server.kernel.errors import Conflict, NotFound
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyramid.config import Configurator
    from pyramid.request import Request
    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef
    from crm_server.domain.audit.queries import Filters
    from crm_server.domain.audit.rows import EventRow

LONGEST_FILTER = 100  # characters
FILTERS = ("since", "until", "person", "record", "action", "class", "outcome", "subject", "purpose")
"""What a search of the log may name."""
MOST_EXPORTED = 50_000
MOST_SEARCHES = 50
_HEADS = (
    "time",
    "person_id",
    "person",
    "class",
    "action",
    "outcome",
    "reason",
    "entity",
    "record_id",
    "purpose",
    "fields",
    "id",
)


def history_page(request: Request) -> dict[str, Any]:
    """What was changed of one record, with old and new values as far as the reader may see them."""
    entity, record = record_of(request)
    rows = queries.history(request.db, request.registry.datamap, entity, record)
    events.record(request.db, events.history_seen(entity.number, record, len(rows)))
    return {
        "rows": rows,
        "entity": entity,
        "record": record,
        "subject": queries.subject_of(request.db, entity, record),
        "readable": entity.exposed and request.actor.may(f"crm:{entity.name}:read"),
        "words": words,
    }


def history_proof(request: Request) -> Response:
    """Every event about the record with its inclusion proof, as a file that anyone can verify without Kontor."""
    entity, record = record_of(request)
    settings = request.registry.settings["kontor"]
    try:
        name, content = services.history_archive(request.db, settings, entity, record)
    except NotSealedError:
        raise Conflict(
            _("The newest event is not sealed yet. It is after a second, if the sealer is running.")
        ) from None
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body=content, content_type="application/zip", headers=headers)


def record_of(request: Request) -> tuple[EntityDef, UUID]:
    """The kind and the key of the record that the address names. Raises `NotFound`."""
    entity = request.registry.datamap.entities.get(request.matchdict["entity"])
    try:
        record = UUID(request.matchdict["id"])
    except ValueError:
        raise NotFound from None
    if entity is None:
        raise NotFound
    return entity, record


def searches(session: Session, person: UUID) -> list[SavedSearch]:
    """The saved searches of a person, by name."""
    query = select(SavedSearch).where(SavedSearch.user_id == person).order_by(SavedSearch.name)
    return list(session.scalars(query.limit(MOST_SEARCHES)))


def link_of(search: SavedSearch) -> str:
    """The address of a saved search."""
    return f"/audit?{urlencode(search.filters)}"


def save_search(request: Request) -> Response:
    """Keep what the form asks for under a name; the same name replaces."""
    name = str(request.POST.get("name", "")).strip()[:100]
    wanted = {key: str(request.POST.get(key, "")).strip()[:LONGEST_FILTER] for key in FILTERS}
    wanted = {key: text for key, text in wanted.items() if text}
    if not name:
        flash.add(request, "search_without_name")
    elif wanted and keep(request.db, request.actor.id, name, wanted) is None:
        flash.add(request, "too_many_searches", n=MOST_SEARCHES)
    elif wanted:
        flash.add(request, "saved")
    return HTTPSeeOther(f"/audit?{urlencode(wanted)}" if wanted else "/audit")


def keep(session: Session, person: UUID, name: str, filters: Mapping[str, str]) -> SavedSearch | None:
    """Keep a search of a person under a name, which replaces one of the same name; None where there are too many."""
    mine = searches(session, person)
    row = next((one for one in mine if one.name == name), None)
    if row is None and len(mine) >= MOST_SEARCHES:
        return None
    if row is None:
        row = SavedSearch(user_id=person, name=name)
        session.add(row)
    row.filters = dict(filters)
    session.flush()
    return row


def forget_search(request: Request) -> Response:
    """Remove a search of one's own."""
    forget(request.db, request.actor.id, request.matchdict["id"])
    flash.add(request, "removed")
    return HTTPSeeOther("/audit")


def forget(session: Session, person: UUID, key: str) -> None:
    """Remove a search of a person. Raises `NotFound`."""
    try:
        found = session.get(SavedSearch, UUID(key))
    except ValueError:
        raise NotFound from None
    if found is None or found.user_id != person:
        raise NotFound
    session.delete(found)
    session.flush()


def table(request: Request, filters: Filters) -> Response:
    """The events that were found as CSV (RFC 4180), without old and new values; at most 50,000."""
    rows = list(_all(request, filters))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEADS)
    for row in rows:
        fields = " ".join(change.name for change in row.changes)
        entity = row.entity.name if row.entity else None
        values = (row.at.isoformat(), row.actor_id, row.actor, row.event_class, row.action, row.outcome)
        writer.writerow(
            _safe(one) for one in (*values, row.reason, entity, row.record, row.purpose, fields, row.id)
        )
    events.record(request.db, events.table_exported(filters.given(), len(rows)))
    headers = {"Content-Disposition": 'attachment; filename="audit-events.csv"'}
    return Response(
        body=b"\xef\xbb\xbf" + text.getvalue().encode(),
        content_type="text/csv",
        charset="utf-8",
        headers=headers,
    )


def _all(request: Request, filters: Filters) -> Iterator[EventRow]:
    after, count = None, 0
    while True:
        rows, after = queries.page(
            request.db, request.registry.datamap, filters, limit=queries.LARGEST_PAGE, after=after
        )
        yield from rows
        count += len(rows)
        if after is None or count >= MOST_EXPORTED:
            return


def _safe(value: object) -> object:
    """A spreadsheet takes text that begins so for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def includeme(config: Configurator) -> None:
    """Add the pages."""
    template = "crm_server.domain.audit:templates/audit/history.jinja2"
    for route, pattern, view, method, renderer in (
        ("audit_history", "/audit-history/{entity}/{id}", history_page, "GET", template),
        ("audit_history_proof", "/audit-history/{entity}/{id}/proof", history_proof, "GET", None),
        ("audit_search_forget", "/audit-searches/{id}/remove", forget_search, "POST", None),
    ):
        config.add_route(route, pattern)
        config.add_view(
            view,
            route_name=route,
            request_method=method,
            permission=Permission.AUDIT_READ,
            renderer=renderer,
        )
