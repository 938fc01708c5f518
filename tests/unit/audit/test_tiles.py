"""The mirror: C2SP tlog-tiles names, shapes and recovery. # AUD-9"""

from __future__ import annotations

from pathlib import Path

import pytest

from compliance.audit.log.leaf import leaf_hash
from compliance.audit.log.tiles import (
    Mirror,
    MirrorDamaged,
    entries_path,
    numbered,
    pack_entries,
    tile_path,
    tile_root,
    unpack_entries,
)
from compliance.audit.log.tree import CompactRange, inclusion_proof, verify_inclusion


def some(start: int, stop: int) -> tuple[list[bytes], list[bytes]]:
    leaves = [b"\x01{%d}" % number for number in range(start, stop)]
    return leaves, [leaf_hash(leaf) for leaf in leaves]


class TestNames:
    def test_the_example_of_the_specification(self) -> None:
        assert numbered(1234067) == "x001/x234/067"
        assert tile_path(0, 273, 112) == "tile/0/273.p/112"
        assert entries_path(1000) == "tile/entries/x001/000"
        assert tile_path(2, 0, 1) == "tile/2/000.p/1"

    @pytest.mark.parametrize("bad", [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
    def test_impossible_tiles_are_refused(self, bad: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match="tile"):
            tile_path(*bad)


class TestShape:
    def test_a_tree_of_70000_has_the_tiles_that_the_specification_lists(self, tmp_path: Path) -> None:
        mirror = Mirror(tmp_path)
        for start in range(0, 70_000, 10_000):
            mirror.append(*some(start, start + 10_000))
        full = [
            path
            for path in (tmp_path / "tile/0").rglob("*")
            if path.is_file() and ".p" not in path.parent.name
        ]
        assert len(full) == 273
        assert all(path.stat().st_size == 8192 for path in full)
        assert (tmp_path / "tile/0/273.p/112").stat().st_size == 112 * 32
        assert (tmp_path / "tile/1/000").stat().st_size == 8192
        assert (tmp_path / "tile/1/001.p/17").stat().st_size == 17 * 32
        assert (tmp_path / "tile/2/000.p/1").stat().st_size == 32
        assert not (tmp_path / "tile/3").exists()
        tree = CompactRange()
        tree.extend(some(0, 70_000)[1])
        assert mirror.compact_range().edge == tree.edge
        for index in (0, 255, 256, 65_535, 65_536, 69_999):
            proof = inclusion_proof(index, 70_000, mirror.reader())
            verify_inclusion(index, 70_000, some(index, index + 1)[1][0], tree.root(), proof)

    def test_256_leaves_are_a_full_tile_and_one_hash_above(self, tmp_path: Path) -> None:
        mirror = Mirror(tmp_path)
        mirror.append(*some(0, 100))
        mirror.append(*some(100, 256))
        assert (tmp_path / "tile/1/000.p/1").read_bytes() == tile_root(some(0, 256)[1])
        assert not (tmp_path / "tile/0/000.p").exists()

    def test_partial_tiles_of_published_sizes_stay_until_the_full_one_exists(self, tmp_path: Path) -> None:
        mirror = Mirror(tmp_path)
        mirror.append(*some(0, 3))
        mirror.append(*some(3, 10))
        assert sorted(path.name for path in (tmp_path / "tile/0/000.p").iterdir()) == ["10", "3"]

    def test_entry_bundles_hold_every_leaf_with_its_length(self, tmp_path: Path) -> None:
        leaves = [b"\x01", b"x" * 65_535, b"yz"]
        assert unpack_entries(pack_entries(leaves)) == leaves
        for bad in (b"\0", b"\0\5abc", pack_entries(leaves)[:-1]):
            with pytest.raises(MirrorDamaged):
                unpack_entries(bad)


class TestReopening:
    @pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
    def test_a_mirror_goes_on_where_it_was(self, size: int, tmp_path: Path) -> None:
        Mirror(tmp_path).append(*some(0, size))
        again = Mirror(tmp_path, size)
        again.append(*some(size, 700))
        whole = CompactRange()
        whole.extend(some(0, 700)[1])
        assert again.compact_range().root() == whole.root()
        assert [leaf for _, leaf in again.leaves(0, 700)] == some(0, 700)[0]
        assert [index for index, _ in again.leaves(250, 520)] == list(range(250, 520))

    @pytest.mark.parametrize("signed", [10, 200, 255, 256, 300])
    def test_what_a_crash_left_beyond_the_signed_size_is_overwritten(
        self, signed: int, tmp_path: Path
    ) -> None:
        mirror = Mirror(tmp_path)
        mirror.append(*some(0, signed))
        mirror.append(*some(signed, 800))
        again = Mirror(tmp_path, signed)
        other = some(5_000, 5_003)
        again.append(*other)
        fresh = Mirror(tmp_path, signed + 3)
        expected = CompactRange()
        expected.extend([*some(0, signed)[1], *other[1]])
        assert fresh.compact_range().root() == expected.root()
        assert [leaf for _, leaf in fresh.leaves(signed, signed + 3)] == other[0]

    def test_missing_and_damaged_files_are_named(self, tmp_path: Path) -> None:
        mirror = Mirror(tmp_path)
        mirror.append(*some(0, 300))
        bundle = tmp_path / "tile/entries/000"
        content = bundle.read_bytes()
        bundle.write_bytes(content.replace(b"{7}", b"{8}"))
        with pytest.raises(MirrorDamaged, match="entry 7"):
            list(mirror.leaves(0, 300))
        (tmp_path / "tile/0/000").unlink()
        with pytest.raises(MirrorDamaged, match="tile/0/000"):
            Mirror(tmp_path, 300).compact_range().root() and list(Mirror(tmp_path, 300).leaves(0, 1))
        (tmp_path / "tile/0/001.p/44").unlink()
        with pytest.raises(MirrorDamaged):
            Mirror(tmp_path, 300)
