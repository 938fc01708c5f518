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

_REMEMBERED, _MOST = 60.0, 20_000
_few: dict[tuple[object, ...], tuple[float, bool]] = {}


def named_by_key(entity: EntityDef, actor: Actor) -> bool:
    """Whether what the actor reads of an entity can be named by key: not all of it, and by indexed scopes."""
    if not rowrules.guarded(entity):
        return False
    return not rowrules.scopes_of(actor, entity.name, RowAction.READ) & {Scope.ALL, Scope.RELATED}


def visible(source: Hot | Session | Connection, entity: EntityDef, actor: Actor) -> tuple[str, ...]:
    """What to add to the conditions on the live rows "t" of an entity, so that an index finds those that the actor
    may see; nothing when the policy is as quick.
    """
    if not named_by_key(entity, actor):
        return ()
    if not rowrules.scopes_of(actor, entity.name, RowAction.READ):
        return ("false",)
    if not _reaches_few(source, entity, actor):
        return ()
    return (f"t.id = any ((select {rowsql.reached(entity)})::uuid[])",)


def _reaches_few(source: Hot | Session | Connection, entity: EntityDef, actor: Actor) -> bool:
    key = (actor.id, rowrules.told(actor), entity.name)
    now = time.monotonic()
    known = _few.get(key)
    if known is not None and known[0] > now:
        return known[1]
    text = f"select cardinality({rowsql.reached(entity)})"
    if isinstance(source, Hot):
        number = source.run_once(text, {}, actor)[0][0]
    else:
        connection = source.connection() if isinstance(source, Session) else source
        number = connection.exec_driver_sql(text).scalar_one()
    if len(_few) > _MOST:
        _few.clear()
    _few[key] = (now + _REMEMBERED, number <= rowsql.FEW)
    return bool(number <= rowsql.FEW)


def forget() -> None:
    """Count anew who reaches few; for tests and benchmarks."""
    _few.clear()


__all__ = ["forget", "named_by_key", "visible"]
