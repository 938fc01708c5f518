"""An event as a reader sees it: what was done to what, and of the values what their roles let them see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compliance.datamap import Access
from compliance.datamap.sealed import FIRST_CUSTOM
from crm_server.domain.custom_fields.queries import names_by_number
from crm_server.kernel.presenter import mask_kind
from security.access.masks import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.audit.models import AuditEvent
    from compliance.datamap import DataMap, EntityDef, FieldPolicy
    from crm_server.kernel.actor import Actor

_NEVER = frozenset({Access.SYSTEM, Access.SECRET})
# Columns that each change touches; the database names all that it saw, which says nothing to a reader.
_BOOKKEEPING = frozenset({"version", "event_id", "created_at", "created_by", "updated_at", "updated_by"})
# What a change tells of fields is shown as changes. Other events mean something else by the same words.
_CHANGED = frozenset({"fields", "columns"})
_CLEAR = frozenset({"read", "write"})


@dataclass(frozen=True, slots=True)
class Change:
    """One changed field. `shown` says whether the reader may see the values, which may be masked."""

    name: str
    policy: FieldPolicy | None
    shown: bool = False
    old: Any = field(default=None, repr=False)
    new: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as a reader sees it.

    Attributes:
        entity: Kind of the record, None where the event is about none or about something unknown.
        readable: Whether the reader may open the record.
        changes: The changed fields; with values only where one event is read.
        facts: The rest of the event's facts.
        details: The payload where it isn't values of fields (search terms, addresses), if it may be seen.
        index: Place in the sealed log, None while it has none.
    """

    id: UUID
    at: datetime
    event_class: str
    action: str
    outcome: str
    reason: str | None
    severity: int
    actor_id: UUID
    actor: str | None = field(repr=False)
    auth_method: str | None
    session: UUID | None
    request: UUID | None
    origin: str
    purpose: str | None
    entity: EntityDef | None
    record: UUID | None
    readable: bool
    changes: tuple[Change, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] | None = field(default=None, repr=False)
    withheld: bool = False
    index: int | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "occurred_at": self.at,
            "class": self.event_class,
            "action": self.action,
            "outcome": self.outcome,
            "reason": self.reason,
            "severity": self.severity,
            "actor_id": self.actor_id,
            "actor": self.actor,
            "auth_method": self.auth_method,
            "session": self.session,
            "request": self.request,
            "origin": self.origin,
            "purpose": self.purpose,
            "entity": self.entity.name if self.entity else None,
            "record_id": self.record,
            "fields": [change.name for change in self.changes],
            "changes": {
                change.name: {"old": change.old, "new": change.new} for change in self.changes if change.shown
            },
            "facts": self.facts,
            "details": self.details,
            "withheld": self.withheld,
            "index": self.index,
        }


def row_of(
    session: Session,
    datamap: DataMap,
    actor: Actor,
    row: AuditEvent,
    names: dict[UUID, str],
    *,
    payload: dict[str, Any] | None = None,
    index: int | None = None,
) -> EventRow:
    """An event as the actor may see it.

    Args:
        names: Names of users by key.
        payload: The opened payload, where it is to be shown.
        index: Place of the event in the sealed log.
    """
    entity = None if row.object_type is None else datamap.by_number(row.object_type)
    meta = dict(row.meta)
    values = (payload or {}).get("changes", {})
    changes = _changes(session, actor, entity, meta, values) if _is_change(row) else ()
    details = {name: value for name, value in (payload or {}).items() if name != "changes"}
    sees = actor.field_level(Access.PERSONAL) in _CLEAR
    return EventRow(
        id=row.event_id,
        at=row.occurred_at,
        event_class=row.event_class,
        action=row.action,
        outcome=row.outcome,
        reason=row.reason,
        severity=row.severity,
        actor_id=row.actor_ref,
        actor=names.get(row.actor_ref),
        auth_method=row.auth_method,
        session=row.session_ref,
        request=row.request_id,
        origin=row.origin,
        purpose=row.purpose,
        entity=entity,
        record=row.object_ref,
        readable=entity is not None and _may_read(actor, entity) and entity.exposed,
        changes=changes,
        facts={name: value for name, value in meta.items() if not (name in _CHANGED and _is_change(row))},
        details=details if details and sees else None,
        withheld=bool(details and not sees) or any(not item.shown for item in changes if values),
        index=index,
    )


def _is_change(row: AuditEvent) -> bool:
    return row.event_class == "change"


def _may_read(actor: Actor, entity: EntityDef) -> bool:
    return actor.may(f"crm:{entity.name}:read") or not entity.exposed


def _changes(
    session: Session,
    actor: Actor,
    entity: EntityDef | None,
    meta: dict[str, Any],
    values: dict[str, Sequence[Any]],
) -> tuple[Change, ...]:
    """The changed fields by name, with old and new value where the reader's roles allow it."""
    if entity is None:
        return ()
    numbers: list[int] = meta.get("fields") or []
    columns = [
        name for name in (meta.get("columns") or ()) if name in entity.fields and name not in _BOOKKEEPING
    ]
    found = [_change(actor, entity, name, values) for name in columns]
    for number in numbers:
        item = entity.field_by_number(number)
        if item is not None:
            found.append(_change(actor, entity, item.name, values))
    if any(number >= FIRST_CUSTOM for number in numbers):
        found += _custom(session, actor, entity, numbers, values)
    return tuple(found)


def _change(actor: Actor, entity: EntityDef, name: str, values: dict[str, Sequence[Any]]) -> Change:
    item = entity.fields[name]
    access = item.policy.handling.access
    level = "hidden" if access in _NEVER or not _may_read(actor, entity) else actor.field_level(access)
    pair = values.get(str(item.number))
    if pair is None or level == "hidden":
        return Change(name, item.policy)
    old, new = pair
    if level == "masked":
        kind = mask_kind(item)
        old, new = mask(old, kind), mask(new, kind)
    return Change(name, item.policy, shown=True, old=old, new=new)


def _custom(
    session: Session,
    actor: Actor,
    entity: EntityDef,
    numbers: Iterable[int],
    values: dict[str, Sequence[Any]],
) -> list[Change]:
    """Custom fields. Their values are shown to those who may read every group of fields in clear."""
    names = names_by_number(session, entity.number)
    groups = (Access.GENERAL, Access.PERSONAL, Access.FINANCIAL, Access.SPECIAL)
    sees = _may_read(actor, entity) and all(actor.field_level(group) in _CLEAR for group in groups)
    found = []
    for number in numbers:
        if number in names:
            pair = values.get(str(number)) if sees else None
            name = f"custom.{names[number]}"
            found.append(
                Change(name, None, shown=True, old=pair[0], new=pair[1]) if pair else Change(name, None)
            )
    return found
