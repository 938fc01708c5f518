# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Looks for the ids of a page piece by piece, where no single statement can find them.

Whoever knows the order (the service for a sealed field, PostgreSQL for a plain one) gives the next ids, the other one
says which of them belong to the list, until the page is full. Where hardly any belong, PostgreSQL names those that do
instead and the service puts them in order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing import cursors
from crm_server.kernel.listing.asking import array
from crm_server.kernel.listing.operators import Values, parameter_type
from crm_server.kernel.listing.pages import Walk
from crm_server.kernel.listing.query import COUNT_CAP, Sort
from crm_server.kernel.listing.rules import listed
from crm_server.kernel.listing.running import run
from crm_server.kernel.listing.scope import sql_name, table_name
from crm_server.kernel.listing.sealed import SealedPart, first_count
from crm_server.search.protocol import Keep, Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FEW = 20_000
"""Who sees at most so many records of a list has them named by PostgreSQL and put in order by the service."""
RANKED_CAP = 1_000
"""Records that fit a text are counted up to here: who finds more looks for something else."""
_LARGEST, _WALKED = 20_000, 3_000
_HITS = (300, 3_000, 10_000)


class Pieces:
    """Finds the ids of one page, in the order of reading (upwards when the page lies before its cursor)."""

    def __init__(self, part: SealedPart, conditions: tuple[str, ...], values: Values) -> None:
        self._part, self._way, self._conditions, self._values = part, part.way, conditions, values
        self._table = listed(part.source, part.entity, part.actor, deleted=part.query.deleted)
        self._wanted = part.query.limit + 1
        self.percent = 100
        """How much of everything the service has looked into."""

    def page(self) -> list[str]:
        """Up to one id more than the page has rows."""
        if self._part.ranked:
            return self._ranked()
        return self._followed() if self._part.followed else self._plain_order()

    # Which of them belong to the list

    def _run(self, text: str, *more: tuple[str, Any]) -> list[Any]:
        values = Values(list(self._values.types), list(self._values.items))
        places = [values.add(kind, value) for kind, value in more]
        return run(self._part.source, text.format(*places), values, self._part.actor)

    def _visible(self, ids: bytes, wanted: int | None = None) -> list[str]:
        """Those of the ids that the conditions and row rules of the list let through, in their order; where enough is
        enough, the first `wanted` of them.
        """
        if not ids:
            return []
        if self._part.sees_all and not self._part.limited:
            # What went into the bin in this very moment is left out by the statement of the page.
            return texts(ids)
        where = " and ".join(self._conditions) or "true"
        limit = "" if wanted is None else f"limit {wanted}"
        table = table_name(self._part.entity)
        rows = self._run(
            # A subselect, so that one plan serves any number of ids: see `fetch`.
            "select x.id::text from unnest((select {0})) with ordinality x (id, place) "
            f"join {table} t on t.id = x.id where {where} order by x.place {limit}",
            ("uuid[]", array(ids)),
        )
        return [row[0] for row in rows]

    def _few(self) -> bytes | None:
        """All ids of the list, sealed conditions aside, if they are few."""
        where = " and ".join(self._conditions) or "true"
        rows = self._run(f"select t.id::text from {self._table} t where {where} limit {FEW + 1}")
        return None if len(rows) > FEW else binary(row[0] for row in rows)

    def _kept(self, ids: bytes) -> bytes:
        tree = self._part.tree
        if tree is None or not ids:
            return ids
        return self._part.client.keep(Keep(self._part.entity.number, tree, ids)).ids

    # An order that the service knows

    def _followed(self) -> list[str]:
        part, start = self._part, self._part.start
        if part.limited:
            few = self._few()
            if few is not None:
                return texts(part.next(self._wanted, start, few).ids)
        found: list[str] = []
        piece, count, walked, tried = part.first, first_count(part), 0, False
        after = start
        while True:
            if piece is None:
                piece = part.next(count, after)
            found += self._visible(piece.ids, self._wanted - len(found))
            walked += len(piece.ids) // 16
            if len(found) >= self._wanted or not piece.more:
                return found[: self._wanted]
            after, piece = piece.ids[-16:], None
            if not tried and walked >= _WALKED:
                tried = True
                few = self._few()
                if few is not None:
                    return texts(part.next(self._wanted, start, few).ids)
            count = min(_LARGEST, max(count * 2, walked * self._wanted // max(len(found), 1)))

    # The order of a plain field, with a condition that many records fulfil

    def _plain_order(self) -> list[str]:
        found: list[str] = []
        for ids in self._plain_pieces(self._way):
            found += texts(self._kept(ids))
            if len(found) >= self._wanted:
                break
        return found[: self._wanted]

    def _plain_pieces(self, way: Walk) -> Iterator[bytes]:
        count = first_count(self._part)
        name = sql_name(way.item.name)
        kind = "::text" if parameter_type(way.item.semantic) == "uuid" else ""
        columns = "t.id" if way.item.name == "id" else f"t.id, t.{name}"
        while True:
            values = Values(list(self._values.types), list(self._values.items))
            bound = way.bind(values)
            clauses = way.clauses(self._table, count, self._conditions, columns, bound)
            rows = run(
                self._part.source,
                f"with {', '.join(clauses)} select page.id::text, page.{name}{kind} from page",
                values,
                self._part.actor,
            )
            yield binary(row[0] for row in rows)
            if len(rows) <= count:
                return
            way = replace(way, place=cursors.Place(rows[-1][1], rows[-1][0], way.backward))
            count = min(_LARGEST, count * 3)

    # The order of how well records fit

    def _ranked(self) -> list[str]:
        part = self._part
        if not part.found_in:
            return []
        found: list[str] | None = None
        known = not part.limited and (part.sees_all or part.names_all)
        # Where all that the service finds is seen, little more than a page is enough at first.
        for number in (first_count(part), *_HITS) if known else _HITS:
            ids, more = self._hits(number)
            visible = self._visible(self._kept(ids))
            found = self._after(visible)
            if not more or (found is not None and len(found) >= self._wanted):
                break
            if number == _HITS[0] and len(visible) * 10 < self._wanted:
                few = self._few()
                if few is not None:
                    found = self._after(texts(self._hits(FEW, self._kept(few))[0]))
                    break
        if found is None:
            raise BadQuery(
                "cursor",
                _("The record at which this page begins is not there any more. Start from the first page."),
            )
        return found[: self._wanted]

    def _hits(self, number: int, within: bytes | None = None) -> tuple[bytes, bool]:
        found = self._part.hits(number, within)
        self.percent = found.percent
        return b"".join(hit.id for hit in found.hits), found.more

    def _after(self, ids: list[str]) -> list[str] | None:
        """The ids of the page and what follows; None when the record beside it is not among them."""
        place = self._way.place
        if place is None:
            return ids
        if place.key not in ids:
            return None
        at = ids.index(place.key)
        return ids[:at][::-1] if place.backward else ids[at + 1 :]

    def count(self) -> tuple[int, int]:
        """How many records the list has, at most one more than the cap, and the cap; where no statement counts them."""
        part = self._part
        if part.ranked:
            hits, _more = self._hits(RANKED_CAP + 1)
            return len(self._visible(self._kept(hits))), RANKED_CAP
        assert part.tree is not None  # noqa: S101 - the rest is counted by a statement
        matching = part.client.match(Match(part.entity.number, part.tree, COUNT_CAP, part.query.deleted))
        if not matching.more:
            return len(self._visible(matching.ids)), COUNT_CAP
        if part.sees_all and not part.limited:
            return COUNT_CAP + 1, COUNT_CAP
        few = self._few()
        if few is not None:
            return len(self._kept(few)) // 16, COUNT_CAP
        total = 0
        for ids in self._plain_pieces(Walk(Sort("id"), part.entity.fields["id"], None, "")):
            total += len(self._kept(ids)) // 16
            if total > COUNT_CAP:
                break
        return min(total, COUNT_CAP + 1), COUNT_CAP


def binary(ids: Iterable[str]) -> bytes:
    """Ids as the service takes them."""
    return bytes.fromhex("".join(ids).replace("-", ""))


def texts(ids: bytes) -> list[str]:
    """Ids as PostgreSQL writes them."""
    return [str(UUID(bytes=ids[at : at + 16])) for at in range(0, len(ids), 16)]
