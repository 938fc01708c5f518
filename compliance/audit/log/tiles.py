"""The mirror: the log as C2SP tlog-tiles on disk, readable by any tlog client and enough to rebuild the
database's log.

The sealer appends; the exporter and the proof download read. Full tiles hold 256 hashes, `tile/<L>/<N>`; the
right edge is partial tiles `.p/<W>`, kept for each published size until the full tile exists. Entry bundles
`tile/entries/<N>` hold the leaves, each with a big-endian uint16 length.

Only what a signed checkpoint covers binds: what lies beyond may be overwritten after a crash.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from compliance.audit.log.files import write_all, write_atomically
from compliance.audit.log.leaf import entry_hash, is_pruned, pruned_entry
from compliance.audit.log.tree import (
    HASH_BYTES,
    CompactRange,
    HashReader,
    check_size,
    hash_children,
    range_at,
)

WIDTH = 256
_LENGTH = struct.Struct(">H")


class MirrorDamaged(Exception):
    """A file of the mirror is missing or does not hold what its size and the tree demand."""


def numbered(index: int) -> str:
    """Return the path of a tile number: 1234067 is `x001/x234/067`."""
    if index < 0:
        raise ValueError("a tile index may not be negative")
    text = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        text = f"x{index % 1000:03d}/{text}"
    return text


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Return the path of a hash tile, relative to the log's prefix."""
    if not 0 <= level <= 63 or not 1 <= width <= WIDTH:
        raise ValueError("a tile has a level from 0 to 63 and a width from 1 to 256")
    return f"tile/{level}/{numbered(index)}" + ("" if width == WIDTH else f".p/{width}")


def entries_path(index: int, width: int = WIDTH) -> str:
    """Return the path of an entry bundle, relative to the log's prefix."""
    if not 1 <= width <= WIDTH:
        raise ValueError("an entry bundle has a width from 1 to 256")
    return f"tile/entries/{numbered(index)}" + ("" if width == WIDTH else f".p/{width}")


def pack_entries(leaves: Sequence[bytes]) -> bytes:
    """Return an entry bundle; each leaf must be shorter than 65,536 bytes."""
    return b"".join(_LENGTH.pack(len(leaf)) + leaf for leaf in leaves)


def unpack_entries(bundle: bytes) -> list[bytes]:
    """Return the leaves of an entry bundle; raises `MirrorDamaged` if the lengths do not add up."""
    leaves, position = [], 0
    while position < len(bundle):
        start = position + 2
        if start > len(bundle):
            raise MirrorDamaged("an entry bundle ends inside a length")
        position = start + _LENGTH.unpack_from(bundle, start - 2)[0]
        if position > len(bundle):
            raise MirrorDamaged("an entry bundle ends inside an entry")
        leaves.append(bundle[start:position])
    return leaves


def tile_root(hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of the 256 hashes of a full tile."""
    nodes = list(hashes)
    if len(nodes) != WIDTH:
        raise ValueError("only a full tile has a parent")
    while len(nodes) > 1:
        pairs = iter(nodes)
        nodes = [hash_children(left, right) for left, right in zip(pairs, pairs, strict=True)]
    return nodes[0]


class Mirror:
    """The tiles of one log under one directory, with the right edge in memory.

    `append` is not safe for two writers: the sealer holds the lock of its state file while it has a Mirror.
    """

    def __init__(self, directory: Path, size: int = 0) -> None:
        """Open the mirror at `size` leaves; raises `MirrorDamaged` if the right edge is missing or
        misshapen.
        """
        self.directory = directory
        self.size = check_size(size)
        self._levels = [self._edge(level) for level in range(_height(size))]
        self._tail = self._entries(size >> 8, size & 255) if size & 255 else []
        self._read_tiles: dict[tuple[int, int], list[bytes]] = {}

    def append(self, leaves: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Add leaves with their hashes, flushed to disk. Raises `OSError`; then reopen at the last good
        size.
        """
        files: dict[str, bytes] = {}
        self._add_entries(files, leaves)
        level, fresh = 0, list(hashes)
        while fresh:
            fresh = self._add_level(files, level, fresh)
            level += 1
        write_all({self.directory / path: content for path, content in files.items()})
        # Only now, since what takes the place of others is on the disk.
        for path in files:
            full, partial, _width = path.partition(".p/")
            if partial:
                self._drop_abandoned(full)
            else:
                self._drop_partials(full)
        self.size += len(leaves)
        self._read_tiles.clear()

    def reader(self) -> HashReader:
        """Return a reader of complete subtrees, for proofs; raises `MirrorDamaged` for missing tiles."""

        def read(level: int, index: int) -> bytes:
            tier, rest = divmod(level, 8)
            first = index << rest
            hashes = self.tile(tier, first >> 8)[first & 255 : (first & 255) + (1 << rest)]
            if len(hashes) != 1 << rest:
                raise MirrorDamaged(f"the tree of {self.size} leaves has no node {index} at level {level}")
            while len(hashes) > 1:
                pairs = iter(hashes)
                hashes = [hash_children(left, right) for left, right in zip(pairs, pairs, strict=True)]
            return hashes[0]

        return read

    def compact_range(self) -> CompactRange:
        """Return the compact range of all leaves, from the tiles."""
        return range_at(self.size, self.reader())

    def tile(self, level: int, index: int) -> list[bytes]:
        """Return the hashes of a tile as far as the mirror's size reaches."""
        cached = self._read_tiles.get((level, index))
        if cached is None:
            if len(self._read_tiles) > 64:
                self._read_tiles.clear()
            width = min(WIDTH, (self.size >> 8 * level) - index * WIDTH)
            if width < 1:
                raise MirrorDamaged(f"the tree of {self.size} leaves has no tile {tile_path(level, index)}")
            cached = self._read_tiles[level, index] = self._hashes(level, index, width)
        return cached

    def leaves(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield (index, leaf) for start ≤ index < stop ≤ size, a pruned leaf as its `pruned_entry`; raises
        `MirrorDamaged` if a leaf misses its hash.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError("the range lies outside the mirror")
        for number in range(start >> 8, (stop + 255) >> 8):
            width = min(WIDTH, self.size - number * WIDTH)
            hashes = self.tile(0, number)
            for offset, leaf in enumerate(self._entries(number, width)):
                index = number * WIDTH + offset
                if start <= index < stop:
                    if entry_hash(leaf) != hashes[offset]:
                        raise MirrorDamaged(f"entry {index} of the mirror does not match its leaf hash")
                    yield index, leaf

    def forget(self, first: int, last: int) -> None:
        """Keep only hash and event id of the leaves first ≤ index ≤ last, in each file that holds them."""
        for number in range(first >> 8, (last >> 8) + 1):
            full = self.directory / entries_path(number)
            partials = self.directory / f"{entries_path(number)}.p"
            hashes = self.tile(0, number)
            for path in (full, *(partials.iterdir() if partials.is_dir() else ())):
                if not path.is_file() or path.name.startswith("."):
                    continue
                leaves = unpack_entries(path.read_bytes())
                for offset in range(
                    max(first - number * WIDTH, 0), min(last - number * WIDTH + 1, len(leaves))
                ):
                    if offset < len(hashes) and not is_pruned(leaves[offset]):
                        event_id = str(json.loads(leaves[offset][1:])["event_id"])
                        leaves[offset] = pruned_entry(hashes[offset], event_id)
                write_atomically(path, pack_entries(leaves))
        if self.size & 255 and last >> 8 >= self.size >> 8:
            self._tail = self._entries(self.size >> 8, self.size & 255)

    def _add_entries(self, files: dict[str, bytes], leaves: Sequence[bytes]) -> None:
        tail, number = [*self._tail, *leaves], self.size >> 8
        while len(tail) >= WIDTH:
            files[entries_path(number)] = pack_entries(tail[:WIDTH])
            tail, number = tail[WIDTH:], number + 1
        if tail:
            files[entries_path(number, len(tail))] = pack_entries(tail)
        self._tail = tail

    def _add_level(self, files: dict[str, bytes], level: int, fresh: list[bytes]) -> list[bytes]:
        if level == len(self._levels):
            self._levels.append([])
        hashes, number, parents = [*self._levels[level], *fresh], self.size >> 8 * (level + 1), []
        while len(hashes) >= WIDTH:
            files[tile_path(level, number)] = b"".join(hashes[:WIDTH])
            parents.append(tile_root(hashes[:WIDTH]))
            hashes, number = hashes[WIDTH:], number + 1
        if hashes:
            files[tile_path(level, number, len(hashes))] = b"".join(hashes)
        self._levels[level] = hashes
        return parents

    def _drop_partials(self, full: str) -> None:
        directory = self.directory / f"{full}.p"
        if directory.is_dir():
            for partial in directory.iterdir():
                partial.unlink()
            directory.rmdir()

    def _drop_abandoned(self, full: str) -> None:
        """Remove a full tile that a crash left beyond the signed size, now that its place holds a partial
        one.
        """
        (self.directory / full).unlink(missing_ok=True)

    def _edge(self, level: int) -> list[bytes]:
        nodes = self.size >> 8 * level
        return self._hashes(level, nodes >> 8, nodes & 255) if nodes & 255 else []

    def _hashes(self, level: int, number: int, width: int) -> list[bytes]:
        content = self._content(tile_path(level, number), width)[: width * HASH_BYTES]
        if len(content) != width * HASH_BYTES:
            raise MirrorDamaged(f"tile {tile_path(level, number, width)} is too short")
        return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]

    def _entries(self, number: int, width: int) -> list[bytes]:
        leaves = unpack_entries(self._content(entries_path(number), width))
        if len(leaves) < width:
            raise MirrorDamaged(f"entry bundle {entries_path(number, width)} is too short")
        return leaves[:width]

    def _content(self, full: str, width: int) -> bytes:
        """The tile of exactly this width, else a wider one, whose beginning is the same."""
        partials = self.directory / f"{full}.p"
        candidates = [] if width == WIDTH else [partials / str(width)]
        candidates.append(self.directory / full)
        if width < WIDTH and partials.is_dir():
            wider = sorted(int(path.name) for path in partials.iterdir() if path.name.isdigit())
            candidates += [partials / str(other) for other in wider if other > width]
        for path in candidates:
            try:
                return path.read_bytes()
            except FileNotFoundError:
                continue
        raise MirrorDamaged(f"the mirror has no {full} of width {width}")


def _height(size: int) -> int:
    """Number of tile levels that a tree of `size` leaves has."""
    return (size.bit_length() + 7) // 8
