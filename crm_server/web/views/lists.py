"""Lists of records: columns, filters as chips, sort, pages, selection of rows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from crm_server.kernel.errors import AppError, BadQuery
from crm_server.kernel.listing import ListQuery, parse_parameters
from crm_server.kernel.values import Rejected
from crm_server.permissions import Action
from crm_server.services import records
from crm_server.web import filters, flash, forms, reading, saved, tables
from crm_server.web.layouts import FRAME

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef

_FILTER = re.compile(r"filter\[([a-z0-9_.]{1,150})\](?:\[([a-z_]{2,20})\])?")
_OWN = frozenset({"columns", "view", "edit_filter"})
"""Parameters that only the page knows."""
PAGE = 25


class State:
    """What the address of a list says, and addresses that say something else."""

    def __init__(self, request: Request, entity: EntityDef) -> None:
        self.request = request
        self.entity = entity
        self.path = f"/{entity.policy.collection}"
        self.pairs = [(name, value) for name, value in request.GET.items() if value or name == "q"]

    @property
    def query(self) -> ListQuery:
        """The list as the listing layer takes it."""
        pairs = [
            (name, value) for name, value in self.pairs if name not in _OWN and (name, value) != ("q", "")
        ]
        query = parse_parameters(pairs)
        return replace(query, limit=PAGE, deleted=False, count="exact")

    def get(self, name: str) -> str | None:
        """A parameter."""
        return dict(self.pairs).get(name)

    def address(self, drop: tuple[str, ...] = (), without: int | None = None, **more: str | None) -> str:
        """The address of this list with some parameters changed; it always starts at the first page."""
        gone = {*drop, "cursor", "edit_filter", *more}
        pairs = [pair for place, pair in enumerate(self.pairs) if pair[0] not in gone and place != without]
        pairs += [(name, value) for name, value in more.items() if value is not None]
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    def conditions(self) -> list[tuple[int, str, str, str]]:
        """Place, field, operator and value of each filter in the address."""
        found = []
        for place, (name, value) in enumerate(self.pairs):
            match = _FILTER.fullmatch(name)
            if match:
                found.append((place, match[1], match[2] or "eq", value))
        return found


def column_names(request: Request, entity: EntityDef, state: State) -> list[str]:
    """The columns chosen in the address, else those of the declaration."""
    wanted = state.get("columns")
    visible = reading.shown(request, entity)
    names = wanted.split(",") if wanted else list(entity.policy.list_fields)
    custom = reading.custom_columns(request)(entity)
    known = [name for name in names if name in visible.fields or name.removeprefix("custom.") in custom]
    title = entity.policy.title
    if title in visible.fields and title not in known:
        known.insert(0, title)
    return known


@view_config(route_name="list", permission=Action.READ, renderer="pages/list.jinja2", request_method="GET")
@view_config(
    route_name="tag_list", permission=Action.READ, renderer="pages/list.jinja2", request_method="GET"
)
@view_config(
    route_name="pipeline_list", permission=Action.READ, renderer="pages/list.jinja2", request_method="GET"
)
def show(request: Request) -> dict[str, Any]:
    """A list."""
    entity: EntityDef = request.context.entity
    state = State(request, entity)
    ui = request.ui
    names = column_names(request, entity, state)
    problem = None
    query = ListQuery(limit=PAGE)
    try:
        query = state.query
        wanted = tuple(name for name in names if not name.startswith("custom."))
        money = tuple(
            currency
            for name in wanted
            if (currency := entity.fields[name].policy.currency_field) and currency in entity.fields
        )
        fields = (*wanted, *money) + (("custom",) if len(wanted) < len(names) else ())
        query = replace(query, fields=fields, includes=reading.includes(request, entity, wanted))
        page = reading.page_of(request, entity, query)
    except BadQuery as error:
        # An old link or a typing error in the address: say so, and show the list without it.
        problem = error.detail or error.title
        query = ListQuery(limit=PAGE, includes=reading.includes(request, entity, names), count="exact")
        page = reading.page_of(request, entity, query)
    columns = tables.columns(request, entity, names, query.sort, lambda sort: state.address(sort=sort))
    custom = reading.custom_columns(request)(entity)
    known = {one.name: one for one in filters.filterable(request, entity)}
    chips = [
        filters.Chip(filters.describe(request, known[field], operator, value), state.address(without=place))
        for place, field, operator, value in state.conditions()
        if field in known
    ]
    with reading.in_one_event(request, "choices"):
        owners: list[tuple[str, str]] = []
        if "owner_id" in entity.fields and ui.can("update", entity.name):
            owners = reading.options(request, request.registry.datamap["user"])
        tags = reading.options(request, request.registry.datamap["tag"])
    return {
        "entity": entity,
        "policy": entity.policy,
        "state": state,
        "columns": columns,
        "rows": [(row, tables.cells(ui, entity, columns, row, custom)) for row in page.rows],
        "page": page,
        "problem": problem,
        "chips": chips,
        "q": query.q or "",
        "hidden": [
            (name, value) for name, value in state.pairs if name not in {"q", "cursor", "edit_filter"}
        ],
        "fields": list(known.values()),
        "views": saved.menu(request, entity, state),
        "all_columns": _all_columns(request, entity, names),
        "owners": owners,
        "tags": tags,
        "next": state.address(cursor=page.next_cursor) if page.next_cursor else None,
        "previous": state.address(cursor=page.previous_cursor) if page.previous_cursor else None,
    }


def _all_columns(request: Request, entity: EntityDef, names: list[str]) -> list[tuple[str, Any, bool]]:
    """Every column that could be shown: name, label, whether it is; those shown first, in their order."""
    visible = reading.shown(request, entity)
    labels = {
        name: item.policy.label
        for name, item in visible.fields.items()
        if item.semantic in forms.FORM_TYPES
        and name not in {"deleted_at", "deleted_by", "subject_id", "created_by", "updated_by"}
    }
    labels |= {
        f"custom.{name}": column.policy.label
        for name, column in reading.custom_columns(request)(entity).items()
    }
    ordered = [name for name in names if name in labels]
    ordered += [name for name in labels if name not in ordered and name not in FRAME]
    ordered += [name for name in ("created_at", "updated_at") if name in labels and name not in ordered]
    return [(name, labels[name], name in names) for name in ordered]


@view_config(route_name="list_filter", permission=Action.READ, request_method="GET")
def apply_filter(request: Request) -> HTTPSeeOther:
    """Turn the filter form into an address of the list; also the choice of columns."""
    entity: EntityDef = request.context.entity
    known = {one.name: one for one in filters.filterable(request, entity)}
    pairs = [
        (name, value)
        for name, value in request.GET.items()
        if value and name not in {"ff", "fo", "fv", "fv.text", "column", "cursor"}
    ]
    for field, operator, value in zip(
        request.GET.getall("ff"), request.GET.getall("fo"), _values(request), strict=False
    ):
        if field not in known:
            continue
        try:
            found = filters.parameter(request.ui, known[field], operator, value)
        except Rejected:
            # The list itself says what does not fit.
            found = (f"filter[{field}][{operator}]", value)
        if found is not None and found not in pairs:
            pairs.append(found)
    columns = request.GET.getall("column")
    if columns:
        pairs = [pair for pair in pairs if pair[0] != "columns"] + [("columns", ",".join(columns))]
    query = f"?{urlencode(pairs)}" if pairs else ""
    return HTTPSeeOther(f"/{entity.policy.collection}{query}")


def _values(request: Request) -> list[str]:
    """The typed values, one for each field: comparisons without a value send an empty one."""
    return list(request.GET.getall("fv"))


@view_config(
    route_name="list_filter_row",
    permission=Action.READ,
    renderer="parts/filter_row.jinja2",
    request_method="GET",
)
def filter_row(request: Request) -> dict[str, Any]:
    """One row of the filter form, for the field and the comparison chosen in it."""
    entity: EntityDef = request.context.entity
    fields = filters.filterable(request, entity)
    by_name = {one.name: one for one in fields}
    chosen = by_name.get(request.GET.get("ff", ""), fields[0])
    offered = filters.operators(chosen.policy)
    operator = request.GET.get("fo", "")
    if operator not in dict(offered):
        operator = offered[0][0]
    return {
        "entity": entity,
        "fields": fields,
        "chosen": chosen,
        "operators": offered,
        "operator": operator,
        "control": filters.value_control(request, chosen, operator),
        "number": request.GET.get("number", "1")[:4],
    }


@view_config(route_name="list_bulk", permission=Action.READ, request_method="POST")
def bulk(request: Request) -> HTTPSeeOther:
    """Do something with all chosen rows; each is judged on its own."""
    entity: EntityDef = request.context.entity
    keys = request.POST.getall("id")[:200]
    back = HTTPSeeOther(_back(request, f"/{entity.policy.collection}"))
    if not keys:
        flash.add(request, "none_chosen")
        return back
    act = request.POST.get("act", "")
    done, failed = _bulk(request, entity, act, keys)
    code = {"delete": "deleted_many", "owner": "owner_many", "tag": "tagged_many"}.get(act)
    if done and code:
        flash.add(request, code, n=done)
    if failed:
        flash.add(request, "some_failed", n=failed)
    return back


def _bulk(request: Request, entity: EntityDef, act: str, keys: list[str]) -> tuple[int, int]:
    from uuid import UUID

    service = records(request.db, entity.name)
    done = failed = 0
    for text in keys:
        try:
            key = UUID(text)
            if act == "delete":
                service.delete(key)
            elif act == "owner":
                record = service.get(key)
                service.update(key, {"owner_id": request.POST.get("owner") or None}, version=record.version)
            elif act == "tag":
                saved.tag(request, entity, key, request.POST.get("tag", ""))
            else:
                failed += 1
                continue
            done += 1
        except (AppError, ValueError):
            failed += 1
    return done, failed


def _back(request: Request, default: str) -> str:
    """Where the person came from, as far as it is a path of ours."""
    wanted = str(request.POST.get("back", ""))
    return (
        wanted if wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted else default
    )
