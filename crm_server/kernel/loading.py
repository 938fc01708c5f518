"""COPY into tables under row rules, which PostgreSQL refuses to do directly.

The rows go into a temporary table first, which costs no write-ahead log, and from there with INSERT, so that policies
and triggers see them. Called by imports and by the loader of demo data.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from psycopg2 import Error, sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection


@contextmanager
def driver_cursor(connection: Connection, doing: str) -> Iterator[Any]:
    """A cursor of psycopg2 for what SQLAlchemy has no words for, in the connection's transaction.

    Args:
        connection: Whose transaction it is.
        doing: What is done, without values: errors say it.

    Raises:
        sqlalchemy.exc.DBAPIError: in place of the driver's error, because the rest of the code tells by that whether
        the transaction may be done again, and what was the matter.
    """
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        try:
            yield cursor
        except Error as error:
            connection._handle_dbapi_exception(error, doing, None, cursor, None)  # noqa: SLF001


def copy_into(
    cursor: Any, schema: str, table: str, columns: Sequence[str], stream: IO[Any], *, binary: bool = False
) -> None:
    """COPY a stream in PostgreSQL's text or binary format into a table, in the cursor's transaction.

    Args:
        cursor: Of psycopg2.
        schema: Of the table.
        table: Its name.
        columns: In the order of the stream.
        stream: The rows.
        binary: The stream is in the binary format.

    Raises:
        psycopg2.Error: a constraint or a row rule refuses a row; nothing of the stream is kept.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    target = sql.Identifier(schema, table)
    form = sql.SQL(" with (format binary)" if binary else "")
    copy = sql.SQL("copy {} ({}) from stdin{}")
    cursor.execute(
        "select row_security_active(to_regclass(quote_ident(%s) || '.' || quote_ident(%s)))", (schema, table)
    )
    if not cursor.fetchone()[0]:
        cursor.copy_expert(copy.format(target, names, form).as_string(cursor), stream)
        return
    waiting = sql.Identifier("pg_temp", f"load_{table}")
    # Only the columns that come: constraints and defaults are those of the table itself.
    cursor.execute(
        sql.SQL("create temporary table {} on commit drop as select {} from {} with no data").format(
            sql.Identifier(f"load_{table}"), names, target
        )
    )
    cursor.copy_expert(copy.format(waiting, names, form).as_string(cursor), stream)
    cursor.execute(sql.SQL("insert into {} ({}) select {} from {}").format(target, names, names, waiting))
    cursor.execute(sql.SQL("drop table {}").format(waiting))


__all__ = ["copy_into", "driver_cursor"]
