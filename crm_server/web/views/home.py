"""The first page after logging in: tasks, pipeline, what I saw and what changed lately, and the way to new records."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pyramid.view import view_config

from crm_server.domain.audit import queries as audit
from crm_server.domain.pipeline import queries as pipeline
from crm_server.kernel import owned
from crm_server.kernel.clock import now
from crm_server.kernel.errors import NotFound
from crm_server.kernel.listing import Condition, Sort
from crm_server.permissions import Permission
from crm_server.web import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from pyramid.request import Request

    from compliance.datamap import EntityDef

_Place = tuple["EntityDef", "UUID", "datetime"]
"""A record and when something happened to it."""
_RECENT = ("account", "contact", "lead", "opportunity", "case")
_WAITING = {
    "activity": ("open",),
    "lead": ("new", "working"),
    "opportunity": ("open",),
    "case": ("new", "open", "waiting"),
}
"""What is not done, by status."""
_SHOWN, _LATELY = 8, timedelta(days=30)


@view_config(
    route_name="home", permission=Permission.LOGGED_IN, renderer="pages/home.jinja2", request_method="GET"
)
def home(request: Request) -> dict[str, Any]:
    """The page."""
    with reading.in_one_event(request, "home"):
        tasks, seen, changed = _tasks(request), _seen(request), _changed(request)
        titles = _titles(request, [*seen, *changed])
        return {
            "tasks": tasks,
            "funnel": _funnel(request),
            "seen": _linked(request, seen, titles),
            "recent": _linked(request, changed, titles)[:_SHOWN],
            "numbers": _numbers(request),
        }


def _mine(request: Request, name: str, *fields: str) -> EntityDef | None:
    """A kind of record whose own ones the person may see, told by these fields."""
    entity: EntityDef = request.registry.datamap[name]
    sees = {"owner_id", *fields} <= reading.shown(request, entity).readable
    return entity if sees and request.ui.can("read", name) else None


def _tasks(request: Request) -> list[dict[str, Any]] | None:
    entity = _mine(request, "activity", "status", "due_at")
    if entity is None:
        return None
    return reading.rows_where(
        request,
        entity,
        Condition("owner_id", "eq", "me"),
        Condition("status", "eq", "open"),
        sort=Sort("due_at"),
        limit=8,
        fields=("title", "kind", "due_at", "priority", "contact_id", "account_id", "version", "status"),
    ).rows


def _funnel(request: Request) -> dict[str, Any] | None:
    """My open deals by stage, as bars whose widths say their sum; the currency that most deals have."""
    if not request.ui.can("read", "opportunity"):
        return None
    try:
        board = pipeline.board(request.db, request.registry.datamap, owner_id=request.actor.id, cards=0)
    except NotFound:
        return None
    columns = [column for column in board.columns if column.kind == "open"]
    totals: dict[str, int] = {}
    for column in columns:
        for code, amount in (column.sums or {}).items():
            totals[code] = totals.get(code, 0) + amount
    currency: str | None = max(totals, key=lambda one: totals[one], default=None)
    amounts = [(column.sums or {}).get(currency or "", 0) for column in columns]
    counts = [column.count for column in columns]
    scale = amounts if any(amounts) else counts
    largest = max([*scale, 1])
    return {
        "rows": [
            {
                "name": request.ui.given(column.name),
                "count": column.count,
                "amount": amount if column.sums is not None else None,
                "width": round(100 * size / largest, 1),
            }
            for column, amount, size in zip(columns, amounts, scale, strict=True)
        ],
        "currency": currency,
        "total": totals.get(currency or "", 0) if totals else None,
        "count": sum(counts),
    }


def _seen(request: Request) -> list[_Place]:
    """The records that I opened last."""
    found = []
    for number, key, at in audit.seen_lately(request.db, request.actor.id, limit=_SHOWN):
        entity = request.registry.datamap.by_number(number)
        if entity is not None and entity.exposed and request.ui.can("read", entity.name):
            found.append((entity, key, at))
    return found


def _changed(request: Request) -> list[_Place]:
    """What changed last among the records that are mine."""
    mine = [entity for name in _RECENT if (entity := _mine(request, name, "updated_at")) is not None]
    return owned.changed_since(request.db, mine, now() - _LATELY, _SHOWN)


def _titles(request: Request, places: Iterable[_Place]) -> dict[str, str]:
    """Titles of the records that the person may see, one list a kind."""
    wanted: dict[EntityDef, set[UUID]] = {}
    for entity, key, _at in places:
        wanted.setdefault(entity, set()).add(key)
    found: dict[str, str] = {}
    for entity, keys in wanted.items():
        found |= reading.titles(request, entity, keys)
    return found


def _linked(request: Request, places: Iterable[_Place], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "entity": entity,
            "title": titles[str(key)],
            "href": request.ui.record_url(entity.name, key),
            "at": at,
        }
        for entity, key, at in places
        if str(key) in titles
    ]


def _numbers(request: Request) -> list[dict[str, Any]]:
    """Figures that lead to lists: what is mine and not done."""
    mine = [entity for name in _WAITING if (entity := _mine(request, name, "status")) is not None]
    counts = owned.count_by_status(request.db, {entity: _WAITING[entity.name] for entity in mine})
    return [
        {
            "policy": entity.policy,
            "count": count,
            "href": f"/{entity.policy.collection}?{_query(entity.name)}",
        }
        for entity, count in counts.items()
    ]


def _query(name: str) -> str:
    """The address of the list behind a figure."""
    states = _WAITING[name]
    word = "eq" if len(states) == 1 else "in"
    return f"filter[owner_id][eq]=me&filter[status][{word}]={','.join(states)}"
