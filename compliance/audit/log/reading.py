"""Reads the log beside a running sealer: how far it is, bundles for auditors, proofs of single events.

Called by `kontor audit`, by the download of a proof and by `kontor doctor`. Hashes come from the mirror, events from
the raw rows, so what is written has two witnesses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from compliance.audit.log import bundle
from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.note import VerifierKey
from compliance.audit.log.rows import stored_leaves
from compliance.audit.log.tiles import Mirror, MirrorDamaged

if TYPE_CHECKING:
    import psycopg2.extensions

    from compliance.audit.log.source import StoredLeaf

_ATTEMPTS = 5


class NotSealedError(Exception):
    """There is no checkpoint yet that covers what was asked for."""


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How far the log is.

    Attributes:
        origin: Name of the log; None before the sealer's first start.
        size: Events that have their index.
        root: Root of the tree over them, in hexadecimal.
        signed_size: Events under the newest checkpoint; None if the mirror can't be read here.
        signed_at: When that checkpoint was written.
        lag: Age in seconds of the oldest event without an index.
    """

    origin: str | None
    size: int
    root: str | None
    signed_size: int | None
    signed_at: datetime | None
    lag: float


class LogReader:
    """The log as a reader sees it.

    Args:
        connection: Of a role that may read the log; used inside the transaction that is open.
        mirror: Folder that the sealer writes.
        keys: File with the verifier keys.
    """

    def __init__(self, connection: psycopg2.extensions.connection, mirror: Path, keys: Path) -> None:
        self._connection, self._directory, self._keys = connection, mirror, keys

    def status(self) -> LogStatus:
        """How far the log is. Raises psycopg2.Error."""
        from compliance.audit.log.service import sealing_lag

        with self._connection.cursor() as sql:
            sql.execute(
                "select origin, size, encode(root, 'hex') from audit.log where closed_at is null "
                "order by number desc limit 1"
            )
            row = sql.fetchone()
        signed_size, signed_at = None, None
        path = self._directory / "checkpoint"
        try:
            signed_size = checkpoints.parse(path.read_bytes())[0].size
            signed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (OSError, ValueError):
            pass
        lag = sealing_lag(self._connection)
        if row is None:
            return LogStatus(None, 0, None, signed_size, signed_at, lag)
        return LogStatus(row[0], int(row[1]), row[2], signed_size, signed_at, lag)

    def export(self, directory: Path, progress: Callable[[int], None] = lambda _done: None) -> int:
        """Write the whole log as far as it is signed into a new folder; returns the number of events.

        Raises:
            NotSealedError: nothing is signed yet.
            FileExistsError, OSError: the folder exists or can't be written.
            MirrorDamaged: the mirror lacks what was signed.
        """
        newest, mirror = self._open()
        origin = checkpoints.parse(newest)[0].origin
        bundle.export_log(
            directory,
            mirror,
            lambda start, stop: iter(self._leaves(origin, "l.index >= %s and l.index < %s", (start, stop))),
            bundle.read_history(self._directory),
            self._verifier_keys(),
            progress=progress,
        )
        return mirror.size

    def prove(self, directory: Path, events: Sequence[UUID]) -> list[int]:
        """Write a bundle with a proof for each of `events` into a new folder; returns their indexes.

        Raises:
            NotSealedError: one of them has no place under a checkpoint yet.
            MirrorDamaged: the mirror lacks what was signed.
        """
        newest, mirror = self._open()
        origin = checkpoints.parse(newest)[0].origin
        wanted = [str(key) for key in dict.fromkeys(events)]
        found = self._leaves(origin, "l.event_id = any(%s::uuid[])", (wanted,))
        if len(found) != len(wanted) or any(leaf.index >= mirror.size for leaf in found):
            raise NotSealedError
        bundle.export_selection(directory, mirror, found, newest, self._verifier_keys())
        return [leaf.index for leaf in found]

    def _open(self) -> tuple[bytes, Mirror]:
        """The newest checkpoint and the tiles under it. The sealer may replace tiles meanwhile: look again then."""
        for attempt in range(_ATTEMPTS):
            try:
                newest = (self._directory / "checkpoint").read_bytes()
                return newest, Mirror(self._directory, checkpoints.parse(newest)[0].size)
            except FileNotFoundError:
                raise NotSealedError from None
            except MirrorDamaged:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.05)
        raise AssertionError

    def _leaves(self, origin: str, where: str, values: tuple[object, ...]) -> list[StoredLeaf]:
        with self._connection.cursor() as sql:
            sql.execute(
                "select number, (select tenant::text from kontor.installation) from audit.log where origin = %s",
                (origin,),
            )
            row = sql.fetchone()
            if row is None:
                raise NotSealedError
            return list(stored_leaves(sql, str(row[1]), int(row[0]), where, values))

    def _verifier_keys(self) -> list[VerifierKey]:
        return [VerifierKey.parse(line) for line in self._keys.read_text("utf-8").splitlines() if line]
