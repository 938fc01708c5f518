"""The hierarchy of accounts. Other domains and views read it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

MAX_DEPTH = 10
"""Levels of the hierarchy. Deeper ones are never real groups of companies, and each level costs every reader."""


@dataclass(frozen=True, slots=True)
class Relative:
    """An account above or below another; `distance` in levels, 0 is the account itself."""

    id: UUID
    parent_id: UUID | None
    name: str
    distance: int


# A level more than allowed is read, so that a caller sees that there is more.
_ANCESTORS = text("""
with recursive up as (
  select id, parent_id, name, deleted_at, 0 as distance from crm.account where id = :id
  union all
  select a.id, a.parent_id, a.name, a.deleted_at, up.distance + 1
    from crm.account a join up on a.id = up.parent_id where up.distance <= :depth)
select id, parent_id, name, distance from up where distance = 0 or deleted_at is null order by distance
""")
_SUBTREE = text("""
with recursive down as (
  select id, parent_id, name, 0 as distance from crm.account where id = :id
  union all
  select a.id, a.parent_id, a.name, down.distance + 1
    from crm.account a join down on a.parent_id = down.id
   where a.deleted_at is null and down.distance <= :depth)
select id, parent_id, name, distance from down order by distance, name limit :limit
""")


def ancestors(session: Session, account_id: UUID) -> list[Relative]:
    """The account and those above it, nearest first."""
    rows = session.execute(_ANCESTORS, {"id": account_id, "depth": MAX_DEPTH})
    return [Relative(*row) for row in rows]


def subtree(session: Session, account_id: UUID, *, limit: int = 1000) -> list[Relative]:
    """The account and those below it, level by level; at most `limit`."""
    rows = session.execute(_SUBTREE, {"id": account_id, "depth": MAX_DEPTH, "limit": limit})
    return [Relative(*row) for row in rows]
