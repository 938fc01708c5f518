"""The engine and the session. Opens connections, carries the actor into the transaction, and knows which
errors may be retried. Called by the transaction tween, jobs and the command line.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from compliance.audit import capture
from compliance.audit.events import use_vault
from compliance.datamap import documents
from crm_server.kernel import rowrules
from crm_server.kernel.blindindex import hook as blindindex
from crm_server.kernel.errors import OutcomeUnknown
from crm_server.kernel.serialization import dumps_text
from crm_server.search.client import client_of
from crm_server.settings import default

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection
    from sqlalchemy.orm import SessionTransaction

    from crm_server.kernel.actor import Actor
    from crm_server.kernel.keys import Keys, SessionKeys
    from crm_server.settings import Settings

psycopg2.extras.register_uuid()

ACTOR = "kontor.actor"
AFTER_COMMIT = "kontor.after_commit"
SETTINGS = "kontor.settings"
KEYS = "kontor.keys"
SEARCH = "kontor.search"

# A client that cancels while its COMMIT waits for the synchronous standby gets success with this warning, although
# the row may be lost with the leader. It is an unknown outcome and never a success.
_UNSYNCED = "canceling wait for synchronous replication"

# 40001 serialization_failure, 40P01 deadlock_detected: the transaction did nothing and may run again.
_RETRYABLE_STATES = frozenset({"40001", "40P01"})
# 57P01-57P03 shutdown, 25006 read-only transaction (the old leader), 08xxx connection: another node will answer.
_LOST_STATES = frozenset({"57P01", "57P02", "57P03", "25006", "08000", "08003", "08006", "08001", "08004"})


def create_app_engine(settings: Settings, **overrides: Any) -> Engine:
    """The pooled engine of the application role."""
    options = (
        f"-c statement_timeout={settings.statement_timeout} -c timezone=UTC "
        # Statements here are short: compiling one, which row rules make look expensive, takes longer than running it.
        f"-c idle_in_transaction_session_timeout=60000 -c jit=off"
    )
    arguments: dict[str, Any] = {
        "pool_size": settings.pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.pool_timeout,
        "pool_recycle": 1800,
        "json_serializer": dumps_text,
        "connect_args": {
            "connect_timeout": settings.connect_timeout,
            "tcp_user_timeout": 10_000,
            "application_name": "kontor-app",
            "options": options,
        },
        "hide_parameters": True,
    }
    return create_engine(settings.database_url, **(arguments | overrides))


def session_factory(
    engine: Engine, settings: Settings | None = None, keys: Keys | None = None
) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after commit and that never flush behind a reader's back.

    Args:
        keys: Without them a session can't open or seal anything.
    """
    if keys is not None:
        use_vault(engine, keys.payloads)
    search = None if settings is None else client_of(settings)
    given = {SETTINGS: settings, KEYS: keys, SEARCH: search}
    info = {name: value for name, value in given.items() if value is not None}
    return sessionmaker(engine, expire_on_commit=False, class_=Session, info=info)


def setting(session: Session, name: str) -> Any:
    """A setting as services need it (default currency, days in the bin), or its default."""
    settings: Settings | None = session.info.get(SETTINGS)
    return default(name) if settings is None else getattr(settings, name)


def open_session(factory: sessionmaker[Session], actor: Actor) -> Session:
    """A session that acts as `actor`: each of its transactions tells PostgreSQL who acts."""
    session = factory()
    session.info[ACTOR] = actor
    return session


def actor_of(session: Session) -> Actor:
    """The actor of a session. A session without one can't write: capture refuses it."""
    actor: Actor = session.info[ACTOR]
    return actor


def _vault(session: Session) -> SessionKeys:
    # The keys stand on this module, so they are asked for when they are used.
    from crm_server.kernel.keys import keys_of

    return keys_of(session)


def _report(session: Session, trouble: documents.Trouble) -> None:
    from crm_server.kernel.opening import report

    report(session, trouble)


# Every session of the process seals and is captured: there is no other kind to open by mistake. Sealing comes first, so
# that capture sees what it has done.
documents.install(Session, _vault, _report)
blindindex.install(Session)
capture.install(Session, actor_of)

_TELL = (
    "select set_config('kontor.actor', %s, true), set_config('kontor.request', %s, true), "
    "set_config('kontor.origin', %s, true), set_config('kontor.rows', %s, true)"
)


def telling(actor: Actor) -> tuple[str, tuple[str, ...]]:
    """The statement, with its values, that tells a transaction who acts and what they reach.

    Raises:
        Outdated: the actor was recalled, and isn't any more who they were.
    """
    if actor.recalled is not None:
        actor.recalled.confirm()
    return _TELL, (str(actor.id), str(actor.request_id or ""), str(actor.origin), rowrules.told(actor))


@contextmanager
def connect(engine: Engine, actor: Actor) -> Iterator[Connection]:
    """A connection in a transaction that acts as `actor`, rolled back at the end unless it was committed."""
    with engine.connect() as connection:
        connection.exec_driver_sql(*telling(actor))
        yield connection


@contextmanager
def as_system(session: Session) -> Iterator[None]:
    """Let a service look at or write rows that its actor doesn't reach, for as long as the block lasts.

    For what must be known or done beyond the actor's own rows: whether a number is taken, a cycle, what hangs on a
    record that is removed, handing a record over. The actor of events stays who it was.
    """
    session.flush()
    connection = session.connection()
    with session.no_autoflush:
        reach = connection.exec_driver_sql(_REACH, (rowrules.EVERYTHING_TOLD,)).scalar_one()
    try:
        yield
        session.flush()
    finally:
        # A failed statement has ended the transaction, and its settings with it.
        if session.is_active and not connection.closed and connection.in_transaction():
            with suppress(DBAPIError):
                connection.exec_driver_sql("select set_config('kontor.rows', %s, true)", (reach,))


_REACH = "select current_setting('kontor.rows', true), set_config('kontor.rows', %s, true)"


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Run `callback` once the request's transaction is committed. It may only notify: nothing can be undone then."""
    session.info.setdefault(AFTER_COMMIT, []).append(callback)


@event.listens_for(Session, "after_begin")
def _tell_database(session: Session, transaction: SessionTransaction, connection: Any) -> None:
    """Set the transaction's actor, which triggers and row rules read."""
    actor: Actor | None = session.info.get(ACTOR)
    # The transaction itself is what begins here, even where a savepoint is what opened it.
    if actor is not None and not transaction.nested:
        connection.exec_driver_sql(*telling(actor))


def commit(session: Session) -> None:
    """Commit, and tell an unknown outcome from a failure.

    Raises:
        OutcomeUnknown: the connection broke during COMMIT, or the wait for the synchronous standby was cancelled.
    """
    session.flush()
    raw = session.connection().connection.dbapi_connection if session.in_transaction() else None
    notices = getattr(raw, "notices", None)
    if notices is not None:
        notices[:] = []
    try:
        session.commit()
    except DBAPIError as error:
        if error.connection_invalidated or _pgcode(error) in _LOST_STATES:
            raise OutcomeUnknown from error
        raise
    if notices and any(_UNSYNCED in line for line in notices):
        raise OutcomeUnknown


def _pgcode(error: DBAPIError) -> str | None:
    return getattr(error.orig, "pgcode", None)


def is_retryable(error: BaseException) -> bool:
    """Whether the whole transaction may run again: it left no trace.

    True for serialization failures, deadlocks, and a connection lost before COMMIT was sent. A lost update
    (`StaleDataError`) is not: a person decides about it.
    """
    if isinstance(error, StaleDataError):
        return False
    if isinstance(error, PoolTimeout):
        return False
    if isinstance(error, DBAPIError):
        code = _pgcode(error)
        return (
            error.connection_invalidated
            or code in _RETRYABLE_STATES
            or code in _LOST_STATES
            or (isinstance(error, OperationalError) and code is None)
        )
    return isinstance(error, psycopg2.Error) and (
        error.pgcode in _RETRYABLE_STATES | _LOST_STATES
        or (isinstance(error, psycopg2.OperationalError) and error.pgcode is None)
    )


def is_timeout(error: BaseException) -> bool:
    """Whether PostgreSQL cancelled a statement because it took longer than `statement_timeout`."""
    return isinstance(_cause(error), psycopg2.errors.QueryCanceled)


def is_outdated(error: psycopg2.Error) -> bool:
    """Whether PostgreSQL found that a recalled actor isn't any more who they were."""
    return error.pgcode == "KN001"


def is_full(error: BaseException) -> bool:
    """Whether PostgreSQL had no room on its disk."""
    return isinstance(_cause(error), psycopg2.errors.DiskFull)


def is_refused(error: BaseException) -> bool:
    """Whether a privilege is missing, or a trigger said no."""
    return isinstance(_cause(error), psycopg2.errors.InsufficientPrivilege | psycopg2.errors.RaiseException)


def _cause(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
