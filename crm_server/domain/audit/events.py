"""The events of reading the log: whoever looks at the log is seen by it (AUD-11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.audit.events import Event, write
from crm_server.kernel.db import actor_of

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

AUDIT_EVENT = 60
SINK = 65
USER = 30


def record(session: Session, *events: Event) -> None:
    """Write events in the session's transaction, on behalf of whom it acts for."""
    write(session.connection(), actor_of(session), events)


def listed(filters: dict[str, Any], count: int) -> Event:
    """Somebody read a page of the log. What was looked for may point at a person, so it stands in the payload."""
    return Event(
        "read",
        "audit_list",
        severity=2,
        object_type=AUDIT_EVENT,
        meta={"count": count, "filters": sorted(filters)},
        payload={"filters": {name: str(value) for name, value in filters.items()}} if filters else None,
    )


def table_exported(filters: dict[str, Any], count: int) -> Event:
    """Events that were found were taken out as a table."""
    return Event(
        "export",
        "audit_table",
        severity=2,
        object_type=AUDIT_EVENT,
        meta={"count": count, "filters": sorted(filters)},
        payload={"filters": {name: str(value) for name, value in filters.items()}} if filters else None,
    )


def seen(event_id: UUID) -> Event:
    """Somebody read one event with its values."""
    return Event("read", "audit_read", severity=2, object_type=AUDIT_EVENT, object_ref=event_id)


def proved(event_id: UUID) -> Event:
    """Somebody took out the proof of an event."""
    return Event("export", "audit_proof", severity=2, object_type=AUDIT_EVENT, object_ref=event_id)


def history_seen(entity: int, record: UUID, count: int) -> Event:
    """Somebody read the history of a record with its values."""
    return Event(
        "read", "audit_history", severity=2, object_type=entity, object_ref=record, meta={"count": count}
    )


def history_proved(entity: int, record: UUID, count: int) -> Event:
    """Somebody took out the proof of a record's history."""
    return Event(
        "export", "audit_proof", severity=2, object_type=entity, object_ref=record, meta={"count": count}
    )


def exported(count: int) -> Event:
    """The whole log was exported."""
    return Event("export", "audit_export", severity=2, object_type=AUDIT_EVENT, meta={"count": count})


def sink_event(action: str, sink_id: UUID, **facts: Any) -> Event:
    """Something was done with a sink of the log beside changing its settings, which capture tells."""
    return Event("configuration", action, severity=3, object_type=SINK, object_ref=sink_id, meta=facts)


def reconciled(meta: dict[str, Any]) -> Event:
    """The nightly statement of what a receiver should have (SIEM-7)."""
    return Event("audit", "reconciliation", meta=meta)


def alerted(rule: str, actor: UUID | None, meta: dict[str, Any]) -> Event:
    """A rule over the log found something. Whom it found is a pseudonym, as everywhere in the log."""
    return Event(
        "detection",
        f"alert_{rule}",
        severity=4,
        object_type=USER if actor is not None else None,
        object_ref=actor,
        meta=meta,
    )
