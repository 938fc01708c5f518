"""The records of one kind, packed: ids, states and values by slot, in few bytes and quick to look at.

A slot is a small number that names a record within this process. Slot 0 names none. The first load gives slots in the
order of ids, so an id is found there by bisection; those that come later stand in a dictionary.

The values of a record are one run of bytes: parts of UTF-8 between `SEPARATOR`, ended by `END`, both of which UTF-8
never holds. The first part is empty, so that each value comes after a separator; then come the values in the order of
the entity's fields, `NONE` for an empty one; empty ones at the end are left out.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from itertools import accumulate, islice, repeat
from struct import Struct
from typing import TYPE_CHECKING

from crm_server.search.folding import is_simple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SEPARATOR, NONE, END = b"\xfe", b"\xfd", b"\xff"
_END = 0xFF
GONE, LIVE, BIN, ASCII, SIMPLE = 0, 1, 2, 4, 8
"""States of a slot: nobody, a record, one in the bin. `ASCII` is added to those with tidy ASCII values alone, `SIMPLE`
to those whose values are folded (`folding.fold`) by making their letters small."""
_SEPARATOR, _NONE, _LAST = (sign.decode("utf-8", "surrogateescape") for sign in (SEPARATOR, NONE, END))
_COMMON = bytes(range(128)) + SEPARATOR + NONE
_NOTHING = SEPARATOR + NONE
_ID = Struct(">QQ")
_ID_BYTES = _ID.size
_WASTE = 4_000_000


def pack(columns: Sequence[Sequence[str | None]]) -> list[bytes]:
    """The values of records as bytes, without their end.

    Args:
        columns: For each field its values, None for those that are empty.
    """
    signed = [[_NONE if value is None else value for value in column] for column in columns]
    rows = map(_SEPARATOR.join, zip(repeat(""), *signed))
    # Signs that no text holds are written as lone surrogates, which stand for bytes: one encoding does for all values.
    packed = _LAST.join(rows).encode("utf-8", "surrogateescape").split(END)
    return [row if row[-2:] != _NOTHING else _without_end(row) for row in packed]


def _without_end(packed: bytes) -> bytes:
    while packed.endswith(_NOTHING):
        packed = packed[: -len(_NOTHING)]
    return packed


def letters(packed: Sequence[bytes]) -> list[int]:
    """What the letters of packed records add to their states."""
    others = [row.translate(None, _COMMON) for row in packed]
    return [SIMPLE | ASCII if not other else SIMPLE if is_simple(other.decode()) else 0 for other in others]


def unpack(parts: Sequence[bytes | bytearray], count: int) -> tuple[str | None, ...]:
    """The values as texts, `count` of them."""
    found = [None if part == NONE else part.decode() for part in parts[1 : count + 1]]
    return (*found, *[None] * (count - len(found)))


class Records:
    """Whoever writes sees to it that nobody reads meanwhile."""

    def __init__(self) -> None:
        self.states = bytearray(1)
        self.created = array("q", [0])
        """Microseconds since 1970 at which each record was made."""
        self.count = 0
        self._high, self._low = array("Q", [0]), array("Q", [0])
        self._sorted = 1
        self._late: dict[bytes, int] = {}
        self._starts = array("Q", [0])
        self._values = bytearray(END)
        self._wasted = 0

    def __len__(self) -> int:
        """One more than the largest slot."""
        return len(self.states)

    def __repr__(self) -> str:
        """Say how many there are and nothing of what is in them."""
        return f"<Records: {self.count}>"

    @property
    def in_order(self) -> bool:
        """Whether slots are in the order of ids: nothing came after the first load."""
        return self._sorted == len(self.states)

    def slot_of(self, key: bytes) -> int | None:
        """The slot that an id has, or had before its record went."""
        high, low = _ID.unpack(key)
        at = bisect_left(self._high, high, 1, self._sorted)
        while at < self._sorted and self._high[at] == high:
            if self._low[at] == low:
                return at
            at += 1
        return self._late.get(key)

    def slots_of(self, ids: bytes) -> Iterator[int]:
        """The slots of the ids that are held, out of one string of bytes."""
        for start in range(0, len(ids), _ID_BYTES):
            slot = self.slot_of(ids[start : start + _ID_BYTES])
            if slot is not None and self.states[slot]:
                yield slot

    def id_of(self, slot: int) -> bytes:
        """The id of a slot."""
        return _ID.pack(self._high[slot], self._low[slot])

    def order_of_id(self, slot: int) -> tuple[int, int]:
        """What puts ids in order."""
        return self._high[slot], self._low[slot]

    @staticmethod
    def order_of(key: bytes) -> tuple[int, int]:
        """What puts an id in order, held or not."""
        high, low = _ID.unpack(key)
        return high, low

    def ids_of(self, slots: Iterable[int]) -> bytes:
        """The ids of slots as one string of bytes."""
        high, low, packed = self._high, self._low, _ID.pack
        return b"".join([packed(high[slot], low[slot]) for slot in slots])

    def raw(self, slot: int) -> bytearray:
        """The packed values of a slot, without their end."""
        start = self._starts[slot]
        return self._values[start : self._values.find(_END, start)]

    def reader(self) -> Callable[[int], bytearray]:
        """`raw`, quicker for many slots; good until something is written."""
        starts, values, find = self._starts, self._values, self._values.find

        def read(slot: int) -> bytearray:
            start = starts[slot]
            return values[start : find(_END, start)]

        return read

    def parts(self, slot: int) -> list[bytearray]:
        """The parts of a slot: an empty one, then its values."""
        return self.raw(slot).split(SEPARATOR)

    def live(self) -> Iterator[int]:
        """All slots that hold a record."""
        return (slot for slot, state in enumerate(self.states) if state)

    # Writing

    def extend(self, ids: bytes, states: bytes, created: Sequence[int], values: Sequence[bytes]) -> range:
        """Add records of the first load, in the order of ids; returns their slots.

        Args:
            ids: 16 bytes each.
            states: One byte each.
            created: Microseconds since 1970.
            values: Packed values, without their ends.
        """
        first, count = len(self.states), len(states)
        words = array("Q", ids)
        if sys.byteorder == "little":
            words.byteswap()
        self._high += words[::2]
        self._low += words[1::2]
        starts = accumulate((len(packed) + 1 for packed in values), initial=len(self._values))
        self._starts.extend(islice(starts, count))
        self._values += END.join((*values, b""))
        self.states += states
        self.created.extend(created)
        if self._sorted == first:
            self._sorted += count
        else:
            self._late.update((self.id_of(slot), slot) for slot in range(first, first + count))
        self.count += count
        return range(first, first + count)

    def add(self, key: bytes) -> int:
        """A new slot for an id; `write` fills it."""
        high, low = _ID.unpack(key)
        slot = len(self.states)
        self._high.append(high)
        self._low.append(low)
        self._starts.append(0)
        self.created.append(0)
        self.states.append(GONE)
        self._late[key] = slot
        return slot

    def write(self, slot: int, state: int, created: int, values: bytes) -> None:
        """Give a slot its state and values; the old ones are overwritten."""
        self.count += (state != GONE) - (self.states[slot] != GONE)
        self._wipe(slot)
        self.states[slot], self.created[slot] = state, created
        self._starts[slot] = len(self._values)
        self._values += values + END
        if self._wasted > max(_WASTE, len(self._values) // 4):
            self._compact()

    def forget(self, slot: int) -> None:
        """Leave nothing of a slot but its id."""
        if self.states[slot]:
            self.count -= 1
            self._wipe(slot)
            self.states[slot], self._starts[slot] = GONE, 0

    def _wipe(self, slot: int) -> None:
        start = self._starts[slot]
        length = self._values.find(_END, start) - start
        if length > 0:
            self._values[start : start + length] = END * length
            self._wasted += length + 1

    def _compact(self) -> None:
        """Leave out what was overwritten."""
        packed = bytearray(END)
        for slot, start in enumerate(self._starts):
            if start:
                self._starts[slot] = len(packed)
                packed += self._values[start : self._values.find(_END, start) + 1]
        self._values[:] = END * len(self._values)
        self._values, self._wasted = packed, 0
