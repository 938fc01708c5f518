"""The order of records by a field, kept in blocks of slots so that one more costs little at any size."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 2_048

Key = Any
"""What slots are put in order by: something that compares, different for each slot."""


class Order:
    """Slots in the order of a key, upwards. It holds no key: that of a slot is asked for when it is needed."""

    def __init__(self, key: Callable[[int], Key]) -> None:
        self.key_of = key
        self._blocks: list[array[int]] = []

    def fill(self, slots: list[int]) -> None:
        """Take slots that are in order already, instead of all that there were."""
        self._blocks = [array("I", slots[at : at + _BLOCK]) for at in range(0, len(slots), _BLOCK)]

    def add(self, slot: int) -> None:
        """Take one more slot."""
        if not self._blocks:
            self._blocks.append(array("I", [slot]))
            return
        key = self.key_of(slot)
        at = max(0, self._block_of(key) - 1)
        block = self._blocks[at]
        block.insert(bisect_left(block, key, key=self.key_of), slot)
        if len(block) > 2 * _BLOCK:
            self._blocks[at : at + 1] = [block[:_BLOCK], block[_BLOCK:]]

    def remove(self, slot: int) -> None:
        """Leave a slot out, while its key is still what it was."""
        at, place = self._find(self.key_of(slot))
        if at < len(self._blocks) and self._blocks[at][place] == slot:
            del self._blocks[at][place]
            if not self._blocks[at]:
                del self._blocks[at]

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
