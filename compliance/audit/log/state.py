"""The sealer's own memory: size and root of the last tree that it signed, outside the database.

A checkpoint leaves the machine only after its size and root are flushed here. After a restore of the
database this file is what still knows how far the log had gone, so the sealer cannot be led into signing a
second history.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from compliance.audit.log.files import make_directories, write_atomically
from compliance.audit.log.tree import EMPTY_ROOT, ProofError, check_hash, check_size

FORMAT = "kontor-sealer-state/1"


class StateError(Exception):
    """The state file is absent, damaged, locked by another sealer, or would go backwards."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """What was signed last: origin of the log, number of leaves, root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def encode(self) -> bytes:
        """JSON with a digest over it, so that a torn or edited file is never taken for a state."""
        body = json.dumps(
            {
                "format": "kontor-sealer-state/1",
                "origin": self.origin,
                "size": self.size,
                "root": self.root.hex(),
            },
            sort_keys=True,
        )
        return f"{body}\n{hashlib.sha256(body.encode()).hexdigest()}\n".encode()

    @classmethod
    def decode(cls, content: bytes) -> SignedHead:
        """Read a state; raises `StateError` for anything but an intact one."""
        try:
            body, digest, rest = content.decode().split("\n")
            fields = json.loads(body)
            intact = not rest and hashlib.sha256(body.encode()).hexdigest() == digest
            head = cls(
                str(fields["origin"]), check_size(fields["size"]), check_hash(bytes.fromhex(fields["root"]))
            )
        except (ValueError, KeyError, TypeError, ProofError):
            intact = False
        if not intact or fields["format"] != FORMAT:
            raise StateError(
                "the sealer's state file is damaged; restore it from the newest checkpoint "
                "that left this machine"
            )
        return head


class StateFile:
    """The state file with an exclusive lock; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def __enter__(self) -> Self:
        make_directories(self.path.parent)
        lock = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StateError("another sealer on this machine holds the state file") from None
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
        self._lock = -1

    def read(self) -> SignedHead | None:
        """Return the last signed head, None if there never was one; raises `StateError` if damaged."""
        try:
            return SignedHead.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, head: SignedHead) -> None:
        """Flush a head that is about to be signed; raises `StateError` if it contradicts the one before."""
        if self._lock < 0:
            raise StateError("the state file is not locked")
        before = self.read()
        if before is not None and before.origin == head.origin:
            if head.size < before.size:
                raise StateError(f"refusing to go back from {before.size} to {head.size} leaves")
            if head.size == before.size and head.root != before.root:
                raise StateError(f"refusing a second root for {head.size} leaves")
        write_atomically(self.path, head.encode(), mode=0o600)

    def create(self, origin: str) -> SignedHead:
        """Begin a new log of no leaves; raises `StateError` if there is a state of this log already."""
        before = self.read()
        if before is not None and before.origin == origin:
            raise StateError("this log has a state already")
        head = SignedHead(origin, 0, EMPTY_ROOT)
        self.write(head)
        return head
