"""C2SP tlog-checkpoint: the three lines that a log signs, and the C2SP tlog-proof file that carries an
inclusion.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from compliance.audit.log import note
from compliance.audit.log.note import NoteError
from compliance.audit.log.tree import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, check_hash, check_index, check_size

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's origin, the number of leaves, the root of 32 bytes, and extension lines
    (discouraged).
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text that is signed. Raises `NoteError` for what the format forbids."""
        if check_size(self.size) == 0 and check_hash(self.root) != EMPTY_ROOT:
            raise NoteError("an empty log has the root of the empty tree")
        lines = (
            self.origin,
            str(self.size),
            base64.b64encode(check_hash(self.root)).decode(),
            *self.extensions,
        )
        if any(not line or "\n" in line for line in lines):
            raise NoteError("a checkpoint has no empty lines")
        return "\n".join(lines) + "\n"

    @classmethod
    def parse_text(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint strictly; raises `NoteError`."""
        lines = text[:-1].split("\n") if text.endswith("\n") else []
        if len(lines) < 3 or not all(lines):
            raise NoteError("a checkpoint has at least three lines and none of them is empty")
        if not _SIZE.fullmatch(lines[1]) or int(lines[1]) > MAX_SIZE:
            raise NoteError("the tree size must be a decimal number up to 2^63-1 without leading zeroes")
        return cls(lines[0], int(lines[1]), _hash(lines[2]), tuple(lines[3:]))


def parse(content: bytes) -> tuple[Checkpoint, note.Note]:
    """Read a signed checkpoint without verifying it; raises `NoteError`."""
    signed = note.parse(content)
    return Checkpoint.parse_text(signed.text), signed


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """A tlog-proof: leaf index, audit path from the leaf's sibling upwards, and the signed checkpoint
    verbatim.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The file's content, C2SP tlog-proof v1."""
        lines = [_PROOF_HEADER]
        if self.extra is not None:
            lines.append("extra " + base64.b64encode(self.extra).decode())
        lines.append(f"index {self.index}")
        lines += (base64.b64encode(check_hash(item)).decode() for item in self.path)
        return "\n".join((*lines, "", "")).encode() + self.checkpoint

    @classmethod
    def parse(cls, content: bytes) -> InclusionProof:
        """Read a tlog-proof strictly; raises `NoteError`. The caller verifies signature and path."""
        head, separator, rest = content.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise NoteError("the head of a proof is ASCII") from error
        if not separator or lines[0] != _PROOF_HEADER:
            raise NoteError("not a C2SP tlog-proof of version 1")
        extra, at = None, 1
        if len(lines) > at and lines[at].startswith("extra "):
            extra, at = base64.b64decode(lines[at][6:], validate=True), at + 1
        if len(lines) <= at or not lines[at].startswith("index ") or not _SIZE.fullmatch(lines[at][6:]):
            raise NoteError("the proof names no leaf index")
        parsed, _ = parse(rest)
        index = check_index(int(lines[at][6:]), parsed.size)
        return cls(index, tuple(_hash(line) for line in lines[at + 1 :]), rest, extra)


def _hash(line: str) -> bytes:
    try:
        value = base64.b64decode(line.encode("ascii"), validate=True)
    except ValueError as error:
        raise NoteError("a hash is 32 bytes in base64") from error
    if len(value) != HASH_BYTES or base64.b64encode(value).decode() != line:
        raise NoteError("a hash is 32 bytes in base64")
    return value
