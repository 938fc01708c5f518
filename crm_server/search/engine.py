"""All stores of the service. Many threads may ask at once and one may write."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from crm_server.search.finding import Finder
from crm_server.search.locks import ReadWriteLock
from crm_server.search.protocol import Group, Groups, Hit, Hits, Ids, Keep, Match, Refused, Walk
from crm_server.search.store import FieldOrder, Store
from crm_server.search.walking import Place, Sieve, Way, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crm_server.search.fields import IndexedEntity
    from crm_server.search.protocol import Find
    from crm_server.search.texts import Batch, Doc

_databases = count()
_PIECE = 4_000
_MERGED = 200
"""Pages of an index that are merged at once."""
_FRESH = 5.0
_MOST_READERS, _MOST_RECENT = 500, 5_000


class Engine:
    """The index. Every method may be called from any thread."""

    def __init__(self, entities: Iterable[IndexedEntity]) -> None:
        # A database of SQLite's "memdb" belongs to the process, has no file, and can be read by many connections.
        self._address = f"file:/kontor-search-{next(_databases)}?vfs=memdb"
        self._lock = ReadWriteLock()
        self._writer = self._connect()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._making = threading.Lock()
        self._seen = Seen()
        self.stores = {item.number: Store(item) for item in entities}
        for store in self.stores.values():
            store.create(self._writer)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._address, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute("pragma temp_store=memory")
        # What is deleted is overwritten: a name must not linger in a free page.
        connection.execute("pragma secure_delete=on")
        connection.execute("pragma cache_size=-1024")
        return connection

    def close(self) -> None:
        """Give all memory back."""
        while not self._readers.empty():
            self._readers.get_nowait().close()
        self._writer.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock.reading():
            try:
                connection = self._readers.get_nowait()
            except queue.Empty:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._readers.put(connection)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock.writing():
            self._writer.execute("begin")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("rollback")
                raise
            self._writer.execute("commit")

    # Filling

    def load(self, entity: int, batches: Iterable[Batch]) -> None:
        """Add records of the first load; see `Store.load`."""
        store = self.stores[entity]
        with self._writing() as connection:
            for batch in batches:
                store.load(connection, batch)

    def finish(self) -> None:
        """After the first load."""
        for store in self.stores.values():
            pages, more = -_MERGED, True
            while more:
                with self._writing() as connection:
                    more = store.merge(connection, pages)
                pages = _MERGED
            with self._writing() as connection:
                store.finish(connection)

    def put(self, entity: int, docs: Iterable[Doc]) -> None:
        """Add records or take their new values."""
        store = self.stores[entity]
        with self._writing() as connection:
            self._seen.changed(entity, [store.put(connection, doc) for doc in docs])

    def drop(self, entity: int, keys: Iterable[bytes]) -> int:
        """Forget records; how many were there."""
        store = self.stores[entity]
        with self._writing() as connection:
            return sum(store.drop(connection, key) for key in keys)

    def make_order(self, entity: int, field: int) -> None:
        """Put all records in the order of a field, if that has not been done yet; others ask and write meanwhile."""
        store = self.stores[entity]
        with self._making:
            if store.ordered(field):
                return
            with self._lock.writing():
                order, end = store.begin_order(field), len(store.records)
            for start in range(1, end, _PIECE):
                with self._lock.reading():
                    order.read(range(start, min(end, start + _PIECE)))
            slots = order.sort()
            with self._lock.writing():
                store.take_order(field, slots)

    # Asking

    def match(self, asked: Match) -> Ids:
        """The ids for which a tree holds; `more` when there are more than the limit, which is then all that is told."""
        store = self.stores[asked.entity]
        found: list[int] = []
        with self._reading() as connection:
            sieve = Sieve(store, connection, asked.tree, asked.deleted)
            for slot in filter(sieve.holds, sieve.named()):
                found.append(slot)
                if len(found) > asked.limit:
                    return Ids(b"", more=True)
            return Ids(store.records.ids_of(found))

    def keep(self, asked: Keep) -> Ids:
        """Those of the ids for which a tree holds, in their order."""
        store = self.stores[asked.entity]
        with self._reading() as connection:
            sieve = Sieve(store, connection, asked.tree, None)
            return Ids(store.records.ids_of(filter(sieve.holds, store.records.slots_of(asked.ids))))

    def walk(self, asked: Walk) -> Ids | Refused:
        """The next ids in the order of a field. Records without a value come last, whichever the direction."""
        store = self.stores[asked.entity]
        with self._reading() as connection:
            order = store.orders[asked.field]
            place = None
            if asked.after is not None:
                place = _place(store, order, asked)
                if place is None:
                    return Refused("gone")
            pool = self._pool(store, asked)
            if isinstance(pool, Refused):
                return pool
            sieve = Sieve(store, connection, asked.tree, asked.deleted, few=pool is not None)
            found = walk(Way(order, asked, place), sieve, pool, store.records.count, asked.count + 1)
            return Ids(store.records.ids_of(found[: asked.count]), more=len(found) > asked.count)

    def _pool(self, store: Store, asked: Walk | Find) -> set[int] | frozenset[int] | Refused | None:
        """The only records that may be named."""
        if asked.within is None and not asked.reader:
            return None
        if not asked.reader:
            return set(store.records.slots_of(asked.within or b""))
        pool = self._seen.of(asked.reader, store, asked.within)
        return Refused("unseen") if pool is None else pool

    def groups(self, asked: Groups) -> list[Group]:
        """The given ids by equal values of a field, in the order of the values."""
        store = self.stores[asked.entity]
        place = store.entity.place(asked.field)
        if place is None:
            return []
        known: dict[str, tuple[Any, bytes, int]] = {}
        with self._reading():
            order = FieldOrder(store.records, place + 1, store.entity.fields[place].kind)
            for slot in store.records.slots_of(asked.ids):
                value = store.values(slot)[place]
                if value is not None:
                    first = known.get(value)
                    known[value] = (
                        (order.key(slot)[0], store.records.id_of(slot), 1)
                        if first is None
                        else (*first[:2], first[2] + 1)
                    )
        return [Group(key, number) for _order, key, number in sorted(known.values())]

    def find(self, asked: Find) -> Hits | Refused:
        """The records that fit a text best, of all entities asked for."""
        hits: list[Hit] = []
        more = False
        for number, fields in asked.entities.items():
            store = self.stores.get(number)
            if store is None:
                continue
            with self._reading() as connection:
                pool = self._pool(store, asked)
                if isinstance(pool, Refused):
                    return pool
                finder = Finder(store, connection, asked.text, fields, deleted=asked.deleted, pool=pool)
                scored, left = finder.best(asked.limit)
                hits += [Hit(number, store.records.id_of(slot), score) for score, slot in scored]
            more = more or left
        hits.sort(key=lambda hit: hit.score)
        return Hits(hits, more)


def _place(store: Store, order: FieldOrder, asked: Walk) -> Place | None:
    """Where a page begins, or None when the record beside it is not there any more."""
    assert asked.after is not None  # noqa: S101 - asked for by pages that begin somewhere
    if asked.value is not None:
        return Place(order, (asked.value, *store.records.order_of(asked.after)), empty=False)
    slot = store.records.slot_of(asked.after)
    if slot is None or not store.records.states[slot]:
        return None
    if order.has_value(slot):
        return Place(order, order.key(slot), empty=False)
    return Place(order, store.records.order_of_id(slot), empty=True)


class Seen:
    """What readers of few records see, as PostgreSQL said a moment ago: for speed alone, since it judges each answer.

    Records that changed since are taken as seen, so that who has saved one finds it at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, bytes, frozenset[int]]] = {}
        self._recent: deque[tuple[float, int, int]] = deque()

    def changed(self, entity: int, slots: Iterable[int]) -> None:
        """Note records that were added or changed."""
        now = time.monotonic()
        with self._lock:
            self._recent.extend((now, entity, slot) for slot in slots)
            while self._recent and self._recent[0][0] < now - 3 * _FRESH:
                self._recent.popleft()
            if len(self._recent) > _MOST_RECENT:
                # So many at once are an import; everybody's records are named anew after it.
                self._recent.clear()
                self._known = {name: (0.0, *rest) for name, (_taken, *rest) in self._known.items()}  # type: ignore[misc]

    def of(self, reader: bytes, store: Store, ids: bytes | None) -> frozenset[int] | None:
        """The slots that a reader sees; None when PostgreSQL has to name them first.

        Args:
            reader: Names the reader and what rules know of them.
            store: Where the records are.
            ids: What PostgreSQL has just named.
        """
        now = time.monotonic()
        with self._lock:
            known = self._known.get(reader)
            if ids is not None:
                slots = known[2] if known is not None and known[1] == ids else None
                if slots is None:
                    slots = frozenset(store.records.slots_of(ids))
                if len(self._known) >= _MOST_READERS:
                    self._known.pop(next(iter(self._known)))
                known = self._known[reader] = (now, ids, slots)
            if known is None or now - known[0] > _FRESH:
                return None
            fresh = {
                slot
                for when, entity, slot in self._recent
                if entity == store.entity.number and when > known[0] - _FRESH
            }
        return known[2] | fresh if fresh else known[2]
