"""The sealer as a process: seal, publish, ask the witnesses, begin again after a fault. `kontor sealer`
runs this.

The loop never gives up on a database that is away, and never goes on after a contradiction: that needs a
person.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import psycopg2.extensions

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.note import NoteError, Signer, VerifierKey
from compliance.audit.log.postgres import Cursor, PostgresSource
from compliance.audit.log.sealer import LogContradiction, Sealer, SealerConfig, add_cosignatures
from compliance.audit.log.source import SourceError
from compliance.audit.log.state import StateError
from compliance.audit.log.tiles import Mirror, MirrorDamaged
from compliance.audit.log.tree import consistency_proof
from compliance.audit.witness.protocol import request_body

logger = logging.getLogger(__name__)

PRUNE_SECONDS = 60.0
"""How often the sealer looks for what retention removed."""
FILE_SECONDS = 1.0
"""How often the sealer files whom new events are about."""


@dataclass(slots=True)
class SealerStatus:
    """What metrics and `kontor doctor` read; written by the loop only."""

    size: int = 0
    sealed_at: float = 0.0
    rounds: int = 0
    substituted: int = 0
    error: str | None = None
    witnessed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WitnessAddress:
    """A witness: address of its submission prefix, its key, and for https the context that knows its
    authority.
    """

    url: str
    key: VerifierKey
    tls: ssl.SSLContext | None = None


def run_sealer(
    make_source: Callable[[], PostgresSource],
    signer: Signer,
    config: SealerConfig,
    stop: threading.Event,
    *,
    witnesses: Sequence[WitnessAddress] = (),
    status: SealerStatus | None = None,
    pause: float = 0.2,
) -> None:
    """Seal until `stop` is set; returns then. Raises `LogContradiction` and `StateError`, which only a
    person resolves.

    Args:
        make_source: Opens the source; called again after each fault.
        signer: The log's key on this node.
        config: Folder, state file, trusted keys.
        stop: Ends the loop after the round that is running.
        witnesses: Asked after each round; one that is away delays nothing but its own cosignature.
        status: Filled as the loop goes.
        pause: Seconds between rounds without events.
    """
    state, backoff = status or SealerStatus(), pause
    while not stop.is_set():
        try:
            source = make_source()
        except SourceError as error:
            state.error = str(error)
            stop.wait(backoff)
            backoff = min(backoff * 2, 5.0)
            continue
        try:
            with Sealer(source, signer, config) as sealer:
                logger.info("the sealer goes on at %d leaves", sealer.mirror.size)
                state.error, backoff = None, pause
                _rounds(sealer, source, stop, state, witnesses, config, pause=pause)
        except (SourceError, OSError, MirrorDamaged) as error:
            state.error = str(error)
            logger.warning("the sealer begins again: %s", error)
            stop.wait(backoff)
            backoff = min(backoff * 2, 5.0)
        except (LogContradiction, StateError) as error:
            state.error = str(error)
            raise
        finally:
            source.close()


def _rounds(
    sealer: Sealer,
    source: PostgresSource,
    stop: threading.Event,
    state: SealerStatus,
    witnesses: Sequence[WitnessAddress],
    config: SealerConfig,
    *,
    pause: float,
) -> None:
    prune_at = file_at = 0.0
    while not stop.is_set():
        done = sealer.run_once()
        if time.monotonic() >= file_at:
            source.file_subjects()
            file_at = time.monotonic() + FILE_SECONDS
        if not done.count and time.monotonic() >= prune_at:
            prune_at = time.monotonic() + PRUNE_SECONDS
            if pruned := sealer.prune():
                logger.info("the mirror forgot %d leaves that retention removed", pruned)
        state.size, state.sealed_at, state.rounds = done.size, time.time(), state.rounds + 1
        state.substituted += len(done.substituted)
        for index, reason in done.substituted:
            logger.error("leaf %d stands for a row that could not be sealed: %s", index, reason)
        for witness in witnesses if done.size else ():
            if state.witnessed.get(witness.key.name) != done.size:
                _ask(witness, sealer.mirror, config, state)
        if not done.count:
            stop.wait(pause)


def _ask(witness: WitnessAddress, mirror: Mirror, config: SealerConfig, state: SealerStatus) -> None:
    try:
        state.witnessed[witness.key.name] = ask_witness(
            witness, mirror, config, state.witnessed.get(witness.key.name, 0)
        )
    except (OSError, http.client.HTTPException, NoteError) as error:
        logger.warning("witness %s gave no cosignature: %s", witness.key.name, error)


def ask_witness(
    witness: WitnessAddress, mirror: Mirror, config: SealerConfig, known: int, timeout: float = 2.0
) -> int:
    """Get a cosignature on the newest checkpoint and add it to the published file; returns the size it
    covers.

    Args:
        witness: Whom to ask.
        mirror: Opened at the size of the newest checkpoint.
        config: Where the checkpoint is published.
        known: Size that the witness cosigned last, as far as is known; it corrects us otherwise (409).
        timeout: Seconds to wait for it.

    Raises:
        NoteError: The witness refused or answered with something that is not its cosignature.
        OSError: No connection.
    """
    signed = (config.directory / "checkpoint").read_bytes()
    size = checkpoints.parse(signed)[0].size
    for _ in range(2):
        proof = consistency_proof(known, size, mirror.reader())
        status, body = _post(witness, request_body(known, proof, signed), timeout)
        if status == HTTPStatus.OK:
            add_cosignatures(config.directory, [body.decode()], [witness.key])
            return size
        if status != HTTPStatus.CONFLICT or not body.strip().isdigit() or int(body) > size:
            break
        known = int(body)
    raise NoteError(f"it answered {status}")


def _post(witness: WitnessAddress, body: bytes, timeout: float) -> tuple[int, bytes]:
    parts = urlsplit(witness.url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=witness.tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=timeout)
    )
    try:
        connection.request("POST", parts.path.rstrip("/") + "/add-checkpoint", body)
        answer = connection.getresponse()
        return answer.status, answer.read(100_000)
    finally:
        connection.close()


def sealing_lag(connection: psycopg2.extensions.connection) -> float:
    """Return the age in seconds of the oldest committed event without an index, 0 if there is none (AUD-12).

    Any role that may read `audit.event`, `audit.leaf` and `audit.log` can ask. An event whose transaction
    is still open does not count: nobody can seal it yet.
    """
    with connection.cursor() as sql:
        sql.execute("select cursor from audit.log where closed_at is null order by number desc limit 1")
        row = sql.fetchone()
        cursor = Cursor.parse(row[0]) if row and row[0] else None
        where = "e.xid >= %s::text::xid8 or e.xid = any(%s::text[]::xid8[])" if cursor else "true"
        values: tuple[object, ...] = ()
        if cursor:
            values = (str(cursor.next_xid), [str(xid) for xid, _ in cursor.open])
        # Only constants of this function are put together; values go in as parameters.
        sql.execute(
            "select coalesce(extract(epoch from now() - min(e.occurred_at)), 0) from audit.event e "  # noqa: S608
            f"where ({where}) and not exists (select from audit.leaf l where l.event_id = e.event_id)",
            values,
        )
        found = sql.fetchone()
    return max(0.0, float(found[0])) if found else 0.0
