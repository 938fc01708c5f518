"""Lists by what PostgreSQL can't read: conditions on sealed fields, their order, and records that fit a text best.

The search service answers ids and PostgreSQL decides which of them the actor may see. Where the service knows the order
of the list (that of a sealed field, or of creation) it gives the next ids that fulfil the sealed conditions. For other
orders a condition that few records fulfil becomes a set of ids in the statement. `pieces` looks for the page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from compliance.datamap import Search
from compliance.datamap.text import _
from crm_server.kernel import rowrules
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
from crm_server.kernel.listing.pages import Walk, walk
from crm_server.kernel.listing.query import Filter, Group, Sort
from crm_server.kernel.listing.rules import names_all, seen, sees_all
from crm_server.search.client import SearchUnavailable, Unseen
from crm_server.search.protocol import Every, Find, Hits, Ids, Keep, Match, Tree, Words
from crm_server.search.protocol import Walk as WalkRequest

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot
    from crm_server.kernel.listing.operators import Reader
    from crm_server.kernel.listing.query import ListQuery
    from crm_server.kernel.listing.scope import CustomColumns
    from crm_server.kernel.listing.where import WhereCompiler
    from crm_server.kernel.presenter import Presentation
    from crm_server.search.client import SearchClient

_RELEVANCE = "relevance"
_SLACK, _MORE = 10, 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class SealedPart:
    """What of one list the search service has to answer.

    Attributes:
        way: The order of the list.
        ranked: The order is how well records fit the text.
        plain_text: The text is looked for by PostgreSQL.
        conditions: SQL for conditions that few records fulfil.
        rest: The part of the filter that PostgreSQL judges.
        tree: Conditions on sealed fields that the service judges.
        first: The first ids of the page, where they came with the conditions.
    """

    source: Hot | Session | Connection
    entity: EntityDef
    query: ListQuery
    actor: Actor
    custom: CustomColumns
    way: Walk
    ranked: bool
    plain_text: bool
    conditions: list[str] = field(default_factory=list)
    rest: Filter | None = None
    tree: Tree | None = None
    first: Ids | None = None

    @property
    def client(self) -> SearchClient:
        """Who is asked."""
        return needed(client_for(self.source))

    @property
    def uncountable(self) -> bool:
        """Whether no statement can count the records of the list."""
        return self.ranked or self.tree is not None

    @property
    def in_pieces(self) -> bool:
        """Whether the page has to be looked for in pieces."""
        return self.ranked or self.way.item.sealed or self.tree is not None

    @property
    def followed(self) -> bool:
        """Whether the service knows the order of the list."""
        made = self.way.item.name == "created_at" and held(self.entity)
        return not self.ranked and (self.way.item.sealed or made)

    @property
    def limited(self) -> bool:
        """Whether PostgreSQL judges more than which records the actor may see."""
        return (
            self.rest is not None or bool(self.conditions) or (self.query.q is not None and self.plain_text)
        )

    @property
    def sees_all(self) -> bool:
        """Whether no row rule keeps a record of the list from the actor."""
        return not self.query.deleted and sees_all(self.entity, self.actor)

    @property
    def found_in(self) -> tuple[int, ...]:
        """Numbers of the fields that a text is looked for in."""
        return finding_fields(self.entity, self.actor, self.custom)

    @property
    def start(self) -> bytes | None:
        """The record beside which the page begins."""
        return None if self.way.place is None else UUID(self.way.place.key).bytes

    def next(self, count: int, after: bytes | None, within: bytes | None = None) -> Ids:
        """The next ids in the order of the list that fulfil its sealed conditions.

        Args:
            count: How many.
            after: The record before them.
            within: The only ids that may come; by default what the actor sees, where that is little.
        """
        way, value, first = self.way, None, after == self.start
        if first and way.place is not None and not way.item.sealed:
            value = (way.place.value - _EPOCH) // timedelta(microseconds=1)
        request = WalkRequest(
            self.entity.number, way.item.number, way.sort.descending, count, self.query.deleted, after, value,
            way.backward, self.tree, within, b"" if within is not None else self._reader(),
            counted(self.entity, self.actor) if first and self.tree is not None else b"",
        )  # fmt: skip
        try:
            return self.client.walk(request)
        except Unseen:
            return self.client.walk(msgspec.structs.replace(request, within=self.seen(), actor=b""))

    def hits(self, count: int, within: bytes | None = None) -> Hits:
        """The records that fit the text best, of those that the actor sees where that is little."""
        assert self.query.q is not None  # noqa: S101 - only a text is ranked
        request = Find(
            self.query.q, {self.entity.number: self.found_in}, count, self.query.deleted,
            within, b"" if within is not None else self._reader(), counted(self.entity, self.actor),
            self.query.partial,
        )  # fmt: skip
        try:
            return self.client.find(request)
        except Unseen:
            return self.client.find(msgspec.structs.replace(request, within=self.seen(), actor=b""))

    @property
    def names_all(self) -> bool:
        """Whether the actor sees so few records that `seen` names them."""
        return not self.query.deleted and names_all(self.source, self.entity, self.actor)

    def _reader(self) -> bytes:
        """A name for the actor and what they reach, if the service shall look among what they see alone."""
        if self.limited or not self.names_all:
            return b""
        told = f"{self.actor.id}|{self.entity.number}|{rowrules.told(self.actor)}"
        return hashlib.blake2b(told.encode(), digest_size=16).digest()

    def seen(self) -> bytes:
        """The ids of the records that the actor sees."""
        return seen(self.source, self.entity, self.actor)


def plan(
    source: Hot | Session | Connection,
    entity: EntityDef,
    query: ListQuery,
    reader: Reader,
    custom: CustomColumns,
    shown: Presentation,
) -> SealedPart:
    """Divide a list between PostgreSQL and the search service.

    Raises:
        BadQuery: a sort field that can't be used, or a cursor of another list.
    """
    plain_text = query.q is not None and not (held(entity) and _answers(source, entity))
    ranked = query.q is not None and not plain_text and query.sort is None
    way = _ranked_way(entity, query) if ranked else walk(entity, query, shown, reader, custom)
    return SealedPart(source, entity, query, reader.actor, custom, way, ranked, plain_text, rest=query.filter)


def _answers(source: Hot | Session | Connection, entity: EntityDef) -> bool:
    """Whether the service is asked for a text. Where all fields are plain, PostgreSQL can do without it."""
    if any(item.sealed and item.policy.search is not Search.NONE for item in entity.fields.values()):
        return True
    client = client_for(source)
    try:
        return client is not None and client.state().complete
    except SearchUnavailable:
        return False


def match(part: SealedPart, where: WhereCompiler) -> None:
    """Ask for the sealed conditions that all records of the list fulfil.

    They become a set of ids (`conditions`), or a tree for later; where the service knows the order, it gives the first
    ids of the page at once.
    """
    query, entity = part.query, part.entity
    trees, asked = _trees(part, where)
    if query.q is not None and not part.plain_text and not part.ranked:
        if not part.found_in:
            part.conditions.append("false")
            return
        trees.append(Words(query.q, part.found_in))
    if not trees:
        return
    part.tree = trees[0] if len(trees) == 1 else Every(tuple(trees))
    try:
        if part.followed and not part.limited:
            part.first = part.next(first_count(part), part.start)
            return
        if part.names_all:
            found = part.client.keep(Keep(entity.number, part.tree, part.seen()))
        else:
            found = part.client.match(
                Match(entity.number, part.tree, MOST_IDS, query.deleted, counted(entity, part.actor))
            )
    except SearchUnavailable:
        part.tree = None
        sets = by_blind_index(part.source, entity, asked) if len(asked) == len(trees) else None
        if sets is None:
            raise
        part.conditions += [f"t.id = any({where.values.add('uuid[]', array(ids))})" for ids in sets]
        return
    if not found.more and len(found.ids) <= MOST_IDS * 16:
        part.tree = None
        part.conditions.append(f"t.id = any({where.values.add('uuid[]', array(found.ids))})")


def _trees(part: SealedPart, where: WhereCompiler) -> tuple[list[Tree], list[Filter]]:
    """The conditions of the filter that are wholly on sealed fields, twice; what is left becomes `rest`."""
    entity, node = part.entity, part.query.filter
    trees: list[Tree] = []
    asked: list[Filter] = []
    if node is not None:
        alone = not (isinstance(node, Group) and node.kind == "and")
        items: tuple[Filter, ...] = (node,) if alone or not isinstance(node, Group) else node.items
        kept = []
        for index, item in enumerate(items):
            if wholly_sealed(item, entity, part.custom):
                at = "filter" if alone else f"filter/and/{index}"
                where.check_readable(item, entity, at)
                trees.append(as_tree(item, entity, where.reader, part.custom, at))
                asked.append(item)
            else:
                kept.append(item)
        part.rest = None if not kept else kept[0] if len(kept) == 1 else Group("and", tuple(kept))
    return trees, asked


def first_count(part: SealedPart) -> int:
    """How many ids to ask for first: those of a page, or more where row rules will leave some out."""
    wanted = part.query.limit + 1
    if part.limited:
        return 2 * wanted + _MORE
    return wanted if part.sees_all else wanted + _SLACK if part.names_all else 2 * wanted + _MORE


def _ranked_way(entity: EntityDef, query: ListQuery) -> Walk:
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
