"""What other parts may do with the keys of a data subject: erase, hold, release. All in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from compliance.datamap.text import _
from crm_server.domain.keys import events
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.kernel import db
from crm_server.kernel.clock import now
from crm_server.kernel.keyledger import Erasure
from crm_server.kernel.keys import keys_of
from crm_server.kernel.keystore import SqlKeyStore
from monitoring import metrics
from security.crypto.datakeys import DataKeyRecord, KeyState
from security.crypto.errors import RingStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

log = structlog.get_logger("kontor.keys")


@dataclass(frozen=True, slots=True)
class SubjectKeys:
    """What an erasure of these classes does, or did: how many keys by class, and the epochs that have to go."""

    subject: UUID
    classes: dict[str, int]
    held: dict[str, int]
    epochs: tuple[int, ...]
    event: UUID | None = None
    at: datetime | None = None

    @property
    def number(self) -> int:
        """How many keys."""
        return sum(self.classes.values())


def preview(session: Session, subject: UUID, classes: Collection[str] | None = None) -> SubjectKeys:
    """What `erase_subject` would do, without doing it."""
    keys = keys_of(session)
    records = SqlKeyStore(session.connection).of_subject(keys.tenant, subject)
    return _counted(subject, _chosen(records, classes))


def erase_subject(session: Session, subject: UUID, classes: Collection[str] | None = None) -> SubjectKeys:
    """Turn the subject's keys into tombstones. What they sealed is unreadable at once, here and within a second on
    every node; in backups when the epochs named in the result are destroyed.

    Args:
        classes: Key classes such as `KeyClass.IDENTITY`; all if None.

    Raises:
        KeyWorkRefused: "held", a key is under a legal hold; nothing was erased.
    """
    keys = keys_of(session)
    store = SqlKeyStore(session.connection)
    chosen = _chosen(store.of_subject(keys.tenant, subject, lock=True), classes)
    counted = _counted(subject, chosen)
    if counted.held:
        raise KeyWorkRefused(
            "held",
            _(
                "Keys of this person are under a legal hold: ${classes}. Release the hold first.",
                mapping={"classes": ", ".join(sorted(counted.held))},
            ),
        )
    kids = [record.kid for record in chosen]
    told = events.subject(
        "keys_erased",
        subject,
        classes=counted.classes,
        epochs=list(counted.epochs),
        keys=[kid.hex() for kid in kids],
    )
    moment = now()
    for record in chosen:
        store.put(record.erase(moment, told.event_id))
    keys.keys.cache.drop(*kids)
    events.record(session.connection(), db.actor_of(session), told)
    entries = [Erasure(kid, moment, told.event_id) for kid in kids]

    def remember() -> None:
        # Readers that began before the commit may have brought a key back; and the ledger survives a restore.
        keys.keys.cache.drop(*kids)
        try:
            keys.keys.ledger.append(entries)
        except RingStorage as error:
            # Nothing is lost: the tombstones are there, and the ledger is completed from them every five minutes.
            metrics.KEY_ALARMS.labels(error.code).inc()
            log.error("ledger of erasures not written", code=error.code)  # noqa: TRY400 - names no values

    db.after_commit(session, remember)
    return SubjectKeys(
        subject, counted.classes, counted.held, counted.epochs, told.event_id if kids else None, moment
    )


def hold(session: Session, subject: UUID, classes: Collection[str] | None = None) -> int:
    """Put the subject's live keys under a legal hold: usable, but not erasable. Returns how many."""
    return _change(session, subject, classes, "keys_held", KeyState.ACTIVE, DataKeyRecord.hold)


def release(session: Session, subject: UUID, classes: Collection[str] | None = None) -> int:
    """End the hold of the subject's keys. Returns how many."""
    return _change(session, subject, classes, "keys_released", KeyState.HELD, DataKeyRecord.release)


def _change(
    session: Session,
    subject: UUID,
    classes: Collection[str] | None,
    action: str,
    state: KeyState,
    change: Callable[[DataKeyRecord], DataKeyRecord],
) -> int:
    keys = keys_of(session)
    store = SqlKeyStore(session.connection)
    records = _chosen(store.of_subject(keys.tenant, subject, lock=True), classes)
    chosen = [record for record in records if record.state is state]
    for record in chosen:
        store.put(change(record))
    if chosen:
        told = events.subject(action, subject, classes=_counted(subject, chosen).classes)
        events.record(session.connection(), db.actor_of(session), told)
    return len(chosen)


def _chosen(records: list[DataKeyRecord], classes: Collection[str] | None) -> list[DataKeyRecord]:
    wanted = None if classes is None else {str(item) for item in classes}
    return [
        record
        for record in records
        if record.state is not KeyState.ERASED and (wanted is None or record.owner.key_class in wanted)
    ]


def _counted(subject: UUID, records: list[DataKeyRecord]) -> SubjectKeys:
    every: dict[str, int] = {}
    held: dict[str, int] = {}
    for record in records:
        name = record.owner.key_class
        every[name] = every.get(name, 0) + 1
        if record.state is KeyState.HELD:
            held[name] = held.get(name, 0) + 1
    return SubjectKeys(subject, every, held, tuple(sorted({record.epoch for record in records})))
