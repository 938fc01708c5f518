"""The first page after logging in: tasks, pipeline, what I saw and what changed lately, and the way to new records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.view import view_config

from crm_server.domain.audit import queries as audit
from crm_server.domain.pipeline import queries as pipeline
from crm_server.kernel.errors import NotFound
from crm_server.kernel.listing import Condition, Sort
from crm_server.permissions import Permission
from crm_server.web import reading

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef

_RECENT = ("account", "contact", "lead", "opportunity", "case")
_SHOWN = 8


@view_config(
    route_name="home", permission=Permission.LOGGED_IN, renderer="pages/home.jinja2", request_method="GET"
)
def home(request: Request) -> dict[str, Any]:
    """The page."""
    return {
        "tasks": _tasks(request),
        "funnel": _funnel(request),
        "seen": _seen(request),
        "recent": _recent(request),
        "numbers": _numbers(request),
    }


def _mine(request: Request, name: str) -> Any:
    entity = request.registry.datamap[name]
    return entity if request.ui.can("read", name) else None


def _tasks(request: Request) -> list[dict[str, Any]] | None:
    entity = _mine(request, "activity")
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
        board = pipeline.board(request.db, request.registry.datamap, owner_id=request.actor.id, cards=1)
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


def _seen(request: Request) -> list[dict[str, Any]]:
    """The records that I opened last and may still see."""
    seen = audit.seen_lately(request.db, request.actor.id, limit=_SHOWN)
    titles: dict[Any, tuple[EntityDef, str]] = {}
    for number in {number for number, _key, _at in seen}:
        entity = request.registry.datamap.by_number(number)
        if entity is None or not entity.exposed or not request.ui.can("read", entity.name):
            continue
        title = entity.policy.title
        keys = [str(key) for found, key, _at in seen if found == number]
        rows = reading.rows_where(request, entity, Condition("id", "in", keys), fields=(title,)).rows
        titles |= {str(row["id"]): (entity, str(row.get(title) or "")) for row in rows}
    return [
        {
            "entity": titles[str(key)][0],
            "title": titles[str(key)][1],
            "href": request.ui.record_url(titles[str(key)][0].name, key),
            "at": at,
        }
        for _number, key, at in seen
        if str(key) in titles
    ]


def _recent(request: Request) -> list[dict[str, Any]]:
    """What changed last among the records that are mine."""
    found = []
    for name in _RECENT:
        entity = _mine(request, name)
        if entity is None:
            continue
        title = entity.policy.title
        rows = reading.rows_where(
            request,
            entity,
            Condition("owner_id", "eq", "me"),
            Condition("updated_at", "ge", "last_30_days"),
            sort=Sort("updated_at", descending=True),
            limit=5,
            fields=(title, "updated_at"),
        ).rows
        found += [
            {
                "entity": entity,
                "title": str(row.get(title) or ""),
                "href": request.ui.record_url(name, row["id"]),
                "at": row["updated_at"],
            }
            for row in rows
        ]
    return sorted(found, key=lambda one: one["at"], reverse=True)[:_SHOWN]


def _numbers(request: Request) -> list[dict[str, Any]]:
    """Figures that lead to lists."""
    wanted = (
        ("activity", (Condition("owner_id", "eq", "me"), Condition("status", "eq", "open"))),
        ("lead", (Condition("owner_id", "eq", "me"), Condition("status", "in", ["new", "working"]))),
        ("opportunity", (Condition("owner_id", "eq", "me"), Condition("status", "eq", "open"))),
        ("case", (Condition("owner_id", "eq", "me"), Condition("status", "in", ["new", "open", "waiting"]))),
    )
    found = []
    for name, conditions in wanted:
        entity = _mine(request, name)
        if entity is None:
            continue
        page = reading.rows_where(request, entity, *conditions, limit=1, fields=(), count=True)
        query = "&".join(
            f"filter[{one.path}][{one.operator}]={','.join(one.value) if isinstance(one.value, list) else one.value}"
            for one in conditions
        )
        found.append(
            {
                "policy": entity.policy,
                "count": page.count or 0,
                "href": f"/{entity.policy.collection}?{query}",
            }
        )
    return found
