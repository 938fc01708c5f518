"""Runs lists and single reads: one statement, one round trip, with its audit event."""

# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.orm import Session

from compliance.audit.events import canonical, commitment
from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery, NotFound
from crm_server.kernel.hot import Hot, Prepared
from crm_server.kernel.ids import new_id
from crm_server.kernel.listing import cursors
from crm_server.kernel.listing.operators import SORTABLE, Reader, Values, parameter_type, read_value, utc_now
from crm_server.kernel.listing.periods import Period
from crm_server.kernel.listing.query import COUNT_CAP, MAX_LIMIT, ListQuery, Page, Sort
from crm_server.kernel.listing.scope import (
    CUSTOM,
    CustomColumn,
    CustomColumns,
    may_follow,
    no_custom,
    reference,
    sql_name,
    table_name,
)
from crm_server.kernel.listing.statement import (
    TOTAL,
    Label,
    add_audit,
    audit_clauses,
    count_column,
    label,
    output,
)
from crm_server.kernel.listing.where import WhereCompiler, unknown_field
from crm_server.kernel.presenter import Presentation, presentation
from security.access.masks import MaskKind, mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.listing.statement import Audit

# A statement is prepared when it has been asked for this often, and at most so many are: a client that asks for ever
# new shapes must not fill the memory of the database.
_PREPARE_AFTER, _MOST_PREPARED, _MOST_KNOWN = 3, 300, 5000
_PLACE = re.compile(r"\$(\d+)")
_seen: dict[str, int] = {}
_prepared: dict[str, Prepared] = {}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the rows of an answer consist of."""

    shown: Presentation
    names: tuple[str, ...]
    labels: tuple[Label, ...]
    custom: tuple[CustomColumn, ...]
    custom_masked: frozenset[str]

    def row(self, values: Sequence[Any]) -> dict[str, Any]:
        """A row of the result as a dict, masked."""
        row = dict(zip(self.names, values, strict=False))
        if self.shown.masks:
            self.shown.masked(row)
        if self.labels or self.custom:
            offset = len(self.names)
            for item in self.labels:
                row[item.name] = item.show(values[offset])
                offset += 1
            if self.custom:
                found = values[offset] or {}
                for name in self.custom_masked & found.keys():
                    found[name] = mask(found[name], MaskKind.FULL)
                row[CUSTOM] = found
        return row


def fetch(
    source: Hot | Session | Connection,
    datamap: DataMap,
    entity: EntityDef,
    query: ListQuery,
    actor: Actor,
    *,
    custom: CustomColumns = no_custom,
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

    Raises:
        BadQuery: a field, operator, value or cursor that does not fit, naming the parameter.
    """
    if not 1 <= query.limit <= MAX_LIMIT:
        raise BadQuery("limit", _("A number from 1 to ${n} is expected here.", mapping={"n": MAX_LIMIT}))
    reader = Reader(actor, utc_now())
    selection = select_fields(datamap, entity, query.fields, query.includes, actor, custom)
    sort = query.sort or _natural(selection.shown)
    if sort.field not in selection.shown.readable or entity.fields[sort.field].semantic not in SORTABLE:
        raise unknown_field("sort", sort.field)
    place, mark = _place(entity, query, sort, reader)
    values = Values()
    audit = add_audit(values, "list", _facts(actor) | _searched(query, sort))
    where = WhereCompiler(datamap, custom, reader, values)
    text = _list_text(entity, query, sort, place, selection, where, audit)
    rows = run(source, text, values, actor)
    return _page(rows, entity, query, sort, place, mark, selection)


def read_one(
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
    audit = add_audit(values, "read", _facts(actor))
    where = WhereCompiler(datamap, custom, Reader(actor, utc_now()), values)
    conditions = [f"t.id = {values.add('uuid', str(record_id))}", *_bin(entity, deleted=deleted)]
    conditions += where.rules(entity, "t")
    clauses = [
        f"page as materialized (select {_inner(entity, selection, 'id')} from {table_name(entity)} t "
        f"where {' and '.join(conditions)})",
        *audit_clauses(audit, entity, "page", single=True),
    ]
    rules = {item.name: where.rules(item.target, "x") for item in selection.labels}
    selected = output(selection.shown, selection.names, selection.labels, rules, selection.custom)
    rows = run(source, f"with {', '.join(clauses)} select {selected} from page", values, actor)
    if not rows:
        raise NotFound
    return selection.row(rows[0])


def select_fields(
    datamap: DataMap,
    entity: EntityDef,
    fields: tuple[str, ...] | None,
    includes: tuple[str, ...],
    actor: Actor,
    custom: CustomColumns,
) -> Selection:
    """Work out which fields and labels an answer has.

    Raises:
        BadQuery: an unknown field or reference.
    """
    shown = presentation(entity, actor)
    if fields is None:
        names = tuple(shown.fields)
    else:
        for name in fields:
            if name not in shown.fields and name != CUSTOM:
                raise unknown_field("fields", name)
        wanted = {"id", "version", *fields}
        names = tuple(name for name in shown.fields if name in wanted)
    labels = []
    for name in dict.fromkeys(includes):
        item = reference(entity, name)
        target = None if item is None else may_follow(datamap, entity, item, actor)
        if item is None or target is None or name == item.name:
            raise unknown_field("include", name)
        labels.append(label(name, item, target, actor))
    columns: tuple[CustomColumn, ...] = ()
    if fields is None or CUSTOM in fields:
        levels = {
            item.name: actor.field_level(item.policy.handling.access) for item in custom(entity).values()
        }
        columns = tuple(item for item in custom(entity).values() if levels[item.name] != "hidden")
        masked = frozenset(name for name, level in levels.items() if level == "masked")
        return Selection(shown, names, tuple(labels), columns, masked)
    return Selection(shown, names, tuple(labels), columns, frozenset())


def run(source: Hot | Session | Connection, text: str, values: Values, actor: Actor) -> list[Any]:
    """Execute a statement with places $1 …: prepared if it is asked for often, else as it is."""
    if not isinstance(source, Hot):
        connection = source.connection() if isinstance(source, Session) else source
        named = {f"p{number}": item for number, item in enumerate(values.items, 1)}
        return list(connection.exec_driver_sql(_spelled(text, values), named).fetchall())
    ready = _prepared.get(text)
    if ready is None:
        if len(_seen) > _MOST_KNOWN:
            _seen.clear()
        times = _seen[text] = _seen.get(text, 0) + 1
        if times < _PREPARE_AFTER or len(_prepared) >= _MOST_PREPARED:
            named = {f"p{number}": item for number, item in enumerate(values.items, 1)}
            return source.run_once(_spelled(text, values), named, actor)
        digest = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        ready = _prepared[text] = Prepared(f"list_{digest}", text, tuple(values.types))
    return source.run(ready, values.items, actor)


def _spelled(text: str, values: Values) -> str:
    """The statement with named places and casts, as psycopg2 takes it."""
    return _PLACE.sub(
        lambda found: f"%(p{found[1]})s::{values.types[int(found[1]) - 1]}", text.replace("%", "%%")
    )


def _facts(actor: Actor) -> dict[str, Any]:
    return {
        "event_id": str(new_id()),
        "actor_ref": str(actor.id),
        "auth_method": actor.auth_method,
        "session_ref": str(actor.session_ref) if actor.session_ref else None,
        "request_id": str(actor.request_id) if actor.request_id else None,
        "origin": actor.origin.value,
        "purpose": actor.purpose,
        "meta": "{}",
    }


def _searched(query: ListQuery, sort: Sort) -> dict[str, Any]:
    """What was searched for is personal: it goes into the payload of the event, and not into the event."""
    if query.filter is None and query.q is None:
        return {}
    salt = os.urandom(32)
    body = canonical({"filter": terms(query.filter), "q": query.q, "sort": sort.field})
    return {"payload_commit": commitment(salt, body), "payload_body": salt + body}


def terms(node: Any) -> Any:
    """A filter as plain JSON, in the form that clients send it."""
    if node is None:
        return None
    if hasattr(node, "path"):
        return {"field": node.path, "op": node.operator, "value": node.value}
    if hasattr(node, "items"):
        return {node.kind: [terms(item) for item in node.items]}
    return {"not": terms(node.item)}


def _natural(shown: Presentation) -> Sort:
    return (
        Sort("created_at", descending=True) if "created_at" in shown.readable else Sort("id", descending=True)
    )


def _bin(entity: EntityDef, *, deleted: bool) -> list[str]:
    if "deleted_at" not in entity.fields:
        return ["false"] if deleted else []
    return [f"t.deleted_at is {'not ' if deleted else ''}null"]


def _place(
    entity: EntityDef, query: ListQuery, sort: Sort, reader: Reader
) -> tuple[cursors.Place | None, str]:
    mark = cursors.list_mark(entity.name, sort.field, descending=sort.descending, deleted=query.deleted)
    if query.cursor is None:
        return None, mark
    try:
        place = cursors.decode(query.cursor, mark)
    except cursors.BadCursorError:
        raise BadQuery("cursor", _("This cursor does not belong to this list.")) from None
    if place.value is None:
        if entity.fields[sort.field].column.nullable:
            return place, mark
        raise BadQuery("cursor", _("This cursor does not belong to this list."))
    return cursors.Place(_sort_value(entity, sort, place.value, reader), place.key, place.backward), mark


def _sort_value(entity: EntityDef, sort: Sort, value: Any, reader: Reader) -> Any:
    """The sort value of a cursor in the type of its field; a forged one is refused."""
    policy = entity.fields[sort.field].policy
    if parameter_type(policy.semantic) != "text":
        value = read_value(policy, value, reader, "cursor")
        fits = not isinstance(value, Period)
    else:
        fits = isinstance(value, str) and "\x00" not in value and value.isprintable()
    if not fits:
        raise BadQuery("cursor", _("This cursor does not belong to this list."))
    return value


def _inner(entity: EntityDef, selection: Selection, *more: str) -> str:
    """The columns that the page carries: those shown, those that labels need, and those that the event needs."""
    wanted = [*selection.names, *more, *(item.field.name for item in selection.labels)]
    subject = entity.policy.subject
    if subject is not None and subject in entity.fields:
        wanted.append(subject)
    return ", ".join(f"t.{sql_name(name)}" for name in dict.fromkeys(wanted))


def _list_text(
    entity: EntityDef,
    query: ListQuery,
    sort: Sort,
    place: cursors.Place | None,
    selection: Selection,
    where: WhereCompiler,
    audit: Audit,
) -> str:
    conditions = [*_bin(entity, deleted=query.deleted), *where.rules(entity, "t")]
    if query.filter is not None:
        conditions.append(where.compile(query.filter, entity, "t"))
    if query.q is not None:
        if not 1 <= len(query.q.strip()) <= 200:
            raise BadQuery("q", _("A text of 1 to 200 characters is expected here."))
        conditions.append(where.text_search(query.q.strip(), entity, "t"))
    inner = _inner(entity, selection, "id", sort.field)
    clauses = _page_clauses(entity, query.limit, sort, place, where.values, conditions, inner)
    clauses.append(f"returned as (select * from page limit {query.limit})")
    clauses += audit_clauses(audit, entity, "returned", single=False)
    rules = {item.name: where.rules(item.target, "x") for item in selection.labels}
    selected = output(selection.shown, selection.names, selection.labels, rules, selection.custom)
    kind = "::text" if parameter_type(entity.fields[sort.field].semantic) == "uuid" else ""
    selected += f", page.{sql_name(sort.field)}{kind}, page.id::text"
    if query.count == "exact":
        selected += f", {count_column(entity, ' and '.join(conditions) or 'true')}"
    return f"with {', '.join(clauses)} select {selected} from page"


def _page_clauses(
    entity: EntityDef,
    limit: int,
    sort: Sort,
    place: cursors.Place | None,
    values: Values,
    conditions: list[str],
    inner: str,
) -> list[str]:
    """The expression "page": up to one row more than the limit, in the order of reading.

    Where the field may be empty, the list has two regions, filled ones first. Each is walked in index order of its
    own, and the second only if the first did not fill the page; so no page pays for those before it.
    """
    item = entity.fields[sort.field]
    backward = place is not None and place.backward
    downward = sort.descending is not backward
    direction, symbol = ("desc", "<") if downward else ("asc", ">")
    column = f"t.{sql_name(sort.field)}"
    key = column == 't."id"'
    order = f"{column} {direction}" + ("" if key else f", t.id {direction}")

    def region(more: list[str], count: str) -> str:
        chosen = " and ".join([*conditions, *more]) or "true"
        return f"select {inner} from {table_name(entity)} t where {chosen} order by {order} limit {count}"

    def after(*, filled: bool) -> list[str]:
        if place is None:
            return []
        if key or not filled:
            return [f"t.id {symbol} {values.add('uuid', place.key)}"]
        kind = parameter_type(item.semantic)
        return [
            f"({column}, t.id) {symbol} ({values.add(kind, place.value)}, {values.add('uuid', place.key)})"
        ]

    if not item.column.nullable:
        return [f"page as materialized ({region(after(filled=True), str(limit + 1))})"]
    regions = (False, True) if backward else (True, False)
    if place is not None and (place.value is not None) is regions[1]:
        regions = regions[1:]
    tests = {True: f"{column} is not null", False: f"{column} is null"}
    first = region([tests[regions[0]], *after(filled=regions[0])], str(limit + 1))
    if len(regions) == 1:
        return [f"page as materialized ({first})"]
    rest = region([tests[regions[1]]], f"greatest({limit + 1} - (select count(*) from first_region), 0)")
    return [
        f"first_region as materialized ({first})",
        f"page as materialized (select * from first_region union all (select * from ({rest}) more))",
    ]


def _page(
    rows: list[Any],
    entity: EntityDef,
    query: ListQuery,
    sort: Sort,
    place: cursors.Place | None,
    mark: str,
    selection: Selection,
) -> Page:
    counted = query.count == "exact"
    total = (rows[0][-1] if rows else (0 if place is None else None)) if counted else None
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    backward = place is not None and place.backward
    if backward:
        rows.reverse()
    tail = -3 if counted else -2

    def mark_of(row: Any, *, before: bool) -> str:
        return cursors.encode(cursors.Place(row[tail], row[tail + 1], before), mark)

    following = bool(rows) and (backward or more)
    preceding = bool(rows) and (more if backward else place is not None)
    return Page(
        rows=[selection.row(row) for row in rows],
        next_cursor=mark_of(rows[-1], before=False) if following else None,
        previous_cursor=mark_of(rows[0], before=True) if preceding else None,
        count=min(total, COUNT_CAP) if total is not None else None,
        count_capped=total is not None and total > COUNT_CAP,
    )


__all__ = ["TOTAL", "Selection", "fetch", "read_one", "run", "select_fields"]
