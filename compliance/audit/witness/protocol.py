"""The protocol of C2SP tlog-witness without HTTP: what a witness answers, and what it must never cosign."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.checkpoint import Checkpoint
from compliance.audit.log.files import write_atomically
from compliance.audit.log.note import Note, NoteError, Signer, VerifierKey
from compliance.audit.log.tree import EMPTY_ROOT, ProofError, verify_consistency

MAX_PROOF = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP status, body and content type."""

    status: HTTPStatus
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


class Witness:
    """The protocol without HTTP; safe for several threads.

    Args:
        signer: Key of kind COSIGNATURE.
        logs: Trusted log keys by origin.
        directory: Folder of the files with the last cosigned checkpoints.
        clock: POSIX time in seconds.
    """

    def __init__(
        self,
        signer: Signer,
        logs: Mapping[str, Sequence[VerifierKey]],
        directory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signer, self._logs, self._directory, self._clock = signer, logs, directory, clock
        self._lock = threading.Lock()

    def add_checkpoint(self, request: bytes) -> Answer:
        """Answer `add-checkpoint`: 200, 400, 403, 404, 409 or 422 (C2SP tlog-witness)."""
        try:
            old_size, proof, claimed, note = _read_request(request)
        except (NoteError, ProofError, ValueError):
            return Answer(HTTPStatus.BAD_REQUEST)
        keys = self._logs.get(claimed.origin)
        if keys is None:
            return Answer(HTTPStatus.NOT_FOUND)
        try:
            signed = note.verified(keys)
        except NoteError:
            return Answer(HTTPStatus.FORBIDDEN)
        if not signed:
            return Answer(HTTPStatus.FORBIDDEN)
        if old_size > claimed.size:
            return Answer(HTTPStatus.BAD_REQUEST)
        with self._lock:
            return self._cosign(old_size, proof, claimed, note, keys)

    def last_checkpoint(self, origin_hash: str) -> Answer:
        """Answer the monitoring request: the last cosigned checkpoint, or 404."""
        for origin in self._logs:
            if hashlib.sha256(origin.encode()).hexdigest() == origin_hash and self._path(origin).is_file():
                return Answer(HTTPStatus.OK, self._path(origin).read_bytes())
        return Answer(HTTPStatus.NOT_FOUND)

    def _cosign(
        self, old_size: int, proof: list[bytes], claimed: Checkpoint, note: Note, keys: Sequence[VerifierKey]
    ) -> Answer:
        known = self._known(claimed.origin)
        if old_size != known.size:
            return Answer(HTTPStatus.CONFLICT, b"%d\n" % known.size, "text/x.tlog.size")
        if claimed.size == 0 and claimed.root != EMPTY_ROOT:
            return Answer(HTTPStatus.UNPROCESSABLE_ENTITY)
        try:
            verify_consistency(known.size, claimed.size, known.root, claimed.root, proof)
        except ProofError:
            return Answer(HTTPStatus.UNPROCESSABLE_ENTITY)
        cosignature = self._signer.sign(note.text, int(self._clock()))
        of_log = [
            item for item in note.signatures if any(_is_of(key, item.name, item.key_id) for key in keys)
        ]
        write_atomically(self._path(claimed.origin), Note(note.text, (*of_log, cosignature)).encode())
        return Answer(HTTPStatus.OK, cosignature.line().encode())

    def _known(self, origin: str) -> Checkpoint:
        path = self._path(origin)
        return checkpoints.parse(path.read_bytes())[0] if path.exists() else Checkpoint(origin, 0, EMPTY_ROOT)

    def _path(self, origin: str) -> Path:
        return self._directory / hashlib.sha256(origin.encode()).hexdigest()


def request_body(old_size: int, proof: Sequence[bytes], signed: bytes) -> bytes:
    """Return the body of `add-checkpoint`; what the sealer's side sends."""
    lines = (f"old {old_size}", *(base64.b64encode(item).decode() for item in proof), "", "")
    return "\n".join(lines).encode() + signed


def _is_of(key: VerifierKey, name: str, key_id: bytes) -> bool:
    return (key.name, key.key_id) == (name, key_id)


def _read_request(request: bytes) -> tuple[int, list[bytes], Checkpoint, Note]:
    head, separator, rest = request.partition(b"\n\n")
    lines = head.decode("ascii").split("\n")
    old = _OLD.fullmatch(lines[0])
    if not separator or old is None or len(lines) - 1 > MAX_PROOF or int(old[1]) >= 2**63:
        raise ValueError("request")
    proof = []
    for line in lines[1:]:
        try:
            value = base64.b64decode(line, validate=True)
        except binascii.Error as error:
            raise ValueError("proof line") from error
        if len(value) != 32 or base64.b64encode(value).decode() != line:
            raise ValueError("proof line")
        proof.append(value)
    claimed, note = checkpoints.parse(rest)
    return int(old[1]), proof, claimed, note
