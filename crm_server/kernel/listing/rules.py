"""Row rules in lists: what a list reads from, so that it is found quickly.

The policy alone makes PostgreSQL walk the whole index in the order of the list and throw away what the actor may not
see: for somebody who sees a hundred of a million rows that is most of the table. So when few rows are reached a list
reads a view that names their places, found with one indexed branch a scope; when many are reached the walk through the
table finds a page soon. Which of the two it is, is counted up to `MOST_SEEN` and remembered for a minute: it decides
about speed alone, since PostgreSQL holds the same rule either way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from crm_server.kernel import rowrules, rowsql
from crm_server.kernel.hot import Hot
from crm_server.kernel.listing.scope import table_name
from crm_server.kernel.rowrules import RowAction, Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor

MOST_SEEN = rowsql.MOST
_REMEMBERED, _MOST = 60.0, 20_000
_reach: dict[tuple[object, ...], tuple[float, int]] = {}


def named_by_key(entity: EntityDef, actor: Actor) -> bool:
    """Whether what the actor reads of an entity can be named by key: not all of it, and by indexed scopes."""
    if not rowrules.guarded(entity):
        return False
    return not rowrules.scopes_of(actor, entity.name, RowAction.READ) & {Scope.ALL, Scope.RELATED}


def sees_all(entity: EntityDef, actor: Actor) -> bool:
    """Whether row rules let the actor read all live records of an entity."""
    return rowrules.guarded(entity) and Scope.ALL in rowrules.scopes_of(actor, entity.name, RowAction.READ)


def listed(source: Hot | Session | Connection, entity: EntityDef, actor: Actor, *, deleted: bool) -> str:
    """What a list reads from: the view of the live records that the actor reaches where they are few, else the table,
    whose policy is as quick.

    Args:
        source: Where the list is read.
        entity: What is listed.
        actor: Who reads.
        deleted: Whether it is the bin that is listed.
    """
    if not deleted and named_by_key(entity, actor) and _reaches(source, entity, actor) <= rowsql.FEW:
        return rowsql.mine(entity)
    return table_name(entity)


def names_all(source: Hot | Session | Connection, entity: EntityDef, actor: Actor) -> bool:
    """Whether the live records that the actor may see are so few that `seen` names them."""
    return named_by_key(entity, actor) and _reaches(source, entity, actor) <= MOST_SEEN


def seen(source: Hot | Session | Connection, entity: EntityDef, actor: Actor) -> bytes:
    """The ids of the live records that the actor may see, 16 bytes each, in no order; see `names_all`."""
    text = f"select {rowsql.reached(entity)}::text"
    return bytes.fromhex(_scalar(source, text, actor)[1:-1].replace("-", "").replace(",", ""))


def _reaches(source: Hot | Session | Connection, entity: EntityDef, actor: Actor) -> int:
    """How many records the actor reaches, counted up to one more than `MOST_SEEN`."""
    key = (actor.id, rowrules.told(actor), entity.name)
    now = time.monotonic()
    known = _reach.get(key)
    if known is not None and known[0] > now:
        return known[1]
    number: int = _scalar(source, f"select cardinality({rowsql.reached(entity)})", actor)
    if len(_reach) > _MOST:
        _reach.clear()
    _reach[key] = (now + _REMEMBERED, number)
    return number


def _scalar(source: Hot | Session | Connection, text: str, actor: Actor) -> Any:
    if isinstance(source, Hot):
        return source.run_once(text, {}, actor)[0][0]
    connection = source.connection() if isinstance(source, Session) else source
    return connection.exec_driver_sql(text).scalar_one()


def forget() -> None:
    """Count anew who reaches few; for tests and benchmarks."""
    _reach.clear()


__all__ = ["forget", "listed", "named_by_key", "names_all", "seen", "sees_all"]
