"""The uploaded file in PostgreSQL, written in chunks and read like a file on disk.

Called by the service (writing) and by the job, the preview and the error file (reading). No process ever
holds a whole text file; only workbooks are, because their reader needs them so.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

from sqlalchemy import delete, insert, select

from crm_server.domain.imports.models import CHUNK_BYTES, Import, ImportChunk

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

__all__ = ["drop_file", "open_file", "store_file"]

_CACHED = 4


def store_file(session: Session, import_id: UUID, file: BinaryIO, limit: int) -> tuple[int, bytes]:
    """Copies ``file`` into chunks; returns (size in bytes, SHA-256).

    Raises ValueError when it is longer than ``limit`` bytes; the caller's transaction is then rolled back.
    """
    digest = hashlib.sha256()
    size = number = 0
    file.seek(0)
    while body := file.read(CHUNK_BYTES):
        size += len(body)
        if size > limit:
            raise ValueError(limit)
        digest.update(body)
        session.execute(
            insert(ImportChunk.__table__),  # type: ignore[arg-type]
            [{"import_id": import_id, "number": number, "body": body}],
        )
        number += 1
    return size, digest.digest()


def drop_file(session: Session, import_id: UUID) -> None:
    """Deletes the chunks; the import keeps its counts and loses its error file."""
    session.execute(delete(ImportChunk).where(ImportChunk.import_id == import_id))
    session.execute(Import.__table__.update().where(Import.id == import_id).values(has_file=False))  # type: ignore[attr-defined]


def open_file(connection: Connection | Session, import_id: UUID, size: int) -> BinaryIO:
    """The stored file as a seekable binary file. Each chunk is fetched when it is first read."""

    def fetch(number: int) -> bytes:
        query = select(ImportChunk.body).where(
            ImportChunk.import_id == import_id, ImportChunk.number == number
        )
        body = connection.execute(query).scalar()
        return b"" if body is None else bytes(body)

    return cast("BinaryIO", io.BufferedReader(_Chunks(fetch, size), 256 << 10))


class _Chunks(io.RawIOBase):
    """Random access over numbered chunks, with the last few kept."""

    def __init__(self, fetch: Callable[[int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._place = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place; beyond the end is allowed and reads nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills the buffer from one chunk; a buffered reader asks again."""
        if self._place >= self._size:
            return 0
        number, start = divmod(self._place, CHUNK_BYTES)
        if number not in self._kept:
            self._kept[number] = self._fetch(number)
            if len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        part = self._kept[number][start : start + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)
