"""Finds the fields that a filter, sort or include names, as far as the actor may read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from compliance.datamap import Semantic
from crm_server.kernel.presenter import presentation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from compliance.datamap import DataMap, EntityDef, FieldDef, FieldPolicy
    from crm_server.kernel.actor import Actor

CUSTOM = "custom"
MAX_HOPS = 2


@dataclass(frozen=True, slots=True)
class CustomColumn:
    """A custom field as lists need it: its declaration, and the column of crm.custom_value that holds it.

    `column` is None where the value is sealed in the document of its record.
    """

    field_id: UUID
    name: str
    policy: FieldPolicy
    column: str | None

    @property
    def sealed(self) -> bool:
        """Whether it lies in a document."""
        return self.column is None

    @property
    def semantic(self) -> Semantic:
        """What the values mean."""
        return self.policy.semantic


class CustomColumns(Protocol):
    """Where lists learn of custom fields."""

    def __call__(self, entity: EntityDef, /) -> Mapping[str, CustomColumn]:
        """The custom fields of an entity by name."""


def no_custom(_entity: EntityDef) -> Mapping[str, CustomColumn]:
    """There are no custom fields."""
    return {}


def reference(entity: EntityDef, name: str) -> FieldDef | None:
    """The reference field behind a short name: "account" for account_id, "created_by" for itself."""
    item = entity.fields.get(f"{name}_id") or entity.fields.get(name)
    return item if item is not None and item.semantic is Semantic.REFERENCE else None


def short_name(item: FieldDef) -> str:
    """The short name of a reference field."""
    return item.name.removesuffix("_id")


def may_follow(datamap: DataMap, entity: EntityDef, item: FieldDef, actor: Actor) -> EntityDef | None:
    """The entity that a reference leads to, if the actor may read the reference and the records there."""
    target = datamap[item.policy.target or ""]
    if item.name not in presentation(entity, actor).readable or target.name == "data_subject":
        return None
    if target.exposed and not actor.may(f"crm:{target.name}:read"):
        return None
    return target


def includable(datamap: DataMap, entity: EntityDef, actor: Actor) -> tuple[str, ...]:
    """The references whose labels the actor may have embedded, by short name."""
    return tuple(
        short_name(item)
        for item in entity.fields.values()
        if item.semantic is Semantic.REFERENCE and may_follow(datamap, entity, item, actor) is not None
    )


def readable_custom(entity: EntityDef, custom: CustomColumn, actor: Actor) -> bool:
    """Whether the actor may read a custom field in clear."""
    level: str = actor.field_level(custom.policy.handling.access, f"{entity.name}.custom.{custom.name}")
    return level in {"read", "write"}


def sql_name(value: Any) -> str:
    """A quoted identifier. Names come from the data map and never from a client."""
    return f'"{value}"'


def table_name(entity: EntityDef) -> str:
    """The quoted, schema-qualified table."""
    return f'"{entity.table.schema}"."{entity.table.name}"'
