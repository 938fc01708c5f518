"""The hottest statements, each one prepared statement and one round trip.

Building a statement with SQLAlchemy costs several times what PostgreSQL needs to answer it, so the handful of
statements behind "who is it", "read one" and "list" are prepared by name on each connection and executed together
with the settings that tell PostgreSQL who acts. A string of several statements is one implicit transaction, so the
audit event that a read inserts commits with it, before its rows arrive.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from crm_server.kernel import db, rowrules
from crm_server.kernel.errors import Outdated, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection

    from crm_server.kernel.actor import Actor
    from crm_server.settings import Settings

_PREPARED, _SINCE = "kontor.prepared", "kontor.since"
_RENEWED = 1800
"""Seconds after which a connection is opened anew, as those of other engines."""


@dataclass(frozen=True)
class Prepared:
    """A statement to prepare: `sql` with $1, $2 …, and the SQL types of its parameters."""

    name: str
    sql: str
    types: tuple[str, ...]

    @cached_property
    def execute(self) -> str:
        """The statement that runs it, with places for psycopg2."""
        places = ", ".join(["%s"] * len(self.types))
        return f"EXECUTE {self.name}" + (f"({places})" if places else "")

    @property
    def prepare(self) -> str:
        """The statement that prepares it."""
        types = f"({', '.join(self.types)})" if self.types else ""
        return f"PREPARE {self.name}{types} AS {self.sql}"


class Hot:
    """A stack of connections in autocommit mode on which statements stay prepared.

    The pool of the engine opens and renews them. They are not given back to it after each statement: taking one from
    the stack costs a sixth of it, and the one that was used last has warm caches.
    """

    def __init__(self, settings: Settings) -> None:
        self._deadline: int = settings.request_deadline
        self._patience: int = settings.pool_timeout
        self._stack: queue.LifoQueue[PoolProxiedConnection | None] = queue.LifoQueue()
        for _place in range(settings.pool_size):
            self._stack.put(None)
        self._tell = f"SELECT {'' if settings.audit_reads_wait else _WITHOUT_FLUSH}{_WHO}; "
        self.info: dict[str, Any] = {}
        """What belongs to the pool, as `Session.info` to a session: the keys that open sealed documents."""
        # One connection more than the stack holds, for who looks at the database beside requests.
        self.engine: Engine = db.create_app_engine(
            settings, isolation_level="AUTOCOMMIT", pool_reset_on_return=None, max_overflow=1
        )

    def run(
        self,
        statement: Prepared,
        values: Sequence[Any],
        actor: Actor | None = None,
        *,
        deadline: float | None = None,
    ) -> list[tuple[Any, ...]]:
        """Execute a prepared statement in a transaction of its own; retries a lost connection.

        Args:
            statement: What to run.
            values: Its parameters in order.
            actor: Told to PostgreSQL in the same round trip, and confirmed if recalled. What an actor's statement
                commits is the audit event of a read, which waits for the disk only where the site says so.
            deadline: Seconds for which a lost connection is tried again; that of requests by default.
        """
        return self._until_deadline(statement, values, actor, deadline)

    def _until_deadline(
        self,
        statement: Prepared | str,
        values: Sequence[Any] | Mapping[str, Any],
        actor: Actor | None,
        seconds: float | None = None,
    ) -> list[tuple[Any, ...]]:
        deadline = time.monotonic() + (self._deadline if seconds is None else seconds)
        pause, repeated = 0.02, False
        while True:
            try:
                return self._once(statement, values, actor)
            except (psycopg2.Error, DBAPIError) as error:
                if isinstance(error, psycopg2.Error) and db.is_outdated(error):
                    raise Outdated from error
                if repeated and isinstance(error, psycopg2.errors.UniqueViolation):
                    # The connection was lost after the commit: the event is there, its read was never answered.
                    raise Unavailable from error
                if not db.is_retryable(error):
                    raise
                if time.monotonic() + pause > deadline:
                    raise Unavailable from error
                time.sleep(pause)
                pause, repeated = min(pause * 2, 1.0), True

    def run_once(self, text: str, values: Mapping[str, Any], actor: Actor) -> list[tuple[Any, ...]]:
        """Execute a statement that is too rare to stay prepared, in a transaction and one round trip of its own.

        Args:
            text: SQL with named places such as `%(p1)s`.
            values: Its parameters.
            actor: Told to PostgreSQL in the same round trip.
        """
        return self._until_deadline(text, values, actor)

    def _once(
        self, statement: Prepared | str, values: Sequence[Any] | Mapping[str, Any], actor: Actor | None
    ) -> list[tuple[Any, ...]]:
        connection = self._take()
        try:
            raw: Any = connection.dbapi_connection
            known: set[str] = connection.info[_PREPARED]
            with raw.cursor() as cursor:
                if isinstance(statement, str):
                    text = statement
                else:
                    _prepare(cursor, statement, known)
                    text = statement.execute
                if actor is not None:
                    text = self._tell % _who(actor) + text
                recalled = actor.recalled if actor else None
                if recalled is not None and not recalled.confirmed:
                    _prepare(cursor, recalled.look, known)
                    text = f"{recalled.execute}; {text}"
                cursor.execute(text, values)
                if recalled is not None:
                    recalled.confirmed = True
                rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
                return rows
        except (psycopg2.OperationalError, psycopg2.errors.ReadOnlySqlTransaction):
            # A node that takes no events any more is no leader: the next connection finds the one that is.
            connection.invalidate()
            raise
        finally:
            self._stack.put(connection if connection.is_valid else None)

    def _take(self) -> PoolProxiedConnection:
        """The connection that was used last and is free, or a new one.

        Raises:
            PoolTimeout: all are in use for longer than a request waits.
        """
        try:
            connection = self._stack.get(timeout=self._patience)
        except queue.Empty:
            raise PoolTimeout from None
        now = time.monotonic()
        if connection is not None:
            raw: Any = connection.dbapi_connection
            # The last one given back is the first one taken: one that broke would meet every request.
            if not raw.closed and now - connection.info[_SINCE] < _RENEWED:
                return connection
            connection.invalidate()
        try:
            connection = self.engine.raw_connection()
        except BaseException:
            self._stack.put(None)
            raise
        connection.info.setdefault(_SINCE, now)
        connection.info.setdefault(_PREPARED, set())
        return connection

    def dispose(self) -> None:
        """Close the connections."""
        idle = [self._stack.get_nowait() for _place in range(self._stack.qsize())]
        for connection in idle:
            if connection is not None:
                connection.close()
            self._stack.put(None)
        self.engine.dispose()


_WHO = (
    "set_config('kontor.actor', '%s', true), set_config('kontor.request', '%s', true), "
    "set_config('kontor.origin', '%s', true), set_config('kontor.rows', '%s', true)"
)
# For the implicit transaction of the string alone.
_WITHOUT_FLUSH = "set_config('synchronous_commit', 'off', true), "


def _prepare(cursor: Any, statement: Prepared, known: set[str]) -> None:
    if statement.name not in known:
        cursor.execute(statement.prepare)
        known.add(statement.name)


def _who(actor: Actor) -> tuple[str, str, str, str]:
    # UUIDs, members of an enumeration, and tokens of letters, digits and commas: nothing in them needs quoting.
    return str(actor.id), str(actor.request_id or ""), str(actor.origin.value), rowrules.told(actor)


__all__ = ["Hot", "Prepared"]
