"""Which sealed fields get a blind index, and how many bits each of its tokens has (ENC-17).

All indexes of a record share one budget, floor(log2(N/2)) bits for N records: more, and its tokens together would name
the record. An index of fewer than five bits can't help but break the other rule, that no token covers over 5 % of a
field's rows. So a small table has one index, that of its first mail address, and a larger one has more. What has no
index is found by the search service, and in small tables by opening all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from compliance.datamap import Search, Semantic
from compliance.datamap.text import _
from crm_server.kernel.errors import Unavailable
from security.crypto.blindindex import IndexSpec, bit_bounds, check_budget

if TYPE_CHECKING:
    from compliance.datamap import EntityDef, FieldDef

FEWEST_ROWS: Final = 1_000
"""Tables are planned for at least so many records: a trial with ten contacts will have more soon."""
FEWEST_BITS: Final = 5
_FIELD: Final = 100_000
_TRANSFORMS: Final = {Semantic.EMAIL: "email", Semantic.PHONE: "phone", Semantic.TEXT: "text"}
_FIRST: Final = ("external_id", "email", "phone", "text")


class NotIndexed(Unavailable):
    """A field without a blind index was to be searched in a table that is too large to be opened as a whole."""

    code = "not_indexed"
    title = _("This field can only be searched while the search service is running.")


@dataclass(frozen=True, slots=True)
class Planned:
    """One index: the number of the field, how its values are brought into a normal form, bits of a token."""

    field: int
    transform: str
    bits: int

    def spec(self, entity: int, generation: int) -> IndexSpec:
        """The index as the cryptography knows it; each generation has tokens of its own."""
        return IndexSpec(index_field(entity, self.field), self.transform, self.bits, generation)


def index_field(entity: int, field: int) -> int:
    """One number for a field of an entity, as index keys are derived from it."""
    return entity * _FIELD + field


def transform_of(item: FieldDef) -> str:
    """How values of a field are brought into a normal form before they become tokens."""
    return "external_id" if item.name == "external_id" else _TRANSFORMS[item.semantic]


def indexable(entity: EntityDef) -> tuple[FieldDef, ...]:
    """The sealed fields that may have a blind index, those first that people search by most."""
    found = [
        item
        for item in entity.fields.values()
        if item.sealed and item.policy.search is Search.EXACT and item.semantic in _TRANSFORMS
    ]
    ranks: dict[str, int] = {}
    order = []
    for item in sorted(found, key=lambda one: one.number):
        transform = transform_of(item)
        ranks[transform] = ranks.get(transform, -1) + 1
        order.append((ranks[transform], _FIRST.index(transform), item.number, item))
    return tuple(item for _rank, _kind, _number, item in sorted(order, key=lambda one: one[:3]))


def plan(entity: EntityDef, rows: int) -> tuple[Planned, ...]:
    """The indexes of an entity with so many records.

    The first one has at least half of the budget: by it duplicates are found, and imports recognise records.

    Raises:
        BitBudgetBroken: never for what this function returns; it is checked all the same.
    """
    fields = indexable(entity)
    expected = max(rows, FEWEST_ROWS)
    _lowest, budget = bit_bounds(expected)
    others = min(len(fields) - 1, budget // 2 // FEWEST_BITS)
    found = tuple(
        Planned(item.number, transform_of(item), FEWEST_BITS if place else budget - others * FEWEST_BITS)
        for place, item in enumerate(fields[: others + 1])
    )
    check_budget((one.spec(entity.number, 0) for one in found), expected)
    return found
