"""What the audit administrator reads: pages of events, and one event with the values that they may see.

Keys of events are UUIDv7, so the newest come first by key and a page begins where the one before ended, however long
the log is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import func, select

from compliance.audit.models import AuditEvent, AuditLeaf, AuditLog, AuditPayload
from compliance.audit.vocabulary import EVENT_TYPES
from crm_server.domain.audit.rows import EventRow, row_of
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.db import actor_of
from crm_server.kernel.keys import keys_of

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef

LARGEST_PAGE = 200
CLASSES = (
    "change",
    "read",
    "authentication",
    "authorization",
    "export",
    "configuration",
    "job",
    "detection",
    "audit",
)
OUTCOMES = ("success", "failure", "denied")
_CLASS_OF = {action: event_class for event_class, actions in EVENT_TYPES.items() for action in actions}

_LATEST_READS = 200
# Keys are made a moment before the event's time, and events of an import may be older than their key by hours.
_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Filters:
    """What is looked for; None means all.

    `person` acted, `record` is what it was done to, `subject` is the data subject whom it concerns: also as one of
    those whom a list or a search returned.
    """

    since: datetime | None = None
    until: datetime | None = None
    person: UUID | None = None
    record: UUID | None = None
    action: str | None = None
    event_class: str | None = None
    outcome: str | None = None
    subject: UUID | None = None
    purpose: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that are set, by name."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in found.items() if value is not None}


def page(
    session: Session, datamap: DataMap, filters: Filters, *, limit: int = 50, after: UUID | None = None
) -> tuple[list[EventRow], UUID | None]:
    """A page of events, newest first, and where the next one begins (None at the end).

    Args:
        filters: What is looked for.
        limit: Rows of a page, at most `LARGEST_PAGE`.
        after: Key of the last event of the page before.
    """
    limit = max(1, min(limit, LARGEST_PAGE))
    query = _narrowed(select(AuditEvent), filters)
    if after is not None:
        query = query.where(AuditEvent.event_id < after)
    found = list(session.scalars(query.order_by(AuditEvent.event_id.desc()).limit(limit + 1)))
    rows = found[:limit]
    names = people(session, datamap, {row.actor_ref for row in rows})
    actor = actor_of(session)
    shown = [row_of(session, datamap, actor, row, names) for row in rows]
    return shown, rows[-1].event_id if len(found) > limit else None


def one(session: Session, datamap: DataMap, event_id: UUID) -> EventRow | None:
    """One event with its place in the log and the values that the reader may see; None if there is none."""
    found = session.get(AuditEvent, event_id)
    if found is None:
        return None
    payload = session.get(AuditPayload, event_id)
    opened = (
        None
        if payload is None
        else keys_of(session).keys.payloads.open(session.connection(), event_id, payload.body)
    )
    index = session.scalar(select(AuditLeaf.index).where(AuditLeaf.event_id == event_id))
    names = people(session, datamap, {found.actor_ref})
    return row_of(session, datamap, actor_of(session), found, names, payload=opened, index=index)


def at_index(session: Session, index: int) -> UUID | None:
    """The event at a place of the open log; None if there is none."""
    if not 0 <= index < 2**63:
        return None
    log = select(AuditLog.number).where(AuditLog.closed_at.is_(None)).scalar_subquery()
    return session.scalar(select(AuditLeaf.event_id).where(AuditLeaf.log == log, AuditLeaf.index == index))


def seen_lately(session: Session, person: UUID, *, limit: int = 8) -> list[tuple[int, UUID, datetime]]:
    """The records that somebody opened last: number of the entity, key, and when; each record once, newest first.

    Looks at a bounded number of the person's latest events, so it costs the same however long the log is.
    """
    latest = (
        select(AuditEvent.event_id, AuditEvent.occurred_at, AuditEvent.object_type, AuditEvent.object_ref)
        .where(AuditEvent.actor_ref == person)
        .where(
            AuditEvent.event_class == "read", AuditEvent.action == "read", AuditEvent.object_ref.is_not(None)
        )
        .order_by(AuditEvent.event_id.desc())
        .limit(_LATEST_READS)
        .subquery()
    )
    at = func.max(latest.c.occurred_at)
    rows = session.execute(
        select(latest.c.object_type, latest.c.object_ref, at)
        .group_by(latest.c.object_type, latest.c.object_ref)
        .order_by(at.desc())
        .limit(limit)
    )
    return [(number, key, moment) for number, key, moment in rows]


def history(
    session: Session, datamap: DataMap, entity: EntityDef, record: UUID, *, limit: int = LARGEST_PAGE
) -> list[EventRow]:
    """The changes of one record with the values that the reader may see, newest first."""
    query = (
        select(AuditEvent)
        .where(
            AuditEvent.object_ref == record,
            AuditEvent.object_type == entity.number,
            AuditEvent.event_class == "change",
        )
        .order_by(AuditEvent.event_id.desc())
        .limit(limit)
    )
    rows = list(session.scalars(query))
    stored = {
        row.event_id: row.body
        for row in session.scalars(
            select(AuditPayload).where(AuditPayload.event_id.in_([row.event_id for row in rows]))
        )
    }
    wanted = [row.event_id for row in rows]
    places = select(AuditLeaf.event_id, AuditLeaf.index).where(AuditLeaf.event_id.in_(wanted))
    indexes: dict[UUID, int] = {row[0]: row[1] for row in session.execute(places)}
    payloads, connection = keys_of(session).keys.payloads, session.connection()
    opened = {key: payloads.open(connection, key, body) for key, body in stored.items()}
    names, actor = people(session, datamap, {row.actor_ref for row in rows}), actor_of(session)
    return [
        row_of(
            session,
            datamap,
            actor,
            row,
            names,
            payload=opened.get(row.event_id),
            index=indexes.get(row.event_id),
        )
        for row in rows
    ]


def subject_of(session: Session, entity: EntityDef, record: UUID) -> UUID | None:
    """The data subject of a record, as the log knows it: the record itself may be gone."""
    found = session.scalars(
        select(AuditEvent.subject_ref)
        .where(
            AuditEvent.object_ref == record,
            AuditEvent.object_type == entity.number,
            AuditEvent.subject_ref.is_not(None),
        )
        .order_by(AuditEvent.occurred_at.desc())
        .limit(1)
    ).first()
    return found[0] if found else None


def people(session: Session, datamap: DataMap, ids: set[UUID] | None = None) -> dict[UUID, str]:
    """Names of users by key: of those named, or of all."""
    user = datamap["user"].table
    query = select(user.c.id, user.c.name).order_by(func.lower(user.c.name))
    if ids is not None:
        query = query.where(user.c.id.in_(ids))
    names = {row.id: row.name for row in session.execute(query.limit(2000))}
    return names | ({SYSTEM_ID: "Kontor"} if ids is None or SYSTEM_ID in ids else {})


def _narrowed(query: Select[Any], filters: Filters) -> Select[Any]:
    event_class = filters.event_class
    if event_class is None and filters.person is not None and filters.action is not None:
        # It follows from the action, and what is rare has an index of its own for each person.
        event_class = _CLASS_OF.get(filters.action)
    for column, value in (
        (AuditEvent.actor_ref, filters.person),
        (AuditEvent.object_ref, filters.record),
        (AuditEvent.action, filters.action),
        (AuditEvent.event_class, event_class),
        (AuditEvent.outcome, filters.outcome),
        (AuditEvent.purpose, filters.purpose),
    ):
        if value is not None:
            query = query.where(column == value)
    if filters.subject is not None:
        # Found first, then put in order: the planner can't know how few there are, and would walk the whole log.
        about = select(AuditEvent.event_id).where(AuditEvent.subject_ref.contains([filters.subject]))
        query = query.where(AuditEvent.event_id == func.any(func.array(about.scalar_subquery())))
    if filters.since is not None:
        query = query.where(
            AuditEvent.occurred_at >= filters.since, AuditEvent.event_id >= _key_at(filters.since - _MARGIN)
        )
    if filters.until is not None:
        query = query.where(
            AuditEvent.occurred_at < filters.until, AuditEvent.event_id < _key_at(filters.until + _MARGIN)
        )
    return query


def _key_at(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment (RFC 9562 §5.7)."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
