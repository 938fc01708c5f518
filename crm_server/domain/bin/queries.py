"""What lies in the bin, over all kinds of records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Text, Uuid, cast, literal, null, select, tuple_, union_all

from crm_server.domain import cursors
from crm_server.kernel.db import actor_of, setting
from crm_server.kernel.presenter import presentation

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.actor import Actor


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
    branches = [_branch(item, actor, limit, position) for item in wanted]
    merged = union_all(*(branch.subquery().select() for branch in branches)).subquery()
    rows = session.execute(
        select(merged).order_by(merged.c.deleted_at.desc(), merged.c.id.desc()).limit(limit + 1)
    ).all()
    days = timedelta(days=setting(session, "bin_days"))
    items = [
        BinItem(row.entity, row.id, row.title, row.deleted_at, row.deleted_by, row.deleted_at + days)
        for row in rows[:limit]
    ]
    last = items[-1] if len(rows) > limit else None
    return BinPage(items, cursors.pack(last.deleted_at.isoformat(), last.id) if last is not None else None)


def _branch(
    entity: EntityDef, actor: Actor, limit: int, position: tuple[Any, ...] | None
) -> Select[tuple[str, UUID, str | None, datetime, UUID | None]]:
    table = entity.table
    title = entity.policy.title
    readable = title in presentation(entity, actor).readable
    shown = cast(table.c[title], Text) if readable else cast(null(), Text)
    query = select(
        literal(entity.name).label("entity"),
        table.c.id,
        shown.label("title"),
        table.c.deleted_at,
        cast(table.c.deleted_by, Uuid).label("deleted_by"),
    ).where(table.c.deleted_at.is_not(None))
    if position is not None:
        query = query.where(tuple_(table.c.deleted_at, table.c.id) < tuple_(*position))
    return query.order_by(table.c.deleted_at.desc(), table.c.id.desc()).limit(limit + 1)


__all__ = ["BinItem", "BinPage", "in_bin"]
