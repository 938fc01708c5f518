"""RFC 6962 Merkle tree: incremental root, inclusion and consistency proofs, and their verification.

The sealer keeps a `CompactRange` (at most 63 hashes, whatever the size of the log); proofs are computed from
a `HashReader`, which tiles on disk or a plain list of leaf hashes can be. Verification follows RFC 9162
§2.1.3.2 and §2.1.4.2, whose algorithms are those of RFC 6962 written out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()

HashReader = Callable[[int, int], bytes]
"""`reader(level, index)` returns MTH(D[index·2^level : (index+1)·2^level]), a complete subtree of the log."""


class ProofError(ValueError):
    """A proof, hash or position is malformed or does not lead to the root that was claimed."""


def check_hash(value: bytes, what: str = "hash") -> bytes:
    """Return `value` if it is exactly 32 bytes, else raise `ProofError`."""
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise ProofError(f"{what} must be exactly {HASH_BYTES} bytes")
    return value


def check_size(size: int) -> int:
    """Return `size` if 0 ≤ size ≤ 2^63-1, else raise `ProofError`."""
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
        raise ProofError("tree size must be an integer from 0 to 2^63-1")
    return size


def check_index(index: int, size: int) -> int:
    """Return `index` if 0 ≤ index < size ≤ 2^63-1, else raise `ProofError`."""
    check_size(size)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < size:
        raise ProofError("leaf index must be an integer from 0 to below the tree size")
    return index


def hash_children(left: bytes, right: bytes) -> bytes:
    """Return the interior node SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The right edge of a tree: the roots of its complete subtrees, largest first."""

    __slots__ = ("_edge", "_size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """Resume at `size` with the roots of the complete subtrees that its binary digits name."""
        self._size = check_size(size)
        self._edge = [check_hash(item) for item in edge]
        if len(self._edge) != size.bit_count():
            raise ProofError("a compact range has one hash for each binary one of its size")

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def edge(self) -> tuple[bytes, ...]:
        """Roots of the complete subtrees, largest first."""
        return tuple(self._edge)

    def copy(self) -> CompactRange:
        """Return an independent copy, to be thrown away if a step fails."""
        return CompactRange(self._size, self._edge)

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf hash (32 bytes)."""
        self.extend((leaf_hash,))

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaf hashes in order; raises `ProofError` and stays unchanged if one is not 32 bytes."""
        edge, size, sha256 = list(self._edge), self._size, hashlib.sha256
        for leaf_hash in leaf_hashes:
            node, carry = check_hash(leaf_hash, "leaf hash"), size
            while carry & 1:
                node = sha256(b"\x01" + edge.pop() + node).digest()
                carry >>= 1
            edge.append(node)
            size += 1
        check_size(size)
        self._edge, self._size = edge, size

    def root(self) -> bytes:
        """Return the root of the tree; SHA-256 of the empty string for an empty one."""
        if not self._edge:
            return EMPTY_ROOT
        node = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            node = hash_children(left, node)
        return node


def list_reader(leaf_hashes: Sequence[bytes]) -> HashReader:
    """Return a reader over leaf hashes in memory; for small logs and tests."""

    def read(level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hashes[index]
        return hash_children(read(level - 1, 2 * index), read(level - 1, 2 * index + 1))

    return read


def range_at(size: int, reader: HashReader) -> CompactRange:
    """Return the compact range of the first `size` leaves."""
    edge, start = [], 0
    for level in range(check_size(size).bit_length() - 1, -1, -1):
        if size >> level & 1:
            edge.append(check_hash(reader(level, start >> level)))
            start += 1 << level
    return CompactRange(size, edge)


def root_at(size: int, reader: HashReader) -> bytes:
    """Return the root of the first `size` leaves."""
    return range_at(size, reader).root()


def inclusion_proof(index: int, size: int, reader: HashReader) -> list[bytes]:
    """Return PATH(index, D[size]) of RFC 6962 §2.1.1, from the leaf's sibling up to the root's child."""
    check_index(index, size)
    return _path(index, 0, size, reader)


def consistency_proof(old_size: int, new_size: int, reader: HashReader) -> list[bytes]:
    """Return PROOF(old_size, D[new_size]) of RFC 6962 §2.1.2; empty for equal sizes and for an empty old
    tree.
    """
    check_size(new_size)
    if not 0 <= old_size <= new_size:
        raise ProofError("the old size must lie between 0 and the new size")
    if old_size in (0, new_size):
        return []
    return _subproof(old_size, 0, new_size, reader, complete=True)


def _split(count: int) -> int:
    """The largest power of two that is smaller than `count` (≥ 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _subtree(low: int, high: int, reader: HashReader) -> bytes:
    count = high - low
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return check_hash(reader(level, low >> level))
    middle = low + _split(count)
    return hash_children(_subtree(low, middle, reader), _subtree(middle, high, reader))


def _path(index: int, low: int, high: int, reader: HashReader) -> list[bytes]:
    if high - low == 1:
        return []
    middle = low + _split(high - low)
    if index < middle:
        return [*_path(index, low, middle, reader), _subtree(middle, high, reader)]
    return [*_path(index, middle, high, reader), _subtree(low, middle, reader)]


def _subproof(old: int, low: int, high: int, reader: HashReader, *, complete: bool) -> list[bytes]:
    if old == high:
        return [] if complete else [_subtree(low, high, reader)]
    middle = low + _split(high - low)
    if old <= middle:
        return [*_subproof(old, low, middle, reader, complete=complete), _subtree(middle, high, reader)]
    return [*_subproof(old, middle, high, reader, complete=False), _subtree(low, middle, reader)]


def root_from_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the root that the proof leads to (RFC 9162 §2.1.3.2); raises `ProofError` if its length is
    wrong.
    """
    check_index(index, size)
    node, low, last = check_hash(leaf_hash, "leaf hash"), index, size - 1
    for item in proof:
        check_hash(item, "proof hash")
        if last == 0:
            raise ProofError("the inclusion proof is longer than the tree is high")
        if low & 1 or low == last:
            node = hash_children(item, node)
            while not low & 1 and low:
                low, last = low >> 1, last >> 1
        else:
            node = hash_children(node, item)
        low, last = low >> 1, last >> 1
    if last != 0:
        raise ProofError("the inclusion proof is shorter than the tree is high")
    return node


def verify_inclusion(index: int, size: int, leaf_hash: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Raise `ProofError` unless `leaf_hash` is leaf `index` of the tree of `size` leaves with `root`."""
    check_hash(root, "root")
    if root_from_inclusion(index, size, leaf_hash, proof) != root:
        raise ProofError("the inclusion proof does not lead to the root")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `ProofError` unless the tree of `new_size` begins with the tree of `old_size` (RFC 9162
    §2.1.4.2).
    """
    check_size(old_size)
    check_size(new_size)
    check_hash(old_root, "old root")
    check_hash(new_root, "new root")
    if old_size > new_size:
        raise ProofError("the old tree is larger than the new one")
    if old_size in (0, new_size):
        if proof:
            raise ProofError("a proof between equal trees, or from an empty one, must be empty")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise ProofError("the old root does not belong to the old size")
        return
    _verify_growth(old_size, new_size, old_root, new_root, [check_hash(item, "proof hash") for item in proof])


def _verify_growth(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: list[bytes]
) -> None:
    if old_size & (old_size - 1) == 0:
        proof = [old_root, *proof]
    if not proof:
        raise ProofError("the consistency proof is empty")
    low, last = old_size - 1, new_size - 1
    while low & 1:
        low, last = low >> 1, last >> 1
    old = new = proof[0]
    for item in proof[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if low & 1 or low == last:
            old, new = hash_children(item, old), hash_children(item, new)
            while not low & 1 and low:
                low, last = low >> 1, last >> 1
        else:
            new = hash_children(new, item)
        low, last = low >> 1, last >> 1
    if last != 0:
        raise ProofError("the consistency proof is too short")
    if old != old_root or new != new_root:
        raise ProofError("the consistency proof does not lead to both roots")
