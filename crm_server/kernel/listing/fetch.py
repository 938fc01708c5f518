# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Lists and single reads: one statement, one round trip, with its audit event."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.audit.events import salted
from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery, NotFound
from crm_server.kernel.listing.asking import array
from crm_server.kernel.listing.operators import Reader, Values, parameter_type, utc_now
from crm_server.kernel.listing.pages import Walk
from crm_server.kernel.listing.pieces import Pieces
from crm_server.kernel.listing.query import COUNT_CAP, MAX_LIMIT, ListQuery, Page
from crm_server.kernel.listing.rules import listed
from crm_server.kernel.listing.running import run
from crm_server.kernel.listing.scope import CustomColumns, no_custom, sql_name, table_name
from crm_server.kernel.listing.sealed import SealedPart, match, plan
from crm_server.kernel.listing.selection import Selection, select_fields
from crm_server.kernel.listing.statement import count_column
from crm_server.kernel.listing.telling import Gathered, Reading, of_list, of_one, subject_column
from crm_server.kernel.listing.where import WhereCompiler, check_text
from crm_server.kernel.opening import UNREADABLE, Opener, keys_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot
    from crm_server.kernel.listing.telling import Places

_MOST_TEXTS = 2000
_texts: dict[Any, str] = {}


def fetch(
    source: Hot | Session | Connection,
    datamap: DataMap,
    entity: EntityDef,
    query: ListQuery,
    actor: Actor,
    *,
    custom: CustomColumns = no_custom,
    gathered: Gathered | None = None,
) -> Page:
    """Read a page of a list, and record which records were read by whom.

    Args:
        source: `request.registry.hot` (quickest; a transaction of its own), or a session or connection to read
            within its transaction.
        datamap: The data map.
        entity: What is listed.
        query: Filter, sort, page.
        actor: Who reads; hidden fields are left out, masked ones masked. The permission to read the entity is
            the caller's to check.
        custom: Where custom fields are known.
        gathered: Takes what was read, for one event of several lists that the caller writes; else this list writes
            its own.

    Raises:
        BadQuery: a field, operator, value or cursor that does not fit, naming the parameter.
    """
    if not 1 <= query.limit <= MAX_LIMIT:
        raise BadQuery("limit", _("A number from 1 to ${n} is expected here.", mapping={"n": MAX_LIMIT}))
    reader = Reader(actor, utc_now())
    selection = select_fields(datamap, entity, query.fields, query.includes, actor, custom)
    part = plan(source, entity, query, reader, custom, selection.shown)
    way = part.way
    values = Values()
    where = WhereCompiler(datamap, custom, reader, values, source)
    conditions = _conditions(entity, query, where, part)
    # The rows of a page in pieces are named by key.
    table = table_name(entity) if part.in_pieces else listed(source, entity, actor, deleted=query.deleted)
    pieces = Pieces(part, conditions, values) if part.in_pieces else None
    ids = None if pieces is None else pieces.page()
    counted = pieces.count() if pieces is not None and part.uncountable and query.count == "exact" else None
    bound = way.bind(values) if ids is None else (values.add("uuid[]", array(ids)),)
    # After the conditions, which refuse what could not be written down.
    told = None if gathered is not None else _listed(source, actor, query, way).places(values, source)
    key = (
        selection, table, conditions, way.shape, query.limit, query.count, ids is None, counted is None, bound,
        told and told.shape,
    )  # fmt: skip
    text = _texts.get(key)
    if text is None:
        count = query.count == "exact" and counted is None
        text = _list_text(
            entity, table, query, way, selection, conditions, bound, told, count=count, named=ids is not None
        )
        _keep(key, text)
    opener = Opener(keys_for(source)) if selection.seals else None
    rows = run(source, text, values, actor)
    if gathered is not None:
        gathered.add(entity, rows[: query.limit], -2 if query.count == "exact" and counted is None else -1)
    more = len(rows if ids is None else ids) > query.limit
    page = _page(rows, query, way, lambda rows: selection.read(rows, opener), counted, more=more)
    if opener is not None:
        opener.raise_alarms(source, actor)
    return page if pieces is None else replace(page, percent=pieces.percent)


def read_one(  # noqa: PLR0913 - the words of one address
    source: Hot | Session | Connection,
    datamap: DataMap,
    entity: EntityDef,
    record_id: UUID,
    actor: Actor,
    *,
    fields: tuple[str, ...] | None = None,
    includes: tuple[str, ...] = (),
    deleted: bool = False,
    custom: CustomColumns = no_custom,
) -> dict[str, Any]:
    """Read one record as a list shows it, and record that it was read. Arguments as for `fetch`.

    Raises:
        NotFound: no such record, or none that the actor may see.
    """
    selection = select_fields(datamap, entity, fields, includes, actor, custom)
    values = Values()
    told = Reading(actor, "read").places(values, source)
    conditions = (f"t.id = {values.add('uuid', str(record_id))}", *_bin(entity, deleted=deleted))
    key = (selection, conditions, told.tables)
    text = _texts.get(key)
    if text is None:
        text = _keep(key, _read_text(entity, selection, conditions, told))
    opener = Opener(keys_for(source)) if selection.seals else None
    rows = run(source, text, values, actor)
    if not rows:
        raise NotFound
    found = selection.read(rows, opener)[0]
    if opener is not None:
        opener.raise_alarms(source, actor, strict=UNREADABLE in found)
    return found


def _listed(source: Hot | Session | Connection, actor: Actor, query: ListQuery, way: Walk) -> Reading:
    """The event of a list. What was searched for is personal: it goes into the payload, and not into the event."""
    reading = Reading(actor, "list")
    if query.filter is None and query.q is None:
        return reading
    commit, content = salted({"filter": terms(query.filter), "q": query.q, "sort": way.sort.field})
    body = keys_for(source).payloads.seal_alone(reading.event_id, actor.id, content)
    return replace(reading, payload=(commit, body))


def terms(node: Any) -> Any:
    """A filter as plain JSON, in the form that clients send it."""
    if node is None:
        return None
    if hasattr(node, "path"):
        return {"field": node.path, "op": node.operator, "value": node.value}
    if hasattr(node, "items"):
        return {node.kind: [terms(item) for item in node.items]}
    return {"not": terms(node.item)}


def _bin(entity: EntityDef, *, deleted: bool) -> tuple[str, ...]:
    if "deleted_at" not in entity.fields:
        return ("false",) if deleted else ()
    return (f"t.deleted_at is {'not ' if deleted else ''}null",)


def _conditions(
    entity: EntityDef, query: ListQuery, where: WhereCompiler, part: SealedPart
) -> tuple[str, ...]:
    if query.q is not None:
        check_text(query.q)
    match(part, where)
    found = [*_bin(entity, deleted=query.deleted), *part.conditions]
    if part.rest is not None:
        found.append(where.compile(part.rest, entity, "t"))
    if query.q is not None and part.plain_text:
        found.append(where.text_search(query.q, entity, "t"))
    return tuple(found)


def _keep(key: Any, text: str) -> str:
    if len(_texts) > _MOST_TEXTS:
        _texts.clear()
    _texts[key] = text
    return text


def _read_text(entity: EntityDef, selection: Selection, conditions: tuple[str, ...], told: Places) -> str:
    page = (
        f"page as materialized (select {selection.columns(entity, 'id')} from {table_name(entity)} t "
        f"where {' and '.join(conditions)})"
    )
    return f"with {', '.join((page, *of_one(entity, told, 'page')))} select {selection.outputs()} from page"


def _list_text(  # noqa: PLR0913, PLR0917 - the parts of one statement
    entity: EntityDef,
    table: str,
    query: ListQuery,
    way: Walk,
    selection: Selection,
    conditions: tuple[str, ...],
    bound: tuple[str, ...],
    told: Places | None,
    *,
    count: bool,
    named: bool,
) -> str:
    sealed = way.item.sealed
    inner = selection.columns(entity, "id", *(() if sealed else (way.item.name,)))
    if named:
        clauses = [_named_page(table, conditions, inner, bound[0])]
    else:
        clauses = way.clauses(table, query.limit, conditions, inner, bound)
    chosen = selection.outputs()
    if told is not None:
        clauses += of_list(entity, told, "page", query.limit)
    elif (subject := subject_column(entity)) is not None:
        chosen += f", page.{sql_name(subject)}::text"
    kind = "::text" if parameter_type(way.item.semantic) == "uuid" else ""
    chosen += f", {'null' if sealed else f'page.{sql_name(way.item.name)}{kind}'}, page.id::text"
    if count:
        chosen += f", {count_column(table, ' and '.join(conditions) or 'true')}"
    return f"with {', '.join(clauses)} select {chosen} from page"


def _named_page(table: str, conditions: tuple[str, ...], inner: str, ids: str) -> str:
    """The expression "page" where its rows are known by key; row rules and conditions are judged once more.

    The keys are a subselect so that their number is none of the planner's business: a plan made anew for each number
    would be thought cheaper than one that is kept, and making it costs more than running it.
    """
    chosen = " and ".join(conditions) or "true"
    return (
        f"page as materialized (select {inner} from unnest((select {ids})) with ordinality x (key, place) "
        f"join {table} t on t.id = x.key where {chosen} order by x.place)"
    )


def _page(
    rows: list[Any],
    query: ListQuery,
    way: Walk,
    read: Callable[[Sequence[Any]], list[dict[str, Any]]],
    counted: tuple[int, int] | None,
    *,
    more: bool,
) -> Page:
    total, cap = counted or (None, COUNT_CAP)
    tail = -2
    if query.count == "exact" and counted is None:
        total = rows[0][-1] if rows else (0 if way.place is None else None)
        tail = -3
    rows = rows[: query.limit]
    if way.backward:
        rows.reverse()
    following = bool(rows) and (way.backward or more)
    preceding = bool(rows) and (more if way.backward else way.place is not None)
    return Page(
        rows=read(rows),
        next_cursor=way.cursor(*rows[-1][tail:][:2], before=False) if following else None,
        previous_cursor=way.cursor(*rows[0][tail:][:2], before=True) if preceding else None,
        count=min(total, cap) if total is not None else None,
        count_capped=total is not None and total > cap,
    )


__all__ = ["fetch", "read_one", "select_fields", "terms"]
