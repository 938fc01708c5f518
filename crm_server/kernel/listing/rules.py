# ruff: noqa: S608 - statements are put together from names of the data map; who asks is a setting of the transaction.
"""Row rules as a predicate of lists, beside the policy that guards them.

The policy alone makes PostgreSQL walk the whole index in the order of the list and throw away what the actor may not
see: for somebody who sees a hundred of a million rows that is most of the table. So when few rows are reached they are
named by key, found with one indexed branch a scope; when many are reached the walk finds a page soon, and nothing is
added. Which of the two it is, is counted up to `FEW` and remembered for a minute: it decides about speed alone, since
the policy holds either way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from crm_server.kernel import rowrules, rowsql
from crm_server.kernel.hot import Hot
from crm_server.kernel.rowrules import RowAction, Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor

FEW = 3000
"""Up to so many rows are named by key. Beyond, an ordered walk through a million rows reaches a page sooner."""
_REMEMBERED, _MOST = 60.0, 20_000
_few: dict[tuple[object, ...], tuple[float, bool]] = {}


def branches(entity: EntityDef, actor: Actor) -> list[str] | None:
    """One query of keys for each scope in which the actor reads an entity; None when they read all of it, or when a
    scope has no index to find its records by.
    """
    if not rowrules.guarded(entity):
        return None
    scopes = rowrules.scopes_of(actor, entity.name, RowAction.READ)
    if scopes & {Scope.ALL, Scope.RELATED}:
        return None
    table = f'"{entity.table.schema}"."{entity.table.name}"'
    return [
        f"select b.id from {table} b where {rowsql.condition(entity, scope, RowAction.READ, 'b')} "
        "and b.deleted_at is null"
        for scope in Scope
        if scope in scopes
    ]


def visible(source: Hot | Session | Connection, entity: EntityDef, actor: Actor) -> tuple[str, ...]:
    """What to add to the conditions on the live rows "t" of an entity, so that an index finds those that the actor
    may see; nothing when the policy is as quick.
    """
    found = branches(entity, actor)
    if found is None:
        return ()
    if not found:
        return ("false",)
    if not _reaches_few(source, entity, actor, found):
        return ()
    return (f"t.id = any (array({' union '.join(found)}))",)


def _reaches_few(
    source: Hot | Session | Connection, entity: EntityDef, actor: Actor, found: list[str]
) -> bool:
    key = (actor.id, rowrules.told(actor), entity.name)
    now = time.monotonic()
    known = _few.get(key)
    if known is not None and known[0] > now:
        return known[1]
    text = f"select count(*) from (select 1 from ({' union all '.join(found)}) r limit {FEW + 1}) c"
    if isinstance(source, Hot):
        number = source.run_once(text, {}, actor)[0][0]
    else:
        connection = source.connection() if isinstance(source, Session) else source
        number = connection.exec_driver_sql(text).scalar_one()
    if len(_few) > _MOST:
        _few.clear()
    _few[key] = (now + _REMEMBERED, number <= FEW)
    return bool(number <= FEW)


__all__ = ["branches", "visible"]
