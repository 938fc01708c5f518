"""The content of attachments as a stream of sealed chunks, under the key of the person that their record is about.

Files of records about nobody are sealed under the tenant's own key. When a record is handed to another person (a lead
becomes an existing contact, two persons are joined), the flush that says so seals the content anew.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event, inspect, select, update
from sqlalchemy.orm import Session

from compliance.datamap import KeyClass
from compliance.datamap.documents import sealed_for
from crm_server.domain.documents.models import CHUNK_BYTES, Attachment, AttachmentChunk
from crm_server.kernel.keys import keys_of
from security.crypto.chunks import ChunkCipher
from security.crypto.document import document_kid
from security.crypto.padding import padded_size

if TYPE_CHECKING:
    from uuid import UUID

    from compliance.datamap.documents import Layout

_ENTITY: Final = AttachmentChunk.__entity__.number
_CLASS: Final = KeyClass.IDENTITY


def begin(session: Session, attachment_id: UUID, subject: UUID | None, version: int = 1) -> ChunkCipher:
    """A new stream. Raises KeyErased for a person who was erased."""
    vault = keys_of(session)
    owner = subject or vault.tenant
    key = vault.for_sealing(owner, _CLASS)
    column = vault.column(_ENTITY, _CLASS)
    return ChunkCipher.create(column, key, attachment_id.bytes, owner.bytes, version)


def reopen(session: Session, attachment: Attachment, subject: UUID | None) -> ChunkCipher:
    """The stream of an attachment that was sealed for `subject`.

    Raises:
        KeyErased: the person was erased, and the content with them.
        CryptoError: the header doesn't belong here.
    """
    vault = keys_of(session)
    owner = subject or vault.tenant
    header = attachment.stream
    key = vault.by_id(document_kid(header))
    column = vault.column(_ENTITY, _CLASS)
    version = attachment.stream_version
    return ChunkCipher.from_header(column, key, header, attachment.id.bytes, owner.bytes, version)


class StoredContent(io.RawIOBase):
    """Stored content to look into here and there, without holding it. Each chunk opens alone."""

    def __init__(self, session: Session, cipher: ChunkCipher, key: UUID, size: int) -> None:
        super().__init__()
        self._session, self._cipher, self._key, self._size, self._at = session, cipher, key, size, 0
        self._last = -(-padded_size(size) // CHUNK_BYTES) - 1
        self._held: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of the chunk that the place lies in."""
        number, start = divmod(self._at, CHUNK_BYTES)
        left = min(len(buffer), self._size - self._at)
        if left <= 0:
            return 0
        if self._held[0] != number:
            query = select(AttachmentChunk.body).where(
                AttachmentChunk.attachment_id == self._key, AttachmentChunk.number == number
            )
            body = bytes(self._session.scalar(query) or b"")
            self._held = (number, self._cipher.open(number, body, last=number == self._last))
        part = self._held[1][start : start + left]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _seal_anew(session: Session, attachment: Attachment) -> None:
    """Chunk by chunk: what is padded stays so."""
    layout: Layout = Attachment.__layout__  # type: ignore[attr-defined]
    old = reopen(session, attachment, sealed_for(attachment, layout, session))
    version = attachment.stream_version + 1
    new = begin(session, attachment.id, attachment.subject_id, version)
    connection = session.connection()
    place = AttachmentChunk.attachment_id == attachment.id
    numbers = connection.scalars(
        select(AttachmentChunk.number).where(place).order_by(AttachmentChunk.number)
    ).all()
    for number in numbers:
        one, last = AttachmentChunk.number == number, number == numbers[-1]
        body = connection.scalar(select(AttachmentChunk.body).where(place, one))
        content = old.open(number, bytes(body or b""), last=last)
        connection.execute(
            update(AttachmentChunk).where(place, one).values(body=new.seal(number, content, last=last))
        )
    attachment.stream, attachment.stream_version = new.header, version


@event.listens_for(Session, "before_flush")
def _follow(session: Session, _context: Any, _instances: Any) -> None:
    """Keep the content under the key of the person whose file it is."""
    for instance in session.dirty:
        if isinstance(instance, Attachment) and inspect(instance).attrs.subject_id.history.has_changes():
            _seal_anew(session, instance)
