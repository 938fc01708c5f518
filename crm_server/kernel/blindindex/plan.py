"""Which sealed fields get a blind index, and how many bits each of its tokens has (ENC-17).

All indexes of a record share one budget, floor(log2(N/2)) bits for N records: more, and its tokens together would name
the record. An index of fewer than five bits can't help but break the other rule, that no token covers over 5 % of a
field's rows. So a small table has one index, that of its first mail address, and a larger one has more. What has no
index is found by the search service, and in small tables by opening all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from compliance.datamap import Search, Semantic
from security.crypto.blindindex import IndexSpec, bit_bounds, check_budget

if TYPE_CHECKING:
    from compliance.datamap.documents import Layout

FEWEST_ROWS: Final = 1_000
"""Tables are planned for at least so many records: a trial with ten contacts will have more soon."""
FEWEST_BITS: Final = 5
_FIELD: Final = 100_000
_TRANSFORMS: Final = {Semantic.EMAIL: "email", Semantic.PHONE: "phone", Semantic.TEXT: "text"}
_FIRST: Final = ("external_id", "email", "phone", "text")


@dataclass(frozen=True, slots=True)
class Indexable:
    """A sealed field that may have an index: its number, its name, how its values are brought into a normal form."""

    number: int
    name: str
    transform: str


@dataclass(frozen=True, slots=True)
class Planned:
    """One index: the number of the field, its normal form, and the bits of a token."""

    field: int
    transform: str
    bits: int

    def spec(self, entity: int, generation: int) -> IndexSpec:
        """The index as the cryptography knows it. Each generation has keys of its own, so it is the partition."""
        return IndexSpec(entity * _FIELD + self.field, self.transform, self.bits, generation)


def indexable(model: type[Any]) -> tuple[Indexable, ...]:
    """The sealed fields of a mapped class that may have a blind index, those first that people search by most."""
    layout: Layout | None = getattr(model, "__layout__", None)
    return () if layout is None else _indexable(layout)


@cache
def _indexable(layout: Layout) -> tuple[Indexable, ...]:
    ranks: dict[str, int] = {}
    found = []
    for number, (name, policy) in sorted(layout.fields.items()):
        if policy.search is not Search.EXACT or policy.semantic not in _TRANSFORMS:
            continue
        transform = "external_id" if name == "external_id" else _TRANSFORMS[policy.semantic]
        # The second mail address comes behind the first phone number.
        ranks[transform] = ranks.get(transform, -1) + 1
        found.append((ranks[transform], _FIRST.index(transform), Indexable(number, name, transform)))
    return tuple(item for _rank, _kind, item in sorted(found, key=lambda one: one[:2]))


def plan(model: type[Any], rows: int) -> tuple[Planned, ...]:
    """The indexes of a mapped class with so many records.

    The first one has at least half of the budget: by it duplicates are found, and imports recognise records.

    Raises:
        BitBudgetBroken: never for what this function returns; it is checked all the same.
    """
    fields = indexable(model)
    if not fields:
        return ()
    expected = max(rows, FEWEST_ROWS)
    _lowest, budget = bit_bounds(expected)
    others = min(len(fields) - 1, budget // 2 // FEWEST_BITS)
    found = tuple(
        Planned(item.number, item.transform, FEWEST_BITS if place else budget - others * FEWEST_BITS)
        for place, item in enumerate(fields[: others + 1])
    )
    check_budget((one.spec(model.__layout__.number, 0) for one in found), expected)
    return found
