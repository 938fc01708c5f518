"""COPY for rows as dictionaries: several times faster than INSERT, in the same transaction, past the same
triggers.

Called by ``bulk`` for new records and for their audit events.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table

from crm_server.kernel.serialization import dumps_text

__all__ = ["copy_rows"]

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Iterable[Any]]
) -> None:
    """Copies rows, each a sequence in the order of ``columns``, into ``table``.

    Constraint violations raise sqlalchemy.exc errors, as an INSERT would.
    """
    body = "".join("\t".join(map(_text, row)) + "\n" for row in rows)
    if not body:
        return
    quote = connection.dialect.identifier_preparer
    names = ", ".join(quote.quote(name) for name in columns)
    statement = f"COPY {quote.format_table(table)} ({names}) FROM STDIN"
    # COPY is psycopg2's own.
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        try:
            cursor.copy_expert(statement, io.StringIO(body))
        except connection.dialect.dbapi.Error as error:  # type: ignore[union-attr]
            # The rest of the code knows the driver's errors as SQLAlchemy's.
            connection._handle_dbapi_exception(error, statement, None, cursor, None)  # noqa: SLF001


def _string(value: str) -> str:
    if "\\" in value or "\n" in value or "\t" in value or "\r" in value:
        return value.translate(_ESCAPES)
    return value


def _other(value: Any) -> str:
    return _string(value.isoformat() if isinstance(value, dt.date) else str(value))


_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _value: "\\N",
    str: _string,
    bool: lambda value: "t" if value else "f",
    int: str,
    UUID: str,
    dt.datetime: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
    bytes: lambda value: "\\\\x" + value.hex(),
    dict: lambda value: _string(dumps_text(value)),
    list: lambda value: "{" + ",".join(map(str, value)) + "}",
}


def _text(value: Any) -> str:
    """One cell in COPY's text format; by a table of types, for this runs some seventy times a row."""
    return _WRITERS.get(type(value), _other)(value)
