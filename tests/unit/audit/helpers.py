"""A small log in memory and on disk, for the tests of the log, its bundles and its verifier."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils.compat import uuid7

from compliance.audit.log.checkpoint import Checkpoint
from compliance.audit.log.leaf import canonical, encode, leaf_hash, payload_commit
from compliance.audit.log.note import Note, Signer
from compliance.audit.log.source import StoredLeaf
from compliance.audit.log.tiles import Mirror
from compliance.audit.log.tree import CompactRange

ORIGIN = "kontor.example/audit"


def event(**changes: Any) -> dict[str, Any]:
    """An event with every field filled."""
    return {
        "event_id": str(uuid7()),
        "occurred_at": "2026-11-21T08:15:30.123456Z",
        "tenant": "t1",
        "class": "change",
        "action": "update",
        "outcome": "success",
        "reason": None,
        "severity": 1,
        "actor_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        "auth_method": "password",
        "session_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964f0",
        "request_id": None,
        "origin": "web",
        "object_type": 3,
        "object_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964f1",
        "subject_ref": ["6f9619ff-8b86-4d01-b42d-00cf4fc964f2"],
        "purpose": "sales",
        "policy_version": 1,
        "meta": {"fields": [2, 7]},
        "payload_commit": None,
    } | changes


class SmallLog:
    """A log whose leaves are kept in memory and whose mirror and checkpoints are real."""

    def __init__(self, directory: Path, seed: int = 1) -> None:
        self.directory = directory
        self.signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
        self.mirror = Mirror(directory)
        self.tree = CompactRange()
        self.stored: list[StoredLeaf] = []
        self.checkpoints: list[bytes] = []
        self.payloads: dict[int, tuple[bytes, bytes]] = {}

    def add(self, events: Sequence[dict[str, Any]]) -> bytes:
        """Append events and sign; returns the checkpoint."""
        leaves = [encode(item) for item in events]
        return self.add_leaves(leaves)

    def add_leaves(self, leaves: Sequence[bytes]) -> bytes:
        hashes = [leaf_hash(leaf) for leaf in leaves]
        self.mirror.append(leaves, hashes)
        self.tree.extend(hashes)
        for leaf, digest in zip(leaves, hashes, strict=True):
            self.stored.append(StoredLeaf(len(self.stored), leaf, digest))
        text = Checkpoint(ORIGIN, self.tree.size, self.tree.root()).text()
        self.checkpoints.append(Note(text, (self.signer.sign(text),)).encode())
        return self.checkpoints[-1]

    def add_with_payload(self, payload: dict[str, Any]) -> bytes:
        """Append one event that commits to a payload."""
        salt, body = secrets.token_bytes(32), canonical(payload)
        self.payloads[len(self.stored)] = (body, salt)
        return self.add([event(payload_commit=payload_commit(salt, body))])

    def leaves(self, start: int, stop: int) -> Iterator[StoredLeaf]:
        yield from self.stored[start:stop]
