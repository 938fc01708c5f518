"""Search over all kinds of records, and the options of reference pickers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery, NotAllowed
from crm_server.permissions import Permission
from crm_server.search.client import SearchUnavailable
from crm_server.search.folding import plain
from crm_server.web import reading, tables

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef

_ORDER = ("contact", "account", "lead", "opportunity", "case", "activity", "product")
_HINTS = {
    "contact": ("account_id", "email"),
    "account": ("billing_city", "billing_country"),
    "lead": ("company",),
    "opportunity": ("account_id",),
    "case": ("number",),
    "product": ("sku",),
}


def hint(request: Request, entity: EntityDef, row: dict[str, Any]) -> str:
    """What tells records of the same name apart."""
    texts = [
        tables.cell(request.ui, name, entity.fields[name].policy, row).text
        for name in _HINTS.get(entity.name, ())
        if name in row
    ]
    return " · ".join(text for text in texts if text)


def find(request: Request, entity: EntityDef, text: str, limit: int, *, count: bool = False) -> Any:
    """Records whose searchable fields hold the text; while the search service loads, those that it has."""
    visible = reading.shown(request, entity).fields
    names = tuple(name for name in (entity.policy.title, *_HINTS.get(entity.name, ())) if name in visible)
    return reading.rows_where(
        request, entity, q=text or None, limit=limit, fields=names, count=count, partial=True
    )


@view_config(
    route_name="search", permission=Permission.LOGGED_IN, renderer="pages/search.jinja2", request_method="GET"
)
def search(request: Request) -> dict[str, Any]:
    """The best hits of each kind."""
    text = request.GET.get("q", "").strip()[:200]
    groups = []
    hint_text = None
    for name in _ORDER if text else ():
        if not request.ui.can("read", name):
            continue
        entity = request.registry.datamap[name]
        try:
            page = find(request, entity, text, 6, count=True)
        except BadQuery:
            continue
        except SearchUnavailable as error:
            # What PostgreSQL finds by itself is shown all the same.
            hint_text = away(request, error)
            continue
        if page.percent < 100:
            hint_text = incomplete(request, page.percent)
        if page.rows:
            rows = [
                {
                    "title": tables.title_text(request.ui, row, entity.policy.title),
                    "hint": hint(request, entity, row),
                    "href": request.ui.record_url(name, row["id"]),
                }
                for row in page.rows
            ]
            groups.append(
                {"policy": entity.policy, "rows": rows, "count": page.count, "capped": page.count_capped}
            )
    groups.sort(key=lambda group: _fit(group["rows"], text))
    return {"search_text": text, "groups": groups, "hint": hint_text}


def away(request: Request, error: SearchUnavailable) -> str:
    """Why nothing can be looked for at the moment."""
    return str(request.ui.t(error.title)) + (f" {request.ui.t(error.detail)}" if error.detail else "")


def incomplete(request: Request, percent: int) -> str:
    """That results are not all there are."""
    return str(
        request.ui.t(
            _(
                "The search index is being loaded (${percent} %). What is shown is not complete.",
                mapping={"percent": percent},
            )
        )
    )


def _fit(rows: list[dict[str, str]], text: str) -> int:
    """How well the best title of a kind fits: the same, begins so, holds it, fits otherwise."""
    wanted, titles = plain(text), [plain(row["title"]) for row in rows]
    tests = (
        any(title == wanted for title in titles),
        any(title.startswith(wanted) for title in titles),
        any(wanted in title for title in titles),
    )
    return next((place for place, holds in enumerate(tests) if holds), len(tests))


@view_config(
    route_name="pick", permission=Permission.LOGGED_IN, renderer="parts/options.jinja2", request_method="GET"
)
def pick(request: Request) -> dict[str, Any]:
    """Records that fit what is typed into a reference picker."""
    entity: EntityDef = request.registry.datamap[request.matchdict["entity"]]
    if entity.name not in {"user", "team", "territory"} and not (
        entity.exposed and request.ui.can("read", entity.name)
    ):
        raise NotAllowed(f"crm:{entity.name}:read")
    text = request.GET.get("q", "").strip()[:200]
    title = entity.policy.title
    rows, note = [], None
    try:
        page = find(request, entity, text, 8)
    except SearchUnavailable as error:
        note = away(request, error)
    except BadQuery:
        pass
    else:
        rows, note = page.rows, incomplete(request, page.percent) if page.percent < 100 else None
    return {
        "note": note,
        "options": [
            {"id": str(row["id"]), "name": str(row.get(title) or ""), "hint": hint(request, entity, row)}
            for row in rows
        ],
    }
