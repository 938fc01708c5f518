"""The next records of a list in the order of a field: by whichever way has the least to look at.

Three things narrow a list: a condition, the records that its reader sees, and the place where the page begins. A set
that is small is put in order by itself; else the order is walked from the place, and each record that comes by is
looked at, until the page is full. So a condition that half of all records fulfil costs no more than a page of it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from crm_server.search.candidates import candidates
from crm_server.search.matching import matcher, needle
from crm_server.search.records import ASCII, BIN, LIVE, SEPARATOR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from crm_server.search.orders import Order
    from crm_server.search.protocol import Tree, Walk
    from crm_server.search.store import FieldOrder, Store

_FEW, _FEW_OF_POOL = 20_000, 40_000
"""Candidates are named at once when trigrams promise so many at most; more where they meet a pool."""
_LOOKS, _STEPS = 3_000, 150_000
_MOST_SORTED = 20_000
_STEP_TO_KEY = 0.02
"""What one step along an order costs, as part of what finding the place of a record in it costs."""


class Sieve:
    """Which records of a store a condition lets through."""

    def __init__(
        self, store: Store, connection: sqlite3.Connection, tree: Tree | None, deleted: bool | None
    ) -> None:
        self._store, self._connection, self._tree = store, connection, tree
        wanted = LIVE | BIN if deleted is None else BIN if deleted else LIVE
        self.holds = _holds(store, tree, wanted)
        self._where = None
        if tree is not None:
            self._where = candidates(tree, store.entity, lambda text: store.candidates(connection, text))

    @property
    def all_hold(self) -> bool:
        """Whether there is no condition."""
        return self._tree is None

    def few(self, most: int) -> set[int] | None:
        """All records that may get through, where trigrams promise at most so many; else None."""
        where = self._where
        if where is None or where.most > most:
            return None
        found = self._store.slots(self._connection, where.expression, 2 * most + 1)
        return set(found) if len(found) <= 2 * most else None

    def named(self) -> Iterable[int]:
        """All records that may get through, as far as trigrams tell; else all that there are."""
        if self._where is None:
            return self._store.records.live()
        return self._store.slots(self._connection, self._where.expression, len(self._store.records))

    @property
    def narrows(self) -> bool:
        """Whether trigrams tell anything."""
        return self._where is not None


def _holds(store: Store, tree: Tree | None, wanted: int) -> Callable[[int], bool]:
    states = store.records.states
    if tree is None:
        return lambda slot: states[slot] & wanted != 0
    judge, letters, read = matcher(tree, store.entity), needle(tree, store.entity), store.records.reader()

    def holds(slot: int) -> bool:
        state = states[slot]
        if not state & wanted:
            return False
        values = read(slot)
        if letters is not None and state & ASCII and letters not in values.lower():
            return False
        return judge(values.split(SEPARATOR))

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

    def sorted(self, slots: Iterable[int]) -> list[int]:
        """Those of some slots that lie after the place, as the way comes by them."""
        order = self._order
        keyed: dict[Order, list[tuple[Any, int]]] = {order.filled: [], order.empty: []}
        for slot in slots:
            key = order.key(slot)
            if key[0] is None:
                keyed[order.empty].append((key[1:], slot))
            else:
                keyed[order.filled].append((key, slot))
        found: list[int] = []
        for region in self._regions:
            pairs = sorted(keyed[region], reverse=self._downward)
            if self._place is not None and region is self._place.region:
                start = self._place.key
                pairs = [pair for pair in pairs if (pair[0] < start if self._downward else pair[0] > start)]
            found += [slot for _key, slot in pairs]
        return found


def walk(way: Way, sieve: Sieve, pool: set[int] | frozenset[int] | None, total: int, count: int) -> list[int]:
    """The next slots of a list, at most `count`.

    Args:
        way: The order, from the place on.
        sieve: The condition.
        pool: The only records that may be named; None for all.
        total: Records in the order.
        count: How many are wanted.
    """
    few = sieve.few(_FEW if pool is None else _FEW_OF_POOL)
    if few is not None:
        pool = few if pool is None else few & pool
    if pool is None and sieve.all_hold:
        return list(islice(filter(sieve.holds, way.slots()), count))
    if pool is not None and len(pool) ** 2 <= count * total * _STEP_TO_KEY:
        return way.sorted(filter(sieve.holds, pool))[:count]
    found, left = _try(way.slots(), sieve, pool, count)
    if left is None:
        return found
    if pool is None and not sieve.narrows:
        return [*found, *islice(filter(sieve.holds, left), count - len(found))]
    # Hardly any gets through: who may is named first, instead of looking at all that come by.
    pool = set(sieve.named()) if pool is None else pool
    if len(pool) > _MOST_SORTED:
        rest = filter(sieve.holds, filter(pool.__contains__, left))
        return [*found, *islice(rest, count - len(found))]
    kept = set(filter(sieve.holds, pool.difference(found)))
    few_left = len(kept) <= max(count, total * _STEP_TO_KEY)
    return [
        *found,
        *islice(way.sorted(kept) if few_left else filter(kept.__contains__, left), count - len(found)),
    ]


def _try(
    slots: Iterator[int], sieve: Sieve, pool: set[int] | frozenset[int] | None, count: int
) -> tuple[list[int], Iterator[int] | None]:
    """Walk for a while. Returns what was found, and what is left of the way if that is not all."""
    found: list[int] = []
    holds = sieve.holds
    steps = islice(slots, _LOOKS) if pool is None else filter(pool.__contains__, islice(slots, _STEPS))
    for slot in steps:
        if holds(slot):
            found.append(slot)
            if len(found) == count:
                return found, None
    first = next(slots, None)
    if first is None:
        return found, None
    return found, _with(first, slots)


def _with(first: int, rest: Iterator[int]) -> Iterator[int]:
    yield first
    yield from rest
