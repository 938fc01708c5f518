"""COPY in PostgreSQL's binary format: much faster than INSERT, in the same transaction, past the same triggers.

Called by whatever writes many rows: imports, the demo data, tokens of blind indexes. Binary, because ids, times and
sealed documents, of which such rows mostly consist, are neither written as text here nor read from it there.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from struct import Struct
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crm_server.kernel.loading import copy_into
from crm_server.kernel.serialization import dumps_text

__all__ = ["copy_columns", "copy_rows"]

_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_UUID_OID: Final = 2950
_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_DAY: Final = dt.date(2000, 1, 1).toordinal()
_size = Struct(">i").pack
_small, _int, _big = Struct(">ih").pack, Struct(">ii").pack, Struct(">iq").pack

Writer = Callable[[Any], bytes]


def copy_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Iterable[Any]]
) -> None:
    """Copies rows, each a sequence in the order of ``columns``, into ``table``; see `copy_columns`."""
    given = list(zip(*rows, strict=True))
    if given:
        copy_columns(connection, table, dict(zip(columns, given, strict=True)))


def copy_columns(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Copies rows, given as the values of each column, into ``table``.

    Constraint violations raise sqlalchemy.exc errors, as an INSERT would.
    """
    number = len(next(iter(columns.values())))
    if not number:
        return
    # Each row begins with the number of its columns. Cells that are the same in all rows are put together.
    parts: list[bytes | Iterable[bytes]] = [Struct(">h").pack(len(columns))]
    for name, values in columns.items():
        cells, before = _column(_writer(table.c[name].type), values), parts[-1]
        if isinstance(cells, bytes) and isinstance(before, bytes):
            parts[-1] = before + cells
        else:
            parts.append(cells)
    rows = zip(*(repeat(one, number) if isinstance(one, bytes) else one for one in parts), strict=True)
    body = b"".join((_HEAD, *chain.from_iterable(rows), _TAIL))
    # COPY is psycopg2's own.
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        try:
            copy_into(
                cursor, table.schema or "public", table.name, list(columns), io.BytesIO(body), binary=True
            )
        except connection.dialect.dbapi.Error as error:  # type: ignore[union-attr]
            # The rest of the code knows the driver's errors as SQLAlchemy's.
            connection._handle_dbapi_exception(error, f"COPY {table.fullname}", None, cursor, None)  # noqa: SLF001


def _column(write: Writer, values: Sequence[Any]) -> bytes | Iterable[bytes]:
    """The cells of one column, or the one cell of a column that holds the same object in every row, as many do."""
    if values[0] is values[-1] and len(set(map(id, values))) == 1:
        return _NULL if values[0] is None else write(values[0])
    if None in values:
        return [_NULL if value is None else write(value) for value in values]
    return map(write, values)


def _writer(kind: Any) -> Writer:
    for known, write in _WRITERS:
        if isinstance(kind, known):
            return write
    raise TypeError(f"no binary form of {kind!r} is known; add one to crm_server/kernel/copying.py")


def _text(value: str) -> bytes:
    body = value.encode()
    return _size(len(body)) + body


def _bytes(value: bytes) -> bytes:
    return _size(len(value)) + value


def _json(value: Any) -> bytes:
    body = dumps_text(value).encode()
    # jsonb has a version in front.
    return _size(len(body) + 1) + b"\x01" + body


def _moment(value: dt.datetime) -> bytes:
    past = value - _EPOCH
    return _big(8, (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds)


def _uuids(value: Sequence[Any]) -> bytes:
    items = b"".join(b"\0\0\0\x10" + item.bytes for item in value)
    if not value:
        return _size(12) + Struct(">iii").pack(0, 0, _UUID_OID)
    return _size(20 + len(items)) + Struct(">iiiii").pack(1, 0, _UUID_OID, len(value), 1) + items


_WRITERS: tuple[tuple[Any, Writer], ...] = (
    (Uuid, lambda value: b"\0\0\0\x10" + value.bytes),
    (SmallInteger, lambda value: _small(2, value)),
    (BigInteger, lambda value: _big(8, value)),
    (Integer, lambda value: _int(4, value)),
    (Boolean, lambda value: b"\0\0\0\1\1" if value else b"\0\0\0\1\0"),
    (DateTime, _moment),
    (Date, lambda value: _int(4, value.toordinal() - _DAY)),
    (LargeBinary, _bytes),
    (JSONB, _json),
    (Text, _text),
    (ARRAY, _uuids),
)
"""The first that fits. SQLAlchemy's small and big integers are integers as well, so they stand before it."""
