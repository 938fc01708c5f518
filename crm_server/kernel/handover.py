"""An epoch goes from node to node: each node has a key ring of its own, and `keys.handover` is where they meet.

A node that lacks an epoch asks, a node that holds it answers (`security.crypto.handover` says why nobody else can read
that). Nodes that share an older epoch do this by themselves, when they start and when a rotation makes an epoch; a new
node is admitted by a person who carries a code (`kontor keys join`, `kontor keys admit`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from compliance.audit.events import Event, write
from crm_server.kernel.actor import system_actor
from monitoring import metrics
from security.crypto import handover
from security.crypto.errors import EpochExists, HandoverRefused, RingCorrupt
from security.crypto.keyring import EpochState
from security.crypto.providers.ring import check_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Engine

    from security.crypto.keyring import EpochKeys, KeyRingProvider

log = structlog.get_logger("kontor.keys")

BY_CODE: Final = 0
"""In place of the number of the epoch that both hold: a person vouches by a code."""
_POLL_SECONDS: Final = 0.2
_EPOCH_TABLE: Final = 131
_SERIOUS: Final = 3

# One process of a node asks; another takes its place when it has been silent for a minute.
_ASK: Final = """
insert into keys.handover as h (node, epoch, held, public, proof, asked_at) values (%s, %s, %s, %s, %s, now())
on conflict (node, epoch) do update set held = excluded.held, public = excluded.public, proof = excluded.proof,
    asked_at = now(), answer = null
where h.asked_at < now() - interval '1 minute' or %s
"""
_WAITING: Final = """
select node, epoch, held, public, proof from keys.handover
where answer is null and asked_at > now() - interval '10 minutes' and node <> %s and {which}
order by epoch for update skip locked
"""


def missing(connection: Connection, ring: KeyRingProvider) -> dict[int, str]:
    """The usable epochs of the database that aren't in this ring, with their fingerprints, in order."""
    rows = connection.exec_driver_sql(
        "select number, fingerprint from keys.epoch where state in ('prepared', 'active', 'retired') order by number"
    ).all()
    here = {info.number for info in ring.list()}
    return {number: fingerprint for number, fingerprint in rows if number not in here}


def held_elsewhere(connection: Connection, node: str, epoch: int) -> bool:
    """Whether another node attests that it holds an epoch."""
    found: bool = connection.exec_driver_sql(
        "select exists (select from keys.attestation where epoch = %s and node <> %s and holds_at is not null "
        "and gone_at is null)",
        (epoch, node),
    ).scalar_one()
    return found


def take_over(
    engine: Engine,
    ring: KeyRingProvider,
    node: str,
    wanted: Mapping[int, str],
    secret: bytes,
    *,
    held: int,
    patience: float,
) -> tuple[int, ...]:
    """Ask for epochs, wait for the answers and seal them in this node's own ring. Returns those that are there now.

    Args:
        wanted: Number to fingerprint, in order; what answers another fingerprint is refused.
        secret: Of an epoch that both hold, or of a code.
        held: The number of that epoch, or `BY_CODE`.
        patience: Seconds to wait.

    Raises:
        HandoverRefused, RingCorrupt: an answer doesn't open, or holds other keys. KeyRingError: the ring refuses.
    """
    asked = {number: handover.Asking(node, number, secret) for number in wanted}
    with engine.begin() as connection:
        for one in asked.values():
            place = (one.request.node, one.request.epoch, held, one.request.public, one.request.proof)
            connection.exec_driver_sql(_ASK, (*place, held == BY_CODE))
    until = time.monotonic() + patience
    while True:
        # Another process of this node may have asked before, and then it takes the answer.
        left = set(wanted) - {info.number for info in ring.list()}
        for number in sorted(left):
            if number == min(left) and _take(engine, ring, asked[number], wanted[number]):
                left.discard(number)
        if not left or time.monotonic() > until:
            return tuple(number for number in wanted if number not in left)
        time.sleep(_POLL_SECONDS)


def _take(engine: Engine, ring: KeyRingProvider, asking: handover.Asking, fingerprint: str) -> bool:
    """Seal an epoch in this ring if its answer is there. The lower numbers come first: a ring only grows."""
    asked = asking.request
    with engine.begin() as connection:
        row = connection.exec_driver_sql(
            "delete from keys.handover where node = %s and epoch = %s and public = %s and answer is not null "
            "returning answer",
            (asked.node, asked.epoch, asked.public),
        ).one_or_none()
    if row is None:
        return False
    keys = asking.take(bytes(row[0]))
    if check_of(keys) != fingerprint:
        raise RingCorrupt(f"Epoch {asked.epoch} was handed over with other keys than the database uses.")
    try:
        ring.create_epoch(asked.epoch, keys)
    except EpochExists:
        log.info("another process of this node took the epoch over", epoch=asked.epoch)
    else:
        log.info("epoch taken over", epoch=asked.epoch)
    return True


def answer(
    engine: Engine,
    ring: KeyRingProvider,
    node: str,
    opened: Callable[[int], EpochKeys],
    *,
    code: tuple[str, bytes] | None = None,
) -> tuple[tuple[str, int], ...]:
    """Answer the nodes that ask. Returns (node, epoch) of each that was answered.

    Args:
        node: The name of this node, which isn't answered.
        opened: Opens an epoch of this ring.
        code: The node that a person admits, with the secret of the code; without it those are answered that prove an
            epoch which both hold.

    Raises:
        HandoverRefused: the code isn't that of the node. Without a code a wrong proof raises an alarm and nothing else.
    """
    live = {info.number for info in ring.list() if info.state is EpochState.LIVE}
    which, values = ("held = 0 and node = %s", (code[0],)) if code else ("held <> 0", ())
    done = []
    with engine.begin() as connection:
        for name, epoch, held, public, proof in connection.exec_driver_sql(
            _WAITING.format(which=which), (node, *values)
        ).all():
            if epoch not in live or (code is None and held not in live):
                continue
            request = handover.Request(name, epoch, bytes(public), bytes(proof))
            try:
                secret = code[1] if code else opened(held).handover_secret()
                sealed = handover.answer(request, secret, opened(epoch))
            except HandoverRefused:
                if code:
                    raise
                _refuse(connection, name, epoch)
                continue
            connection.exec_driver_sql(
                "update keys.handover set answer = %s where node = %s and epoch = %s and public = %s",
                (sealed, name, epoch, public),
            )
            _tell(connection, "success", name, epoch, by_code=code is not None)
            done.append((name, epoch))
    return tuple(done)


def _refuse(connection: Connection, node: str, epoch: int) -> None:
    """Somebody who can write to the database, and doesn't hold the epoch that they say they hold."""
    connection.exec_driver_sql("delete from keys.handover where node = %s and epoch = %s", (node, epoch))
    metrics.KEY_ALARMS.labels(HandoverRefused.code).inc()
    log.error("an epoch was asked for without proof", node=node, epoch=epoch)
    _tell(connection, "denied", node, epoch, by_code=False)


def _tell(connection: Connection, outcome: str, node: str, epoch: int, *, by_code: bool) -> None:
    meta: dict[str, Any] = {"epoch": epoch, "node": node, "by_code": by_code}
    reason = None if outcome == "success" else HandoverRefused.code
    told = Event(
        "configuration", "epoch_handed_over", outcome, reason, _SERIOUS, object_type=_EPOCH_TABLE, meta=meta
    )
    write(connection, system_actor(), [told])
