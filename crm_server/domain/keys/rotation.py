"""Rotation: a new epoch, and every live data key wrapped anew under it, verified key by key (ENC-8).

It goes through the table in batches that each commit, so it can be killed at any moment and goes on where it stopped;
the application serves meanwhile with the old and the new epoch. Keys that another process makes under the old epoch
while it runs are found by a last look.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.domain.keys import events, rows
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.domain.keys.work import silent
from crm_server.kernel.keylisten import CHANNEL
from monitoring import metrics
from security.crypto.errors import EpochExists, KeyCorrupt
from security.crypto.keyring import EpochState
from security.crypto.providers.ring import check_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crm_server.domain.keys.work import KeyWork, Progress

_BATCH = 5_000
_PASSES = 5

# Two ranges of key ids, so that one is computed while the database writes the other.
_RANGES = ((b"", b"\x7f" + b"\xff" * 15), (b"\x7f" + b"\xff" * 15, b"\xff" * 16))

# A node that runs attests every five minutes; one that doesn't takes the epoch over before it serves again.
_BEHIND = """
select distinct a.node from keys.attestation a
where a.seen_at > now() - interval '11 minutes' and a.holds_at is not null and a.gone_at is null and not exists (
    select from keys.attestation b where b.node = a.node and b.epoch = %s and b.holds_at is not null)
order by a.node
"""
NODES_SECONDS = 60.0
TELL_SECONDS = 5.0
_TELL = f"select pg_notify('{CHANNEL}', 'epoch')"


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a rotation did. `left` keys are still under earlier epochs; `corrupt` of them can't be unwrapped."""

    epoch: int
    wrapped: int
    left: int
    corrupt: int
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every live key is under the active epoch."""
        return self.left == 0

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "complete": self.complete}


def rotate(work: KeyWork, progress: Progress = silent, *, fresh: bool = True) -> RotationResult:
    """Make a new epoch and wrap every live key under it, or go on with a rotation that was broken off.

    Args:
        fresh: Make a new epoch when nothing was left over; False only finishes.

    Raises:
        KeyWorkRefused: "zero_of_many", keys were waiting and none could be wrapped.
        KeyRingError: the provider can't make the epoch; nothing was changed.
    """
    started = time.monotonic()
    with work.engine.connect() as connection:
        active = _active(connection)
        behind = count_behind(connection, active)
    if behind == 0 and fresh:
        active = _new_epoch(work, active)
    with work.engine.connect() as connection:
        total = count_behind(connection, active)
    counter, corrupt = _Counter(progress, total), 0
    for _pass in range(_PASSES):
        before = counter.done
        with ThreadPoolExecutor(len(_RANGES)) as both:
            running = [both.submit(_sweep, work, active, part, counter) for part in _RANGES]
            corrupt = sum(one.result() for one in running)
        if counter.done == before:
            break
    done = counter.done
    with work.engine.begin() as connection:
        left = count_behind(connection, active)
        outcome = "success" if left == 0 else "failure"
        events.record(
            connection,
            work.actor,
            events.epoch("epoch_rotated", outcome, epoch=active, wrapped=done, left=left, corrupt=corrupt),
        )
    if total and not done:
        raise KeyWorkRefused(
            "zero_of_many",
            _(
                "None of ${number} keys could be wrapped under epoch ${epoch}. Find the damage: kontor keys verify",
                mapping={"number": total, "epoch": active},
            ),
        )
    metrics.KEY_EPOCH.set(active)
    return RotationResult(active, done, left, corrupt, round(time.monotonic() - started, 2))


def count_behind(connection: Connection, epoch: int) -> int:
    """How many live keys are under an epoch before this one."""
    found: int = connection.exec_driver_sql(
        "select count(*) from keys.data_key where epoch < %s and state <> 'erased'", (epoch,)
    ).scalar_one()
    return found


def _active(connection: Connection) -> int:
    found: int = connection.exec_driver_sql(
        "select number from keys.epoch where state = 'active'"
    ).scalar_one()
    return found


def _new_epoch(work: KeyWork, before: int) -> int:
    """Make an epoch in the ring and then in the database; one that a kill left between both is taken over."""
    ring = work.keys.ring
    infos = ring.list()
    waiting = [info for info in infos if info.number > before and info.state is EpochState.LIVE]
    if waiting:
        info = waiting[-1]
    else:
        try:
            info = ring.create_epoch(max(item.number for item in infos) + 1)
        except EpochExists:
            info = ring.list()[-1]
    fingerprint = check_of(work.keys.epoch_keys(info.number))
    with work.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into keys.epoch (number, state, fingerprint, provider, created_at) "
            "values (%s, 'prepared', %s, %s, %s) on conflict do nothing",
            (info.number, fingerprint, ring.capabilities.name, info.created_at),
        )
    work.keys.attest()
    _await_nodes(work, info.number)
    with work.engine.begin() as connection:
        retired = connection.exec_driver_sql(
            "update keys.epoch set state = 'retired', retired_at = now() where state = 'active' and number = %s",
            (before,),
        )
        if retired.rowcount != 1:
            raise KeyWorkRefused(
                "busy", _("Another rotation has just made an epoch. Look at the state again.")
            )
        connection.exec_driver_sql(
            "update keys.epoch set state = 'active' where number = %s and fingerprint = %s and state = 'prepared'",
            (info.number, fingerprint),
        )
        events.record(connection, work.actor, events.epoch("epoch_created", epoch=info.number, before=before))
    work.keys.forget_epochs()
    return info.number


def _await_nodes(work: KeyWork, epoch: int) -> None:
    """Wait until every node that runs has sealed the epoch in its own ring: none may meet a key that it can't open.

    Raises:
        KeyWorkRefused: "nodes_behind"; the epoch stays prepared, and the next rotation goes on with it.
    """
    until, tell = time.monotonic() + NODES_SECONDS, time.monotonic()
    while True:
        with work.engine.begin() as connection:
            behind = tuple(connection.exec_driver_sql(_BEHIND, (epoch,)).scalars())
            if behind and time.monotonic() >= tell:
                # They were told when the epoch was written, which is before this node attests that it could hand it
                # over; a node may also have been busy then, or its device.
                connection.exec_driver_sql(_TELL)
                tell += TELL_SECONDS
        if not behind:
            return
        if time.monotonic() > until:
            raise KeyWorkRefused(
                "nodes_behind",
                _(
                    "These nodes haven't taken epoch ${epoch} over: ${nodes}. Look at their logs, or stop them.",
                    mapping={"epoch": epoch, "nodes": ", ".join(behind)},
                ),
            )
        time.sleep(0.2)


class _Counter:
    """Counts for several threads, and tells it."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.done = 0
        self._progress = progress
        self._total = total
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        with self._lock:
            self.done += number
            self._progress(min(self.done, self._total), self._total)


def _sweep(work: KeyWork, epoch: int, part: tuple[bytes, bytes], counter: _Counter) -> int:
    """Go once through a range of the table. Returns how many keys are damaged."""
    (kid, last), corrupt = part, 0
    new = work.keys.wrapper(epoch)
    while True:
        with work.engine.begin() as connection:
            found = rows.read(connection, kid, last, epoch, _BATCH)
            if not found:
                return corrupt
            kid, renewed = found[-1].kid, []
            for name, context, old, wrapped, check_value in found:
                try:
                    fresh = work.keys.wrapper(old).rewrap(new, wrapped, context, name, check_value)
                except KeyCorrupt:
                    corrupt += 1
                    metrics.KEY_ALARMS.labels("key-corrupt").inc()
                    continue
                renewed.append((name, wrapped, fresh))
            moved = rows.renew(connection, epoch, renewed)
        counter.add(moved)


@dataclass(frozen=True, slots=True)
class Verified:
    """Keys that were unwrapped and checked, and the ids of those that failed (at most 100)."""

    keys: int
    corrupt: int
    damaged: tuple[str, ...]


def verify(work: KeyWork, progress: Progress = silent) -> Verified:
    """Unwrap every live key and compare its check value."""
    kid, checked, corrupt, damaged = b"", 0, 0, []
    with work.engine.connect() as connection:
        total = count_behind(connection, 2**31 - 1)
        while found := rows.read(connection, kid, _RANGES[-1][1], 2**31 - 1, _BATCH):
            kid = found[-1].kid
            for name, context, epoch, wrapped, check_value in found:
                try:
                    work.keys.wrapper(epoch).unwrap(wrapped, context, name, check_value)
                except KeyCorrupt:
                    corrupt += 1
                    damaged.append(name.hex())
            checked += len(found)
            progress(checked, total)
    if corrupt:
        metrics.KEY_ALARMS.labels("key-corrupt").inc(corrupt)
    return Verified(checked, corrupt, tuple(damaged[:100]))
