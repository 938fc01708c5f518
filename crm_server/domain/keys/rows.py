"""Reads and renews many rows of `keys.data_key` at once, in PostgreSQL's binary COPY format.

A rotation goes through millions of them; as ordinary rows they would cost five times what wrapping them costs.
"""

from __future__ import annotations

import io
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from security.crypto.reference import WRAPPED_SIZE
from security.crypto.wrap import wrap_context_around

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
_READ: Final = """
copy (
  select kid, tenant, subject, class, generation, epoch, wrapped, kcv from keys.data_key
   where kid > %s and kid <= %s and epoch < %s and wrapped is not null order by kid limit %s
) to stdout with (format binary)
"""
_PLACE: Final = "create temporary table rewrapped (kid bytea, stale bytea, fresh bytea) on commit drop"
# A temporary table has no statistics: without these PostgreSQL might read the whole table for each batch.
_BY_INDEX: Final = "set local enable_hashjoin = off; set local enable_mergejoin = off"
_WRITE: Final = """
update keys.data_key d set epoch = %s, wrapped = v.fresh
  from pg_temp.rewrapped v where d.kid = v.kid and d.wrapped = v.stale
"""
# Ids of 16 bytes each with their lengths, up to the length of the class; and what comes behind the class.
_FIRST: Final = Struct(">h i16s i16s i16s i")
_LAST: Final = Struct(f">i2s i4s i{WRAPPED_SIZE}s i8s")


class StoredKey(NamedTuple):
    """A live data key as it is stored, with the context of its wrapping."""

    kid: bytes
    context: bytes
    epoch: int
    wrapped: bytes
    check_value: bytes


def read(connection: Connection, after: bytes, last: bytes, before: int, most: int) -> list[StoredKey]:
    """Live keys under epochs before `before` whose ids lie in (after, last], in the order of their ids."""
    stream = io.BytesIO()
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        cursor.copy_expert(cursor.mogrify(_READ, (after, last, before, most)).decode(), stream)
    return list(_parsed(stream.getvalue()))


def renew(connection: Connection, epoch: int, keys: Sequence[tuple[bytes, bytes, bytes]]) -> int:
    """Put keys under an epoch: (id, wrapped as it was read, wrapped anew). Returns how many still were as read."""
    row = Struct(f">h i16s i{WRAPPED_SIZE}s i{WRAPPED_SIZE}s").pack
    body = [row(3, 16, kid, WRAPPED_SIZE, stale, WRAPPED_SIZE, fresh) for kid, stale, fresh in keys]
    driver: Any = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        cursor.execute(_PLACE)
        cursor.copy_expert(
            "copy pg_temp.rewrapped from stdin with (format binary)",
            io.BytesIO(b"".join((_HEAD, *body, _TAIL))),
        )
        cursor.execute(_BY_INDEX)
        cursor.execute(_WRITE, (epoch,))
        moved: int = cursor.rowcount
    return moved


def _parsed(data: bytes) -> Iterator[StoredKey]:
    place, end = len(_HEAD), len(data) - len(_TAIL)
    first, last, contexts = _FIRST.unpack_from, _LAST.unpack_from, _contexts
    while place < end:
        _columns, _n, kid, _n, tenant, _n, subject, size = first(data, place)
        place += _FIRST.size
        word = data[place : place + size]
        place += size
        _n, generation, _n, epoch, _n, wrapped, _n, check_value = last(data, place)
        place += _LAST.size
        before, after = contexts(tenant, word, generation)
        yield StoredKey(
            kid, before + subject + after + kid, int.from_bytes(epoch, "big"), wrapped, check_value
        )


@lru_cache(maxsize=256)
def _contexts(tenant: bytes, word: bytes, generation: bytes) -> tuple[bytes, bytes]:
    return wrap_context_around(tenant, word.decode(), int.from_bytes(generation, "big"))


__all__ = ["StoredKey", "read", "renew"]
