# ruff: noqa: S608 - statements are put together from numbers of the data map; values go as parameters.
"""All stores of the service: an SQLite database in memory that many threads read at once and one writes."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections import Counter
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from crm_server.search.candidates import expression
from crm_server.search.finding import Finder
from crm_server.search.locks import ReadWriteLock
from crm_server.search.matching import matcher, narrowing
from crm_server.search.protocol import Group, Groups, Hit, Hits, Ids, Keep, Match, Rank, Refused, Tree, Walk
from crm_server.search.store import NO_VALUE, Doc, Store, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from crm_server.search.fields import IndexedEntity
    from crm_server.search.protocol import Find

_databases = count()
_EXTEND = 4_000
_READ = 500
ID_BYTES = 16


def split(ids: bytes) -> list[bytes]:
    """Ids from one string of bytes."""
    return [ids[start : start + ID_BYTES] for start in range(0, len(ids), ID_BYTES)]


class Engine:
    """The index. Every method may be called from any thread."""

    def __init__(self, entities: Iterable[IndexedEntity]) -> None:
        # A database of SQLite's "memdb" belongs to the process, has no file, and can be read by many connections.
        self._address = f"file:/kontor-search-{next(_databases)}?vfs=memdb"
        self._lock = ReadWriteLock()
        self._writer = self._connect()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._making = threading.Lock()
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

    def load(self, entity: int, rows: Sequence[Any], texts: Sequence[str], words: Counter[str]) -> None:
        """Add records of the first load; see `Store.load`."""
        with self._writing() as connection:
            self.stores[entity].load(connection, rows, texts, words)

    def put(self, entity: int, docs: Iterable[Doc]) -> None:
        """Add records or take their new values."""
        store = self.stores[entity]
        with self._writing() as connection:
            for doc in docs:
                store.put(connection, doc)

    def drop(self, entity: int, keys: Iterable[bytes]) -> int:
        """Forget records; how many were there."""
        store = self.stores[entity]
        with self._writing() as connection:
            return sum(store.drop(connection, key) for key in keys)

    def make_order(self, entity: int, field: int) -> None:
        """Make the order of a field whole, a piece at a time, so that readers need not wait for all of it."""
        store = self.stores[entity]
        with self._making:
            if store.ordered(field):
                return
            with self._writing() as connection:
                store.begin_order(connection, field)
            whole = False
            while not whole:
                with self._writing() as connection:
                    whole = store.extend_order(connection, field, _EXTEND)

    def ordered(self, entity: int, field: int) -> bool:
        """Whether the order of a field is whole."""
        return self.stores[entity].ordered(field)

    # Asking

    def match(self, asked: Match) -> Ids:
        """The ids for which a tree holds; `more` when there are more than the limit, which is then all that is told."""
        store = self.stores[asked.entity]
        with self._reading() as connection:
            found = []
            for key, _slot, _values in self._matching(connection, store, asked.tree, asked.deleted):
                found.append(key)
                if len(found) > asked.limit:
                    return Ids(b"", more=True)
        return Ids(b"".join(found))

    def _matching(
        self, connection: sqlite3.Connection, store: Store, tree: Tree, deleted: bool | None
    ) -> Iterator[tuple[bytes, int, tuple[Any, ...]]]:
        holds, narrow = matcher(tree, store.entity), narrowing(tree, store.entity)
        values: tuple[Any, ...] = () if narrow is None else narrow.values
        tests = [] if narrow is None else [narrow.sql]
        source = f"{store.table} d"
        trigrams = expression(tree, store, connection) if narrow is None or not narrow.exact else None
        if trigrams is not None:
            source = f"{store.trigrams} t cross join {store.table} d on d.slot = t.rowid"
            tests.insert(0, f"t.{store.trigrams} match ?")
            values = (trigrams, *values)
        if deleted is not None:
            tests.append("d.deleted = ?")
            values = (*values, int(deleted))
        sql = f"select d.id, d.slot, {store.columns} from {source}" + (
            f" where {' and '.join(tests)}" if tests else ""
        )
        with closing(connection.execute(sql, values)) as cursor:
            while rows := cursor.fetchmany(_READ):
                for row in rows:
                    if holds(row[2:]):
                        yield row[0], row[1], row[2:]

    def keep(self, asked: Keep) -> Ids:
        """Those of the ids for which a tree holds, in their order."""
        store = self.stores[asked.entity]
        holds = matcher(asked.tree, store.entity)
        wanted = split(asked.ids)
        with self._reading() as connection:
            kept = {key for key, _slot, values in store.rows(connection, wanted) if holds(values)}
        return Ids(b"".join(key for key in wanted if key in kept))

    def walk(self, asked: Walk) -> Ids | Refused:
        """The next ids in the order of a field. Records without a value come last, whichever the direction."""
        store = self.stores[asked.entity]
        place = store.entity.place(asked.field)
        if place is None:
            return Refused("unknown")
        kind = store.entity.fields[place].kind
        holds = None if asked.tree is None else matcher(asked.tree, store.entity)
        with self._reading() as connection:
            after = None
            if asked.after is not None:
                known = next(store.rows(connection, (asked.after,)), None)
                if known is None:
                    return Refused("gone")
                after = (key_of(kind, known[2][place]), known[1])
            found: list[bytes] = []
            for sql, values in _regions(store, asked, after):
                with closing(connection.execute(sql, values)) as cursor:
                    while rows := cursor.fetchmany(_READ):
                        for row in rows:
                            if holds is not None and not holds(row[1:]):
                                continue
                            if len(found) == asked.count:
                                return Ids(b"".join(found), more=True)
                            found.append(row[0])
        return Ids(b"".join(found))

    def rank(self, asked: Rank) -> Ids | Refused:
        """The given ids in the order of a field, as `walk` would come by them."""
        store = self.stores[asked.entity]
        place = store.entity.place(asked.field)
        if place is None:
            return Refused("unknown")
        kind = store.entity.fields[place].kind
        with self._reading() as connection:
            rows = [
                (key_of(kind, values[place]), slot, key)
                for key, slot, values in store.rows(connection, split(asked.ids))
            ]
            after = None
            if asked.after is not None:
                known = next(store.rows(connection, (asked.after,)), None)
                if known is None:
                    return Refused("gone")
                after = (key_of(kind, known[2][place]), known[1])
        downward = asked.descending is not asked.backward
        rows.sort(reverse=downward)
        regions = [[row for row in rows if (row[0] == NO_VALUE) is empty] for empty in _emptiness(asked)]
        ordered = [row for region in regions for row in region]
        if after is not None:
            ordered = [row for row in ordered if _lies_after(row[:2], after, asked)]
        return Ids(b"".join(row[2] for row in ordered[: asked.count]), more=len(ordered) > asked.count)

    def groups(self, asked: Groups) -> list[Group]:
        """The given ids by equal values of a field, in the order of the values."""
        store = self.stores[asked.entity]
        place = store.entity.place(asked.field)
        if place is None:
            return []
        kind = store.entity.fields[place].kind
        known: dict[Any, tuple[bytes, bytes, int]] = {}
        with self._reading() as connection:
            for key, _slot, values in store.rows(connection, split(asked.ids)):
                value = values[place]
                if value is not None:
                    first = known.get(value)
                    known[value] = (
                        (key_of(kind, value), key, 1) if first is None else (first[0], first[1], first[2] + 1)
                    )
        return [Group(key, number) for _order, key, number in sorted(known.values())]

    def find(self, asked: Find) -> Hits:
        """The records that fit a text best, of all entities asked for."""
        hits: list[Hit] = []
        more = False
        for number, fields in asked.entities.items():
            store = self.stores.get(number)
            if store is None:
                continue
            with self._reading() as connection:
                found = Finder(store, connection, asked.text, fields, deleted=asked.deleted)
                within = None if asked.within is None else split(asked.within)
                scored, left = found.best(asked.limit, within)
            hits += [Hit(number, key, score) for score, _slot, key in scored]
            more = more or left
        hits.sort(key=lambda hit: hit.score)
        return Hits(hits, more)


def _emptiness(asked: Walk | Rank) -> tuple[bool, bool]:
    """The two regions of an order as they are come by: records without a value are the last ones."""
    return (True, False) if asked.backward else (False, True)


def _lies_after(row: tuple[bytes, int], after: tuple[bytes, int], asked: Walk | Rank) -> bool:
    empty = row[0] == NO_VALUE
    if empty is not (after[0] == NO_VALUE):
        return empty is not asked.backward
    return row < after if asked.descending is not asked.backward else row > after


def _regions(
    store: Store, asked: Walk, after: tuple[bytes, int] | None
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The statements to be read one after the other, one a region."""
    direction, symbol = ("desc", "<") if asked.descending is not asked.backward else ("asc", ">")
    columns = "d.id" if asked.tree is None else f"d.id, {store.columns}"
    regions: tuple[bool, ...] = _emptiness(asked)
    if after is not None and (after[0] == NO_VALUE) is regions[1]:
        regions = regions[1:]
    for empty in regions:
        tests = [f"k.key {'=' if empty else '<'} ?", "d.deleted = ?"]
        values: tuple[Any, ...] = (NO_VALUE, int(asked.deleted))
        if after is not None and empty is (after[0] == NO_VALUE):
            tests.append(f"(k.key, k.slot) {symbol} (?, ?)")
            values += after
        sql = (
            f"select {columns} from {store.order_table(asked.field)} k cross join {store.table} d "
            f"on d.slot = k.slot where {' and '.join(tests)} order by k.key {direction}, k.slot {direction}"
        )
        yield sql, values
