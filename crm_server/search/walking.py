"""The next records of a list in the order of a field: by whichever way has the least to look at.

Three things narrow a list: a condition, the records that its reader sees, and the place where the page begins. A set
that is small is put in order block by block, and looked at, until the page is full; else the order is walked from the
place. So a condition that half of all records fulfil costs no more than a page of it.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Any

from crm_server.search.candidates import candidates
from crm_server.search.fields import Kind
from crm_server.search.matching import matcher, needle
from crm_server.search.protocol import Every, Test
from crm_server.search.records import ASCII, BIN, LIVE, SEPARATOR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from crm_server.search.candidates import Candidates
    from crm_server.search.orders import Order
    from crm_server.search.protocol import Tree, Walk
    from crm_server.search.store import FieldOrder, Store

_FEW = 20_000
"""Candidates are named at once when they are so many at most."""
_NAMED = 2
"""Naming so many candidates costs what looking at one record of a pool costs."""
_ENOUGH = 100
"""So many records are looked at before trigrams are asked who among them may fit."""
_STEPS = 6
"""So many steps along an order cost what putting one record in its place costs."""
_LOOKS, _LOOK_TO_NAME = 3_000, 20
"""So many records are looked at before candidates are named, and one more for so many candidates."""


class Sieve:
    """Which records of a store a condition lets through."""

    def __init__(
        self, store: Store, connection: sqlite3.Connection, tree: Tree | None, deleted: bool | None
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
                    tree, store.entity, lambda text, where: store.candidates(connection, text, where)
                )

    @property
    def most(self) -> int | None:
        """About how many records get through at most; None if nothing is known."""
        known = [self._where.most] if self._where is not None else []
        known += [self._starting[0]] if self._starting is not None else []
        return min(known, default=None)

    def few(self, most: int) -> Collection[int] | None:
        """All records that may get through, each once, where they are at most about so many; else None."""
        about = self.most
        if about is None or about > most:
            return None
        if self._starting is not None and self._starting[0] == about:
            return list(self._starting[1])
        assert self._where is not None  # noqa: S101 - one of the two tells how many they are
        found = self._store.slots(self._connection, self._where.expression, 2 * most + 1)
        return found if len(found) <= 2 * most else None

    def named(self) -> Iterable[int]:
        """All records that may get through, as far as is known; else all that there are."""
        about = self.most
        if about is None:
            return self._store.records.live()
        if self._starting is not None and self._starting[0] == about:
            return self._starting[1]
        assert self._where is not None  # noqa: S101 - one of the two tells how many they are
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

    def arranged(self, slots: Iterable[int], holds: Callable[[int], bool]) -> Iterator[int]:
        """Those of some slots that something holds for and that lie after the place, as the way comes by them."""
        if len(self._regions) > 1:
            slots = slots if isinstance(slots, Collection) else list(slots)
        for region in self._regions:
            start = self._place.key if self._place is not None and region is self._place.region else None
            yield from region.arranged(slots, holds, start, downward=self._downward)


def walk(way: Way, sieve: Sieve, pool: Collection[int] | None, total: int, count: int) -> list[int]:
    """The next slots of a list, at most `count`.

    Args:
        way: The order, from the place on.
        sieve: The condition.
        pool: The only records that may be named; None for all.
        total: Records in the order.
        count: How many are wanted.
    """
    holds, most = sieve.holds, sieve.most
    few = sieve.few(_FEW if pool is None else _NAMED * len(pool))
    if few is not None:
        pool = few if pool is None else [slot for slot in few if slot in pool]
    if pool is None and most is None:
        return list(islice(filter(holds, way.slots()), count))
    slots = way.slots()
    looks: Iterator[int]
    if pool is None:
        looks = islice(slots, _LOOKS + (most or 0) // _LOOK_TO_NAME)
    elif few is None and most is None:
        # A step is quicker than putting a record of the pool in its place.
        steps = 2 * count * total // max(len(pool), 1)
        looks = filter(pool.__contains__, islice(slots, steps if steps < _STEPS * len(pool) else 0))
    else:
        return list(islice(way.arranged(pool, holds), count))
    found = list(islice(filter(holds, looks), count))
    if len(found) == count or next(slots, None) is None:
        return found
    # Those that fit lie far away: who may is named, instead of looking at all that come by.
    return list(islice(way.arranged(sieve.named() if pool is None else pool, holds), count))
