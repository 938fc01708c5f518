"""COPY in PostgreSQL's binary format: much faster than INSERT, in the same transaction, past the same triggers.

Called by whatever writes many rows: imports, the demo data, tokens of blind indexes. Binary, because ids, times and
sealed documents, of which such rows mostly consist, are neither written as text here nor read from it there.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

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

from crm_server.kernel.loading import copy_into, driver_cursor
from crm_server.kernel.serialization import dumps_text

__all__ = ["copy_bytes", "copy_columns", "copy_rows"]

_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_UUID_OID: Final = 2950
_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_DAY: Final = dt.date(2000, 1, 1).toordinal()
_size = Struct(">i").pack
_big = Struct(">q").pack
_array = Struct(">iiiii").pack

Column: TypeAlias = "Sequence[Any] | repeat[Any]"
"""The values of a column. `itertools.repeat(value, number)` says that all rows have the same."""
Part = bytes | Iterable[bytes]
"""A piece of each row: the same in all of them, or one for each."""


class _Form(NamedTuple):
    """How PostgreSQL has a type on the wire: its size in bytes, None where that differs, and what makes the bytes."""

    size: int | None
    body: Callable[[Any], bytes]


def copy_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Iterable[Any]]
) -> None:
    """Copies rows, each a sequence in the order of ``columns``, into ``table``; see `copy_columns`."""
    given = list(zip(*rows, strict=True))
    if given:
        copy_columns(connection, table, dict(zip(columns, given, strict=True)))


def copy_columns(connection: Connection, table: Table, columns: Mapping[str, Column]) -> None:
    """Copies rows, given as the values of each column, into ``table``.

    A column of ids may be given as their 16 bytes each, without making UUIDs of them; so may one of lists of ids, where
    each list has one.

    Constraint violations raise sqlalchemy.exc errors, as an INSERT would.
    """
    number = next(len(values) for values in columns.values() if not isinstance(values, repeat))
    if not number:
        return
    # Each row begins with the number of its columns. Pieces that are the same in all rows are put together.
    parts: list[Part] = [Struct(">h").pack(len(columns))]
    for name, values in columns.items():
        for part in _parts(_form(table.c[name].type), values):
            if isinstance(part, bytes) and isinstance(before := parts[-1], bytes):
                parts[-1] = before + part
            else:
                parts.append(part)
    rows = zip(*(repeat(one, number) if isinstance(one, bytes) else one for one in parts), strict=True)
    body = b"".join((_HEAD, *chain.from_iterable(rows), _TAIL))
    copy_bytes(connection, (table.schema or "public", table.name), list(columns), body)


def copy_bytes(connection: Connection, table: tuple[str, str], columns: Sequence[str], body: bytes) -> None:
    """Copies rows that are in the binary format already into a table, given by its schema and name.

    Constraint violations raise sqlalchemy.exc errors, as an INSERT would.
    """
    with driver_cursor(connection, f"COPY {'.'.join(table)}") as cursor:
        copy_into(cursor, *table, columns, io.BytesIO(body), binary=True)


def _parts(form: _Form, values: Column) -> Sequence[Part]:
    """The cells of a column, each with its size in front; what can be is left to loops that aren't Python's."""
    if isinstance(values, repeat):
        return (_cell(form, next(values)),)
    if values[0] is values[-1] and len(set(map(id, values))) == 1:
        return (_cell(form, values[0]),)
    kinds = set(map(type, values))
    if type(None) in kinds:
        return ([_cell(form, value) for value in values],)
    if form.size is not None:
        ready = form is _UUID and kinds == {bytes}
        return (_size(form.size), values if ready else map(form.body, values))
    if form is _JSON:
        # Facts of events: few different ones, and many rows have the same object.
        different = dict(zip(map(id, values), values, strict=True))
        known = {key: _json(value) for key, value in different.items()}
        bodies = [known[key] for key in map(id, values)]
    else:
        bodies = list(map(form.body, values))
    return (map(_size, map(len, bodies)), bodies)


def _cell(form: _Form, value: Any) -> bytes:
    if value is None:
        return _NULL
    body = value if form is _UUID and type(value) is bytes else form.body(value)
    return _size(len(body)) + body


def _form(kind: Any) -> _Form:
    for known, form in _FORMS:
        if isinstance(kind, known):
            return form
    raise TypeError(f"no binary form of {kind!r} is known; add one to crm_server/kernel/copying.py")


def _json(value: Any) -> bytes:
    # jsonb has a version in front.
    return b"\x01" + dumps_text(value).encode()


def _moment(value: dt.datetime) -> bytes:
    past = value - _EPOCH
    return _big((past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds)


def _uuids(value: Sequence[Any]) -> bytes:
    if type(value) is bytes:
        return _ALONE + value
    if len(value) == 1:
        return _ALONE + value[0].bytes
    items = b"".join(b"\0\0\0\x10" + item.bytes for item in value)
    return _array(1, 0, _UUID_OID, len(value), 1) + items if items else Struct(">iii").pack(0, 0, _UUID_OID)


_ALONE: Final = _array(1, 0, _UUID_OID, 1, 1) + b"\0\0\0\x10"
_UUID: Final = _Form(16, attrgetter("bytes"))
_JSON: Final = _Form(None, _json)
_FORMS: Final[tuple[tuple[Any, _Form], ...]] = (
    (Uuid, _UUID),
    (SmallInteger, _Form(2, Struct(">h").pack)),
    (BigInteger, _Form(8, _big)),
    (Integer, _Form(4, _size)),
    (Boolean, _Form(1, (b"\0", b"\1").__getitem__)),
    (DateTime, _Form(8, _moment)),
    (Date, _Form(4, lambda value: _size(value.toordinal() - _DAY))),
    (LargeBinary, _Form(None, bytes)),
    (JSONB, _JSON),
    (Text, _Form(None, str.encode)),
    (ARRAY, _Form(None, _uuids)),
)
"""The first that fits. SQLAlchemy's small and big integers are integers as well, so they stand before it."""
