"""The forwarder's process: one thread a sink, so that one that hangs or is down holds up nobody (SIEM-1).

`kontor siem forward` runs `forward`. What is delivered comes from the log's public files, so a sink can only get what
is signed. Cursors are in the database; a cursor that is lost or old means that events are sent again, never that one
is left out. While the database is away, sinks that are known go on.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.note import NoteError
from compliance.audit.log.tiles import Mirror, MirrorDamaged
from compliance.audit.siem.forwarder import Forwarder, Progress
from compliance.audit.siem.transport import Refusal
from crm_server.domain.audit import queries
from crm_server.domain.audit.models import Sink, SinkState
from crm_server.domain.audit.places import places
from crm_server.domain.audit.secrets import unseal
from crm_server.domain.audit.sinks import own_certificate_until, settings_of, transport_of
from crm_server.kernel import db
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.errors import AppError
from crm_server.kernel.keys import Keys
from crm_server.models import datamap
from monitoring import metrics
from security.crypto.errors import CryptoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.orm import Session, sessionmaker

    from compliance.audit.siem.transport import Transport
    from crm_server.settings import Settings

_log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the list of sinks is read."""
_TELL_SECONDS = 1.0
_IDLE_SECONDS = 0.2
_NAMES_SECONDS = 300.0


@dataclass
class _Position:
    """The cursor of a sink in memory; `Delivery` brings it to the database."""

    index: int

    def read(self) -> int:
        """See `forwarder.Cursor`."""
        return self.index

    def write(self, index: int) -> None:
        """See `forwarder.Cursor`."""
        self.index = index


class _Names:
    """Names of those who acted, for sinks that are told them. Kept for five minutes."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory
        self._known: dict[UUID, str] = {}
        self._read_at = 0.0
        self._lock = threading.Lock()

    def name_of(self, reference: str) -> str | None:
        """The name behind a pseudonym, None if it is nobody's or can't be read now."""
        with self._lock:
            if time.monotonic() - self._read_at > _NAMES_SECONDS:
                try:
                    with db.open_session(self._factory, system_actor(Origin.SYSTEM)) as session:
                        self._known = queries.people(session, datamap())
                    self._read_at = time.monotonic()
                except (SQLAlchemyError, AppError):
                    _log.warning("names of those who acted can't be read now")
            try:
                return self._known.get(UUID(reference))
            except ValueError:
                return None


@dataclass
class Delivery:
    """One sink at work, in a thread of its own.

    Attributes:
        version: That of the sink's settings; another one means another delivery.
    """

    sink: Sink
    make_transport: Callable[[], Transport]
    mirror: Path
    factory: sessionmaker[Session]
    name_of: Callable[[str], str | None]
    stop: threading.Event = field(default_factory=threading.Event)
    _told_at: float = 0.0
    _failing_since: datetime | None = None
    _sent: int = 0
    _last: tuple[str | None, int, int, int] | None = None

    def __post_init__(self) -> None:
        self.version = self.sink.version
        self.thread = threading.Thread(target=self._run, name=f"sink {self.sink.name}", daemon=True)

    def _run(self) -> None:
        """Deliver until told to stop. A mistake of ours ends this delivery alone; the list starts it again."""
        try:
            self._deliver()
        except Exception:  # noqa: BLE001 - the thread ends, and the log says why
            _log.exception("the delivery to a sink ended because of a mistake in it")

    def _deliver(self) -> None:
        transport = self.make_transport()
        forwarder: Forwarder | None = None
        log, mirror = "", None
        position = _Position(0)
        try:
            while not self.stop.is_set():
                try:
                    newest = checkpoints.parse((self.mirror / "checkpoint").read_bytes())[0]
                    if mirror is None or mirror.size != newest.size:
                        mirror = Mirror(self.mirror, newest.size)
                    if forwarder is None or log != newest.origin:
                        if forwarder is not None:
                            forwarder.stop()
                        log, position = newest.origin, _Position(self._begin(newest.origin))
                        forwarder = Forwarder(
                            log, transport, position, settings_of(self.sink), name_of=self.name_of
                        )
                    progress = forwarder.step(mirror.leaves, newest.size)
                except (OSError, NoteError, MirrorDamaged, ValueError, SQLAlchemyError) as error:
                    mirror = None
                    size = position.index if forwarder is None else forwarder.progress(position.index).size
                    progress = Progress(
                        position.index, position.index, size, _reason(error), None, Refusal.LOG
                    )
                    self.stop.wait(_TELL_SECONDS)
                self._tell(log, progress, transport)
                if progress.error or progress.sent >= progress.size:
                    self.stop.wait(_IDLE_SECONDS)
        finally:
            if forwarder is not None:
                forwarder.stop()
                self._told_at, self._last = 0.0, None
                self._tell(log, forwarder.progress(mirror.size if mirror else position.index), transport)

    def _begin(self, log: str) -> int:
        """Where delivery goes on. Another log than the one before begins at its first event (AUD-8)."""
        with db.open_session(self.factory, system_actor(Origin.SYSTEM)) as session:
            state = session.get(SinkState, self.sink.id)
        if state is None:
            return self.sink.first_index
        return state.position if state.log == log else 0

    def _tell(self, log: str, progress: Progress, transport: Transport) -> None:
        """Figures at once; the row in the database at most once a second, unless an error comes or goes."""
        metrics.SIEM_SENT.labels(self.sink.name).inc(max(0, progress.sent - self._sent))
        self._sent = progress.sent
        now = datetime.now(UTC)
        if progress.error is None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now
            _log.warning("sink %s: %s", self.sink.name, progress.error)
        failing = (now - self._failing_since).total_seconds() if self._failing_since else 0.0
        metrics.SIEM_BACKLOG.labels(self.sink.name).set(progress.backlog)
        metrics.SIEM_FAILING.labels(self.sink.name).set(failing)
        ends = [
            end for end in (transport.certificate_until, own_certificate_until(self.sink)) if end is not None
        ]
        if ends:
            metrics.SIEM_CERTIFICATE.labels(self.sink.name).set((min(ends) - now).total_seconds())
        told = (progress.error, progress.cursor, progress.sent, progress.size)
        due = time.monotonic() - self._told_at > _TELL_SECONDS and told != self._last
        if not log or not (due or (self._last is not None and self._last[0] != progress.error)):
            return
        self._told_at, self._last = time.monotonic(), told
        values = {
            "position": progress.cursor,
            "sent": progress.sent,
            "size": progress.size,
            "error": progress.error[:500] if progress.error else None,
            "cause": progress.cause,
            "failing_since": self._failing_since,
            "peer": progress.peer[:1000] if progress.peer else None,
            "certificate_until": transport.certificate_until,
            "updated_at": now,
            "log": log,
        }
        try:
            with db.open_session(self.factory, system_actor(Origin.SYSTEM)) as session:
                # A sink that was removed meanwhile, or begins anew, has no place for this cursor.
                found = session.get(Sink, self.sink.id)
                if found is not None and found.begun_at == self.sink.begun_at:
                    made = insert(SinkState).values(sink_id=self.sink.id, **values)
                    session.execute(made.on_conflict_do_update(index_elements=["sink_id"], set_=values))
                    session.commit()
        except SQLAlchemyError:
            _log.warning("the cursor of sink %s can't be kept now; events may be sent again", self.sink.name)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "nothing is signed yet, or the log's files are not on this machine"
    if isinstance(error, OSError):
        return f"the log's files can't be read: {error.strerror}"
    if isinstance(error, SQLAlchemyError):
        return "the database doesn't answer"
    return str(error)


def forward(settings: Settings, stop: threading.Event) -> None:
    """Deliver to all enabled sinks until `stop` is set; then end every connection in order.

    Raises:
        KeysRefused: the key ring can't be opened.
    """
    engine = db.create_app_engine(settings, pool_size=4)
    keys = Keys.open(settings, engine)
    factory = db.session_factory(engine, settings, keys=keys)
    names = _Names(factory)
    working: dict[UUID, Delivery] = {}
    try:
        while not stop.is_set():
            try:
                _look(settings, factory, names, working)
            except (SQLAlchemyError, AppError, CryptoError) as error:
                _log.warning("the list of sinks can't be read now (%s)", type(error).__name__)
            stop.wait(LOOK_SECONDS)
    finally:
        for delivery in working.values():
            delivery.stop.set()
        for delivery in working.values():
            delivery.thread.join(15)
        keys.close()
        engine.dispose()


def _look(
    settings: Settings, factory: sessionmaker[Session], names: _Names, working: dict[UUID, Delivery]
) -> None:
    """Start deliveries to sinks that are new, and end those whose sinks were changed, disabled or removed."""
    with db.open_session(factory, system_actor(Origin.SYSTEM)) as session:
        wanted = {sink.id: sink for sink in session.scalars(select(Sink).where(Sink.enabled))}
        for key, delivery in list(working.items()):
            sink = wanted.get(key)
            if sink is None or sink.version != delivery.version or not delivery.thread.is_alive():
                delivery.stop.set()
                delivery.thread.join(15)
                del working[key]
        for key, sink in wanted.items():
            if key in working:
                continue
            try:
                secrets = unseal(session, sink)
            except CryptoError as error:
                _log.error("the secrets of sink %s can't be opened (%s)", sink.name, type(error).__name__)
                continue
            session.expunge(sink)
            delivery = Delivery(
                sink,
                lambda sink=sink, secrets=secrets: transport_of(sink, secrets, settings),  # type: ignore[misc]
                places(settings).mirror,
                factory,
                names.name_of,
            )
            delivery.thread.start()
            working[key] = delivery
