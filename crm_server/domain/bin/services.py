"""Emptying the bin: what has lain in it for longer than the setting `bin_days` is removed for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from crm_server.kernel.clock import now
from crm_server.kernel.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.records import RecordService


@dataclass(frozen=True, slots=True)
class Emptied:
    """What a run did. `kept` counts records that others still refer to; the next run tries them again."""

    purged: int
    kept: int
    more: bool


def empty(
    session: Session,
    datamap: DataMap,
    service_of: Callable[[Session, str], RecordService],
    *,
    days: int,
    limit: int = 500,
) -> Emptied:
    """Purge up to `limit` records that were deleted more than `days` days ago. The caller commits.

    Args:
        service_of: Gives the service of an entity, so that each domain's own rules hold.
    """
    before = now() - timedelta(days=days)
    purged = kept = 0
    # Parts of records first (they refer to records), and what is referred to most last.
    for entity in sorted(datamap, key=lambda item: (item.exposed, -item.number)):
        if "deleted_at" not in entity.fields or entity.name == "custom_field":
            continue
        table = entity.table
        keys = session.scalars(
            select(table.c.id)
            .where(table.c.deleted_at < before)
            .order_by(table.c.deleted_at, table.c.id)
            .limit(limit - purged - kept)
        ).all()
        service = service_of(session, entity.name)
        for key in keys:
            if _purge(session, service, entity, key):
                purged += 1
            else:
                kept += 1
        if purged + kept >= limit:
            return Emptied(purged, kept, more=purged > 0)
    return Emptied(purged, kept, more=False)


def _purge(session: Session, service: RecordService, entity: EntityDef, key: UUID) -> bool:
    savepoint = session.begin_nested()
    try:
        service.purge(key)
    except AppError:
        savepoint.rollback()
        session.expire_all()
        return False
    savepoint.commit()
    return True
