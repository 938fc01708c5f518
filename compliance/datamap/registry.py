"""The frozen registry of all declarations. Engines get it as an argument and never look at models."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from compliance.datamap.field import POLICY
from compliance.datamap.gate import UndeclaredError
from compliance.datamap.sealed import document_columns, sealed_fields
from compliance.datamap.vocabulary import EntityKind, KeyClass, Semantic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Column, Table
    from sqlalchemy.orm import registry as orm_registry

    from compliance.datamap.policy import EntityPolicy, FieldPolicy


@dataclass(frozen=True, slots=True, eq=False)
class FieldDef:
    """One field: its name, its policy and the column that stores it; a sealed field has none."""

    name: str
    policy: FieldPolicy
    column: Column[Any] | None

    @property
    def sealed(self) -> bool:
        """Whether it is stored in its row's sealed document of its key class."""
        return self.column is None

    @property
    def stored(self) -> Column[Any]:
        """The column, where the caller needs one. Raises TypeError for a sealed field: there is nothing to compare."""
        if self.column is None:
            raise TypeError(f"{self.name} is sealed and has no column")
        return self.column

    @property
    def nullable(self) -> bool:
        """Whether a row may be without a value. A sealed value is gone once its key is erased."""
        return self.column is None or bool(self.column.nullable)

    @property
    def defaulted(self) -> bool:
        """Whether a new row gets a value by itself."""
        return self.column is not None and (
            self.column.default is not None or self.column.server_default is not None
        )

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
class DocumentDef:
    """The sealed document of one key class: its column, and its fields by number."""

    key_class: KeyClass
    column: str
    fields: Mapping[int, FieldDef]


@dataclass(frozen=True, slots=True, eq=False)
class EntityDef:
    """One entity: its policy, mapped class, table, its fields by name in order of declaration, and its documents."""

    policy: EntityPolicy
    model: type[Any]
    table: Table
    fields: Mapping[str, FieldDef]
    documents: Mapping[KeyClass, DocumentDef]

    @property
    def version_column(self) -> str | None:
        """The column with the version of a row's documents; None without documents."""
        layout = getattr(self.model, "__layout__", None)
        return None if layout is None else layout.version

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
            fields = _fields(mapper.class_, table)
            documents = {
                key_class: DocumentDef(
                    key_class,
                    column,
                    {
                        item.number: item
                        for item in fields.values()
                        if item.sealed and item.policy.handling.key_class is key_class
                    },
                )
                for key_class, column in document_columns(table).items()
            }
            found[policy.name] = EntityDef(
                policy, mapper.class_, table, MappingProxyType(fields), MappingProxyType(documents)
            )
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


def _fields(class_: type[Any], table: Table) -> dict[str, FieldDef]:
    """Columns and sealed fields in the order in which the class declares them; those of its bases follow."""
    sealed = sealed_fields(class_)
    columns = {column.name: column for column in table.columns}
    own = [name for name in class_.__dict__ if name in sealed or name in columns]
    fields = {}
    for name in dict.fromkeys((*own, *columns, *sealed)):
        policy = sealed[name].policy if name in sealed else columns[name].info[POLICY]
        fields[name] = FieldDef(name, policy, columns.get(name))
    return fields


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
