# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Lists by what PostgreSQL can't read: conditions on sealed fields, their order, and records that fit a text best.

The search service answers ids and PostgreSQL decides which of them the actor may see. A condition that few records
fulfil becomes a set of ids in the statement. For the rest the page is looked for in pieces: whoever knows the order
(the service for a sealed field, PostgreSQL for a plain one) gives the next ids, the other one says which of them
belong to the list, until the page is full. Where hardly any belong, because the actor sees few records, PostgreSQL
names those it sees instead and the service puts them in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.datamap import Search
from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing import cursors
from crm_server.kernel.listing.asking import (
    MOST_IDS,
    array,
    as_tree,
    client_for,
    counted,
    finding_fields,
    held,
    needed,
    wholly_sealed,
)
from crm_server.kernel.listing.exact import by_blind_index
from crm_server.kernel.listing.operators import Values, parameter_type
from crm_server.kernel.listing.pages import Walk
from crm_server.kernel.listing.query import COUNT_CAP, Filter, Group, Sort
from crm_server.kernel.listing.running import run
from crm_server.kernel.listing.scope import sql_name, table_name
from crm_server.search.client import SearchLoading, SearchUnavailable
from crm_server.search.protocol import Every, Find, Keep, Match, Rank, Tree, Words
from crm_server.search.protocol import Walk as WalkRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot
    from crm_server.kernel.listing.query import ListQuery
    from crm_server.kernel.listing.where import WhereCompiler
    from crm_server.search.client import SearchClient

FEW = 20_000
"""Who sees at most so many records has them named by PostgreSQL and put in order by the service."""
_FIRST, _LARGEST, _WALKED = 200, 20_000, 3_000
_RELEVANCE = "relevance"
_HITS = (300, 3_000, 10_000)


@dataclass(slots=True)
class SealedPart:
    """What of one list the search service has to answer.

    Attributes:
        conditions: SQL for conditions that few records fulfil.
        rest: The part of the filter that PostgreSQL judges.
        tree: Conditions that more than `MOST_IDS` records fulfil.
        ranked: The order is how well records fit the text.
        plain_text: The text is looked for by PostgreSQL.
        narrow: Row rules let few records through.
    """

    source: Hot | Session | Connection
    entity: EntityDef
    query: ListQuery
    actor: Actor
    conditions: list[str] = field(default_factory=list)
    rest: Filter | None = None
    tree: Tree | None = None
    ranked: bool = False
    plain_text: bool = False
    narrow: bool = False

    @property
    def client(self) -> SearchClient:
        """Who is asked."""
        return needed(client_for(self.source))

    @property
    def uncountable(self) -> bool:
        """Whether no statement can count the records of the list."""
        return self.ranked or self.tree is not None

    def pieces(self, way: Walk) -> bool:
        """Whether the page has to be looked for in pieces."""
        return self.ranked or way.item.sealed or self.tree is not None


def plan(source: Hot | Session | Connection, entity: EntityDef, query: ListQuery, actor: Actor) -> SealedPart:
    """Divide a list between PostgreSQL and the search service."""
    part = SealedPart(source, entity, query, actor, rest=query.filter)
    if query.q is not None:
        part.plain_text = not (held(entity) and _answers(source, entity))
        part.ranked = not part.plain_text and query.sort is None
    return part


def _answers(source: Hot | Session | Connection, entity: EntityDef) -> bool:
    """Whether the service is asked for a text. Where all fields are plain, PostgreSQL can do without it.

    Raises:
        SearchUnavailable: it is needed and does not answer.
    """
    client = client_for(source)
    if any(item.sealed and item.policy.search is not Search.NONE for item in entity.fields.values()):
        state = needed(client).state()
        if not state.complete:
            raise SearchLoading(state.percent)
        return True
    try:
        return client is not None and client.state().complete
    except SearchUnavailable:
        return False


def match(part: SealedPart, where: WhereCompiler) -> None:
    """Ask for the sealed conditions that all records of the list fulfil: as a set of ids, or as a tree for later."""
    query, entity = part.query, part.entity
    trees: list[Tree] = []
    asked: list[Filter] = []
    node = query.filter
    if node is not None:
        alone = not (isinstance(node, Group) and node.kind == "and")
        items: tuple[Filter, ...] = (node,) if alone or not isinstance(node, Group) else node.items
        kept = []
        for index, item in enumerate(items):
            if wholly_sealed(item, entity):
                at = "filter" if alone else f"filter/and/{index}"
                where.check_readable(item, entity, at)
                trees.append(as_tree(item, entity, where.reader, at))
                asked.append(item)
            else:
                kept.append(item)
        part.rest = None if not kept else kept[0] if len(kept) == 1 else Group("and", tuple(kept))
    if query.q is not None and not part.plain_text and not part.ranked:
        fields = finding_fields(entity, part.actor)
        if not fields:
            part.conditions.append("false")
            return
        trees.append(Words(query.q, fields))
    if not trees:
        return
    tree = trees[0] if len(trees) == 1 else Every(tuple(trees))
    try:
        found = part.client.match(
            Match(entity.number, tree, MOST_IDS, query.deleted, counted(entity, part.actor))
        )
    except SearchUnavailable:
        sets = by_blind_index(part.source, entity, asked) if len(asked) == len(trees) else None
        if sets is None:
            raise
        part.conditions += [f"t.id = any({where.values.add('uuid[]', array(ids))})" for ids in sets]
        return
    if found.more:
        part.tree = tree
    else:
        part.conditions.append(f"t.id = any({where.values.add('uuid[]', array(found.ids))})")


def ranked_way(entity: EntityDef, query: ListQuery) -> Walk:
    """The way through a list in the order of how well records fit.

    Raises:
        BadQuery: a cursor of another list.
    """
    mark = cursors.list_mark(entity.name, _RELEVANCE, descending=False, deleted=query.deleted)
    place = None
    if query.cursor is not None:
        try:
            place = cursors.decode(query.cursor, mark)
        except cursors.BadCursorError:
            raise BadQuery("cursor", _("This cursor does not belong to this list.")) from None
    return Walk(Sort("id"), entity.fields["id"], place, mark)


class Pieces:
    """Finds the ids of one page, in the order of reading (upwards when the page lies before its cursor)."""

    def __init__(self, part: SealedPart, way: Walk, conditions: tuple[str, ...], values: Values) -> None:
        self._part, self._way, self._conditions, self._values = part, way, conditions, values
        self._wanted = part.query.limit + 1

    def page(self) -> list[str]:
        """Up to one id more than the page has rows."""
        if self._part.ranked:
            return self._ranked()
        return self._sealed_order() if self._way.item.sealed else self._plain_order()

    # Which of them belong to the list

    def _run(self, text: str, *more: tuple[str, Any]) -> list[Any]:
        values = Values(list(self._values.types), list(self._values.items))
        places = [values.add(kind, value) for kind, value in more]
        return run(self._part.source, text.format(*places), values, self._part.actor)

    def _visible(self, ids: list[str]) -> list[str]:
        """Those of the ids that the conditions and row rules of the list let through, in their order."""
        if not ids:
            return []
        where = " and ".join([*self._conditions, "t.id = any({0})"])
        rows = self._run(
            f"select t.id::text from {table_name(self._part.entity)} t where {where}", ("uuid[]", array(ids))
        )
        known = {row[0] for row in rows}
        return [key for key in ids if key in known]

    def _few(self) -> list[str] | None:
        """All ids of the list, if they are few."""
        where = " and ".join(self._conditions) or "true"
        rows = self._run(
            f"select t.id::text from {table_name(self._part.entity)} t where {where} limit {FEW + 1}"
        )
        return None if len(rows) > FEW else [row[0] for row in rows]

    def _kept(self, ids: list[str]) -> list[str]:
        tree = self._part.tree
        if tree is None or not ids:
            return ids
        return texts(self._part.client.keep(Keep(self._part.entity.number, tree, binary(ids))).ids)

    # The order of a sealed field

    def _sealed_order(self) -> list[str]:
        part, way = self._part, self._way
        start = None if way.place is None else UUID(way.place.key).bytes
        if part.conditions or part.narrow:
            few = self._few()
            if few is not None:
                return self._ordered(self._kept(few), start)
        found: list[str] = []
        after, count, walked, tried = start, max(_FIRST, 2 * self._wanted), 0, False
        while True:
            piece = part.client.walk(
                WalkRequest(
                    part.entity.number, way.item.number, way.sort.descending, count, part.query.deleted, after,
                    way.backward, part.tree,
                )
            )  # fmt: skip
            ids = texts(piece.ids)
            found += self._visible(ids)
            walked += len(ids)
            if len(found) >= self._wanted or not piece.more:
                return found[: self._wanted]
            after = UUID(ids[-1]).bytes
            if not tried and walked >= _WALKED:
                tried = True
                few = self._few()
                if few is not None:
                    return self._ordered(self._kept(few), start)
            count = min(_LARGEST, max(count * 2, walked * self._wanted // max(len(found), 1)))

    def _ordered(self, ids: list[str], start: bytes | None) -> list[str]:
        way = self._way
        found = self._part.client.walk(
            Rank(
                self._part.entity.number, way.item.number, way.sort.descending, self._wanted, binary(ids), start,
                way.backward,
            )
        )  # fmt: skip
        return texts(found.ids)

    # The order of a plain field, with a condition that many records fulfil

    def _plain_order(self) -> list[str]:
        found: list[str] = []
        for ids in self._plain_pieces(self._way):
            found += self._kept(ids)
            if len(found) >= self._wanted:
                break
        return found[: self._wanted]

    def _plain_pieces(self, way: Walk) -> Iterator[list[str]]:
        count = max(_FIRST, 2 * self._wanted)
        name = sql_name(way.item.name)
        kind = "::text" if parameter_type(way.item.semantic) == "uuid" else ""
        columns = "t.id" if way.item.name == "id" else f"t.id, t.{name}"
        while True:
            values = Values(list(self._values.types), list(self._values.items))
            bound = way.bind(values)
            clauses = way.clauses(self._part.entity, count, self._conditions, columns, bound)
            rows = run(
                self._part.source,
                f"with {', '.join(clauses)} select page.id::text, page.{name}{kind} from page",
                values,
                self._part.actor,
            )
            yield [row[0] for row in rows]
            if len(rows) <= count:
                return
            way = replace(way, place=cursors.Place(rows[-1][1], rows[-1][0], way.backward))
            count = min(_LARGEST, count * 3)

    # The order of how well records fit

    def _ranked(self) -> list[str]:
        part = self._part
        if not finding_fields(part.entity, part.actor):
            return []
        found: list[str] = []
        for number in _HITS:
            ids, more = self._hits(number, None)
            found = self._after(self._visible(self._kept(ids)))
            if len(found) >= self._wanted or not more:
                return found[: self._wanted]
            if number == _HITS[0] and len(found) * 10 < self._wanted:
                few = self._few()
                if few is not None:
                    return self._after(self._hits(FEW, self._kept(few))[0])[: self._wanted]
        return found[: self._wanted]

    def _hits(self, number: int, within: list[str] | None) -> tuple[list[str], bool]:
        part = self._part
        assert part.query.q is not None  # noqa: S101 - only a text is ranked
        found = part.client.find(
            Find(
                part.query.q,
                {part.entity.number: finding_fields(part.entity, part.actor)},
                number,
                part.query.deleted,
                None if within is None else binary(within),
                counted(part.entity, part.actor),
            )
        )
        return [str(UUID(bytes=hit.id)) for hit in found.hits], found.more

    def _after(self, ids: list[str]) -> list[str]:
        place = self._way.place
        if place is None:
            return ids
        if place.key not in ids:
            raise BadQuery(
                "cursor",
                _("The record at which this page begins is not there any more. Start from the first page."),
            )
        at = ids.index(place.key)
        return ids[:at][::-1] if place.backward else ids[at + 1 :]

    def count(self) -> int:
        """How many records the list has, at most one more than `COUNT_CAP`, where no statement can count them."""
        part = self._part
        if part.ranked:
            hits, _more = self._hits(COUNT_CAP + 1, None)
            return len(self._visible(self._kept(hits)))
        few = self._few()
        if few is not None:
            return len(self._kept(few))
        total = 0
        for ids in self._plain_pieces(Walk(Sort("id"), part.entity.fields["id"], None, "")):
            total += len(self._kept(ids))
            if total > COUNT_CAP:
                return COUNT_CAP + 1
        return total


def binary(ids: Iterable[str]) -> bytes:
    """Ids as the service takes them."""
    return b"".join(UUID(key).bytes for key in ids)


def texts(ids: bytes) -> list[str]:
    """Ids as PostgreSQL writes them."""
    return [str(UUID(bytes=ids[at : at + 16])) for at in range(0, len(ids), 16)]
