"""Follows the change feed, so that what is found is what was committed, and hears of erased keys.

The feed's own order misses nothing but waits for the oldest running transaction (see `crm_server.api.changes`): behind
an import of ten minutes nobody would find a new contact. So rows that are already committed are taken at once, and the
ordered reading, which comes by them again, makes sure that none is missed. Taking a change means reading the record as
it is now, so it does no harm to do it twice or in another order.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg2
import structlog

from crm_server.models import datamap
from monitoring import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crm_server.search.database import Database
    from crm_server.search.engine import Engine

log = structlog.get_logger("kontor.search")

_CHANNEL = "kontor_keys"
_CUSTOM_FIELD = datamap()["custom_field"].number
_PAUSE, _LATE_LOOK = 0.25, 5.0
_RETRY = 0.5
_PAGE, _WRITE = 5_000, 200
_HEAD = "select pg_snapshot_xmin(pg_current_snapshot())::text"
# One row at least, which tells the horizon of the very snapshot that the changes are read with.
_PREPARE = """
prepare kontor_feed (text, bigint, integer) as
select pg_snapshot_xmin(pg_current_snapshot())::text, f.xid, f.seq, f.entity, f.record_id
  from (select 1) one left join kontor.feed_after($1::xid8, $2, $3) f on true
"""
_ORDERED = "execute kontor_feed (%s, %s, %s)"
_NEWEST = "select seq, entity, record_id from kontor.feed_newest(%s, %s)"
_ERASED = "select distinct uuid_send(subject) from keys.data_key where kid = any(%s)"
_ERASED_LATELY = """
select distinct uuid_send(subject) from keys.data_key
 where state = 'erased' and erased_at > now() - interval '1 day'
"""


class Feed:
    """A thread that keeps an engine up to date. `refresh` waits until it has seen everything committed before."""

    def __init__(self, engine: Engine, database: Database) -> None:
        self._engine, self._database = engine, database
        self._xid, self._seq = "0", -1
        self._newest = -1
        self._seen: dict[int, int] = {}
        self._looked = 0.0
        self._stopping = threading.Event()
        self._done = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._current = time.monotonic()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Note where the feed is now; the first load reads everything that was committed before."""
        self._database.unlock()
        with self._database.cursor() as cursor:
            cursor.execute(_HEAD)
            self._xid = cursor.fetchone()[0]
            self._learn(cursor)
        self._listen()

    def start(self) -> None:
        """Follow the feed from there on."""
        self._thread = threading.Thread(target=self._run, name="search-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        self._waker.close()
        self._wakened.close()

    @property
    def lag(self) -> float:
        """Seconds since everything committed was known."""
        return time.monotonic() - self._current

    def refresh(self, seconds: float = 2.0) -> None:
        """Wait until everything that was committed before this call is known, or the time is over."""
        with self._done:
            self._asked += 1
            wanted = self._asked
        self._wake()
        with self._done:
            self._done.wait_for(lambda: self._answered >= wanted or self._stopping.is_set(), seconds)

    def _wake(self) -> None:
        try:
            self._waker.send(b"x")
        except OSError:
            return  # The other end is full of calls, or closed with the service.

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._done:
                asked = self._asked
            try:
                self.look()
            except psycopg2.Error as error:
                log.warning("the change feed can't be followed", error=type(error).__name__)
                self._database.close()
                self._stopping.wait(_RETRY)
                self._reconnect()
                continue
            except Exception:
                # A mistake in one record must not stop the rest for ever; lag and log tell of it.
                log.exception("a change can't be taken")
                self._stopping.wait(_RETRY)
                continue
            self._current = time.monotonic()
            metrics.SEARCH_LAG.set(0.0)
            with self._done:
                self._answered = asked
                self._done.notify_all()
                if self._asked > asked:
                    continue
            self._pause()

    def _pause(self) -> None:
        ready, _w, _x = select.select([self._wakened, self._database.connection], [], [], _PAUSE)
        if self._wakened in ready:
            try:
                self._wakened.recv(4096)
            except BlockingIOError:
                return

    def _reconnect(self) -> None:
        try:
            self._listen()
            self._forget_erased(None)
        except psycopg2.Error:
            self._database.close()
        metrics.SEARCH_LAG.set(self.lag)

    def _listen(self) -> None:
        with self._database.cursor() as cursor:
            cursor.execute(f"listen {_CHANNEL}")
            cursor.execute(_PREPARE)

    # One look

    def look(self) -> None:
        """Take everything that was committed since the last look."""
        connection = self._database.connection
        connection.poll()
        with self._database.cursor() as cursor:
            if time.monotonic() - self._looked > _LATE_LOOK or len(self._seen) < _PAGE:
                self._ordered(cursor)
                self._looked = time.monotonic()
            else:
                self._unordered(cursor)
        while connection.notifies:
            self._take_notice(connection.notifies.pop(0).payload)

    def _ordered(self, cursor: Any) -> None:
        xid, seq = self._xid, self._seq
        while True:
            cursor.execute(_ORDERED, (xid, seq, _PAGE))
            rows = cursor.fetchall()
            horizon = int(rows[0][0])
            rows = [row[1:] for row in rows if row[2] is not None]
            self._take(cursor, [(row[2], bytes(row[3])) for row in rows if row[1] not in self._seen])
            for row_xid, row_seq, _entity, _id in rows:
                if int(row_xid) < horizon:
                    self._xid, self._seq = row_xid, row_seq
                    self._seen.pop(row_seq, None)
                else:
                    self._seen[row_seq] = int(row_xid)
                self._newest = max(self._newest, row_seq)
            if len(rows) < _PAGE:
                break
            xid, seq = rows[-1][0], rows[-1][1]
        passed = int(self._xid)
        self._seen = {number: by for number, by in self._seen.items() if by >= passed}

    def _unordered(self, cursor: Any) -> None:
        """The same past what was taken already, while many changes wait for a transaction that stays open."""
        rows = [()] * _PAGE
        while len(rows) == _PAGE:
            cursor.execute(_NEWEST, (self._newest, _PAGE))
            rows = cursor.fetchall()
            self._take(cursor, [(row[1], bytes(row[2])) for row in rows])
            if rows:
                self._newest = rows[-1][0]

    def _take(self, cursor: Any, changes: Iterable[tuple[int, bytes]]) -> None:
        by_entity: dict[int, dict[bytes, None]] = {}
        for entity, key in changes:
            by_entity.setdefault(entity, {})[key] = None
        if _CUSTOM_FIELD in by_entity:
            self._learn(cursor)
        for entity, keys in by_entity.items():
            self._read(cursor, entity, list(keys))

    def _learn(self, cursor: Any) -> None:
        """Hold sealed custom fields as well. A new one has no values yet; they come with changes of their records."""
        self._database.learn(cursor, anew=True)
        for number, reader in self._database.readers.items():
            self._engine.stores[number].entity = reader.held

    def _read(self, cursor: Any, entity: int, keys: list[bytes]) -> None:
        """Read records as they are now, and forget those that are not there any more."""
        reader = self._database.readers.get(entity)
        if reader is None:
            return
        for start in range(0, len(keys), _WRITE):
            part = keys[start : start + _WRITE]
            docs = reader.by_ids(cursor, part)
            self._engine.put(entity, docs)
            gone = set(part) - {doc.id for doc in docs}
            if gone:
                self._engine.drop(entity, gone)

    # Erased keys

    def _take_notice(self, message: str) -> None:
        word, _space, rest = message.partition(" ")
        if word == "drop":
            self._forget_erased([bytes.fromhex(name) for name in rest.split(",")])
        elif word == "clear":
            self._forget_erased(None)

    def _forget_erased(self, keys: list[bytes] | None) -> None:
        """Read again what is held about persons whose keys were erased: nothing of it opens any more."""
        with self._database.cursor() as cursor:
            if keys is None:
                cursor.execute(_ERASED_LATELY)
            else:
                cursor.execute(_ERASED, (keys,))
            subjects = [bytes(row[0]) for row in cursor.fetchall()]
            for number, reader in self._database.readers.items():
                for start in range(0, len(subjects), _WRITE):
                    ids = reader.ids_of_subjects(cursor, subjects[start : start + _WRITE])
                    self._read(cursor, number, ids)
