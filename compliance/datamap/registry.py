"""The frozen registry of all declarations. Engines get it as an argument and never look at models."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from compliance.datamap.field import POLICY
from compliance.datamap.gate import UndeclaredError
from compliance.datamap.vocabulary import EntityKind, Semantic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Column, Table
    from sqlalchemy.orm import registry as orm_registry

    from compliance.datamap.policy import EntityPolicy, FieldPolicy


@dataclass(frozen=True, slots=True, eq=False)
class FieldDef:
    """One field: its name, its policy and the column that stores it."""

    name: str
    policy: FieldPolicy
    column: Column[Any]

    @property
    def number(self) -> int:
        """Stable number within the entity."""
        return self.policy.number

    @property
    def semantic(self) -> Semantic:
        """What the value means."""
        return self.policy.semantic

    @property
    def writable(self) -> bool:
        """Whether a client may set it at all (field rules of roles narrow this further)."""
        return not self.policy.managed


@dataclass(frozen=True, slots=True, eq=False)
class EntityDef:
    """One entity: its policy, mapped class, table, and its fields by name in order of declaration."""

    policy: EntityPolicy
    model: type[Any]
    table: Table
    fields: Mapping[str, FieldDef]

    @property
    def name(self) -> str:
        """Singular name: "contact"."""
        return self.policy.name

    @property
    def number(self) -> int:
        """Stable number of the entity."""
        return self.policy.number

    @property
    def exposed(self) -> bool:
        """Whether it has pages and an API of its own."""
        return self.policy.kind is EntityKind.RECORD

    def field_by_number(self, number: int) -> FieldDef | None:
        """The field with that stable number, or None."""
        return next((item for item in self.fields.values() if item.number == number), None)

    def __repr__(self) -> str:
        """Name the entity only."""
        return f"<EntityDef {self.name}>"


class DataMap:
    """All entities, frozen. Iterates over them in the order of their numbers."""

    def __init__(self, entities: Mapping[str, EntityDef]) -> None:
        self.entities: Mapping[str, EntityDef] = MappingProxyType(dict(entities))
        self._by_collection = {item.policy.collection: item for item in entities.values()}
        self._by_number = {item.number: item for item in entities.values()}
        self._by_model = {item.model: item for item in entities.values()}

    @classmethod
    def freeze(cls, orm: orm_registry) -> DataMap:
        """Read all mapped classes once they are configured.

        Raises:
            UndeclaredError: when two entities share a number or a name, or a reference leads nowhere.
        """
        orm.configure()
        found: dict[str, EntityDef] = {}
        numbers: dict[int, str] = {}
        for mapper in sorted(orm.mappers, key=lambda item: item.class_.__entity__.number):
            policy: EntityPolicy = mapper.class_.__entity__
            table: Table = mapper.local_table  # type: ignore[assignment]
            if policy.number in numbers or policy.name in found:
                raise UndeclaredError(
                    f"{table.fullname}: entity number {policy.number} or name {policy.name!r} is taken"
                )
            numbers[policy.number] = policy.name
            fields = {
                column.name: FieldDef(column.name, column.info[POLICY], column) for column in table.columns
            }
            found[policy.name] = EntityDef(policy, mapper.class_, table, MappingProxyType(fields))
        _check_targets(found)
        return cls(found)

    def __iter__(self) -> Iterator[EntityDef]:
        return iter(self.entities.values())

    def __getitem__(self, name: str) -> EntityDef:
        return self.entities[name]

    def records(self) -> tuple[EntityDef, ...]:
        """The entities with pages and an API of their own."""
        return tuple(item for item in self if item.exposed)

    def by_collection(self, collection: str) -> EntityDef | None:
        """The entity behind an address such as "contacts", or None."""
        return self._by_collection.get(collection)

    def by_number(self, number: int) -> EntityDef | None:
        """The entity with that stable number, or None."""
        return self._by_number.get(number)

    def by_model(self, model: type[Any]) -> EntityDef:
        """The entity of a mapped class."""
        return self._by_model[model]


def _check_targets(found: Mapping[str, EntityDef]) -> None:
    for entity in found.values():
        for item in entity.fields.values():
            target = item.policy.target
            if target is not None and target not in found:
                raise UndeclaredError(f"{entity.table.fullname}.{item.name}: no entity is named {target!r}")
        for name in (entity.policy.subject, entity.policy.parent):
            if name is not None and name not in entity.fields:
                raise UndeclaredError(f"{entity.table.fullname}: no column is named {name!r}")
        if entity.exposed and entity.policy.title not in entity.fields:
            raise UndeclaredError(f"{entity.table.fullname}: title field {entity.policy.title!r} is missing")
