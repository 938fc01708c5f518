"""The order of records by a field, kept in blocks of slots so that one more costs little at any size."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sized
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BLOCK = 512
_BLOCKS_A_KEY = 32
"""Coming by so many blocks costs what asking for one key costs."""

Key = Any
"""What slots are put in order by: something that compares, different for each slot."""


class Order:
    """Slots in the order of a key, upwards. It holds no key: that of a slot is asked for when it is needed.

    Each slot knows the number of its block, so that a set of slots is put in order block by block, and the keys of
    those alone are asked for that are needed.
    """

    def __init__(self, key: Callable[[int], Key]) -> None:
        self.key_of = key
        self._blocks: list[array[int]] = []
        self._numbers: list[int] = []
        """The number of each block, from 1 on; a number is given once."""
        self._last = 0
        self._block = array("I")
        """The number of the block that each slot is in; 0 for none."""

    def fill(self, slots: list[int]) -> None:
        """Take slots that are in order already, instead of all that there were."""
        self._blocks = [array("I", slots[at : at + _BLOCK]) for at in range(0, len(slots), _BLOCK)]
        self._last = len(self._blocks)
        self._numbers = list(range(1, self._last + 1))
        self._block = array("I", bytes(4 * (max(slots, default=0) + 1)))
        for number, block in zip(self._numbers, self._blocks, strict=True):
            self._number(block, number)

    def _number(self, slots: Iterable[int], number: int) -> None:
        block = self._block
        for slot in slots:
            block[slot] = number

    def add(self, slot: int) -> None:
        """Take one more slot."""
        if slot >= len(self._block):
            self._block.extend([0] * (slot + 1 - len(self._block)))
        if not self._blocks:
            self._insert(0, array("I", [slot]))
            return
        key = self.key_of(slot)
        at = max(0, self._block_of(key) - 1)
        block = self._blocks[at]
        block.insert(bisect_left(block, key, key=self.key_of), slot)
        self._block[slot] = self._numbers[at]
        if len(block) > 2 * _BLOCK:
            self._blocks[at] = block[:_BLOCK]
            self._insert(at + 1, block[_BLOCK:])

    def _insert(self, at: int, block: array[int]) -> None:
        self._last += 1
        self._blocks.insert(at, block)
        self._numbers.insert(at, self._last)
        self._number(block, self._last)

    def remove(self, slot: int) -> None:
        """Leave a slot out, while its key is still what it was."""
        at, place = self._find(self.key_of(slot))
        if at < len(self._blocks) and self._blocks[at][place] == slot:
            del self._blocks[at][place]
            self._block[slot] = 0
            if not self._blocks[at]:
                del self._blocks[at], self._numbers[at]

    def _block_of(self, key: Key) -> int:
        """How many blocks begin before a key."""
        return bisect_left(self._blocks, key, key=lambda block: self.key_of(block[0]))

    def _find(self, key: Key) -> tuple[int, int]:
        """Block and place of the first slot that is not before a key."""
        at = self._block_of(key)
        if at:
            block = self._blocks[at - 1]
            place = bisect_left(block, key, key=self.key_of)
            if place < len(block):
                return at - 1, place
        return at, 0

    def _find_from(self, at: int, place: int, key: Key) -> tuple[int, int]:
        """The same as `_find` for a key that is probably near a place, and not before it."""
        block = self._blocks[at] if at < len(self._blocks) else ()
        step = 1
        while place + step <= len(block):
            if self.key_of(block[place + step - 1]) >= key:
                return at, bisect_left(block, key, place + step // 2, place + step - 1, key=self.key_of)
            step *= 2
        return self._find(key)

    def upwards(self, start: Key | None = None) -> Iterator[int]:
        """The slots after a key."""
        if start is None:
            return chain.from_iterable(self._blocks)
        at, place = self._find(start)
        first: array[int] | tuple[()] = self._blocks[at][place:] if at < len(self._blocks) else ()
        if first and self.key_of(first[0]) == start:
            first = first[1:]
        return chain(first, chain.from_iterable(islice(self._blocks, at + 1, None)))

    def downwards(self, start: Key | None = None) -> Iterator[int]:
        """The slots before a key, downwards."""
        if start is None:
            at, place = len(self._blocks), 0
        else:
            at, place = self._find(start)
        last = reversed(self._blocks[at][:place]) if place else ()
        return chain(last, chain.from_iterable(map(reversed, reversed(self._blocks[:at]))))

    def between(self, low: Key, high: Key) -> tuple[int, Iterator[int]]:
        """How many slots there are from one key up to another, and these."""
        at, place = self._find(low)
        end, stop = self._find_from(at, place, high)
        if (at, place) >= (end, stop):
            return 0, iter(())
        if at == end:
            return stop - place, iter(self._blocks[at][place:stop])
        whole = self._blocks[at + 1 : end]
        first, last = self._blocks[at][place:], self._blocks[end][:stop] if stop else ()
        return len(first) + sum(map(len, whole)) + len(last), chain(first, chain.from_iterable(whole), last)

    def arranged(
        self, slots: Iterable[int], holds: Callable[[int], bool], start: Key | None = None, *, downward: bool
    ) -> Iterator[int]:
        """Those of some slots that something holds for, after (or downwards before) a key, as they come by.

        Only as many are judged and put in order as are taken, a block at a time; very few all at once, which costs
        less than to come by all blocks.
        """
        if isinstance(slots, Sized) and len(slots) * _BLOCKS_A_KEY <= len(self._blocks):
            block, end = self._block, len(self._block)
            yield from self._sorted(
                filter(holds, (slot for slot in slots if slot < end and block[slot])), start, downward
            )
            return
        gathered: defaultdict[int, list[int]] = defaultdict(list)
        block, end = self._block, len(self._block)
        for slot in slots:
            if slot < end:
                gathered[block[slot]].append(slot)
        gathered.pop(0, None)
        places = range(len(self._blocks))
        edge = -1
        if start is not None:
            edge = self._block_of(start)
            places = places[: edge + 1] if downward else places[max(0, edge - 1) :]
        for at in reversed(places) if downward else places:
            members = gathered.get(self._numbers[at])
            if members is None:
                continue
            whole = len(members) == len(self._blocks[at]) and at not in {edge - 1, edge}
            if whole:
                yield from filter(holds, reversed(self._blocks[at]) if downward else self._blocks[at])
                continue
            yield from self._sorted(filter(holds, members), start, downward)

    def _sorted(self, slots: Iterable[int], start: Key | None, downward: bool) -> Iterator[int]:
        """Slots after (or downwards before) a key, by their keys."""
        for key, slot in sorted(((self.key_of(slot), slot) for slot in slots), reverse=downward):
            if start is None or (key < start if downward else key > start):
                yield slot
