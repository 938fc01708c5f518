"""Attachments, exports and queued mail as a stream of sealed chunks (ENC-16).

A stream begins with the header ``0x01 | suite | kid 16 | salt 16 | commitment 32``. Then come the chunks,
``nonce 12 | ciphertext | tag 16`` (suite 1) or ``IV 16 | ciphertext | tag 32`` (suite 2). The keys are derived once a
stream, with the label ``kontor/chunks/v1``. Each chunk holds 65,536 bytes of padded content, the last one the rest. The
associated data of a chunk is the document's, an array of nine, with two items more: its index and whether it is the
last. So chunks can be neither moved nor left out, and any one opens alone (HTTP ranges). The whole content is padded to
its bucket (see :mod:`security.crypto.padding`) before it is cut, so the size of a file is hidden like a document's.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Iterator
from typing import Final, NoReturn, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.crypto import cbc
from security.crypto.cbor import uint
from security.crypto.document import (
    FORMAT,
    HEADER_SIZE,
    SUITE_GCM,
    DocumentKey,
    SealedColumn,
    check_suite,
)
from security.crypto.errors import (
    DocumentAltered,
    DocumentMoved,
    MalformedDocument,
    StreamTruncated,
    UnknownSuite,
    WrongKey,
)
from security.crypto.padding import padded_size

CHUNK_SIZE: Final = 65_536
LABEL: Final = b"kontor/chunks/v1"
MAX_CHUNKS: Final = 2**32


class Readable(Protocol):
    """Anything with a ``read(size)`` that returns bytes, and empty bytes at the end."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes."""
        ...


class ChunkCipher:
    """The keys of one stream: seals and opens single chunks.

    Made by :meth:`create` or :meth:`from_header`; ``header`` (66 bytes) is stored beside or before the chunks.
    """

    __slots__ = ("_aad", "_gcm", "_okm", "header", "suite")

    def __init__(self, header: bytes, okm: bytes, aad: bytes) -> None:
        self.header = header
        self.suite = header[1]
        self._okm = okm
        # The array of nine items becomes one of eleven.
        self._aad = b"\x8b" + aad[1:]
        self._gcm = AESGCM(okm[:32]) if self.suite == SUITE_GCM else None

    @classmethod
    def create(
        cls, column: SealedColumn, key: DocumentKey, record: bytes, subject: bytes, version: int
    ) -> ChunkCipher:
        """Begin a new stream for a record. Raises WrongKey for another owner's key."""
        if key.subject != subject or key.tenant != column.tenant or key.key_class != column.key_class:
            raise WrongKey("The data key belongs to another subject, tenant or key class than the record.")
        salt = os.urandom(16)
        aad = column.aad(column.suite, key.kid, record, subject, version)
        okm = key.okm(LABEL, salt, aad, cbc.OKM_SIZE)
        return cls(bytes((FORMAT, column.suite)) + key.kid + salt + okm[32:64], okm, aad)

    @classmethod
    def from_header(
        cls,
        column: SealedColumn,
        key: DocumentKey,
        header: bytes,
        record: bytes,
        subject: bytes,
        version: int,
    ) -> ChunkCipher:
        """Open the header of a stream. Raises MalformedDocument, UnknownSuite, WrongKey, DocumentMoved."""
        if len(header) != HEADER_SIZE:
            raise MalformedDocument("The header of a stream has 66 bytes.")
        suite = check_suite(header)
        if suite not in column.suites:
            raise UnknownSuite(f"Suite {suite} isn't allowed by the profile in force.")
        aad = column.aad(suite, header[2:18], record, subject, version)
        okm = key.okm(LABEL, header[18:34], aad, cbc.OKM_SIZE)
        if not hmac.compare_digest(okm[32:64], header[34:66]):
            if header[2:18] != key.kid:
                raise WrongKey("The stream names another data key than the one it was to be opened with.")
            raise DocumentMoved(
                "The stream doesn't belong here: it was moved, put back, or its header was altered."
            )
        return cls(header, okm, aad)

    def _chunk_aad(self, index: int, *, last: bool) -> bytes:
        if not 0 <= index < MAX_CHUNKS:
            raise ValueError("A stream has at most 2**32 chunks.")
        return self._aad + uint(index) + (b"\xf5" if last else b"\xf4")

    def seal(self, index: int, content: bytes, *, last: bool) -> bytes:
        """Seal one chunk of already padded content."""
        aad = self._chunk_aad(index, last=last)
        if self._gcm is None:
            return cbc.encrypt(self._okm, content, aad)
        nonce = os.urandom(12)
        return nonce + self._gcm.encrypt(nonce, content, aad)

    def open(self, index: int, sealed: bytes, *, last: bool) -> bytes:
        """Open one chunk; its content is still padded at the end of the stream.

        Raises StreamTruncated when the chunk is genuine but is (or isn't) the last one, else DocumentAltered.
        """
        content = self._try(index, sealed, last=last)
        if content is not None:
            return content
        if self._try(index, sealed, last=not last) is not None:
            raise StreamTruncated("The stream ends too early, or goes on after its end.")
        raise DocumentAltered(f"Chunk {index} of a stream was altered, moved or is missing.")

    def _try(self, index: int, sealed: bytes, *, last: bool) -> bytes | None:
        aad = self._chunk_aad(index, last=last)
        try:
            if self._gcm is None:
                return cbc.decrypt(self._okm, sealed, aad)
            if len(sealed) < 28:
                raise MalformedDocument("A chunk is shorter than its nonce and tag.")
            return self._gcm.decrypt(sealed[:12], sealed[12:], aad)
        except (InvalidTag, DocumentAltered):
            return None

    def __repr__(self) -> str:
        return f"ChunkCipher(suite={self.suite})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")


def seal_stream(cipher: ChunkCipher, source: Readable) -> Iterator[bytes]:
    """Read ``source`` to its end and yield its sealed chunks, never holding more than two of them in memory."""
    index, total = 0, 0
    buffer = bytearray()
    while data := source.read(CHUNK_SIZE):
        total += len(data)
        buffer += data
        while len(buffer) > CHUNK_SIZE:
            yield cipher.seal(index, bytes(buffer[:CHUNK_SIZE]), last=False)
            del buffer[:CHUNK_SIZE]
            index += 1
    padding = padded_size(total) - total - 1
    buffer += b"\x80"
    while padding or len(buffer) > CHUNK_SIZE:
        size = min(padding, max(0, CHUNK_SIZE - len(buffer)))
        buffer += bytes(size)
        padding -= size
        if len(buffer) > CHUNK_SIZE or (padding and len(buffer) == CHUNK_SIZE):
            yield cipher.seal(index, bytes(buffer[:CHUNK_SIZE]), last=False)
            del buffer[:CHUNK_SIZE]
            index += 1
    yield cipher.seal(index, bytes(buffer), last=True)


def open_stream(cipher: ChunkCipher, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Open all chunks in order and yield their content without the padding.

    Content is yielded before the end was seen, so a caller that must not act on half a stream reads it all first.
    Raises StreamTruncated, DocumentAltered, MalformedDocument.
    """
    strip = _Unpadder()
    index = 0
    waiting: bytes | None = None
    for sealed in chunks:
        if waiting is not None:
            yield from strip.feed(cipher.open(index, waiting, last=False))
            index += 1
        waiting = sealed
    if waiting is None:
        raise StreamTruncated("The stream has no chunks at all.")
    yield from strip.feed(cipher.open(index, waiting, last=True))
    strip.finish()


class _Unpadder:
    """Holds back what may be padding: the marker and the zeros after it, as a number and not as bytes."""

    def __init__(self) -> None:
        self._zeros = -1
        self._total = 0
        self._emitted = 0

    def feed(self, content: bytes) -> Iterator[bytes]:
        self._total += len(content)
        kept = content.rstrip(b"\0")
        zeros = len(content) - len(kept)
        if not kept and self._zeros >= 0:
            self._zeros += zeros
            return
        yield from self._release()
        if kept.endswith(b"\x80"):
            self._zeros = zeros
            kept = kept[:-1]
        else:
            kept = content
        if kept:
            self._emitted += len(kept)
            yield kept

    def _release(self) -> Iterator[bytes]:
        """Give out a marker that turned out to be content."""
        if self._zeros < 0:
            return
        left, self._zeros = self._zeros, -1
        self._emitted += left + 1
        yield b"\x80"
        while left:
            size = min(left, CHUNK_SIZE)
            yield bytes(size)
            left -= size

    def finish(self) -> None:
        if self._zeros < 0 or padded_size(self._emitted) != self._total:
            raise MalformedDocument(
                "The padding at the end of a stream is wrong: it was written by other software."
            )
