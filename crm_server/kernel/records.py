"""The life of a record: create, change, delete, restore, purge. Domains subclass `RecordService` to add their rules.

A service is given a session that carries the actor; it never sees a request. It checks field rules, decodes values,
notices lost updates and leaves audit and change feed to the hooks that see every flush.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from sqlalchemy import literal, select, union_all
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm.exc import StaleDataError

from compliance.audit.capture import plain
from compliance.audit.models import AuditEvent, AuditPayload
from compliance.datamap import Access, Semantic
from compliance.datamap.text import _
from crm_server.kernel import reach
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of, as_system
from crm_server.kernel.errors import (
    BadRequest,
    Conflict,
    Errors,
    LostUpdate,
    NotAllowed,
    NotFound,
    PersonErased,
    PreconditionRequired,
    ValidationFailed,
)
from crm_server.kernel.ids import new_id
from crm_server.kernel.integrity import explain
from crm_server.kernel.keys import keys_of
from crm_server.kernel.rowrules import RowAction
from crm_server.kernel.values import Rejected, decode
from security.crypto.errors import KeyErased

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef, FieldDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.custom import CustomFields

CUSTOM = "custom"
_PLACES = frozenset({"owner_id", "team_id", "territory_id"})
_INSUFFICIENT_PRIVILEGE = "42501"


class RecordService:
    """Create, read for writing, change and delete records of one entity.

    Subclasses set `entity_name` and override `prepare` (rules before saving, may raise or change values) and
    `saved` (consequences after the row is flushed, in the same transaction).
    """

    entity_name: ClassVar[str]
    after_purge: ClassVar[tuple[Callable[[Session, EntityDef, UUID], None], ...]] = ()
    """Removes what hangs on any kind of record without a foreign key; `crm_server.services` fills it."""

    def __init__(
        self, session: Session, datamap: DataMap, custom: CustomFields | None = None, *, country: str = "DE"
    ) -> None:
        self.session = session
        self.datamap = datamap
        self.entity: EntityDef = datamap[self.entity_name]
        self.actor: Actor = actor_of(session)
        self.custom = custom
        self.country = country

    # Rules of a domain.

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Check and complete `values` before they are set; `record` is None on creation."""

    def saved(self, record: Any, before: Mapping[str, Any] | None) -> None:
        """Act on a flushed record. `before` holds the old values of what changed; None on creation."""

    def purged(self, record: Any) -> None:
        """Act on the removal of a record for good, in the same transaction."""

    # The acts.

    def create(self, raw: Mapping[str, Any], *, record_id: UUID | None = None, **managed: Any) -> Any:
        """Create a record from JSON values.

        Args:
            raw: Field name to JSON value; `custom` holds the values of custom fields by name.
            record_id: The key to use, when the caller must know it beforehand.
            managed: Values of managed fields that only other services set.

        Raises:
            ValidationFailed: with every problem at once.
            NotAllowed: when the actor may not create such records.
        """
        self.require("create")
        errors = Errors()
        values = self.clean(raw, errors, partial=False)
        custom = self._clean_custom(raw, errors, partial=False)
        values.update(managed)
        if "owner_id" in self.entity.fields and "owner_id" not in raw and self.actor.id != SYSTEM_ID:
            values.setdefault("owner_id", self.actor.id)
        self.prepare(values, None, errors)
        self._check_references(values, errors)
        errors.raise_if_any()
        record = self.entity.model(id=record_id or new_id(), **values)
        self.reach(record, RowAction.UPDATE)
        record.created_by = record.updated_by = self._author()
        self.session.add(record)
        if custom and self.custom is not None:
            self.custom.save(self.entity, record, custom)
        self._flush()
        self.saved(record, None)
        return record

    def update(self, record_id: UUID, raw: Mapping[str, Any], *, version: int | None, **managed: Any) -> Any:
        """Change a record.

        Args:
            record_id: Its key.
            raw: The fields to change, as JSON values.
            version: The version that the client had read (If-Match). None is refused.
            managed: Values of managed fields that only other services set.

        Raises:
            LostUpdate: somebody changed the record meanwhile; carries mine, theirs and the original.
        """
        self.require("update")
        if version is None:
            raise PreconditionRequired
        record = self.get(record_id)
        self.reach(record, RowAction.UPDATE)
        if record.version != version:
            raise self._lost_update(record, raw, version)
        errors = Errors()
        values = self.clean(raw, errors, partial=True)
        custom = self._clean_custom(raw, errors, partial=True)
        values.update(managed)
        self.prepare(values, record, errors)
        changed = {name: value for name, value in values.items() if getattr(record, name) != value}
        self._check_references(changed, errors)
        errors.raise_if_any()
        before = {name: getattr(record, name) for name in changed}
        # Whoever may change a record may hand it over, also where they don't see it any more then.
        with as_system(self.session) if _PLACES & changed.keys() else nullcontext():
            for name, value in changed.items():
                setattr(record, name, value)
            if custom and self.custom is not None and self.custom.save(self.entity, record, custom):
                record.updated_at = now()
            if changed or record in self.session.dirty:
                record.updated_by = self._author()
                self._flush(record_id, raw, version)
                self.saved(record, before)
        return record

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Put a record into the bin. It can be restored until it is purged.

        Parts without a bin of their own are removed.
        """
        self.require("delete")
        record = self.get(record_id)
        self.reach(record, RowAction.DELETE)
        if version is not None and record.version != version:
            raise self._lost_update(record, {}, version)
        if "deleted_at" not in self.entity.fields:
            self.session.delete(record)
            self._flush()
            return record
        record.deleted_at, record.deleted_by = now(), self._author()
        self._flush()
        return record

    def restore(self, record_id: UUID) -> Any:
        """Take a record out of the bin."""
        self.require("delete")
        record = self.get(record_id, deleted=True)
        self.reach(record, RowAction.DELETE)
        record.deleted_at = record.deleted_by = None
        self._flush()
        return record

    def purge(self, record_id: UUID) -> None:
        """Remove a record in the bin for good. The audit log keeps the fact."""
        self.require("purge")
        record = self.get(record_id, deleted=True)
        self.reach(record, RowAction.DELETE)
        # What hangs on the record is out of everybody's reach when the record is gone.
        with as_system(self.session):
            self.session.delete(record)
            self._flush()
            for loosen in self.after_purge:
                loosen(self.session, self.entity, record_id)
            self.purged(record)

    def get(self, record_id: UUID, *, deleted: bool = False) -> Any:
        """The record for writing, or `NotFound`; `deleted` looks in the bin instead."""
        record = self.session.get(self.entity.model, record_id)
        if record is None or (
            "deleted_at" in self.entity.fields and (record.deleted_at is not None) is not deleted
        ):
            raise NotFound
        return record

    # Checks.

    def reach(self, record: Any, act: RowAction) -> None:
        """Refuse what the actor's row scopes don't reach. A part is reached for writing with its record; whether a new
        record lies within the actor's scopes, PostgreSQL says when it is written.
        """
        parent = self.entity.policy.parent
        target = self.entity.fields[parent].policy.target if parent is not None else None
        if parent is not None and target is not None and not self.entity.exposed:
            reach.require(
                self.session, self.datamap[target], getattr(record, parent), RowAction.UPDATE, made=True
            )
        elif record.version is not None:
            reach.require(self.session, self.entity, record.id, act)

    def require(self, action: str) -> None:
        """Refuse when the actor lacks the permission "crm:<entity>:<action>". Parts follow their parent."""
        owner = self.datamap[self.permission_entity()]
        needed = action if owner is self.entity else {"read": "read"}.get(action, "update")
        permission = f"crm:{owner.name}:{needed}"
        if not self.actor.may(permission):
            raise NotAllowed(permission)

    def permission_entity(self) -> str:
        """Whose permissions count: a part's are those of the record it belongs to."""
        parent = self.entity.policy.parent
        if self.entity.exposed or parent is None:
            return self.entity.name
        return self.entity.fields[parent].policy.target or self.entity.name

    def clean(self, raw: Mapping[str, Any], errors: Errors, *, partial: bool) -> dict[str, Any]:
        """Decode what the client sent; note unknown, read-only and unfitting fields in `errors`."""
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name == CUSTOM:
                continue
            pointer = f"/{name.replace('~', '~0').replace('/', '~1')}"
            item = self.entity.fields.get(name)
            if item is None or item.policy.handling.access in {Access.SYSTEM, Access.SECRET}:
                errors.add(pointer, "unknown_field", _("There is no such field."))
            elif not item.writable:
                errors.add(pointer, "read_only", _("This field is set by the system."))
            elif self.actor.field_level(item.policy.handling.access, f"{self.entity.name}.{name}") != "write":
                errors.add(pointer, "not_allowed", _("You may not change this field."))
            else:
                self._decode_into(values, item, value, pointer, errors)
        if not partial:
            for name, item in self.entity.fields.items():
                if self._missing(item, name, raw):
                    errors.add(f"/{name}", "required", _("This field must be filled in."))
        return values

    def _decode_into(
        self, values: dict[str, Any], item: FieldDef, value: Any, pointer: str, errors: Errors
    ) -> None:
        try:
            values[item.name] = decode(item.policy, value, country=self.country)
        except Rejected as problem:
            errors.add(pointer, problem.code, problem.message)

    @staticmethod
    def _missing(item: FieldDef, name: str, raw: Mapping[str, Any]) -> bool:
        return item.policy.required and item.writable and name not in raw and not item.defaulted

    def _clean_custom(self, raw: Mapping[str, Any], errors: Errors, *, partial: bool) -> dict[str, Any]:
        given = raw.get(CUSTOM)
        if given is not None and not isinstance(given, dict):
            errors.add(f"/{CUSTOM}", "type", _("An object with the custom fields is expected here."))
            return {}
        if self.custom is None:
            if given:
                errors.add(f"/{CUSTOM}", "unknown_field", _("There is no such field."))
            return {}
        return self.custom.clean(self.entity, given or {}, errors, partial=partial)

    def _check_references(self, values: Mapping[str, Any], errors: Errors) -> None:
        """Refuse references to records that are not there or lie in the bin, all in one query."""
        wanted = [
            (name, self.datamap[self.entity.fields[name].policy.target or ""], value)
            for name, value in values.items()
            if name in self.entity.fields
            and value is not None
            # Whoever acts exists.
            and value != self.actor.id
            and self.entity.fields[name].semantic is Semantic.REFERENCE
            and self.entity.fields[name].writable
        ]
        if not wanted:
            return
        branches = []
        for name, target, value in wanted:
            query = select(literal(name)).where(target.table.c.id == value)
            if "deleted_at" in target.fields:
                query = query.where(target.table.c.deleted_at.is_(None))
            branches.append(query)
        # Nothing is written yet: a data subject goes in one flush with its person, for one event tells of both.
        with self.session.no_autoflush:
            found = set(
                self.session.execute(union_all(*branches) if len(branches) > 1 else branches[0]).scalars()
            )
        for name, _target, _value in wanted:
            if name not in found:
                errors.add(f"/{name}", "unknown", _("There is no such record."))

    def _author(self) -> UUID | None:
        return None if self.actor.id == SYSTEM_ID else self.actor.id

    def _flush(
        self, record_id: UUID | None = None, raw: Mapping[str, Any] | None = None, version: int | None = None
    ) -> None:
        """Flush inside a savepoint-free unit; explain what the database refuses."""
        try:
            self.session.flush()
        except IntegrityError as error:
            raise explain(error, self.entity) from None
        except KeyErased:
            raise PersonErased from None
        except ProgrammingError as error:
            if getattr(error.orig, "pgcode", None) != _INSUFFICIENT_PRIVILEGE:
                raise
            raise NotAllowed(
                f"row:{self.entity.name}:create",
                _(
                    "Your roles don't let you make or move records outside your own, your teams and territories."
                ),
            ) from None
        except StaleDataError:
            # Another transaction committed between our read and our write.
            self.session.rollback()
            if record_id is None or raw is None or version is None:
                raise Conflict(_("Somebody else changed this record at the same moment.")) from None
            raise self._lost_update(self.get(record_id), raw, version) from None

    def _lost_update(self, record: Any, raw: Mapping[str, Any], version: int) -> LostUpdate:
        if version > record.version or version < 1:
            raise BadRequest(_("The version in If-Match never existed."))
        shown = [item for item in self.entity.fields.values() if self._shown(item)]
        theirs = {item.name: plain(getattr(record, item.name)) for item in shown}
        return LostUpdate(
            version=record.version,
            mine={name: value for name, value in raw.items() if name in theirs or name == CUSTOM},
            theirs=theirs,
            original=self._values_at(record, version, theirs),
        )

    def _shown(self, item: FieldDef) -> bool:
        access = item.policy.handling.access
        return access not in {Access.SYSTEM, Access.SECRET} and self.actor.field_level(
            access, f"{self.entity.name}.{item.name}"
        ) in {"read", "write"}

    def _values_at(self, record: Any, version: int, theirs: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values of an earlier version, by undoing the changes since; None when the history has a gap."""
        rows = self.session.execute(
            select(AuditEvent.event_id, AuditEvent.meta, AuditPayload.body)
            .join(AuditPayload, AuditPayload.event_id == AuditEvent.event_id, isouter=True)
            .where(AuditEvent.object_ref == record.id, AuditEvent.object_type == self.entity.number)
            .where(AuditEvent.meta["version"].as_integer() > version)
            .order_by(AuditEvent.meta["version"].as_integer().desc())
        ).all()
        if len(rows) != record.version - version:
            return None
        values, payloads, connection = (
            dict(theirs),
            keys_of(self.session).keys.payloads,
            self.session.connection(),
        )
        for event_id, meta, body in rows:
            opened = None if body is None else payloads.open(connection, event_id, body)
            if meta.get("fields") and opened is None:
                return None
            for number, (old, _new) in (opened["changes"] if opened else {}).items():
                item = self.entity.field_by_number(int(number))
                if item is not None and item.name in values:
                    values[item.name] = old
        return values


__all__ = ["CUSTOM", "RecordService", "ValidationFailed"]
