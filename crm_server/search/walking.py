"""The next records of a list in the order of a field: by whichever way has the least to look at.

Three things narrow a list: a condition, the records that its reader sees, and the place where the page begins. A set
that is small is put in order block by block, and looked at, until the page is full; else the order is walked from the
place. So a condition that half of all records fulfil costs no more than a page of it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from crm_server.search.candidates import candidates
from crm_server.search.fields import Kind
from crm_server.search.folding import SMALL
from crm_server.search.matching import last_part, matcher, needle
from crm_server.search.protocol import Every, Test
from crm_server.search.records import ASCII, BIN, LIVE, SEPARATOR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from crm_server.search.candidates import Candidates
    from crm_server.search.orders import Order
    from crm_server.search.protocol import Tree, Walk
    from crm_server.search.store import FieldOrder, Store

_NAMED = 12
"""Naming so many candidates, and putting them in order by blocks, costs what looking at one record costs."""
_STRETCH = 4
"""Naming so many records of a stretch of an order costs what naming one by trigrams costs."""
_ENOUGH = 100
"""So many records are looked at before trigrams are asked who among them may fit."""
_ASKED_AFTER, _TELLING = 100, 4
"""After each so many looks it is asked whether to go on; so many records that fit tell how far apart they are."""
_STEPS = 6
"""So many steps along an order cost what putting one record in its place costs."""


class Sieve:
    """Which records of a store a condition lets through; `few` where they are cut with few that a reader sees."""

    def __init__(
        self,
        store: Store,
        connection: sqlite3.Connection,
        tree: Tree | None,
        deleted: bool | None,
        *,
        few: bool = False,
    ) -> None:
        self._store, self._connection = store, connection
        wanted = LIVE | BIN if deleted is None else BIN if deleted else LIVE
        self.holds = _holds(store, tree, wanted)
        self._where: Candidates | None = None
        self._starting: tuple[int, Iterator[int]] | None = None
        if tree is not None:
            self._starting = starting(tree, store)
            if self._starting is None or self._starting[0] > _ENOUGH:
                self._where = candidates(
                    tree, store.entity, lambda text, where: store.candidates(connection, text, where, few=few)
                )

    @property
    def _stretched(self) -> bool:
        """Whether a stretch of an order names records at less cost than trigrams."""
        if self._starting is None or self._where is None:
            return self._starting is not None
        return self._starting[0] <= _STRETCH * self._where.most

    @property
    def price(self) -> float:
        """What `named` costs; 1 for each record that trigrams name."""
        return (self.most or 0) / (_STRETCH if self._stretched else 1)

    @property
    def most(self) -> int | None:
        """About how many records get through at most; None if nothing is known."""
        if self._starting is not None and self._stretched:
            return self._starting[0]
        return None if self._where is None else self._where.most

    def named(self) -> Iterable[int]:
        """All records that may get through, as far as is known, each once, else all that there are; asked for once."""
        if self._starting is not None and self._stretched:
            return self._starting[1]
        if self._where is None:
            return self._store.records.live()
        return self._store.slots(self._connection, self._where.expression, len(self._store.records))


def starting(tree: Tree, store: Store) -> tuple[int, Iterator[int]] | None:
    """The stretch of an order that all records lie in for which a tree holds, if an order is at hand that has one."""
    if isinstance(tree, Every):
        known = [found for item in tree.items if (found := starting(item, store)) is not None]
        return min(known, key=lambda found: found[0], default=None)
    if not isinstance(tree, Test) or tree.op not in {"starts_with", "eq"}:
        return None
    order, place = store.orders.get(tree.field), store.entity.place(tree.field)
    if order is None or place is None or store.entity.fields[place].kind is Kind.NUMBER:
        return None
    return order.starting(str(tree.value))


def _holds(store: Store, tree: Tree | None, wanted: int) -> Callable[[int], bool]:
    states = store.records.states
    if tree is None:
        return lambda slot: states[slot] & wanted != 0
    judge, read = matcher(tree, store.entity), store.records.reader()
    cuts = last_part(tree, store.entity) + 1
    letters, told = needle(tree, store.entity) or (b"", 0)
    nowhere = 0 if letters.isascii() else ASCII

    def holds(slot: int) -> bool:
        state = states[slot]
        if not state & wanted or state & nowhere:
            return False
        values = read(slot)
        if state & told and letters not in values.translate(SMALL):
            return False
        return judge(values.split(SEPARATOR, cuts))

    return holds


class Place:
    """Where a page begins in an order: beside a record, which may be gone if its value is known."""

    def __init__(self, order: FieldOrder, key: Any, *, empty: bool) -> None:
        self.region: Order = order.empty if empty else order.filled
        self.key = key


class Way:
    """One way along an order, in the direction of reading."""

    def __init__(self, order: FieldOrder, asked: Walk, place: Place | None) -> None:
        self._order, self._place = order, place
        self._downward = asked.descending is not asked.backward
        # Records without a value are the last ones, whichever the direction.
        regions = (order.empty, order.filled) if asked.backward else (order.filled, order.empty)
        self._regions = regions[1:] if place is not None and place.region is regions[1] else regions

    def slots(self) -> Iterator[int]:
        """All slots after the place."""
        for region in self._regions:
            start = self._place.key if self._place is not None and region is self._place.region else None
            yield from region.downwards(start) if self._downward else region.upwards(start)

    def arranged(self, slots: Iterable[int], holds: Callable[[int], bool]) -> Iterator[int]:
        """Those of some slots that something holds for and that lie after the place, as the way comes by them."""
        if len(self._regions) > 1:
            slots = slots if isinstance(slots, Collection) else list(slots)
        for region in self._regions:
            start = self._place.key if self._place is not None and region is self._place.region else None
            yield from region.arranged(slots, holds, start, downward=self._downward)


def walk(way: Way, sieve: Sieve, pool: set[int] | frozenset[int] | None, total: int, count: int) -> list[int]:
    """The next slots of a list, at most `count`.

    Args:
        way: The order, from the place on.
        sieve: The condition.
        pool: The only records that may be named; None for all.
        total: Records in the order.
        count: How many are wanted.
    """
    ordered = _walked(way, sieve, total, count) if pool is None else _pooled(way, sieve, pool, total, count)
    return list(islice(ordered, count))


def _walked(way: Way, sieve: Sieve, total: int, count: int) -> Iterator[int]:
    holds, most, slots = sieve.holds, sieve.most, way.slots()
    if most is None:
        return filter(holds, slots)
    if most > _NAMED * _looks(most, total, count):
        with suppress(_Enough):
            return iter(list(islice(filter(_patient(holds, most, count), slots), count)))
    return way.arranged(sieve.named(), holds)


def _pooled(way: Way, sieve: Sieve, pool: set[int] | frozenset[int], total: int, count: int) -> Iterator[int]:
    holds, most = sieve.holds, sieve.most
    if most is None:
        # A step is quicker than putting a record of the pool in its place.
        steps, slots = 2 * count * total // max(len(pool), 1), way.slots()
        if steps < _STEPS * len(pool):
            found = list(islice(filter(holds, filter(pool.__contains__, islice(slots, steps))), count))
            if len(found) == count or next(slots, None) is None:
                return iter(found)
        return way.arranged(pool, holds)
    if sieve.price > _NAMED * min(_looks(most, total, count), len(pool)):
        with suppress(_Enough):
            patient = _patient(holds, sieve.price, count)
            return iter(list(islice(way.arranged(pool, patient), count)))
    return way.arranged(pool.intersection(sieve.named()), holds)


class _Enough(Exception):
    """Naming candidates costs less than going on."""


def _patient(holds: Callable[[int], bool], price: float, count: int) -> Callable[[int], bool]:
    """A condition that is judged until `_Enough` is raised: when looking at records has cost what naming them costs, or
    when so few of them fit that it will.

    Args:
        holds: The condition.
        price: What naming candidates costs; see `Sieve.price`.
        count: How many are wanted.
    """
    looked = found = 0

    def judged(slot: int) -> bool:
        nonlocal looked, found
        fits = holds(slot)
        looked += 1
        found += fits
        if not looked % _ASKED_AFTER:
            cost = looked * _NAMED
            if cost > price or (found >= _TELLING and cost * (count - found) > price * found):
                raise _Enough
        return fits

    return judged


def _looks(most: int, total: int, count: int) -> int:
    """After so many looks a page should be full: twice those that it takes where what fits lies evenly."""
    return 2 * count * total // max(most, 1)
