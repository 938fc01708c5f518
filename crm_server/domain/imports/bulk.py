"""Writes many records of one entity in few statements, each with its audit event and its row in the change
feed.

Called by the import run. The rules are those of the record services: authorship, version, the data subject
behind a person, the composed name. Events are written by ``compliance.audit.events.write`` in the same
transaction, and each row carries the id of its event, so that the capture trigger sees that nothing is
missing (AUD-1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Table, bindparam, cast, column, update, values

from compliance.audit.capture import plain
from compliance.audit.events import Creations, Event, columns_of
from compliance.audit.models import AuditEvent, AuditPayload
from compliance.datamap import Audit, DataMap, EntityDef, KeyClass
from crm_server.domain import names
from crm_server.domain.imports.custom import custom_fields, insert_values, store_values
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.blindindex.plan import indexable
from crm_server.kernel.blindindex.tokens import EntityTokens
from crm_server.kernel.clock import now
from crm_server.kernel.copying import Column, copy_columns
from crm_server.kernel.ids import new_id, new_ids
from crm_server.kernel.keys import keys_of
from crm_server.kernel.sealing import Resealed, Sealer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.kernel.actor import Actor
    from security.crypto.document import DocumentKey

__all__ = ["Bulk", "Change"]


_BOOKKEEPING = frozenset(
    {"id", "event_id", "version", "created_at", "created_by", "updated_at", "updated_by"}
)

_Told = tuple[dict[str, Any], list[tuple[str, str]]]
"""Facts of an event, and (field, key in its payload) of the values that it tells."""


@dataclass(slots=True)
class Change:
    """One update: the record, the version that was read, and old and new values of what differs.

    ``stored`` is what its columns get: the new values, and the documents of those that are sealed.
    """

    record_id: UUID
    version: int
    after: dict[str, Any]
    before: dict[str, Any] = field(default_factory=dict)
    subject: UUID | None = None
    action: str = "update"
    stored: dict[str, Any] = field(default_factory=dict)


class Bulk:
    """Batched writes for one entity in one transaction."""

    def __init__(self, session: Session, datamap: DataMap, entity: EntityDef, actor: Actor) -> None:
        self._session = session
        self._connection = session.connection()
        self._datamap = datamap
        self.entity = entity
        self._actor = actor
        self._author = None if actor.id == SYSTEM_ID else actor.id
        self._subject = entity.policy.subject if entity.policy.subject in entity.fields else None
        # Field name → (number, key in the payload or None where only the fact is kept).
        self._audited = {
            name: (item.number, str(item.number) if item.policy.handling.audit is Audit.VALUE else None)
            for name, item in sorted(entity.fields.items(), key=lambda one: one[1].number)
            if item.policy.handling.audit is not Audit.OFF and name not in _BOOKKEEPING
        }
        self._told: dict[tuple[str, ...], _Told] = {}
        self._custom = custom_fields(entity)
        self._sealer = Sealer(entity) if entity.documents else None
        self._indexed = [item.name for item in indexable(entity.model)]
        self._named = {"given_name", "family_name", "name"} <= entity.fields.keys()

    def compose(self, record: dict[str, Any], old: Mapping[str, Any] | None = None) -> None:
        """Completes what the record services derive: the whole name of a person from its parts."""
        if self._named and ("given_name" in record or "family_name" in record):
            base = old or {}
            given = record.get("given_name", base.get("given_name"))
            family = record.get("family_name", base.get("family_name"))
            if family:
                record["name"] = names.fit(
                    names.compose(family, given, record.get("language", base.get("language")))
                )

    def insert(self, records: Sequence[dict[str, Any]], import_id: UUID | None) -> list[UUID]:
        """Creates the records; returns their keys in order. Values are those that the columns store."""
        if not records:
            return []
        for record in records:
            if "id" not in record:
                record["id"] = new_id()
        keys = [record["id"] for record in records]
        # A UUID makes its bytes anew whenever it is asked for them, and each goes into several tables.
        ids, event_ids = [key.bytes for key in keys], new_ids(len(keys))
        subjects = None if self._subject is None else self._subjects(event_ids)
        documents, audit_keys = self._sealed(records, ids, subjects)
        cells: dict[str, Column] = {**self._columns(records), **documents, **self._made(ids, event_ids)}
        if self._subject is not None and subjects is not None:
            cells[self._subject] = subjects
        if "import_id" in self.entity.fields:
            cells["import_id"] = repeat(import_id, len(records))
        copy_columns(self._connection, self.entity.table, cells)
        if self._indexed:
            self._tokens().write(zip(ids, records, strict=True))
        if self._custom:
            insert_values(self._connection, self.entity, records)
        metas, payloads = self._creations(records)
        self._log(Creations(self.entity.number, event_ids, ids, subjects, metas, payloads, audit_keys))
        return keys

    def _made(self, ids: Sequence[bytes], event_ids: Sequence[bytes]) -> dict[str, Column]:
        """The columns of new rows that every table has."""
        number, moment = len(ids), now()
        return {
            "id": ids,
            "event_id": event_ids,
            "version": repeat(1, number),
            "created_at": repeat(moment, number),
            "updated_at": repeat(moment, number),
            "created_by": repeat(self._author, number),
            "updated_by": repeat(self._author, number),
        }

    def update(self, changes: Sequence[Change]) -> list[UUID]:
        """Applies the changes whose record still has the version that was read; returns the keys of those."""
        done: list[UUID] = []
        groups: dict[tuple[str, ...], list[Change]] = {}
        resealed = self._resealed(changes)
        for change in changes:
            sealed = resealed.get(change.record_id)
            if sealed is not None:
                change.stored = sealed.documents | {self.entity.version_column or "": sealed.version}
            elif self._seals(change):
                # Somebody changed the record meanwhile, or the person was erased.
                continue
            own = {name: value for name, value in change.after.items() if name in self.entity.table.c}
            change.stored |= own
            groups.setdefault(tuple(sorted(change.stored)), []).append(change)
        for fields, members in groups.items():
            done += self._update_group(fields, members)
        moved = set(done)
        indexed = [
            (change.record_id, resealed[change.record_id].values)
            for change in changes
            if change.record_id in moved and not change.after.keys().isdisjoint(self._indexed)
        ]
        if indexed:
            self._tokens().replace(indexed)
        if self._custom:
            # A change that came too late must not leave its custom values behind.
            applied = set(done)
            told = [(change.record_id, change.after) for change in changes if change.record_id in applied]
            store_values(self._connection, self.entity, told)
        return done

    def _update_group(self, fields: tuple[str, ...], members: Sequence[Change]) -> list[UUID]:
        table = self.entity.table
        events = {change.record_id: new_id() for change in members}
        columns = [table.c[name] for name in ("id", "version", "event_id", *fields)]
        given = values(*(column(item.name, item.type) for item in columns), name="given").data(
            [
                (
                    change.record_id,
                    change.version,
                    events[change.record_id],
                    *(change.stored[name] for name in fields),
                )
                for change in members
            ]
        )
        statement = (
            update(table)
            .where(table.c.id == given.c.id, table.c.version == given.c.version)
            .values(
                # A column of NULLs alone would be text to PostgreSQL.
                {name: cast(given.c[name], table.c[name].type) for name in ("event_id", *fields)}
                | {
                    "version": table.c.version + 1,
                    "updated_at": bindparam("moment"),
                    "updated_by": bindparam("author"),
                }
            )
            .returning(table.c.id)
        )
        found = set(self._connection.execute(statement, {"moment": now(), "author": self._author}).scalars())
        self._log(
            [
                self._event(
                    change.action,
                    (change.record_id, events[change.record_id], change.version + 1),
                    change.before,
                    change.after,
                    subject=change.subject,
                )
                for change in members
                if change.record_id in found
            ],
        )
        return [change.record_id for change in members if change.record_id in found]

    def _sealed(
        self, records: Sequence[dict[str, Any]], ids: Sequence[bytes], subjects: Sequence[bytes] | None
    ) -> tuple[dict[str, list[Any]], list[DocumentKey] | None]:
        """Columns with the documents of new records; and the keys of new persons for what the audit log tells."""
        if self._sealer is None:
            return {}, None
        vault = keys_of(self._session)
        if subjects is None:
            subject = self.entity.policy.subject or ""
            known = [(record["id"], record.get(subject), record) for record in records]
            return self._sealer.known(vault, known), None
        fresh = list(zip(ids, subjects, records, strict=True))
        columns, made = self._sealer.fresh(vault.keys, self._connection, fresh, (KeyClass.AUDIT,))
        return columns, made[KeyClass.AUDIT]

    def _seals(self, change: Change) -> bool:
        return self._sealer is not None and not self._sealer.places.keys().isdisjoint(change.after)

    def _resealed(self, changes: Sequence[Change]) -> dict[UUID, Resealed]:
        wanted = {
            change.record_id: (change.version, change.after) for change in changes if self._seals(change)
        }
        if not wanted or self._sealer is None:
            return {}
        return self._sealer.changed(keys_of(self._session), wanted)

    def _tokens(self) -> EntityTokens:
        return EntityTokens(keys_of(self._session).keys, self._connection, self.entity.model)

    def _log(self, events: Sequence[Event] | Creations) -> None:
        """The events and their payloads, by COPY as well."""
        told, payloads = columns_of(self._connection, self._actor, events)
        for model, columns in ((AuditEvent, told), (AuditPayload, payloads)):
            table: Any = model.__table__
            copy_columns(self._connection, table, columns)

    def _subjects(self, event_ids: Sequence[bytes]) -> list[bytes]:
        """A data subject for each new person; keys, requests and consents will hang on it. Returns their keys.

        It begins with its record and says nothing but that there is somebody, so one event tells of both: that of the
        record names the person and says that they are new.
        """
        subjects = new_ids(len(event_ids))
        copy_columns(self._connection, self._datamap["data_subject"].table, self._made(subjects, event_ids))
        return subjects

    def _columns(self, records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Columns that any record fills, with their default where a record leaves them out."""
        table = self.entity.table
        used = {name for name in set().union(*records) if name in table.c}
        defaults = {name: _default(table, name) for name in self.entity.fields if name in used}
        return {name: [record.get(name, default) for record in records] for name, default in defaults.items()}

    def _creations(
        self, records: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any] | None]]:
        """Facts and payloads of the events of new records: what `_event` tells where there was nothing before."""
        metas: list[dict[str, Any]] = []
        payloads: list[dict[str, Any] | None] = []
        for record in records:
            filled = tuple([name for name, value in record.items() if value is not None])
            meta, slots = self._told.get(filled) or self._tell(filled)
            changes = {
                slot: [None, value if type(value := record[name]) is str else plain(value)]
                for name, slot in slots
            }
            metas.append(meta)
            payloads.append({"changes": changes} if changes else None)
        return metas, payloads

    def _tell(self, filled: tuple[str, ...]) -> _Told:
        """What the event of a new record tells that has these fields: facts, and which values under which key."""
        known = [(name, *told) for name, told in self._audited.items() if name in filled]
        meta: dict[str, Any] = {"fields": [number for _name, number, _slot in known], "version": 1}
        if self._subject is not None:
            meta["person"] = "new"
        slots = [(name, slot) for name, _number, slot in known if slot is not None]
        found = self._told[filled] = (meta, slots)
        return found

    def _event(
        self,
        action: str,
        key: tuple[UUID, UUID, int],
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        subject: UUID | None = None,
    ) -> Event:
        """The event of one record; ``key`` is (record, event, version)."""
        record_id, event_id, version = key
        numbers: list[int] = []
        changes: dict[str, list[Any]] = {}
        for name, value in after.items():
            told = self._audited.get(name)
            if told is None:
                continue
            old = before.get(name)
            if old == value:
                continue
            number, slot = told
            numbers.append(number)
            if slot is not None:
                changes[slot] = [
                    old if type(old) is str else plain(old),
                    value if type(value) is str else plain(value),
                ]
        subject = subject or (after.get(self._subject) if self._subject else None)
        return Event(
            "change",
            action,
            object_type=self.entity.number,
            object_ref=record_id,
            subjects=(subject,) if subject else (),
            meta={"fields": sorted(numbers), "version": version},
            payload={"changes": changes} if changes else None,
            event_id=event_id,
        )


def _default(table: Table, name: str) -> Any:
    """The scalar default that a column declares; None where it has none."""
    default = table.c[name].default
    return default.arg if default is not None and default.is_scalar else None  # type: ignore[attr-defined]
