"""The sealer: indexes committed events, grows the tree, and signs a checkpoint that never contradicts an
earlier one.

One round takes seven steps, and a kill after any of them is repaired by `Sealer.open`:

    read → assigned → confirmed → mirrored → remembered → signed → published
           database    standby     tiles      state file

Up to *remembered* nothing has left the machine, so leaves that the database loses again simply never were.
From then on the state file binds: a database that has fewer leaves gets them back from the mirror, and one
that has other leaves is refused (`LogContradiction`), until a person forks the log with a reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.checkpoint import Checkpoint
from compliance.audit.log.files import make_directories, sync_directory, write_atomically
from compliance.audit.log.leaf import encode_or_substitute, entry_hash, leaf_hash, pruned_entry
from compliance.audit.log.note import Note, NoteError, Signer, VerifierKey, parse_signatures
from compliance.audit.log.source import EventSource, Head
from compliance.audit.log.state import SignedHead, StateError, StateFile
from compliance.audit.log.tiles import Mirror, MirrorDamaged
from compliance.audit.log.tree import root_at

CHUNK = 4096
_TAIL = 65_536
_SIGNATURE = "— ".encode()
_RECORD_END = re.compile(rb"\n\n(?:\xe2\x80\x94 [^\n]+\n)+\n")


class LogContradiction(Exception):
    """Going on would sign a history that contradicts a signed one. Only a person may decide what to do."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Result of a round: how many events got an index, the size after it, and which rows could not be a
    leaf.
    """

    count: int
    size: int
    substituted: tuple[tuple[int, str], ...] = ()


def _no_step(name: str) -> None:
    """Default observer of steps."""


@dataclass(frozen=True, slots=True)
class SealerConfig:
    """Where and as whom a sealer works.

    Attributes:
        directory: Folder of the mirror (`tile/…`, `checkpoint`, `checkpoints`).
        state: Path of the state file; on local disk, never on a share.
        trusted: Keys of all nodes' sealers; a checkpoint found in the database must be signed by one of them.
        batch: Most events that one round takes.
    """

    directory: Path
    state: Path
    trusted: tuple[VerifierKey, ...] = ()
    batch: int = 20_000


class Sealer:
    """The only writer of the log. `open` before use; after any exception make a new one."""

    def __init__(
        self,
        source: EventSource,
        signer: Signer,
        config: SealerConfig,
        *,
        on_step: Callable[[str], None] = _no_step,
    ) -> None:
        self._source, self._signer, self._config, self._step = source, signer, config, on_step
        self._state = StateFile(config.state)
        self._mirror: Mirror | None = None

    @property
    def mirror(self) -> Mirror:
        """The tiles, at the size that was sealed last."""
        if self._mirror is None:
            raise StateError("the sealer is not open")
        return self._mirror

    def __enter__(self) -> Self:
        self._state.__enter__()
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the state file."""
        self._state.__exit__(None, None, None)

    def open(self) -> None:
        """Bring state file, mirror, database and published checkpoint into agreement.

        Raises `LogContradiction` if that is impossible without rewriting signed history, `StateError` if the
        state file is damaged or the signed head cannot be established.
        """
        head = self._source.head()
        signed = self._state.read() or self._adopt(head)
        if signed.origin != head.origin:
            raise LogContradiction(
                f"the state file is of log {signed.origin!r}, the database of {head.origin!r}; "
                "if the log was forked on purpose, remove the state file and adopt the new log"
            )
        self._mirror = self._open_mirror(signed)
        mend_history(self._config.directory / "checkpoints")
        if head.size < signed.size:
            self._give_back(head, signed)
        else:
            self._catch_up(head, signed)
        if self._published_size() < self.mirror.size:
            self._publish(self.mirror.size, self.mirror.compact_range().root())

    def run_once(self) -> Sealed:
        """Seal what is committed now; returns at once with count 0 if there is nothing."""
        mirror = self.mirror
        batch = self._source.read(self._config.batch)
        try:
            if not batch.events:
                return Sealed(0, mirror.size)
            self._step("read")
            tree = mirror.compact_range()
            leaves: list[bytes] = []
            substituted: list[tuple[int, str]] = []
            for event in batch.events:
                leaf, error = encode_or_substitute(event)
                if error is not None:
                    substituted.append((mirror.size + len(leaves), str(error)))
                leaves.append(leaf)
            hashes = [leaf_hash(leaf) for leaf in leaves]
            tree.extend(hashes)
            batch.assign(hashes, tree.root())
        finally:
            batch.abandon()
        self._step("assigned")
        self._settle(leaves, hashes, tree.root())
        return Sealed(len(leaves), mirror.size, tuple(substituted))

    def _settle(self, leaves: Sequence[bytes], hashes: Sequence[bytes], root: bytes) -> None:
        self._source.confirm()
        self._step("confirmed")
        self.mirror.append(leaves, hashes)
        self._step("mirrored")
        self._state.write(SignedHead(self._signer.key.name, self.mirror.size, root))
        self._step("remembered")
        self._publish(self.mirror.size, root)

    def _publish(self, size: int, root: bytes) -> None:
        text = Checkpoint(self._signer.key.name, size, root).text()
        signed = Note(text, (self._signer.sign(text),)).encode()
        self._step("signed")
        make_directories(self._config.directory)
        with (self._config.directory / "checkpoints").open("ab") as history:
            history.write(signed + b"\n")
        write_atomically(self._config.directory / "checkpoint", signed)
        self._step("shown")
        self._source.publish(size, signed)
        self._step("published")

    def _published_size(self) -> int:
        recorded = self._source.published()
        path = self._config.directory / "checkpoint"
        if recorded is None or not path.is_file():
            return -1 if self.mirror.size else 0
        return min(checkpoints.parse(recorded)[0].size, checkpoints.parse(path.read_bytes())[0].size)

    def _adopt(self, head: Head) -> SignedHead:
        """Without a state file: begin an empty log, or take over the head that another node's sealer
        signed.
        """
        if head.origin != self._signer.key.name:
            raise StateError(
                f"this sealer signs for {self._signer.key.name!r}, the database holds {head.origin!r}"
            )
        recorded = self._source.published()
        if recorded is None:
            if head.size and not self._config.trusted:
                raise StateError(
                    "leaves without any checkpoint: the state file or the checkpoints were removed"
                )
            return self._state.create(head.origin)
        try:
            found, signed = checkpoints.parse(recorded)
            keys = signed.verified((self._signer.key, *self._config.trusted))
        except NoteError as error:
            raise StateError(f"the checkpoint in the database is not acceptable: {error}") from error
        if not keys or found.origin != head.origin:
            raise StateError("the checkpoint in the database is not signed by a known sealer of this log")
        if found.size > head.size:
            raise LogContradiction(
                f"a checkpoint of {found.size} leaves was published, but the database has {head.size}"
            )
        return SignedHead(found.origin, found.size, found.root)

    def _open_mirror(self, signed: SignedHead) -> Mirror:
        """Open the mirror at the signed size; rebuild it from the database where files are missing or
        wrong.
        """
        try:
            mirror = Mirror(self._config.directory, signed.size)
            if mirror.compact_range().root() == signed.root:
                return mirror
        except MirrorDamaged:
            pass
        make_directories(self._config.directory)
        sync_directory(self._config.directory)
        if self._source.head().size < signed.size:
            raise LogContradiction(
                f"{signed.size} leaves were signed; the database has fewer and the mirror is damaged: "
                "restore the mirror's folder, or fork the log"
            )
        mirror = Mirror(self._config.directory, 0)
        self._copy(mirror, signed.size, pruned=True)
        if mirror.compact_range().root() != signed.root:
            raise LogContradiction(
                f"the first {signed.size} leaves of the database are not those that were signed"
            )
        return mirror

    def _give_back(self, head: Head, signed: SignedHead) -> None:
        """After a restore to an earlier time: re-append from the mirror what had been signed (AUD-8)."""
        if root_at(head.size, self.mirror.reader()) != head.root:
            raise LogContradiction(
                f"the database's log of {head.size} leaves is not the beginning of the {signed.size} "
                "that were signed"
            )
        pairs = ((leaf, entry_hash(leaf)) for _, leaf in self.mirror.leaves(head.size, signed.size))
        self._source.restore(head.size, pairs, signed.root)
        self._source.confirm()
        self._step("given_back")

    def _catch_up(self, head: Head, signed: SignedHead) -> None:
        """Sign leaves that were assigned before a kill, after recomputing them from raw rows."""
        if head.size == signed.size:
            if head.root != signed.root:
                raise LogContradiction(
                    f"the database holds another root for {head.size} leaves than was signed"
                )
            self._state.write(signed)
            return
        self._source.confirm()
        self._copy(self.mirror, head.size)
        root = self.mirror.compact_range().root()
        if root != head.root:
            raise LogContradiction(f"leaves {signed.size} to {head.size} do not lead to the recorded root")
        self._state.write(SignedHead(signed.origin, head.size, root))
        self._step("caught_up")

    def prune(self) -> int:
        """Let the mirror forget what retention removed from the database; returns how many leaves.

        What was applied last stands beside the state file. Doing it twice does no harm.
        """
        memory = self._config.state.with_name(self._config.state.name + ".pruned")
        origin = self._signer.key.name
        done, count = -1, 0
        if memory.exists():
            known, _, applied = memory.read_text("utf-8").strip().rpartition(" ")
            done = int(applied) if known == origin else -1
        for index, ranges in self._source.pruned(done):
            if index >= self.mirror.size:
                break
            for first, last in ranges:
                self.mirror.forget(first, last)
                count += last - first + 1
            write_atomically(memory, f"{origin} {index}\n".encode(), mode=0o600)
        return count

    def _copy(self, mirror: Mirror, end: int, *, pruned: bool = False) -> None:
        """Bring the mirror to `end` leaves. `pruned` takes the recorded hash where a row is gone; the caller compares
        the signed root, and the verifier asks for the sealed event that tells of the pruning.
        """
        while mirror.size < end:
            stop = min(end, mirror.size + CHUNK)
            stored = list(self._source.leaves(mirror.size, stop))
            if [item.index for item in stored] != list(range(mirror.size, stop)):
                raise LogContradiction(f"the database lacks leaves between {mirror.size} and {stop}")
            entries = []
            for item in stored:
                gone = pruned and not item.leaf
                if not gone and (not item.leaf or leaf_hash(item.leaf) != item.leaf_hash):
                    raise LogContradiction(
                        f"the event of leaf {item.index} was changed after it got its index"
                    )
                entries.append(pruned_entry(item.leaf_hash, item.event_id) if gone else item.leaf)
            mirror.append(entries, [item.leaf_hash for item in stored])


def mend_history(path: Path) -> None:
    """Cut a record that a power loss or a full disk left unfinished at the end of the history of
    checkpoints.
    """
    if not path.exists():
        return
    with path.open("r+b") as history:
        end = history.seek(0, os.SEEK_END)
        start = history.seek(max(0, end - _TAIL))
        tail = history.read()
        if not tail or (tail.endswith(b"\n\n") and tail[:-2].rpartition(b"\n")[2].startswith(_SIGNATURE)):
            return
        whole = [match.end() for match in _RECORD_END.finditer(tail)]
        history.truncate(start + (whole[-1] if whole else 0))


def add_cosignatures(directory: Path, cosignatures: Iterable[str], witnesses: Sequence[VerifierKey]) -> int:
    """Add witness lines to the published checkpoint file; returns how many known witnesses have signed it.

    A line for another checkpoint, or of an unknown witness, is dropped. Raises `NoteError` for malformed
    lines.
    """
    path = directory / "checkpoint"
    _, signed = checkpoints.parse(path.read_bytes())
    known = {(key.name, key.key_id): key for key in witnesses}
    good = []
    for block in cosignatures:
        for item in parse_signatures(block):
            key = known.get((item.name, item.key_id))
            if key is not None:
                key.verify(signed.text, item.value)
                good.append(item)
    merged = signed.with_signatures(good)
    write_atomically(path, merged.encode())
    return len(merged.verified(witnesses))
