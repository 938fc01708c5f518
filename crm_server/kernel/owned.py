"""What the actor owns, over several kinds of records in one statement each: for the first page.

Keys and counts alone; titles and values are read through the listing layer, which tells the audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal, select, text, union_all

from crm_server.kernel.db import actor_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef


def changed_since(
    session: Session, entities: Sequence[EntityDef], since: datetime, limit: int
) -> list[tuple[EntityDef, UUID, datetime]]:
    """The actor's live records that changed last: kind, key and when, newest first.

    Args:
        session: Acts for whoever owns them; row rules hold.
        entities: Kinds of records.
        since: Changes before are left out.
        limit: At most so many over all kinds.
    """
    if not entities:
        return []
    parts = []
    for entity in entities:
        table = entity.table
        query = (
            select(literal(entity.number).label("number"), table.c.id, table.c.updated_at)
            .where(*_own(session, entity), table.c.updated_at >= since)
            .order_by(table.c.updated_at.desc())
            .limit(limit)
        )
        parts.append(query.subquery().select())
    rows = session.execute(union_all(*parts).order_by(text("updated_at desc")).limit(limit))
    kinds = {entity.number: entity for entity in entities}
    return [(kinds[number], key, at) for number, key, at in rows]


def count_by_status(session: Session, wanted: Mapping[EntityDef, Sequence[str]]) -> dict[EntityDef, int]:
    """How many live records of each kind the actor owns in one of the given states."""
    if not wanted:
        return {}
    counts: list[Any] = [
        select(func.count())
        .where(*_own(session, entity), entity.table.c.status.in_(states))
        .scalar_subquery()
        for entity, states in wanted.items()
    ]
    return dict(zip(wanted, session.execute(select(*counts)).one(), strict=True))


def _own(session: Session, entity: EntityDef) -> tuple[ColumnElement[bool], ...]:
    columns = entity.table.c
    return columns.owner_id == actor_of(session).id, columns.deleted_at.is_(None)


__all__ = ["changed_since", "count_by_status"]
