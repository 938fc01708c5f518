"""The first load: everything that there is, read and made ready by several processes, taken in by one."""

from __future__ import annotations

import gc
import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby, islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import structlog

from crm_server.search.database import Database
from crm_server.search.hardening import give_back
from crm_server.search.texts import Batch, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from crm_server.search.engine import Engine
    from crm_server.search.reading import RowReader
    from crm_server.settings import Settings

log = structlog.get_logger("kontor.search")

_PART, _TOGETHER = 2_000, 10
_WORTH_PROCESSES = 20_000

Part = tuple[int, "UUID | None", "UUID | None"]
"""Records of a kind by number, with ids above the first one and up to the second."""

_child: Any = None


class Loader:
    """Loads all stores of an engine. `loaded` and `total` tell how far it is."""

    def __init__(self, settings: Settings, engine: Engine, database: Database, processes: int) -> None:
        self._settings, self._engine, self._database, self._processes = settings, engine, database, processes
        self.loaded = 0
        self.total = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Load until done, or until `stopped` says so."""
        # Nothing here is left in cycles, and each batch would bring several collections of all that is new.
        gc.disable()
        try:
            self._run(stopped)
        finally:
            gc.enable()
            self._database.end()

    def _run(self, stopped: Callable[[], bool]) -> None:
        with self._database.cursor() as cursor:
            for reader in self._database.readers.values():
                self.total += reader.count(cursor)
            parts = [part for reader in self._database.readers.values() for part in _parts(reader, cursor)]
        several = self._processes > 1 and self.total > _WORTH_PROCESSES
        for number, batches in _together(self._in_processes(parts) if several else self._here(parts)):
            self._engine.load(number, batches)
            self.loaded += sum(len(batch.states) for batch in batches)
            if stopped():
                return
        self._engine.finish()
        for store in self._engine.stores.values():
            titles = [
                item.number
                for item in store.entity.fields
                if item.ordered and item.number == store.entity.title
            ]
            for field in (store.entity.created, *titles):
                if not stopped():
                    self._engine.make_order(store.entity.number, field)

    def make_orders(self, stopped: Callable[[], bool]) -> None:
        """Make the orders of the other fields that lists show, before anybody asks for them."""
        for store in self._engine.stores.values():
            for item in store.entity.fields:
                if item.ordered and not stopped():
                    self._engine.make_order(store.entity.number, item.number)
        give_back()

    def _here(self, parts: list[Part]) -> Iterator[tuple[int, Batch]]:
        for part in parts:
            yield part[0], _read(self._database, part)

    def _in_processes(self, parts: list[Part]) -> Iterator[tuple[int, Batch]]:
        """Batches in the order of parts, a few of them in the making."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            self._processes, context, initializer=_begin, initargs=(dict(self._settings.values),)
        ) as pool:
            waiting: deque[Any] = deque()
            left = iter(parts)
            for part in left:
                waiting.append((part[0], pool.submit(_read_part, part)))
                if len(waiting) > 2 * self._processes:
                    break
            while waiting:
                number, future = waiting.popleft()
                yield number, future.result()
                for part in islice(left, 1):
                    waiting.append((part[0], pool.submit(_read_part, part)))


def _together(batches: Iterator[tuple[int, Batch]]) -> Iterator[tuple[int, list[Batch]]]:
    """Some batches of a kind at once: each time that some are taken in, the index gets one more piece to merge."""
    for number, same in groupby(batches, key=itemgetter(0)):
        while some := [batch for _number, batch in islice(same, _TOGETHER)]:
            yield number, some


def _parts(reader: RowReader, cursor: Any) -> Iterator[Part]:
    edges = [None, *reader.edges(cursor, _PART), None]
    yield from ((reader.held.number, low, high) for low, high in pairwise(edges))


def _read(database: Database, part: Part) -> Batch:
    number, low, high = part
    reader = database.readers[number]
    with database.cursor() as cursor:
        database.learn(cursor)
        return prepare(reader.held, reader.between(cursor, low, high))


def _begin(values: dict[str, Any]) -> None:
    """Make a process of the pool ready."""
    global _child  # noqa: PLW0603 - a process of the pool has one connection
    from crm_server.search.hardening import harden
    from crm_server.settings import Settings

    harden()
    gc.disable()  # As in `Loader.run`.
    _child = Database(Settings(values))


def _read_part(part: Part) -> Batch:
    return _read(_child, part)
