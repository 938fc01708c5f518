"""Verifies an exported audit log: `python -I verify.py DIR`. One file, standard library and `cryptography`
only.

It is copied into each bundle, and an auditor should use a copy from elsewhere. It recomputes every leaf
hash from the raw event, the Merkle tree over them, the root of each signed checkpoint and all signatures,
and names what is damaged. It needs no network, no database and nothing of the product.

    events.jsonl    line n is event n: RFC 8785 JSON; a pruned event is {"pruned":"<leaf hash>"}, and a
    sealed event
                    audit/prune must name it in `ranges`
    tile/           what the sealer wrote when it signed (C2SP tlog-tiles)
    recorded        leaf hashes as the database holds them, 32 bytes each
    checkpoints     every signed tree head, with an empty line after each (C2SP tlog-checkpoint)
    keys            verifier keys of the log and its witnesses, one a line
    payloads.jsonl  {"index":n,"payload":"<RFC 8785 JSON>","salt":"<hex>"}, where they were exported
    proofs/         in a bundle of selected events: one C2SP tlog-proof for each
    bundle.json     what the bundle is, and the SHA-256 of every other file

Exit code: 0 all is well; 1 damage, each finding named; 2 the bundle cannot be read at all.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "kontor-audit-bundle/1"
WIDTH = 256
LOOK_AHEAD = 64
EMPTY_ROOT = hashlib.sha256(b"").digest()
PRUNE_EVENT = b'{"action":"prune"'
PRUNED = re.compile(rb'\{"pruned":"([0-9a-f]{64})"\}\n')


class Unreadable(Exception):
    """The bundle is not of the format; nothing can be said about its events."""


@dataclass
class Report:
    """What was checked and what was found."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings

    def text(self) -> str:
        """The report for a person."""
        lines = [f"{name}: {value}" for name, value in self.facts.items()]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"DAMAGED: {finding}" for finding in self.findings]
        lines.append("RESULT: damaged" if self.findings else "RESULT: verified, nothing is damaged")
        return "\n".join(lines) + "\n"


def parent(left: bytes, right: bytes) -> bytes:
    """RFC 6962 interior node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def b64(text: str, length: int | None = None) -> bytes:
    """Strict base64; raises ValueError."""
    value = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(value).decode() != text or (length is not None and len(value) != length):
        raise ValueError("base64")
    return value


# --- keys, notes, checkpoints
# -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A verifier key of C2SP signed-note; kind 1 signs checkpoints, kind 4 is a witness."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, line: str) -> Key:
        """Read NAME+KEYID+BASE64; raises ValueError."""
        name, key_id, material = line.split("+", 2)
        raw = b64(material, 33)
        key = cls(name, raw[0], raw[1:])
        if not name or key.kind not in (1, 4) or key.key_id.hex() != key_id:
            raise ValueError("verifier key")
        return key

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ newline ‖ kind ‖ key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    def good(self, text: bytes, signature: bytes) -> bool:
        """Whether the signature over a note's text is true."""
        if self.kind == 4:
            moment = int.from_bytes(signature[:8], "big")
            text, signature = f"cosignature/v1\ntime {moment}\n".encode() + text, signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    """A signed tree head as it stands in the bundle."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, text: str, block: str) -> Checkpoint:
        """Read the text and the signature lines of a note; raises ValueError."""
        lines = text.split("\n")
        if len(lines) < 3 or not all(lines) or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1], re.ASCII):
            raise ValueError("checkpoint")
        signatures = []
        for line in block.split("\n"):
            dash, name, value = line.split(" ")
            raw = b64(value)
            if dash != "—" or len(raw) < 5:
                raise ValueError("signature line")
            signatures.append((name, raw[:4], raw[4:]))
        return cls(lines[0], int(lines[1]), b64(lines[2], 32), (text + "\n").encode(), tuple(signatures))

    def check(self, keys: Sequence[Key], origin: str) -> list[str]:
        """Return what is wrong with origin and signatures."""
        known = {(key.name, key.key_id): key for key in keys}
        wrong, signed = [], False
        for name, key_id, value in self.signatures:
            key = known.get((name, key_id))
            if key is None:
                wrong.append(f"carries a signature of an unknown key, {name}+{key_id.hex()}")
            elif not key.good(self.text, value):
                wrong.append(f"carries a false signature of {name}+{key_id.hex()}")
            else:
                signed = signed or key.kind == 1
        if not signed:
            wrong.append("is not signed by the log")
        if self.origin != origin:
            wrong.append("belongs to another log")
        return wrong


def read_checkpoints(content: bytes) -> list[Checkpoint]:
    """Read notes that are each followed by an empty line; raises ValueError."""
    parts = content.decode("utf-8").split("\n\n")
    if parts.pop() or len(parts) % 2:
        raise ValueError("checkpoints")
    return [Checkpoint.parse(text, block) for text, block in zip(parts[::2], parts[1::2], strict=True)]


# --- the tree
# -----------------------------------------------------------------------------------------------------


class Tree:
    """The right edge of the tree in units of full tiles, and roots at any size within the next tile."""

    def __init__(self, edge: Sequence[bytes] = (), tiles: int = 0) -> None:
        self.edge, self.tiles = list(edge), tiles
        self.levels: list[list[bytes]] = []

    def copy(self) -> Tree:
        """An independent copy before the current chunk."""
        return Tree(self.edge, self.tiles)

    def load(self, hashes: list[bytes]) -> None:
        """Take up to 256 leaf hashes as the current chunk."""
        self.levels, sha256 = [hashes], hashlib.sha256
        while len(hashes) > 1:
            pairs = iter(hashes)
            hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs)]  # noqa: B905
            self.levels.append(hashes)

    def root(self, width: int) -> bytes:
        """The root when only `width` leaves of the chunk are counted."""
        node, level = None, 0
        while width >> level:
            if width >> level & 1:
                left = self.levels[level][(width >> level) - 1]
                node = left if node is None else parent(left, node)
            level += 1
        for left in reversed(self.edge):
            node = left if node is None else parent(left, node)
        return EMPTY_ROOT if node is None else node

    def close(self) -> bytes:
        """Fold a full chunk into the edge; returns its root, which belongs into the tile above."""
        node = root = self.levels[8][0]
        carry = self.tiles
        while carry & 1:
            node = parent(self.edge.pop(), node)
            carry >>= 1
        self.edge.append(node)
        self.tiles += 1
        return root


def tile_name(level: int, index: int, width: int) -> str:
    """Path of a hash tile, C2SP tlog-tiles."""
    text = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        text = f"x{index % 1000:03d}/{text}"
    return f"tile/{level}/{text}" + ("" if width == WIDTH else f".p/{width}")


# --- the bundle
# ---------------------------------------------------------------------------------------------------


class Verifier:
    """Checks one bundle; `run` fills the report."""

    def __init__(self, directory: Path, trusted: Sequence[str] = (), earlier: Sequence[Path] = ()) -> None:
        self.directory, self.trusted, self.earlier = directory, trusted, earlier
        self.report = Report()
        self.manifest: dict[str, Any] = {}
        self.keys: list[Key] = []
        self.checkpoints: list[Checkpoint] = []
        self.suspects: list[tuple[int, str, bytes]] = []
        self.last_good = 0
        self.full_tiles: dict[int, int] = {}
        self.gone: list[list[int]] = []
        self.allowed: list[list[int]] = []

    def damaged(self, text: str) -> None:
        """Record a finding."""
        self.report.findings.append(text)

    def run(self) -> Report:
        """Check everything; raises `Unreadable` if there is no bundle at all."""
        self.read_manifest()
        self.check_files()
        self.read_keys()
        try:
            self.checkpoints = read_checkpoints(self.content("checkpoints"))
        except ValueError:
            self.damaged("checkpoints: not in the format of signed checkpoints")
        self.check_checkpoints()
        facts = self.report.facts
        facts["log"], facts["kind"] = self.manifest["origin"], self.manifest["kind"]
        if self.manifest["kind"] == "full":
            self.check_events()
        else:
            self.check_selection()
        facts["checkpoints"] = len(self.checkpoints)
        return self.report

    def content(self, name: str) -> bytes:
        """A file of the bundle, empty if it is not there."""
        path = self.directory / name
        return path.read_bytes() if path.is_file() else b""

    def read_manifest(self) -> None:
        """Read bundle.json, which must be byte for byte what its own digest says."""
        try:
            raw = (self.directory / "bundle.json").read_bytes()
            manifest = json.loads(raw)
            digest = manifest.pop("digest")
            body = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            whole = json.dumps({**manifest, "digest": digest}, sort_keys=True, separators=(",", ":")) + "\n"
            if manifest["format"] != FORMAT or manifest["kind"] not in ("full", "selection"):
                raise Unreadable("bundle.json is of another format")
            self.manifest = manifest
            {**manifest["files"]}, int(manifest["size"]), str(manifest["origin"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unreadable(f"bundle.json is missing or damaged ({type(error).__name__})") from error
        if raw != whole.encode() or hashlib.sha256(body.encode()).hexdigest() != digest:
            self.damaged("bundle.json: was changed after the export")

    def check_files(self) -> None:
        """Compare every file with the digests of the manifest; events.jsonl is hashed while it is read."""
        listed = self.manifest["files"]
        present = {
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if path.is_file()
        } - {"bundle.json"}
        for name in sorted(set(listed) - present):
            self.damaged(f"{name}: missing")
        for name in sorted(present - set(listed)):
            self.damaged(f"{name}: not part of the bundle")
        for name in sorted(present & set(listed) - {"events.jsonl"}):
            with (self.directory / name).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != listed[name]:
                self.damaged(f"{name}: was changed after the export")

    def read_keys(self) -> None:
        """Decide which keys are believed."""
        lines = list(self.trusted)
        if not lines:
            lines = self.content("keys").decode("utf-8", "replace").splitlines()
            self.report.notes.append(
                "the keys are those in the bundle: compare them with what the log's owner published, "
                "or give them with --key"
            )
        for line in lines:
            try:
                self.keys.append(Key.parse(line))
            except ValueError:
                self.damaged(f"keys: {line[:60]!r} is not a verifier key")
        self.report.facts["keys"] = ", ".join(f"{key.name}+{key.key_id.hex()}" for key in self.keys)

    def check_checkpoints(self) -> None:
        """Check each signature, the order, and that no size has two roots; add those seen earlier
        elsewhere.
        """
        origin, size = self.manifest["origin"], int(self.manifest["size"])
        for item in self.checkpoints:
            for wrong in item.check(self.keys, origin):
                self.damaged(f"checkpoint of {item.size} events {wrong}")
        if [item.size for item in self.checkpoints] != sorted({item.size for item in self.checkpoints}):
            self.damaged("checkpoints: not in rising order of size")
        if not self.checkpoints or max(item.size for item in self.checkpoints) != size:
            self.damaged(f"checkpoints: none covers all {size} events")
        for path in self.earlier:
            try:
                text, block = path.read_text("utf-8").rstrip("\n").split("\n\n")
                item = Checkpoint.parse(text, block)
            except (OSError, ValueError):
                self.damaged(f"{path.name}: not a signed checkpoint")
                continue
            for wrong in item.check(self.keys, origin):
                if "unknown key" not in wrong:
                    self.damaged(f"{path.name}: the checkpoint of {item.size} events {wrong}")
            if item.size > size:
                self.damaged(
                    f"{path.name}: speaks of {item.size} events, the bundle has {size}: the log was cut"
                )
            self.checkpoints.append(item)
        self.checkpoints.sort(key=lambda item: item.size)

    # --- a whole log

    def check_events(self) -> None:
        """Recompute the log from its first event on."""
        size, seen = int(self.manifest["size"]), Tree()
        kept: Tree | None = None
        above: dict[int, list[bytes]] = {}
        payloads = self.read_payloads()
        pending = iter([item for item in self.checkpoints if item.size <= size])
        due = next(pending, None)
        start = pruned = 0
        with (self.directory / "events.jsonl").open("rb") as stream:
            lines = Lines(stream)
            while start < size:
                width = min(WIDTH, size - start)
                chunk = lines.take(width)
                hashes = leaf_hashes(chunk)
                stored = self.stored(start, width)
                recorded = self.recorded(start, width)
                if b"".join(hashes) != b"".join(stored):
                    kept = kept or seen.copy()
                    chunk, hashes = self.compare(start, chunk, hashes, stored, lines)
                if recorded != b"".join(stored):
                    self.compare_recorded(start, recorded, stored)
                pruned += self.note_pruning(start, chunk)
                self.check_payloads(payloads, start, chunk)
                seen.load(hashes)
                if kept is not None:
                    kept.load(stored)
                while due is not None and due.size <= start + width:
                    other = None if kept is None else kept.root(due.size - start)
                    self.check_root(due, seen.root(due.size - start), other)
                    due = next(pending, None)
                if width == WIDTH:
                    self.lift(above, 1, (kept or seen).close())
                    if kept is not None:
                        seen.close()
                start += width
            if lines.take(1):
                self.damaged(f"events.jsonl: holds more than the {size} events of the log")
            digest = lines.digest()
        if digest != self.manifest["files"].get("events.jsonl"):
            self.damaged("events.jsonl: was changed after the export")
        for level, hashes in above.items():
            self.check_tile(level, ((size >> 8 * level) - 1) // WIDTH, hashes)
        self.damaged_suspects("could not be attributed: no later checkpoint agrees with either")
        self.check_pruning()
        self.report.facts["events"] = size - pruned
        self.report.facts["pruned events (hash only)"] = pruned
        if payloads:
            self.damaged(f"payloads.jsonl: {len(payloads)} lines belong to no event")

    def note_pruning(self, start: int, chunk: list[bytes]) -> int:
        """Remember which events have only their hash left, and which ones sealed events say were pruned."""
        count = 0
        for index, line in enumerate(chunk, start):
            if line[:3] == b'{"p':
                count += 1
                if self.gone and self.gone[-1][1] == index - 1:
                    self.gone[-1][1] = index
                else:
                    self.gone.append([index, index])
            elif line.startswith(PRUNE_EVENT):
                try:
                    event = json.loads(line)
                    if event["class"] == "audit":
                        self.allowed += [[int(first), int(last)] for first, last in event["meta"]["ranges"]]
                except (ValueError, KeyError, TypeError):
                    self.damaged(f"event {index}{describe(line)}: tells of pruning and names no ranges")
        return count

    def check_pruning(self) -> None:
        """An event that is gone without a sealed event that tells of its pruning was removed by somebody."""
        allowed = iter(sorted(self.allowed))
        span = next(allowed, None)
        for first, last in self.gone:
            while first <= last:
                while span is not None and span[1] < first:
                    span = next(allowed, None)
                if span is not None and span[0] <= first:
                    first = span[1] + 1  # noqa: PLW2901 - the rest of the gap goes on being checked
                    continue
                end = last if span is None else min(last, span[0] - 1)
                which = f"event {first}" if first == end else f"event {first} and all up to {end}"
                self.damaged(f"{which}: only the hash is left, and no sealed event tells of its pruning")
                first = end + 1  # noqa: PLW2901

    def stored(self, start: int, width: int) -> list[bytes]:
        """Leaf hashes of a tile; a missing or short tile gives empty hashes, which match nothing."""
        name = tile_name(0, start // WIDTH, width)
        content = self.content(name)
        if len(content) != 32 * width:
            self.damaged(f"{name}: must hold {width} hashes")
            content = content[: 32 * width].ljust(32 * width, b"\0")
        return [content[at : at + 32] for at in range(0, 32 * width, 32)]

    def recorded(self, start: int, width: int) -> bytes:
        """Leaf hashes as the database had them."""
        with (self.directory / "recorded").open("rb") as stream:
            stream.seek(32 * start)
            return stream.read(32 * width)

    def compare_recorded(self, start: int, recorded: bytes, stored: list[bytes]) -> None:
        """Name the leaf hashes of the database that differ from the sealed ones."""
        for offset, digest in enumerate(stored):
            if recorded[32 * offset : 32 * offset + 32] != digest:
                self.damaged(
                    f"event {start + offset}: the database's leaf hash is not the one that was sealed"
                )

    def compare(
        self, start: int, chunk: list[bytes], hashes: list[bytes], stored: list[bytes], lines: Lines
    ) -> tuple[list[bytes], list[bytes]]:
        """Name the lines that differ from the sealed hashes, and find back into step after a lost or added
        line.
        """
        aligned, result, at, position = list[bytes](), list[bytes](), 0, 0
        while position < len(stored):
            if at + LOOK_AHEAD > len(chunk) and hashes[at : at + 1] != stored[position : position + 1]:
                more = lines.take(LOOK_AHEAD)
                chunk, hashes = chunk + more, hashes + leaf_hashes(more)
            skip_lines = skip_leaves = 1
            if hashes[at : at + 1] != stored[position : position + 1]:
                skip_lines, skip_leaves = resynchronise(hashes[at:], stored[position:])
                for offset in range(skip_leaves):
                    line, index = chunk[at + offset] if offset < skip_lines else b"", position + offset
                    self.suspects.append((start + index, describe(line), stored[index]))
            for offset in range(skip_leaves):
                aligned.append(chunk[at + offset] if offset < skip_lines else b"")
                result.append(hashes[at + offset] if offset < skip_lines else bytes(32))
            if skip_lines > skip_leaves:
                where, extra = start + position + skip_leaves, skip_lines - skip_leaves
                self.damaged(f"event {where}: {extra} lines stand before it that were never sealed")
            at, position = at + skip_lines, position + skip_leaves
        lines.give_back(chunk[at:])
        return aligned, result

    def check_root(self, item: Checkpoint, seen: bytes, kept: bytes | None) -> None:
        """Compare a signed root with the events, and say which of events and tiles is at fault if they
        disagree.
        """
        if seen == item.root:
            self.damaged_suspects("its sealed hash (tile) was changed; the event itself is as it was signed")
            self.last_good = item.size
        elif kept == item.root:
            self.damaged_suspects("was changed, removed or replaced after it was sealed")
            self.last_good = item.size
        else:
            self.damaged_suspects("does not match its sealed hash, and neither leads to the signed root")
            self.damaged(
                f"events {self.last_good} to {item.size - 1}: do not lead to the root that was signed for "
                f"{item.size} events"
            )

    def damaged_suspects(self, verdict: str) -> None:
        """Turn collected differences into findings."""
        for index, identity, digest in self.suspects:
            self.damaged(f"event {index}{identity}: {verdict}; sealed leaf hash {digest.hex()}")
        self.suspects.clear()

    def lift(self, above: dict[int, list[bytes]], level: int, root: bytes) -> None:
        """Collect the root of a full tile in the tile above."""
        hashes = above.setdefault(level, [])
        hashes.append(root)
        if len(hashes) == WIDTH:
            tree = Tree()
            tree.load(hashes)
            index = self.full_tiles.get(level, 0)
            self.check_tile(level, index, hashes)
            self.full_tiles[level] = index + 1
            above[level] = []
            self.lift(above, level + 1, tree.levels[8][0])

    def check_tile(self, level: int, index: int, hashes: list[bytes]) -> None:
        """Compare an upper tile with what was recomputed."""
        if hashes:
            name = tile_name(level, index, len(hashes))
            if self.content(name) != b"".join(hashes):
                self.damaged(f"{name}: does not hold the hashes of the tiles below it")

    # --- payloads

    def read_payloads(self) -> dict[int, tuple[bytes, bytes]]:
        """Opened payloads by event index, with their salts."""
        payloads = {}
        for number, line in enumerate(self.content("payloads.jsonl").splitlines(), 1):
            try:
                item = json.loads(line)
                payloads[int(item["index"])] = (item["payload"].encode("utf-8"), bytes.fromhex(item["salt"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                self.damaged(f"payloads.jsonl: line {number} is not of the format")
        if payloads:
            self.report.facts["payloads"] = len(payloads)
        return payloads

    def check_payloads(
        self, payloads: dict[int, tuple[bytes, bytes]], start: int, chunk: list[bytes]
    ) -> None:
        """Compare opened payloads with the commitments in their events."""
        if not payloads:
            return
        for index in range(start, start + len(chunk)):
            if index in payloads:
                self.check_payload(index, chunk[index - start], *payloads.pop(index))

    def check_payload(self, index: int, line: bytes, payload: bytes, salt: bytes) -> None:
        """Compare one opened payload with its commitment."""
        try:
            commitment = json.loads(line).get("payload_commit")
        except (ValueError, AttributeError):
            commitment = None
        if hmac.digest(salt, payload, "sha256").hex() != commitment:
            self.damaged(f"event {index}{describe(line)}: its payload is not the one it committed to")

    # --- selected events

    def check_selection(self) -> None:
        """Check the inclusion proof of each selected event."""
        lines = self.content("events.jsonl")
        if hashlib.sha256(lines).hexdigest() != self.manifest["files"].get("events.jsonl"):
            self.damaged("events.jsonl: was changed after the export")
        events, indexes = lines.splitlines(keepends=True), self.manifest.get("indexes", [])
        payloads = self.read_payloads()
        if len(events) != len(indexes):
            self.damaged(f"events.jsonl: has {len(events)} lines for {len(indexes)} events")
        for index, line in zip(indexes, events, strict=False):
            self.check_proof(index, line)
            if index in payloads:
                self.check_payload(index, line, *payloads.pop(index))
        if payloads:
            self.damaged(f"payloads.jsonl: {len(payloads)} lines belong to no event")
        self.report.facts["events"] = len(events)

    def check_proof(self, index: int, line: bytes) -> None:
        """Check the tlog-proof of one selected event."""
        name, who = f"proofs/{index}.tlog-proof", f"event {index}{describe(line)}"
        try:
            head, text, block = self.content(name).decode("utf-8").split("\n\n")
            checkpoint = Checkpoint.parse(text, block.removesuffix("\n"))
            header, place, *path = head.split("\n")
            fits = header == "c2sp.org/tlog-proof@v1" and place == f"index {index}" and block.endswith("\n")
            (digest,) = leaf_hashes([line])
            root = climb(index, checkpoint.size, digest, [b64(item, 32) for item in path])
        except (ValueError, binascii.Error):
            self.damaged(f"{who}: its proof is not of the format or does not fit its place in the log")
            return
        if not fits:
            self.damaged(f"{who}: its proof is for another place in the log")
        for wrong in checkpoint.check(self.keys, self.manifest["origin"]):
            self.damaged(f"{who}: the checkpoint of its proof {wrong}")
        if root != checkpoint.root:
            self.damaged(f"{who}: is not in the log that was signed, or was changed")


def climb(index: int, size: int, node: bytes, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to, RFC 9162 §2.1.3.2; raises ValueError."""
    low, last = index, size - 1
    if not 0 <= low <= last:
        raise ValueError("index")
    for item in path:
        if last == 0:
            raise ValueError("too long")
        if low & 1 or low == last:
            node = parent(item, node)
            while not low & 1 and low:
                low, last = low >> 1, last >> 1
        else:
            node = parent(node, item)
        low, last = low >> 1, last >> 1
    if last:
        raise ValueError("too short")
    return node


class Lines:
    """Lines of a file with look-ahead, hashed as they are read."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.waiting, self.sha = stream, list[bytes](), hashlib.sha256()

    def take(self, count: int) -> list[bytes]:
        """Up to `count` lines."""
        taken = self.waiting[:count]
        del self.waiting[:count]
        fresh = list(islice(self.stream, count - len(taken)))
        self.sha.update(b"".join(fresh))
        return taken + fresh

    def give_back(self, lines: list[bytes]) -> None:
        """Lines that were looked at and are not used yet."""
        self.waiting = lines + self.waiting

    def digest(self) -> str:
        """SHA-256 of the whole file; reads what is left."""
        for block in iter(lambda: self.stream.read(1 << 20), b""):
            self.sha.update(block)
        return self.sha.hexdigest()


def leaf_hashes(lines: Sequence[bytes]) -> list[bytes]:
    """Leaf hash of each line: SHA-256(0x00 ‖ 0x01 ‖ JSON), or the hash that stands for a pruned event."""
    sha256 = hashlib.sha256
    hashes = [sha256(b"\x00\x01" + line[:-1]).digest() for line in lines]
    for at, line in enumerate(lines):
        if line[:3] == b'{"p':
            pruned = PRUNED.fullmatch(line)
            if pruned:
                hashes[at] = bytes.fromhex(pruned[1].decode())
    if lines and not lines[-1].endswith(b"\n"):
        hashes[-1] = sha256(b"no newline" + lines[-1]).digest()
    return hashes


def resynchronise(found: Sequence[bytes], wanted: Sequence[bytes]) -> tuple[int, int]:
    """How many lines and how many leaves to skip until both agree again; as few as possible."""
    for total in range(1, 2 * LOOK_AHEAD):
        for skip_leaves in sorted(range(total + 1), key=lambda leaves: abs(total - 2 * leaves)):
            skip_lines = total - skip_leaves
            if (
                skip_lines < len(found)
                and skip_leaves < len(wanted)
                and found[skip_lines] == wanted[skip_leaves]
            ):
                return skip_lines, skip_leaves
    return min(len(wanted), len(found)), len(wanted)


def describe(line: bytes) -> str:
    """What a line says about itself, as far as it can be read; only for the reader, it proves nothing."""
    try:
        event = json.loads(line)
        return f" ({event['event_id']}, {event['class']}/{event['action']}, {event['occurred_at']})"
    except (ValueError, KeyError, TypeError):
        return " (unreadable)" if line else " (missing)"


def verify(directory: Path, trusted: Sequence[str] = (), earlier: Sequence[Path] = ()) -> Report:
    """Verify a bundle with the given verifier keys, or those in it; `earlier` are checkpoints seen before."""
    return Verifier(directory, trusted, earlier).run()


def arguments() -> Iterator[tuple[str, dict[str, Any]]]:
    """Command line."""
    yield "directory", {"type": Path, "help": "folder of the bundle"}
    yield "--key", {"action": "append", "default": [], "help": "verifier key to trust (repeatable)"}
    yield (
        "--checkpoint",
        {
            "action": "append",
            "default": [],
            "type": Path,
            "help": "signed checkpoint that was kept elsewhere; the log must still contain it (repeatable)",
        },
    )
    yield "--json", {"action": "store_true", "help": "report as JSON"}


def main() -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    for name, options in arguments():
        parser.add_argument(name, **options)
    given = parser.parse_args()
    try:
        report = verify(given.directory, given.key, given.checkpoint)
    except (Unreadable, OSError) as error:
        sys.stderr.write(f"cannot read the bundle: {error}\n")
        return 2
    if given.json:
        json.dump({"ok": report.ok, **vars(report)}, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(report.text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
