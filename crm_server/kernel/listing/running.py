"""Executes the statements of lists: prepared when asked for often, else as they are, always in one round trip."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import psycopg2
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from crm_server.kernel import db
from crm_server.kernel.errors import NotRecorded
from crm_server.kernel.hot import Hot, Prepared

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crm_server.kernel.actor import Actor
    from crm_server.kernel.listing.operators import Values

log = structlog.get_logger("kontor.listing")

# A statement is prepared when it has been asked for this often, and at most so many are: a client that asks for ever
# new shapes must not fill the memory of the database.
_PREPARE_AFTER, _MOST_PREPARED, _MOST_KNOWN = 3, 300, 5000
_PLACE = re.compile(r"\$(\d+)")
_seen: dict[str, int] = {}
_prepared: dict[str, Prepared] = {}


def run(source: Hot | Session | Connection, text: str, values: Values, actor: Actor) -> list[Any]:
    """Execute a statement with places $1, $2 and so on.

    Args:
        source: The pool of prepared statements, where the statement is a transaction of its own, or a session or
            connection whose transaction it joins.
        text: SQL.
        values: Its parameters.
        actor: Told to PostgreSQL in the same round trip.

    Raises:
        NotRecorded: the event of the read is refused.
    """
    try:
        return _run(source, text, values, actor)
    except (psycopg2.Error, DBAPIError) as error:
        # Lists and reads write nothing but their event.
        if not db.is_refused(error):
            raise
        log.error("read_not_recorded", error=type(error).__name__)  # noqa: TRY400 - its words may be personal
        raise NotRecorded from error


def _run(source: Hot | Session | Connection, text: str, values: Values, actor: Actor) -> list[Any]:
    if isinstance(source, Hot):
        ready = _prepared.get(text) or _prepare(text, values)
        if ready is not None:
            return source.run(ready, values.items, actor)
        return source.run_once(_spelled(text, values), _named(values), actor)
    connection = source.connection() if isinstance(source, Session) else source
    return list(connection.exec_driver_sql(_spelled(text, values), _named(values)).fetchall())


def _prepare(text: str, values: Values) -> Prepared | None:
    """The prepared statement, once it is worth it."""
    if len(_seen) > _MOST_KNOWN:
        _seen.clear()
    times = _seen[text] = _seen.get(text, 0) + 1
    if times < _PREPARE_AFTER or len(_prepared) >= _MOST_PREPARED:
        return None
    digest = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    ready = _prepared[text] = Prepared(f"list_{digest}", text, tuple(values.types))
    return ready


def _named(values: Values) -> dict[str, Any]:
    return {f"p{number}": item for number, item in enumerate(values.items, 1)}


def _spelled(text: str, values: Values) -> str:
    """The statement with named places and casts, as psycopg2 takes it."""
    return _PLACE.sub(
        lambda found: f"%(p{found[1]})s::{values.types[int(found[1]) - 1]}", text.replace("%", "%%")
    )
