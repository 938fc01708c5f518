"""The tables of one month, into which an event is written directly.

PostgreSQL finds the month of a row that is inserted into `audit.event` by itself (log/partitions.sql), but prepares
that anew for each statement, which is a third of what a single event costs. Its key is a UUIDv7, so the writer knows
the month as well, and names its tables. A month that has none, because a clock is wrong or the job that makes them is
late, is PostgreSQL's to place, as before.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy import Connection


class Tables(NamedTuple):
    """Where an event and its payload go."""

    event: str
    payload: str


ALL: Final = Tables("audit.event", "audit.event_payload")
"""The tables of all months."""
_ASK: Final = """
select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'audit_part' and c.relname in (%s, %s)
   and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'insert')"""
_AGAIN: Final = 60.0
"""Seconds after which a month that had no tables is asked for again."""
_DAY: Final = 86_400_000
_until: WeakKeyDictionary[Engine, dict[Tables, float]] = WeakKeyDictionary()
"""By database and month: until when it is known to have no tables; 0 for one that has them."""


def tables_of(event_ids: Iterable[UUID], engine: Engine, connection: Connection | None = None) -> Tables:
    """The tables that take events with these keys.

    Args:
        engine: The database, which is asked once for each month.
        connection: One with a transaction to ask on; by default another connection of the engine is.
    """
    months = {_tables(key.int >> 80) for key in event_ids}
    tables = months.pop() if len(months) == 1 else ALL
    known = _until.setdefault(engine, {})
    until = known.get(tables)
    if until is None or 0 < until < time.monotonic():
        try:
            until = known[tables] = 0.0 if _exist(tables, engine, connection) else time.monotonic() + _AGAIN
        except SQLAlchemyError:
            if connection is not None:
                raise
            return ALL  # What is asked next meets the same fault, and knows how to wait for its end.
    return tables if until == 0 else ALL


def _exist(tables: Tables, engine: Engine, connection: Connection | None) -> bool:
    if tables is ALL:
        return True
    names = tuple(name.partition(".")[2] for name in tables)
    with nullcontext(connection) if connection is not None else engine.connect() as asked:
        found: int = asked.exec_driver_sql(_ASK, names).scalar_one()
    return found == len(names)


def _tables(milliseconds: int) -> Tables:
    """The tables of a moment since 1970, whether or not they exist."""
    return _tables_of_day(milliseconds // _DAY)


@cache
def _tables_of_day(day: int) -> Tables:
    try:
        month = (date(1970, 1, 1) + timedelta(day)).strftime("%Y_%m")
    except OverflowError:  # After the year 9999: a key that is no UUIDv7.
        return ALL
    return Tables(f"audit_part.event_{month}", f"audit_part.event_payload_{month}")


__all__ = ["ALL", "Tables", "tables_of"]
