"""The sealer's process: finds or makes its key, opens the log on the first start, seals until it is told to stop.

`kontor sealer` runs `seal`. The loop itself is `compliance.audit.log.service`.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions

from compliance.audit.log import keyfile
from compliance.audit.log.files import write_atomically
from compliance.audit.log.fork import ForkRefusedError, fork_log
from compliance.audit.log.note import NoteError, Signer, VerifierKey
from compliance.audit.log.postgres import PostgresSource, open_log
from compliance.audit.log.sealer import SealerConfig
from compliance.audit.log.service import SealerStatus, WitnessAddress, run_sealer, sealing_lag
from compliance.audit.log.state import StateFile
from crm_server.domain.audit.guard import free_part
from crm_server.domain.audit.places import connect, log_name, places
from crm_server.settings import SettingsError
from monitoring import metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from crm_server.domain.audit.places import Places
    from crm_server.settings import Settings

_log = logging.getLogger(__name__)

_MEASURE_SECONDS = 5.0
_LONGEST_PAUSE = 5.0


def seal(settings: Settings, stop: threading.Event) -> None:
    """Seal until `stop` is set.

    Raises:
        SettingsError: the address of the sealer's role is missing, or a key in the settings is malformed.
        KeyFileError: the signing key can't be used.
        LogContradiction, StateError: going on would contradict what was signed; a person has to decide.
    """
    if not settings.sealer_database_url:
        raise SettingsError(
            "KONTOR_SEALER_DATABASE_URL is not set. The sealer works as a role of its own; set its address."
        )
    where = places(settings)
    trusted, witnesses = _keys(settings.sealer_trusted_keys), _witnesses(settings.audit_witnesses)

    def connection() -> psycopg2.extensions.connection:
        return connect(settings.sealer_database_url, "kontor-sealer", settings.connect_timeout)

    tenant = _tenant(connection, stop)
    if tenant is None:
        return
    signer = Signer(log_name(settings, tenant), signing_key(where))
    _open(connection, signer.key.name)
    _publish_keys(where, (signer.key, *trusted))
    status = SealerStatus()
    watcher = threading.Thread(target=_measure, args=(connection, status, where.mirror, stop), daemon=True)
    watcher.start()
    run_sealer(
        lambda: PostgresSource(connection, tenant, standbys=settings.audit_standbys),
        signer,
        SealerConfig(where.mirror, where.state, trusted),
        stop,
        witnesses=witnesses,
        status=status,
    )
    watcher.join(_MEASURE_SECONDS + 1)


def fork(settings: Settings, name: str, release: UUID, checkpoint: Path | None = None) -> Path:
    """Close the log and open a successor whose first leaf explains the break (AUD-8). No sealer may run meanwhile.

    Args:
        name: Of the new log; afterwards `KONTOR_AUDIT_LOG_NAME` has to say it.
        release: Key of the request that two persons have released; reason and persons are sealed.
        checkpoint: The newest signed checkpoint of the old log that anybody has; that of the mirror by default.

    Returns:
        Where the old log's files lie now.

    Raises:
        ForkRefusedError: two persons have not released exactly this, or something that explains the break is missing.
        SourceError: another sealer runs, or the database refused.
        StateError, NoteError, OSError: a file can't be used.
    """
    where = places(settings)
    last = (checkpoint or where.mirror / "checkpoint").read_bytes()

    def connection() -> psycopg2.extensions.connection:
        return connect(settings.sealer_database_url, "kontor-sealer", settings.connect_timeout)

    tenant = _tenant(connection, threading.Event())
    source = PostgresSource(connection, tenant or "", standbys=settings.audit_standbys)
    try:
        with StateFile(where.state) as state:
            found = _released(source.connection, release, source.head().origin, name)
            fork_log(source, state, name, last, tenant=tenant or "", **found)
    finally:
        source.close()
    kept = where.mirror.with_name(f"{where.mirror.name}.{int(time.time())}")
    where.mirror.rename(kept)
    return kept


def _released(
    connection: psycopg2.extensions.connection, release: UUID, log: str, name: str
) -> dict[str, Any]:
    with connection.cursor() as sql:
        sql.execute(
            "select log, successor, reason, digest, persons::text[] from audit.released_fork(%s::uuid)",
            (str(release),),
        )
        row = sql.fetchone()
    connection.rollback()
    if row is None or row[:2] != (log, name):
        raise ForkRefusedError(
            f"two persons have not released a successor {name} of {log} under this request"
        )
    return {"reason": row[2], "approvals": row[4], "release": {"request": str(release), "digest": row[3]}}


def signing_key(where: Places) -> Ed25519PrivateKey:
    """The key of this node, made at its very first start.

    Raises:
        KeyFileError: it is gone although something was signed with it, or it can't be used.
    """
    if where.key.exists():
        return keyfile.load(where.key)
    if where.state.exists():
        raise keyfile.KeyFileError(
            f"the signing key {where.key} is gone, but this sealer has signed before. Restore the key; if it is lost, "
            "move the state file away, give the old verifier key in KONTOR_SEALER_TRUSTED_KEYS, and publish the new one"
        )
    _log.warning("making the signing key of this node in %s", where.key)
    return keyfile.create(where.key)


def _tenant(connection: Callable[[], psycopg2.extensions.connection], stop: threading.Event) -> str | None:
    """Who this installation is, as soon as the database says it; None when told to stop before."""
    pause = 0.5
    while not stop.is_set():
        try:
            opened = connection()
            try:
                with opened.cursor() as sql:
                    sql.execute("select tenant::text from kontor.installation")
                    row = sql.fetchone()
                if row is not None:
                    return str(row[0])
            finally:
                opened.close()
        except psycopg2.Error as error:
            _log.warning("the database does not answer the sealer (%s)", error.pgcode or "no connection")
        stop.wait(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return None


def _open(connection: Callable[[], psycopg2.extensions.connection], name: str) -> None:
    """Open the log where there is none yet. Where it can't be done now, the loop says why."""
    try:
        opened = connection()
        try:
            open_log(opened, name)
        finally:
            opened.close()
    except psycopg2.Error as error:
        _log.warning("the log could not be opened yet (%s)", error.pgcode or "no connection")


def _publish_keys(where: Places, keys: tuple[VerifierKey, ...]) -> None:
    """Keep every key that ever signed beside the checkpoints: readers of old ones need the old ones."""
    known = where.keys.read_text("utf-8").splitlines() if where.keys.exists() else []
    wanted = list(dict.fromkeys([*known, *(key.text() for key in keys)]))
    if wanted != known:
        write_atomically(where.keys, "".join(f"{line}\n" for line in wanted).encode())


def _measure(
    connection: Callable[[], psycopg2.extensions.connection],
    status: SealerStatus,
    mirror: Path,
    stop: threading.Event,
) -> None:
    """Keep the figures of the sealer up to date; a lag that can't be measured is told as not sealing."""
    while not stop.wait(_MEASURE_SECONDS):
        healthy = status.error is None
        try:
            opened = connection()
            try:
                opened.autocommit = True
                metrics.SEALING_LAG.set(sealing_lag(opened))
            finally:
                opened.close()
        except psycopg2.Error:
            healthy = False
        space = free_part(mirror)
        if space is not None:
            metrics.AUDIT_SPACE.set(space)
        metrics.SEALER_WORKS.set(1 if healthy else 0)
        metrics.SEALED.set(status.size)


def _keys(texts: tuple[str, ...]) -> tuple[VerifierKey, ...]:
    try:
        return tuple(VerifierKey.parse(text) for text in texts)
    except NoteError as error:
        raise SettingsError(f"KONTOR_SEALER_TRUSTED_KEYS: {error}.") from error


def _witnesses(texts: tuple[str, ...]) -> tuple[WitnessAddress, ...]:
    found = []
    for text in texts:
        url, _space, key = text.partition(" ")
        try:
            parsed = VerifierKey.parse(key.strip())
        except NoteError as error:
            raise SettingsError(f"KONTOR_AUDIT_WITNESSES: {error}. Write: https://host/prefix KEY") from error
        if not url.startswith(("https://", "http://")):
            raise SettingsError("KONTOR_AUDIT_WITNESSES: write https://host/prefix, a space, and its key.")
        tls = ssl.create_default_context() if url.startswith("https://") else None
        found.append(WitnessAddress(url, parsed, tls))
    return tuple(found)
