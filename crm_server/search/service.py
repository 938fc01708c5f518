"""The service: loads, follows, answers. `server` gives it a socket; tests may ask it directly."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

import psycopg2
import structlog

from crm_server.search.database import Database
from crm_server.search.engine import Engine
from crm_server.search.feed import Feed
from crm_server.search.loading import Loader
from crm_server.search.matching import UnknownCondition
from crm_server.search.protocol import (
    Answer,
    Find,
    Grouped,
    Groups,
    Hits,
    Keep,
    Match,
    Refused,
    Request,
    State,
    Status,
    Walk,
)
from monitoring import metrics

if TYPE_CHECKING:
    from crm_server.settings import Settings

log = structlog.get_logger("kontor.search")

_RETRY = 1.0
_MINUTE = 60.0
_MOST_PERSONS = 10_000


class Limits:
    """How many searches each person has made in the current minute (ENC-18)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._minute = 0.0
        self._counts: dict[bytes, int] = {}

    def wait(self, actor: bytes) -> int:
        """Count one search; seconds to wait when it is one too many, else 0."""
        if not actor or not self._most:
            return 0
        now = time.monotonic()
        with self._lock:
            if now - self._minute >= _MINUTE or len(self._counts) > _MOST_PERSONS:
                self._minute, self._counts = now, {}
            made = self._counts[actor] = self._counts.get(actor, 0) + 1
            return 0 if made <= self._most else max(1, round(self._minute + _MINUTE - now))


def _set_aside() -> None:
    """Let the garbage collector look no more at what is there: it would hold up a request for 0.1 s now and then."""
    gc.collect()
    gc.freeze()


class SearchService:
    """One index of one database."""

    def __init__(self, settings: Settings, *, processes: int = 1, locked: bool = False) -> None:
        self._settings, self._processes, self._locked = settings, processes, locked
        self._stopping = threading.Event()
        self._limits = Limits(settings.search_limit)
        self._ready = threading.Event()
        self._begin()

    def _begin(self) -> None:
        self._database = database = Database(self._settings)
        self.engine = Engine(reader.held for reader in database.readers.values())
        self.feed = Feed(self.engine, database)
        self.loader = Loader(self._settings, self.engine, Database(self._settings), self._processes)
        self._orders = threading.Lock()

    def _discard(self) -> None:
        self.engine.close()
        self._database.end()

    def start(self) -> None:
        """Load in a thread of its own, and follow the feed after it."""
        threading.Thread(target=self._load, name="search-load", daemon=True).start()

    def _load(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            _set_aside()
            try:
                self.feed.begin()
                self.loader.run(self._stopping.is_set)
            except psycopg2.Error as error:
                log.warning("records can't be loaded; trying again", error=type(error).__name__)
                self._stopping.wait(_RETRY)
                self._discard()
                self._begin()
                continue
            except Exception:
                log.exception("records can't be loaded")
                self._stopping.wait(_RETRY * 10)
                self._discard()
                self._begin()
                continue
            if not self._stopping.is_set():
                self.feed.start()
                self.feed.refresh(10)
                self._ready.set()
                log.info("loaded", records=self.loader.loaded, seconds=round(time.monotonic() - began, 2))
                metrics.SEARCH_RECORDS.set(self.loader.loaded)
                self.loader.make_orders(self._stopping.is_set)
                _set_aside()
            return

    def stop(self) -> None:
        """Forget everything."""
        self._stopping.set()
        self.feed.stop()
        self._discard()

    @property
    def complete(self) -> bool:
        """Whether everything is loaded."""
        return self._ready.is_set()

    def state(self) -> State:
        """How complete the index is."""
        counts = {number: store.records.count for number, store in self.engine.stores.items()}
        if self.complete:
            total = sum(counts.values())
            metrics.SEARCH_RECORDS.set(total)
            return State(total, total, complete=True, lag=self.feed.lag, entities=counts, locked=self._locked)
        total = max(self.loader.total, 1)
        return State(self.loader.loaded, total, complete=False, lag=0.0, entities=counts, locked=self._locked)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        began = time.perf_counter()
        kind = type(request).__name__.lower()
        try:
            found = self._answer(request)
        except UnknownCondition as error:
            log.warning("a request can't be answered", reason=str(error))
            found = Refused("unknown")
        if isinstance(found, Refused):
            metrics.SEARCH_REFUSED.labels(found.reason).inc()
        metrics.SEARCH_SECONDS.labels(kind).observe(time.perf_counter() - began)
        return found

    def _answer(self, request: Request) -> Answer:  # noqa: PLR0911 - one a kind of request
        if isinstance(request, Status):
            return self.state()
        if isinstance(request, Match | Find | Walk):
            wait = self._limits.wait(request.actor)
            if wait:
                return Refused("limited", wait)
        if not self.complete:
            percent = self.state().percent
            if not isinstance(request, Find) or not request.partial:
                return Refused("loading", percent)
            found = self.engine.find(request)
            return found if isinstance(found, Refused) else Hits(found.hits, found.more, percent)
        self.feed.refresh()
        match request:
            case Find():
                return self.engine.find(request)
            case Match():
                return self.engine.match(request)
            case Keep():
                return self.engine.keep(request)
            case Groups():
                return Grouped(self.engine.groups(request))
            case Walk():
                return self._walk(request)

    def _walk(self, request: Walk) -> Answer:
        store = self.engine.stores.get(request.entity)
        if store is None or not store.can_order(request.field):
            return Refused("unknown")
        if not store.ordered(request.field):
            # The first to ask for an order starts the work; it takes some seconds for a million records.
            making = threading.Thread(
                target=self.engine.make_order, args=(request.entity, request.field), daemon=True
            )
            making.start()
            making.join(2.0)
            if making.is_alive():
                return Refused("preparing")
        return self.engine.walk(request)
