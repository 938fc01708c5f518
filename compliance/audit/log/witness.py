"""A C2SP tlog-witness: cosigns a log's checkpoints for as long as the log only grows. Runs on another
department's host.

It keeps one small file a log, needs no database and none of the log's events, and answers `POST
/add-checkpoint` and `GET /<origin hash>/checkpoint`. With its cosignatures a log that showed two people two
histories would need the witness's key too.

    python -m compliance.audit.log.witness --config witness.json

Put a reverse proxy with TLS before it, or bind it to a management network. The sealer is its only client.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.checkpoint import Checkpoint
from compliance.audit.log.files import write_atomically
from compliance.audit.log.note import COSIGNATURE, Note, NoteError, Signer, VerifierKey
from compliance.audit.log.tree import EMPTY_ROOT, ProofError, verify_consistency

MAX_REQUEST = 64 * 1024
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


def handler(witness: Witness) -> type[http.server.BaseHTTPRequestHandler]:
    """Return the request handler of a witness."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_REQUEST:
                self.close_connection = True
                self._answer(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
                return
            body = self.rfile.read(int(length))
            path = self.path == "/add-checkpoint"
            self._answer(witness.add_checkpoint(body) if path else Answer(HTTPStatus.NOT_FOUND))

        def do_GET(self) -> None:
            found = re.fullmatch(r"/([0-9a-f]{64})/checkpoint", self.path)
            self._answer(witness.last_checkpoint(found[1]) if found else Answer(HTTPStatus.NOT_FOUND))

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: requests hold signed facts only, and the answer says all there is."""

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    return Handler


def serve(witness: Witness, host: str, port: int) -> http.server.ThreadingHTTPServer:
    """Return a bound server; the caller runs `serve_forever`."""
    return http.server.ThreadingHTTPServer((host, port), handler(witness))


def main() -> None:
    """Run from a JSON file: name, key (PEM file), directory, host, port, logs (verifier keys)."""
    parser = argparse.ArgumentParser(description="Witness of transparency logs (C2SP tlog-witness).")
    parser.add_argument("--config", type=Path, required=True)
    settings = json.loads(parser.parse_args().config.read_text())
    private = load_pem_private_key(Path(settings["key"]).read_bytes(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise SystemExit("the witness's key must be an Ed25519 key in PEM form")
    logs: dict[str, list[VerifierKey]] = {}
    for line in settings["logs"]:
        key = VerifierKey.parse(line)
        logs.setdefault(key.name, []).append(key)
    witness = Witness(Signer(settings["name"], private, COSIGNATURE), logs, Path(settings["directory"]))
    with serve(witness, settings.get("host", "127.0.0.1"), int(settings.get("port", 8480))) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
