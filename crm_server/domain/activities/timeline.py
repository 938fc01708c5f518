"""The sources of a timeline: which rows belong to a record, each as a small query with the time it stands at.

`queries.timeline` merges them. Each branch is limited on its own, so that a page costs the same however long the
history is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import literal, or_, select, tuple_

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Select

    from compliance.datamap import DataMap

Position = tuple[datetime, UUID, str]
"""Where a page ends: time, key, kind."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a record's timeline includes: conditions on contacts, opportunities and so on, by entity name.

    Each value gives, for a column that refers to that entity, the condition that the reference is on the timeline.
    """

    entity: str
    record_id: UUID
    wider: dict[str, Select[tuple[UUID]]] = field(default_factory=dict)

    def refers(self, name: str, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """The conditions under which `column`, a reference to entity `name`, leads here."""
        found: list[ColumnElement[bool]] = []
        if name == self.entity:
            found.append(column == self.record_id)
        if name in self.wider:
            found.append(column.in_(self.wider[name]))
        return found


def around(datamap: DataMap, entity: str, record_id: UUID, readable: frozenset[str]) -> Around:
    """The timeline of an account includes those of its contacts and opportunities, if the actor may read them."""
    wider: dict[str, Select[tuple[UUID]]] = {}
    if entity == "account":
        for name in {"contact", "opportunity"} & readable:
            table = datamap[name].table
            wider[name] = select(table.c.id).where(
                table.c.account_id == record_id, table.c.deleted_at.is_(None)
            )
    return Around(entity, record_id, wider)


def branches(
    datamap: DataMap, place: Around, readable: frozenset[str], limit: int, before: Position | None
) -> Iterator[Select[datetime, UUID, str]]:
    """All sources that the actor may read, each at most `limit` rows, newest first."""
    sources = _changes(datamap, place)
    for name, source in (
        ("activity", _activities(datamap, place)),
        ("case", _cases(datamap, place)),
        ("opportunity", _stages(datamap, place)),
    ):
        if name in readable:
            sources += source
    sources += _attachments(datamap, place)
    for kind, moment, key, condition in sources:
        query = select(moment.label("at"), key.label("id"), literal(kind).label("kind")).where(condition)
        if before is not None:
            query = query.where(
                tuple_(moment, key, literal(kind)) < tuple_(*(literal(part) for part in before))
            )
        yield query.order_by(moment.desc(), key.desc()).limit(limit)


Source = tuple[str, "ColumnElement[datetime]", "ColumnElement[UUID]", "ColumnElement[bool]"]


def _activities(datamap: DataMap, place: Around) -> list[Source]:
    table, part = datamap["activity"].table, datamap["participant"].table
    conditions = [
        condition
        for name in ("account", "contact", "lead", "opportunity", "case")
        for condition in place.refers(name, table.c[f"{name}_id"])
    ]
    if place.entity == "contact":
        taking_part = select(part.c.activity_id).where(part.c.contact_id == place.record_id)
        conditions.append(table.c.id.in_(taking_part))
    # One branch a condition: each has its own index. What two branches find is merged by the union.
    return [
        ("activity", table.c.happened_at, table.c.id, item & table.c.deleted_at.is_(None))
        for item in conditions
    ]


def _cases(datamap: DataMap, place: Around) -> list[Source]:
    table, comment = datamap["case"].table, datamap["case_comment"].table
    if place.entity == "case":
        return [("comment", comment.c.created_at, comment.c.id, comment.c.case_id == place.record_id)]
    found: list[Source] = []
    for name in ("account", "contact"):
        for condition in place.refers(name, table.c[f"{name}_id"]):
            live = condition & table.c.deleted_at.is_(None)
            found += [
                ("case_opened", table.c.created_at, table.c.id, live),
                ("case_resolved", table.c.resolved_at, table.c.id, live & table.c.resolved_at.is_not(None)),
                ("case_closed", table.c.closed_at, table.c.id, live & table.c.closed_at.is_not(None)),
            ]
    return found


def _stages(datamap: DataMap, place: Around) -> list[Source]:
    table = datamap["stage_change"].table
    return [
        ("stage", table.c.changed_at, table.c.id, condition)
        for condition in place.refers("opportunity", table.c.opportunity_id)
    ]


def _attachments(datamap: DataMap, place: Around) -> list[Source]:
    table = datamap["attachment"].table
    return [
        (
            "attachment",
            table.c.created_at,
            table.c.id,
            (table.c.record_type == datamap[name].number) & condition & table.c.deleted_at.is_(None),
        )
        for name in (place.entity, *place.wider)
        for condition in place.refers(name, table.c.record_id)
    ]


def _changes(datamap: DataMap, place: Around) -> list[Source]:
    table = datamap["audit_event"].table
    return [
        (
            "change",
            table.c.occurred_at,
            table.c.event_id,
            condition
            & (table.c.object_type == datamap[name].number)
            & (table.c.event_class == "change")
            & or_(table.c.action != "purge", table.c.object_ref == place.record_id),
        )
        for name in (place.entity, *place.wider)
        for condition in place.refers(name, table.c.object_ref)
    ]
