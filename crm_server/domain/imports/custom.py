"""Custom fields as targets of an import: they stand among an entity's fields as ``custom.<name>``.

Called by everything here that looks at an entity's fields. Their values are rows of ``crm.custom_value``;
this module reads and writes them for a whole batch, as ``CustomFieldStore`` does for one record. Their part of
the audit is in the record's own event, which ``bulk`` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, Table, Uuid, any_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from compliance.datamap import DataMap, EntityDef
from compliance.datamap.registry import FieldDef
from crm_server.domain.custom_fields.services import CustomFieldStore
from crm_server.importing.mapping import CUSTOM
from crm_server.importing.texts import Labels
from crm_server.kernel.copying import copy_rows
from crm_server.kernel.listing import CustomColumn

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.kernel.actor import Actor
    from crm_server.kernel.listing.scope import CustomColumns

__all__ = [
    "CustomFieldDef",
    "custom_fields",
    "has_rows",
    "insert_values",
    "listed",
    "load_values",
    "store_values",
    "widened",
]


@dataclass(frozen=True, slots=True, eq=False)
class CustomFieldDef(FieldDef):
    """A custom field among those of its entity. ``column`` is the column of crm.custom_value that holds it."""

    field_id: UUID

    @property
    def short(self) -> str:
        """Its name among the custom fields."""
        return self.name.removeprefix(CUSTOM)


def widened(
    session: Session, datamap: DataMap, entity: EntityDef, *, actor: Actor | None = None
) -> EntityDef:
    """The entity with its live custom fields behind its own; with ``actor`` only those that the actor may
    write.

    Labels and choices carry the words of all languages, so that columns and cells are recognised by them.
    """
    table = datamap["custom_value"].table
    found: dict[str, FieldDef] = {}
    for name, item in CustomFieldStore(session, datamap).definitions(entity).items():
        if actor is not None and actor.field_level(item.policy.handling.access) != "write":
            continue
        policy = replace(
            item.policy,
            label=Labels.of(item.labels),
            choices={key: Labels.of(labels) for key, labels in item.choices.items()},
        )
        found[CUSTOM + name] = CustomFieldDef(
            CUSTOM + name, policy, table.c[item.column] if item.column else None, item.id
        )
    return replace(entity, fields=MappingProxyType({**entity.fields, **found})) if found else entity


def listed(session: Session, datamap: DataMap) -> CustomColumns:
    """The custom fields as lists want to know them, with labels in all languages. Needs the session no more."""
    found = {
        entity.name: {
            item.short: CustomColumn(
                item.field_id, item.short, item.policy, None if item.sealed else item.stored.name
            )
            for item in custom_fields(widened(session, datamap, entity)).values()
        }
        for entity in datamap.records()
    }
    return lambda entity: found.get(entity.name, {})


def custom_fields(entity: EntityDef) -> dict[str, CustomFieldDef]:
    """The custom fields of a widened entity by their full name."""
    return {name: item for name, item in entity.fields.items() if isinstance(item, CustomFieldDef)}


def _rowed(entity: EntityDef) -> dict[str, CustomFieldDef]:
    return {name: item for name, item in custom_fields(entity).items() if has_rows(item)}


def has_rows(item: FieldDef) -> bool:
    """Whether a field is a custom one whose values are rows; those of others stand with their record."""
    return isinstance(item, CustomFieldDef) and not item.sealed


def load_values(
    session: Session, entity: EntityDef, record_ids: Sequence[UUID], names: Iterable[str]
) -> dict[UUID, dict[str, Any]]:
    """Stored values of the custom fields among ``names`` by record and full name; None where there is none."""
    known = _rowed(entity)
    wanted = {known[name].field_id: known[name] for name in names if name in known}
    if not wanted or not record_ids:
        return {}
    table = next(iter(wanted.values())).stored.table
    empty = {item.name: None for item in wanted.values()}
    found: dict[UUID, dict[str, Any]] = {key: dict(empty) for key in record_ids}
    query = select(table).where(
        table.c.record_id == any_(bindparam("records", list(record_ids), type_=ARRAY(Uuid))),
        table.c.field_id == any_(bindparam("fields", list(wanted), type_=ARRAY(Uuid))),
    )
    for row in session.execute(query).mappings():
        item = wanted[row["field_id"]]
        found[row["record_id"]][item.name] = row[item.stored.name]
    return found


def insert_values(connection: Connection, entity: EntityDef, records: Sequence[Mapping[str, Any]]) -> None:
    """The values of new records, by COPY. Each record has its key under ``id``."""
    known = _rowed(entity)
    rows = [
        (record["id"], known[name], value)
        for record in records
        for name, value in record.items()
        if name in known and value is not None
    ]
    if rows:
        table, typed = _typed(rows)
        copy_rows(connection, table, list(typed[0]), (row.values() for row in typed))


def store_values(
    connection: Connection, entity: EntityDef, changes: Iterable[tuple[UUID, Mapping[str, Any]]]
) -> None:
    """New values of known records: (record, values by full name). None removes a value."""
    known = _rowed(entity)
    given = [
        (key, known[name], value) for key, after in changes for name, value in after.items() if name in known
    ]
    if not given:
        return
    # Removing and copying takes half of the time of INSERT with ON CONFLICT.
    places = {
        "records": [key for key, _item, _value in given],
        "fields": [item.field_id for _key, item, _value in given],
    }
    connection.execute(_REMOVE, places)
    rows = [row for row in given if row[2] is not None]
    if rows:
        table, typed = _typed(rows)
        copy_rows(connection, table, list(typed[0]), (row.values() for row in typed))


_REMOVE = text(
    "delete from crm.custom_value v using unnest(:records, :fields) as gone (record_id, field_id)"
    " where v.record_id = gone.record_id and v.field_id = gone.field_id"
).bindparams(bindparam("records", type_=ARRAY(Uuid)), bindparam("fields", type_=ARRAY(Uuid)))


def _typed(rows: Sequence[tuple[UUID, CustomFieldDef, Any]]) -> tuple[Table, list[dict[str, Any]]]:
    """Rows of crm.custom_value, all with the same columns: the key, and those that any of them fills."""
    table: Any = rows[0][1].stored.table
    empty = dict.fromkeys(sorted({item.stored.name for _key, item, _value in rows}))
    return table, [
        {"record_id": key, "field_id": item.field_id} | empty | {item.stored.name: value}
        for key, item, value in rows
    ]
