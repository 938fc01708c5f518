"""COPY for rows as dictionaries: several times faster than INSERT, in the same transaction, past the same
triggers.

Called by ``bulk`` for new records and for their audit events.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table

from crm_server.kernel.loading import copy_into
from crm_server.kernel.serialization import dumps_text

__all__ = ["copy_rows"]

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Iterable[Any]]
) -> None:
    """Copies rows, each a sequence in the order of ``columns``, into ``table``.

    Constraint violations raise sqlalchemy.exc errors, as an INSERT would.
    """
    cells = [_column(values) for values in zip(*rows, strict=True)]
    if not cells:
        return
    body = "\n".join(map("\t".join, zip(*cells, strict=True))) + "\n"
    # COPY is psycopg2's own.
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        try:
            copy_into(cursor, table.schema or "public", table.name, columns, io.StringIO(body))
        except connection.dialect.dbapi.Error as error:  # type: ignore[union-attr]
            # The rest of the code knows the driver's errors as SQLAlchemy's.
            connection._handle_dbapi_exception(error, f"COPY {table.fullname}", None, cursor, None)  # noqa: SLF001


def _column(values: tuple[Any, ...]) -> Iterable[str]:
    """The cells of one column in COPY's text format.

    Column by column most work is done once: many columns hold the same object in every row, most of the
    others one type.
    """
    if len(set(map(id, values))) == 1:
        return repeat(_text(values[0]), len(values))
    kinds = set(map(type, values))
    if kinds == {str}:
        joined = "".join(values)
        return map(_string, values) if _special(joined) else values
    if len(kinds) == 1:
        return map(_WRITERS.get(kinds.pop(), _other), values)
    return map(_text, values)


def _string(value: str) -> str:
    return value.translate(_ESCAPES) if _special(value) else value


def _special(value: str) -> bool:
    return "\\" in value or "\n" in value or "\t" in value or "\r" in value


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
    """One cell in COPY's text format; by a table of types, for columns of mixed types."""
    return _WRITERS.get(type(value), _other)(value)
