"""The tree against the published RFC 6962 vectors, a naive definition, and forged proofs. # AUD-4, AUD-9"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.audit.log.tree import (
    EMPTY_ROOT,
    MAX_SIZE,
    CompactRange,
    ProofError,
    check_index,
    check_size,
    consistency_proof,
    inclusion_proof,
    list_reader,
    range_at,
    root_at,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and their roots that all implementations of RFC 6962 are tested with.
INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def naive_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


VECTORS = [leaf(bytes.fromhex(text)) for text in INPUTS]
MANY = [leaf(str(number).encode()) for number in range(130)]


class TestRoots:
    def test_published_roots(self) -> None:
        tree = CompactRange()
        assert tree.root() == EMPTY_ROOT
        for item, root in zip(VECTORS, ROOTS, strict=True):
            tree.append(item)
            assert tree.root().hex() == root

    @pytest.mark.parametrize("size", range(len(MANY) + 1))
    def test_incremental_root_is_the_recursive_definition(self, size: int) -> None:
        tree = CompactRange()
        tree.extend(MANY[:size])
        assert tree.root() == naive_root(MANY[:size]) == root_at(size, list_reader(MANY))
        assert range_at(size, list_reader(MANY)).edge == tree.edge
        assert CompactRange(tree.size, tree.edge).root() == tree.root()

    def test_a_bad_leaf_leaves_the_tree_as_it_was(self) -> None:
        tree = CompactRange()
        tree.extend(MANY[:5])
        before = tree.root()
        for bad in (b"", b"x" * 31, b"x" * 33, "x" * 32):
            with pytest.raises(ProofError):
                tree.extend([MANY[5], bad])  # type: ignore[list-item]
        assert (tree.size, tree.root()) == (5, before)


class TestInclusion:
    def test_every_leaf_of_every_small_tree_is_proven_and_no_other_place_is(self) -> None:
        for size in range(1, 33):
            root = naive_root(MANY[:size])
            for index in range(size):
                proof = inclusion_proof(index, size, list_reader(MANY))
                verify_inclusion(index, size, MANY[index], root, proof)
                for other in {index ^ 1, index + 1, index - 1, size - 1 - index} - {index}:
                    with pytest.raises(ProofError):
                        verify_inclusion(other, size, MANY[index], root, proof)

    @given(st.data())
    def test_a_changed_proof_is_refused(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(2, 130))
        index = data.draw(st.integers(0, size - 1))
        root, proof = naive_root(MANY[:size]), inclusion_proof(index, size, list_reader(MANY))
        forged = list(proof)
        at = data.draw(st.integers(0, len(forged) - 1))
        match data.draw(st.sampled_from(["flip", "drop", "double", "append", "root"])):
            case "flip":
                forged[at] = bytes([forged[at][0] ^ 1]) + forged[at][1:]
            case "drop":
                del forged[at]
            case "double":
                forged.insert(at, forged[at])
            case "append":
                forged.append(root)
            case "root":
                root = MANY[0]
        with pytest.raises(ProofError):
            verify_inclusion(index, size, MANY[index], root, forged)


class TestConsistency:
    def test_every_pair_of_small_trees_is_proven(self) -> None:
        for new in range(34):
            for old in range(new + 1):
                proof = consistency_proof(old, new, list_reader(MANY))
                verify_consistency(old, new, naive_root(MANY[:old]), naive_root(MANY[:new]), proof)

    def test_the_published_proof_of_rfc_6962_section_2_1_3(self) -> None:
        # PROOF(3, D[7]) = [c, d, g, l], PROOF(4, D[7]) = [l], PROOF(6, D[7]) = [i, j, k].
        read = list_reader(VECTORS)
        assert consistency_proof(3, 7, read) == [read(0, 2), read(0, 3), read(1, 0), root_of(VECTORS[4:7])]
        assert consistency_proof(4, 7, read) == [root_of(VECTORS[4:7])]
        assert consistency_proof(6, 7, read) == [read(1, 2), read(0, 6), read(2, 0)]
        assert inclusion_proof(0, 7, read) == [read(0, 1), read(1, 1), root_of(VECTORS[4:7])]
        assert inclusion_proof(6, 7, read) == [read(1, 2), read(2, 0)]

    @given(st.data())
    def test_a_tree_that_rewrote_something_has_no_proof(self, data: st.DataObject) -> None:
        new = data.draw(st.integers(2, 130))
        old = data.draw(st.integers(1, new - 1))
        changed = data.draw(st.integers(0, old - 1))
        other = [*MANY[:changed], leaf(b"rewritten"), *MANY[changed + 1 :]]
        proof = consistency_proof(old, new, list_reader(other))
        with pytest.raises(ProofError):
            verify_consistency(old, new, naive_root(MANY[:old]), naive_root(other[:new]), proof)

    def test_degenerate_claims_are_refused(self) -> None:
        one, two = naive_root(MANY[:1]), naive_root(MANY[:2])
        for claim in (
            (2, 1, two, one, []),
            (1, 1, one, two, []),
            (1, 1, one, one, [one]),
            (0, 1, one, one, []),
            (0, 1, EMPTY_ROOT, one, [one]),
            (1, 2, one, two, []),
            (1, 2, b"", two, [MANY[1]]),
            (1, 2, one[:31], two, [MANY[1]]),
            (1, 2, one, two, [MANY[1][:31]]),
        ):
            with pytest.raises(ProofError):
                verify_consistency(*claim)


class TestPositions:
    @pytest.mark.parametrize("index, size", [(0, 0), (1, 1), (-1, 5), (5, 5), (0, 2**63), (True, 2), (0, -1)])
    def test_indexes_lie_below_sizes_and_sizes_below_two_to_the_63(self, index: int, size: int) -> None:
        with pytest.raises(ProofError):
            check_index(index, size)

    def test_the_largest_log(self) -> None:
        assert check_size(MAX_SIZE) == 2**63 - 1
        assert check_index(MAX_SIZE - 1, MAX_SIZE) == 2**63 - 2
        with pytest.raises(ProofError):
            CompactRange(MAX_SIZE, [MANY[0]] * 63).append(MANY[0])


def root_of(hashes: list[bytes]) -> bytes:
    return naive_root(hashes)
