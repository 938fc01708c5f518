"""What lies in the bin, over all kinds of records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Uuid, cast, literal, select, tuple_, union_all

from crm_server.domain import cursors
from crm_server.kernel.db import actor_of, setting
from crm_server.kernel.opening import read_rows
from crm_server.kernel.presenter import presentation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef


@dataclass(frozen=True, slots=True)
class BinItem:
    """A record in the bin. `title` is as the actor may see it; `purged_on` is when it leaves for good."""

    entity: str
    id: UUID
    title: str | None
    deleted_at: datetime
    deleted_by: UUID | None
    purged_on: datetime


@dataclass(frozen=True, slots=True)
class BinPage:
    """A page of the bin, what was deleted last first; `next` is the cursor of the following page."""

    items: list[BinItem]
    next: str | None


def in_bin(
    session: Session,
    datamap: DataMap,
    *,
    entity: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> BinPage:
    """A page of the bin, of one kind of record or of all that the actor may see."""
    actor = actor_of(session)
    wanted = [
        item
        for item in datamap.records()
        if entity in {None, item.name} and actor.may(f"crm:{item.name}:read") and "deleted_at" in item.fields
    ]
    if not wanted:
        return BinPage([], None)
    position = cursors.unpack(after, cursors.instant, UUID) if after is not None else None
    branches = [_branch(item, limit, position) for item in wanted]
    merged = union_all(*(branch.subquery().select() for branch in branches)).subquery()
    rows = session.execute(
        select(merged).order_by(merged.c.deleted_at.desc(), merged.c.id.desc()).limit(limit + 1)
    ).all()
    days = timedelta(days=setting(session, "bin_days"))
    titles = _titles(session, datamap, rows[:limit])
    items = [
        BinItem(row.entity, row.id, titles.get(row.id), row.deleted_at, row.deleted_by, row.deleted_at + days)
        for row in rows[:limit]
    ]
    last = items[-1] if len(rows) > limit else None
    return BinPage(items, cursors.pack(last.deleted_at.isoformat(), last.id) if last is not None else None)


def _titles(session: Session, datamap: DataMap, rows: Sequence[Any]) -> dict[UUID, str]:
    """The titles of the rows that the actor may read, one statement a kind of record."""
    found: dict[UUID, str] = {}
    for name in {row.entity for row in rows}:
        entity = datamap[name]
        title = entity.policy.title
        if title in presentation(entity, actor_of(session)).readable:
            keys = [row.id for row in rows if row.entity == name]
            for key, values in read_rows(session, entity, (title,), keys).items():
                if values[title] is not None:
                    found[key] = str(values[title])
    return found


def _branch(
    entity: EntityDef, limit: int, position: tuple[Any, ...] | None
) -> Select[tuple[str, UUID, datetime, UUID | None]]:
    table = entity.table
    query = select(
        literal(entity.name).label("entity"),
        table.c.id,
        table.c.deleted_at,
        cast(table.c.deleted_by, Uuid).label("deleted_by"),
    ).where(table.c.deleted_at.is_not(None))
    if position is not None:
        query = query.where(tuple_(table.c.deleted_at, table.c.id) < tuple_(*position))
    return query.order_by(table.c.deleted_at.desc(), table.c.id.desc()).limit(limit + 1)


__all__ = ["BinItem", "BinPage", "in_bin"]
