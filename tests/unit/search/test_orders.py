"""Orders beside plain lists: what a stretch holds, and in which order some slots come by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.search import orders

KEYS = st.lists(st.integers(0, 400), min_size=1, max_size=300, unique=True)


def order_of(keys: list[int]) -> orders.Order:
    """An order of slots 1, 2, … with these keys, filled at once but for the last three."""
    by_slot = dict(enumerate(keys, 1))
    order = orders.Order(by_slot.__getitem__)
    order.fill(sorted(list(by_slot)[:-3], key=by_slot.__getitem__))
    for slot in list(by_slot)[-3:]:
        order.add(slot)
    return order


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Few records make many blocks."""
    patch = pytest.MonkeyPatch()
    patch.setattr(orders, "_BLOCK", 4)
    patch.setattr(orders, "_BLOCKS_A_KEY", 2)
    yield
    patch.undo()


@given(KEYS, st.integers(-1, 401), st.integers(-1, 401))
def test_a_stretch_is_what_lies_between_its_ends(keys: list[int], low: int, high: int) -> None:
    count, slots = order_of(keys).between(low, high)
    found = [keys[slot - 1] for slot in slots]
    assert found == sorted(key for key in keys if low <= key < high)
    assert count == len(found)


@given(KEYS, st.sets(st.integers(1, 320), max_size=40), st.none() | st.integers(-1, 401), st.booleans())
def test_few_and_many_slots_come_by_in_the_same_order(
    keys: list[int], chosen: set[int], start: int | None, downward: bool
) -> None:
    order = order_of(keys)
    known = [keys[slot - 1] for slot in chosen if slot <= len(keys) and slot % 3]
    after = [key for key in known if start is None or (key < start if downward else key > start)]
    for slots in (list(chosen), iter(chosen)):
        came = order.arranged(slots, lambda slot: slot % 3 != 0, start, downward=downward)
        assert [keys[slot - 1] for slot in came] == sorted(after, reverse=downward)
