"""The ledger of erasures: which data keys were erased, kept outside of the database, so that a restore can't undo them.

A file of one JSON line for each erased key (id, time, event; nothing personal) in the folder of the key ring. A
database that was restored from a backup holds keys that were erased since: it is in quarantine, which means that no
process opens its keys, until the ledger has been replayed (ENC-11).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from crm_server.kernel.clock import now
from security.crypto.errors import RingStorage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy import Connection

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erased key."""

    kid: bytes
    at: datetime
    event: UUID | None

    def line(self) -> str:
        """The entry as a line of the file."""
        return json.dumps(
            {
                "kid": self.kid.hex(),
                "at": self.at.isoformat(),
                "event": str(self.event) if self.event else None,
            }
        )


class Ledger:
    """The ledger in one folder. Processes append to it side by side; a torn last line is ignored."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "erasures.jsonl"
        self._flag = folder / "quarantine.json"

    def append(self, entries: Iterable[Erasure]) -> None:
        """Write entries and sync them. Raises RingStorage: the disk is full; `complete` makes it up later."""
        lines = "".join("\n" + entry.line() for entry in entries).encode()
        if not lines:
            return
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RingStorage(f"The ledger of erasures can't be written: {error.strerror}.") from None

    def read(self) -> list[Erasure]:
        """All entries, each key once."""
        found: dict[bytes, Erasure] = {}
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                kid = bytes.fromhex(entry["kid"])
                event = UUID(entry["event"]) if entry["event"] else None
                found[kid] = Erasure(kid, datetime.fromisoformat(entry["at"]), event)
            except (ValueError, KeyError, TypeError):
                continue
        return list(found.values())

    def alive(self, connection: Connection) -> list[Erasure]:
        """The entries whose keys aren't erased in this database."""
        entries = {entry.kid: entry for entry in self.read()}
        kids = list(entries)
        alive: list[Erasure] = []
        for start in range(0, len(kids), _BATCH):
            rows = connection.exec_driver_sql(
                "select kid from keys.data_key where kid = any(%s) and state <> 'erased'",
                (kids[start : start + _BATCH],),
            )
            alive += [entries[bytes(row[0])] for row in rows]
        return alive

    def complete(self, connection: Connection) -> int:
        """Append the tombstones of the database that the ledger lacks, after a crash or a full disk; their number."""
        known = {entry.kid for entry in self.read()}
        rows = connection.exec_driver_sql(
            "select kid, erased_at, erase_event from keys.data_key where state = 'erased'"
        )
        missing = [Erasure(bytes(kid), at, event) for kid, at, event in rows if bytes(kid) not in known]
        self.append(missing)
        return len(missing)

    def quarantine(self, reason: str) -> None:
        """Let no process open keys until `lift`. A restore calls this before it starts anything."""
        if not self._flag.exists():
            self._flag.write_text(
                json.dumps({"reason": reason, "since": now().isoformat()}), encoding="utf-8"
            )

    def quarantined(self) -> str | None:
        """Why the database is in quarantine, or None."""
        try:
            return str(json.loads(self._flag.read_text(encoding="utf-8"))["reason"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError):
            return "the note of the quarantine is damaged"

    def lift(self) -> None:
        """End the quarantine: everything was replayed."""
        self._flag.unlink(missing_ok=True)
