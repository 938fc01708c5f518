"""The timeline: one stream of everything that happened around a record, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select, union

from compliance.datamap.sealed import FIRST_CUSTOM
from crm_server.domain import cursors
from crm_server.domain.activities.timeline import around, branches
from crm_server.domain.custom_fields.queries import names_by_number
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import NotAllowed, NotFound
from crm_server.kernel.opening import ERASED, UNREADABLE, read_rows
from crm_server.kernel.presenter import presentation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef

KINDS = (
    "activity",
    "case_opened",
    "case_resolved",
    "case_closed",
    "comment",
    "stage",
    "attachment",
    "change",
)
LARGEST_PAGE = 200


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing on a timeline.

    Attributes:
        kind: One of `KINDS`.
        at: When it happened.
        id: Key of the activity, case, comment, stage change, attachment or audit event.
        actor_id: Who did it, if known; `actor` is their name.
        entity: Kind of the record that it happened to; `record_id` is its key.
        data: What is shown, as the actor may see it.
    """

    kind: str
    at: datetime
    id: UUID
    actor_id: UUID | None
    actor: str | None
    entity: str
    record_id: UUID
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page of a timeline; `next` is the cursor of the following page, None at the end."""

    items: list[Happening]
    next: str | None


def timeline(
    session: Session,
    datamap: DataMap,
    entity: str,
    record_id: UUID,
    *,
    limit: int = 50,
    after: str | None = None,
) -> Timeline:
    """A page of what happened around a record.

    Activities, cases and comments, steps through the pipeline, attachments and changes (who changed which fields
    when, never the values). The timeline of an account includes those of its contacts and opportunities. What the
    actor may not read is left out.

    Raises:
        NotFound: no such record.
        NotAllowed: the actor may not read such records.
        BadQuery: a cursor of something else.
    """
    found, actor = datamap.entities.get(entity), actor_of(session)
    if found is None or not found.exposed:
        raise NotFound
    if not actor.may(f"crm:{entity}:read"):
        raise NotAllowed(f"crm:{entity}:read")
    if session.scalar(select(found.table.c.id).where(found.table.c.id == record_id)) is None:
        raise NotFound
    limit = max(1, min(limit, LARGEST_PAGE))
    readable = frozenset(item.name for item in datamap.records() if actor.may(f"crm:{item.name}:read"))
    position = (
        cursors.unpack(after, cursors.instant, UUID, cursors.word(*KINDS)) if after is not None else None
    )
    place = around(datamap, entity, record_id, readable)
    parts = [part.subquery().select() for part in branches(datamap, place, readable, limit + 1, position)]
    merged = union(*parts).subquery()
    rows = session.execute(
        select(merged).order_by(merged.c.at.desc(), merged.c.id.desc(), merged.c.kind.desc()).limit(limit + 1)
    ).all()
    page = [(row.kind, row.at, row.id) for row in rows[:limit]]
    last = page[-1] if len(rows) > limit else None
    following = cursors.pack(last[1].isoformat(), last[2], last[0]) if last is not None else None
    return Timeline(_filled(session, datamap, page), following)


def _filled(
    session: Session, datamap: DataMap, page: Sequence[tuple[str, datetime, UUID]]
) -> list[Happening]:
    """The rows behind a page, one query a kind, in the order of the page."""
    wanted: dict[str, set[UUID]] = {}
    for kind, _at, key in page:
        wanted.setdefault("case" if kind.startswith("case_") else kind, set()).add(key)
    facts: dict[tuple[str, UUID], _Facts] = {}
    for source, keys in wanted.items():
        facts |= {(source, key): value for key, value in _READERS[source](session, datamap, keys).items()}
    names = _names(session, datamap, {item.actor_id for item in facts.values() if item.actor_id})
    result = []
    for kind, moment, key in page:
        item = facts.get(("case" if kind.startswith("case_") else kind, key))
        if item is not None:
            name = names.get(item.actor_id) if item.actor_id else None
            result.append(
                Happening(kind, moment, key, item.actor_id, name, item.entity, item.record_id, item.data)
            )
    return result


@dataclass(frozen=True, slots=True)
class _Facts:
    actor_id: UUID | None
    entity: str
    record_id: UUID
    data: dict[str, Any]


def _names(session: Session, datamap: DataMap, ids: set[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    user = datamap["user"].table
    return {
        row.id: row.name for row in session.execute(select(user.c.id, user.c.name).where(user.c.id.in_(ids)))
    }


def _visible(
    session: Session, entity: EntityDef, fields: Sequence[str], keys: set[UUID]
) -> dict[UUID, tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of an entity by key: what the timeline itself needs of them, and what the actor may see of `fields`."""
    shown = presentation(entity, actor_of(session))
    names = [name for name in fields if name in shown.fields]
    beside = [name for name in _BESIDE if name in entity.fields]
    rows = read_rows(session, entity, (*names, *beside), keys)
    return {
        key: (row, shown.masked({name: row[name] for name in (*names, ERASED, UNREADABLE) if name in row}))
        for key, row in rows.items()
    }


_BESIDE = ("owner_id", "created_by", "case_id", "record_type", "record_id")
"""Who did it, and to what it belongs."""


def _activities(session: Session, datamap: DataMap, keys: set[UUID]) -> dict[UUID, _Facts]:
    fields = (
        "id",
        "version",
        "kind",
        "title",
        "body",
        "status",
        "priority",
        "direction",
        "due_at",
        "starts_at",
        "ends_at",
        "done_at",
        "location",
        "account_id",
        "contact_id",
        "lead_id",
        "opportunity_id",
        "case_id",
        "owner_id",
    )
    return {
        key: _Facts(row["owner_id"] or row["created_by"], "activity", key, data)
        for key, (row, data) in _visible(session, datamap["activity"], fields, keys).items()
    }


def _cases(session: Session, datamap: DataMap, keys: set[UUID]) -> dict[UUID, _Facts]:
    fields = ("id", "number", "title", "status", "priority", "contact_id", "account_id", "owner_id")
    return {
        key: _Facts(row["created_by"], "case", key, data)
        for key, (row, data) in _visible(session, datamap["case"], fields, keys).items()
    }


def _comments(session: Session, datamap: DataMap, keys: set[UUID]) -> dict[UUID, _Facts]:
    fields = ("id", "version", "body", "public", "case_id")
    return {
        key: _Facts(row["created_by"], "case", row["case_id"], data)
        for key, (row, data) in _visible(session, datamap["case_comment"], fields, keys).items()
    }


def _stages(session: Session, datamap: DataMap, keys: set[UUID]) -> dict[UUID, _Facts]:
    table, stage = datamap["stage_change"].table, datamap["stage"].table
    before, later = stage.alias("before"), stage.alias("later")
    sees = "amount" in presentation(datamap["stage_change"], actor_of(session)).readable
    rows = session.execute(
        select(
            table,
            before.c.name.label("from_stage"),
            later.c.name.label("to_stage"),
            later.c.kind.label("stage_kind"),
        )
        .join(before, before.c.id == table.c.from_stage_id, isouter=True)
        .join(later, later.c.id == table.c.to_stage_id, isouter=True)
        .where(table.c.id.in_(keys))
    )
    return {
        row.id: _Facts(
            row.changed_by,
            "opportunity",
            row.opportunity_id,
            {
                "from_stage": row.from_stage,
                "to_stage": row.to_stage,
                "stage_kind": row.stage_kind,
                "amount": row.amount if sees else None,
                "currency": row.currency,
            },
        )
        for row in rows
    }


def _attachments(session: Session, datamap: DataMap, keys: set[UUID]) -> dict[UUID, _Facts]:
    found = {}
    fields = ("id", "version", "filename", "media_type", "size")
    for key, (row, data) in _visible(session, datamap["attachment"], fields, keys).items():
        entity = datamap.by_number(row["record_type"])
        if entity is not None:
            found[key] = _Facts(row["created_by"], entity.name, row["record_id"], data)
    return found


def _changes(session: Session, datamap: DataMap, keys: set[UUID]) -> dict[UUID, _Facts]:
    table = datamap["audit_event"].table
    rows = session.execute(
        select(
            table.c.event_id,
            table.c.actor_ref,
            table.c.object_type,
            table.c.object_ref,
            table.c.action,
            table.c.meta,
        ).where(table.c.event_id.in_(keys))
    ).all()
    found = {}
    for row in rows:
        entity = datamap.by_number(row.object_type)
        if entity is not None:
            data = {"action": row.action, "fields": _changed_fields(session, entity, row.meta)}
            if "tag" in row.meta:
                data["tag_id"] = row.meta["tag"]
            found[row.event_id] = _Facts(row.actor_ref, entity.name, row.object_ref, data)
    return found


def _changed_fields(session: Session, entity: EntityDef, meta: dict[str, Any]) -> list[str]:
    """Names of the changed fields that the actor may know of; custom ones as "custom.<name>"."""
    shown = presentation(entity, actor_of(session)).fields
    names = list(meta.get("columns") or ())
    numbers = meta.get("fields") or ()
    for number in numbers:
        item = entity.field_by_number(number)
        if item is not None:
            names.append(item.name)
    names = [name for name in names if name in shown and name not in {"version", "updated_at", "updated_by"}]
    if any(number >= FIRST_CUSTOM for number in numbers):
        custom = names_by_number(session, entity.number)
        names += [f"custom.{custom[number]}" for number in numbers if number in custom]
    return names


_READERS: dict[str, Callable[[Session, DataMap, set[UUID]], dict[UUID, _Facts]]] = {
    "activity": _activities,
    "case": _cases,
    "comment": _comments,
    "stage": _stages,
    "attachment": _attachments,
    "change": _changes,
}
