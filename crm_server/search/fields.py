"""What the search service holds of each kind of record: derived from the data map, so that nothing is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from compliance.datamap import KeyClass, Search, Semantic
from compliance.datamap.sealed import FIRST_CUSTOM

if TYPE_CHECKING:
    from compliance.datamap import DataMap, EntityDef, FieldDef


class Kind(StrEnum):
    """How the values of a field are compared."""

    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    WORD = "word"
    DATE = "date"
    NUMBER = "number"


_KINDS = {
    Semantic.TEXT: Kind.TEXT,
    Semantic.LONG_TEXT: Kind.TEXT,
    Semantic.URL: Kind.TEXT,
    Semantic.EMAIL: Kind.EMAIL,
    Semantic.PHONE: Kind.PHONE,
    Semantic.DATE: Kind.DATE,
    Semantic.DATETIME: Kind.DATE,
    Semantic.INTEGER: Kind.NUMBER,
    Semantic.SMALL_INTEGER: Kind.NUMBER,
    Semantic.MONEY: Kind.NUMBER,
    Semantic.PERCENT: Kind.NUMBER,
    Semantic.BOOLEAN: Kind.NUMBER,
}
_UNHELD = frozenset({Semantic.BYTES, Semantic.JSON, Semantic.UUID_LIST})


@dataclass(frozen=True, slots=True)
class IndexedField:
    """One field that the service holds.

    Attributes:
        number: Its stable number within the entity.
        name: Its name.
        kind: How its values are compared.
        found: Whether finding looks into it, so that trigrams are cut from it.
        ordered: Whether its order is kept ready from the start; that of others is made when first asked for.
    """

    number: int
    name: str
    kind: Kind
    found: bool = False
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class IndexedEntity:
    """One kind of record that the service holds.

    Attributes:
        number: Its number.
        name: Its name.
        title: The number of the field that names a record.
        created: The number of the field that tells when a record was made.
        subject: The field that names the person it is about.
        fields: What is held of each record.
        found_title: Where the title stands in a row of values, if finding looks into it.
        found_others: Where the other fields stand that finding looks into.
        found_words: Where those stand of which words may be mistyped.
        found: Where all fields stand that finding looks into.
    """

    number: int
    name: str
    title: int
    created: int
    subject: str | None
    fields: tuple[IndexedField, ...]
    found_title: int | None = field(init=False)
    found_others: tuple[int, ...] = field(init=False)
    found_words: tuple[int, ...] = field(init=False)
    found: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = [(at, item) for at, item in enumerate(self.fields) if item.found]
        title = next((at for at, item in found if item.number == self.title), None)
        object.__setattr__(self, "found_title", title)
        object.__setattr__(self, "found_others", tuple(at for at, _item in found if at != title))
        object.__setattr__(self, "found", tuple(at for at, _item in found))
        words = tuple(at for at, item in found if item.kind is Kind.TEXT)
        object.__setattr__(self, "found_words", words)

    @property
    def custom(self) -> tuple[IndexedField, ...]:
        """The sealed custom fields among them."""
        return tuple(item for item in self.fields if item.number >= FIRST_CUSTOM)

    def with_custom(self, custom: tuple[IndexedField, ...]) -> IndexedEntity:
        """The same with sealed custom fields, whose numbers lie above all others."""
        return replace(self, fields=(*self.fields[: len(self.fields) - len(self.custom)], *custom))

    def place(self, number: int) -> int | None:
        """Where the values of a field stand in a row of values, or None when the service does not hold it."""
        return next((place for place, item in enumerate(self.fields) if item.number == number), None)


def custom_field(number: int, name: str, semantic: Semantic, search: Search) -> IndexedField:
    """A sealed custom field as the service holds it."""
    return IndexedField(number, name, _KINDS.get(semantic, Kind.WORD), found=search is not Search.NONE)


def held(item: FieldDef) -> bool:
    """Whether the service holds the field: it is sealed or to be sealed, or searched by text."""
    policy = item.policy
    if policy.semantic in _UNHELD:
        return False
    if item.sealed or policy.search is not Search.NONE:
        return True
    return policy.handling.key_class is not KeyClass.NONE and policy.semantic in _KINDS


def indexed(entity: EntityDef) -> IndexedEntity | None:
    """What is held of an entity, or None when there is nothing to find in it."""
    fields = []
    for item in entity.fields.values():
        if not held(item):
            continue
        kind = _KINDS.get(item.semantic, Kind.WORD)
        fields.append(
            IndexedField(
                item.number,
                item.name,
                kind,
                found=item.policy.search is not Search.NONE,
                ordered=item.sealed and item.name in {entity.policy.title, *entity.policy.list_fields},
            )
        )
    if not fields:
        return None
    title = entity.fields.get(entity.policy.title)
    return IndexedEntity(
        entity.number, entity.name, title.number if title else 0, entity.fields["created_at"].number,
        entity.policy.subject, tuple(fields),
    )  # fmt: skip


def indexed_entities(datamap: DataMap) -> tuple[IndexedEntity, ...]:
    """Everything that the service holds, by number."""
    # Only records with a bin are in the change feed; the others are small tables that PostgreSQL searches itself.
    return tuple(
        found
        for item in datamap.records()
        if "deleted_at" in item.fields and (found := indexed(item)) is not None
    )
