"""Writes the bundle that `verify.py` checks: the whole log, or selected events with their proofs.

Called by `kontor audit export` and by the "prove this history" download. Events are recomputed from the raw
rows of the database, hashes come from the sealer's mirror, so that the verifier has two witnesses to
compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from compliance.audit import verify
from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.checkpoint import InclusionProof
from compliance.audit.log.note import VerifierKey
from compliance.audit.log.source import StoredLeaf
from compliance.audit.log.tiles import WIDTH, Mirror, tile_path
from compliance.audit.log.tree import inclusion_proof

README = """This folder is an audit log of Kontor, or a part of one, with what is needed to check it.

    python3 -I verify.py .

needs Python 3.11 or newer and the package `cryptography`; no network and nothing of the product.
Take verify.py from a source that you trust rather than from here, give it the keys that the log's owner
published (--key), and any checkpoint that you kept from before (--checkpoint).

该文件夹是 Kontor 审计日志的全部或一部分，可离线验证。请使用来源可信的 verify.py 和公钥。
"""

Leaves = Callable[[int, int], Iterator[StoredLeaf]]


@dataclass(frozen=True, slots=True)
class OpenPayload:
    """A payload that was opened for this export: canonical JSON and the 32-byte salt of its commitment."""

    index: int
    payload: bytes
    salt: bytes


class _Folder:
    """Files of a bundle, digested as they are written."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.digests: dict[str, str] = {}

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        path, digest = self.directory / name, hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for chunk in chunks:
                digest.update(chunk)
                stream.write(chunk)
        self.digests[name] = digest.hexdigest()

    def finish(self, manifest: Mapping[str, object]) -> None:
        body = {"format": verify.FORMAT, "files": self.digests, **manifest}
        body["created_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        digest = hashlib.sha256(_json(body)).hexdigest()
        (self.directory / "bundle.json").write_bytes(_json({**body, "digest": digest}) + b"\n")


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _line(leaf: StoredLeaf) -> bytes:
    """The event, or for one that retention pruned or that is gone, the hash that stands for it."""
    return leaf.leaf[1:] + b"\n" if leaf.leaf else b'{"pruned":"%s"}\n' % leaf.leaf_hash.hex().encode()


def export_log(
    directory: Path,
    mirror: Mirror,
    leaves: Leaves,
    history: Sequence[bytes],
    keys: Sequence[VerifierKey],
    *,
    payloads: Sequence[OpenPayload] = (),
    progress: Callable[[int], None] = lambda _done: None,
) -> Path:
    """Write the whole log into a new folder; returns it. Raises `FileExistsError`, `MirrorDamaged`,
    `OSError`.

    Args:
        directory: Must not exist.
        mirror: Opened at the size of the newest checkpoint.
        leaves: `EventSource.leaves`, recomputing from raw rows.
        history: Signed checkpoints; those beyond the mirror's size and repeated ones are left out.
        keys: Verifier keys of the log and of its witnesses.
        payloads: Opened payloads to include, by event index.
        progress: Called with the number of events written so far.
    """
    folder = _Folder(directory)
    recorded: list[bytes] = []

    def lines() -> Iterator[bytes]:
        for start in range(0, mirror.size, 4096):
            chunk = list(leaves(start, min(start + 4096, mirror.size)))
            recorded.extend(item.leaf_hash for item in chunk)
            yield b"".join(map(_line, chunk))
            progress(start + len(chunk))

    folder.write("events.jsonl", lines())
    folder.write("recorded", recorded)
    for level in range((mirror.size.bit_length() + 7) // 8):
        nodes = mirror.size >> 8 * level
        for number in range((nodes + WIDTH - 1) // WIDTH):
            hashes = mirror.tile(level, number)
            folder.write(tile_path(level, number, len(hashes)), hashes)
    origin = _common(folder, history, keys, payloads, mirror.size)
    folder.finish({"kind": "full", "origin": origin, "size": mirror.size})
    return directory


def export_selection(
    directory: Path,
    mirror: Mirror,
    selected: Sequence[StoredLeaf],
    newest: bytes,
    keys: Sequence[VerifierKey],
    *,
    payloads: Sequence[OpenPayload] = (),
) -> Path:
    """Write selected events, each with a self-contained C2SP tlog-proof under the newest checkpoint.

    Args:
        directory: Must not exist.
        mirror: Opened at the size of `newest`.
        selected: Leaves in any order.
        newest: The signed checkpoint that the proofs lead to.
        keys: Verifier keys of the log and of its witnesses.
        payloads: Opened payloads of these events.
    """
    folder = _Folder(directory)
    ordered = sorted(selected, key=lambda item: item.index)
    folder.write("events.jsonl", map(_line, ordered))
    for item in ordered:
        folder.write(f"proofs/{item.index}.tlog-proof", [prove(mirror, item.index, newest)])
    origin = _common(folder, [newest], keys, payloads, mirror.size)
    indexes = [item.index for item in ordered]
    folder.finish({"kind": "selection", "origin": origin, "size": mirror.size, "indexes": indexes})
    return directory


def prove(mirror: Mirror, index: int, newest: bytes) -> bytes:
    """Return the tlog-proof of one leaf under a signed checkpoint of the mirror's size."""
    size = checkpoints.parse(newest)[0].size
    path = inclusion_proof(index, size, mirror.reader())
    return InclusionProof(index, tuple(path), newest).encode()


def read_history(mirror_directory: Path) -> list[bytes]:
    """Return the signed checkpoints that the sealer kept beside its tiles; a torn last one is left out."""
    parts = (mirror_directory / "checkpoints").read_bytes().split(b"\n\n")
    return [parts[at] + b"\n\n" + parts[at + 1] + b"\n" for at in range(0, len(parts) - 2, 2)]


def _common(
    folder: _Folder,
    history: Sequence[bytes],
    keys: Sequence[VerifierKey],
    payloads: Sequence[OpenPayload],
    size: int,
) -> str:
    by_size = {checkpoints.parse(content)[0].size: content for content in history}
    chosen = [content for number, content in sorted(by_size.items()) if number <= size]
    folder.write("checkpoints", (content + b"\n" for content in chosen))
    folder.write("keys", (key.text().encode() + b"\n" for key in keys))
    if payloads:
        folder.write("payloads.jsonl", map(_payload, sorted(payloads, key=lambda item: item.index)))
    folder.write("README.txt", [README.encode()])
    folder.write("verify.py", [Path(verify.__file__).read_bytes()])
    return checkpoints.parse(chosen[-1])[0].origin


def _payload(item: OpenPayload) -> bytes:
    return _json({"index": item.index, "payload": item.payload.decode(), "salt": item.salt.hex()}) + b"\n"
