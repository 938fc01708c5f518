"""The uploaded file in PostgreSQL, written in sealed chunks and read like a file on disk.

Called by the service (writing) and by the job, the preview and the error file (reading). No process ever
holds a whole text file; only workbooks are, because their reader needs them so.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from sqlalchemy import delete, insert, select

from crm_server.domain.imports.models import Import, ImportChunk
from crm_server.domain.imports.sealing import begin_file, erase_keys, reopen_file
from crm_server.kernel.ids import new_id
from security.crypto.chunks import CHUNK_SIZE, seal_stream
from security.crypto.padding import padded_size

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

__all__ = ["drop_file", "open_file", "store_file"]

_CACHED = 16
_BATCH = 8
"""Chunks written in one statement: half a mebibyte."""


def store_file(session: Session, import_id: UUID, file: BinaryIO, limit: int) -> tuple[int, bytes]:
    """Seals ``file`` into chunks; returns (size in bytes, SHA-256).

    Raises ValueError when it is longer than ``limit`` bytes; the caller's transaction is then rolled back.
    """
    file.seek(0)
    incoming = _Incoming(file, limit)
    file_id = new_id()
    cipher = begin_file(session, import_id, file_id)
    batch: list[dict[str, Any]] = []
    for number, body in enumerate(seal_stream(cipher, incoming)):
        batch.append({"import_id": import_id, "number": number, "body": body})
        if len(batch) == _BATCH:
            session.execute(insert(ImportChunk.__table__), batch)  # type: ignore[arg-type]
            batch.clear()
    if batch:
        session.execute(insert(ImportChunk.__table__), batch)  # type: ignore[arg-type]
    job = session.get_one(Import, import_id)
    job.file_id, job.stream = file_id, cipher.header
    session.flush()
    return incoming.size, incoming.digest.digest()


def drop_file(session: Session, job: Import) -> None:
    """Deletes the chunks and erases their key; the import keeps its counts and loses its error file."""
    session.execute(delete(ImportChunk).where(ImportChunk.import_id == job.id))
    erase_keys(session, job, job.file_id)
    job.has_file, job.stream = False, None
    session.flush()


def open_file(session: Session, import_id: UUID, size: int) -> BinaryIO:
    """The stored file as a seekable binary file. Each chunk is fetched and opened when it is first read."""
    query = select(Import.file_id, Import.stream).where(Import.id == import_id)
    file_id, header = session.execute(query).one()
    if file_id is None or header is None:
        raise LookupError("the file of this import was removed")
    cipher = reopen_file(session, import_id, file_id, header)
    last = -(-padded_size(size) // CHUNK_SIZE) - 1

    def fetch(number: int) -> bytes:
        query = select(ImportChunk.body).where(
            ImportChunk.import_id == import_id, ImportChunk.number == number
        )
        body = session.execute(query).scalar()
        return cipher.open(number, bytes(body or b""), last=number == last)

    return cast("BinaryIO", io.BufferedReader(_Chunks(fetch, size), 256 << 10))


class _Incoming:
    """A file on its way in: counted and hashed while it is sealed."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._limit = file, limit
        self.size, self.digest = 0, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """The next bytes. Raises ValueError beyond the limit."""
        body = self._file.read(size)
        self.size += len(body)
        if self.size > self._limit:
            raise ValueError(self._limit)
        self.digest.update(body)
        return body


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
        number, start = divmod(self._place, CHUNK_SIZE)
        if number not in self._kept:
            self._kept[number] = self._fetch(number)
            if len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        # Behind the end of the file stands its padding.
        part = self._kept[number][start : start + min(len(buffer), self._size - self._place)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)
