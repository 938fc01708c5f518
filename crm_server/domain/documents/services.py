"""Storing and giving out attachments, a chunk at a time: no request ever holds a whole file."""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from sqlalchemy import delete, insert, select

from compliance.audit.events import Event, write
from compliance.datamap import Access
from compliance.datamap.text import _
from crm_server.domain.base import DomainService
from crm_server.domain.documents.filetypes import check_package, media_type
from crm_server.domain.documents.models import CHUNK_BYTES, Attachment, AttachmentChunk
from crm_server.domain.documents.sealing import StoredContent, begin, reopen
from crm_server.kernel import reach
from crm_server.kernel.clock import now
from crm_server.kernel.db import open_session, setting
from crm_server.kernel.errors import BadRequest, NotAllowed, NotFound, PersonErased, TooLarge
from crm_server.kernel.ids import new_id
from crm_server.kernel.rowrules import RowAction
from security.crypto.chunks import open_stream, seal_stream
from security.crypto.errors import KeyErased

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from sqlalchemy.orm import Session, sessionmaker

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.actor import Actor

_BATCH = 8
"""Chunks written or read in one statement: half a mebibyte."""
Place = tuple[str, "UUID"]
"""A record, by the name of its entity and its key."""


class AttachmentService(DomainService):
    """Attachments of records. Who may read a record may read its files, who may change it may add and remove them."""

    entity_name = "attachment"

    def store(self, place: Place, filename: str, stream: BinaryIO) -> Attachment:
        """Take a file in.

        Args:
            place: The record that it belongs to.
            filename: As the sender named it; folders and control characters are taken off.
            stream: Its content, read in chunks.

        Raises:
            TooLarge: more than the setting `upload_limit`; nothing is kept.
            UnsupportedMedia: see `filetypes.media_type` and `filetypes.check_package`.
            BadRequest: the file is empty.
        """
        entity, record = self._place(place, "update")
        name = clean_filename(filename)
        key, subject = new_id(), subject_of(entity, record)
        content = _Incoming(stream, name, setting(self.session, "upload_limit"))
        try:
            cipher = begin(self.session, key, subject)
        except KeyErased:
            raise PersonErased from None
        batch: list[dict[str, Any]] = []
        for number, body in enumerate(seal_stream(cipher, content)):
            batch.append({"attachment_id": key, "number": number, "body": body})
            if len(batch) == _BATCH:
                self._write(batch)
        if not content.size:
            raise BadRequest(_("The file is empty."))
        self._write(batch)
        stored = StoredContent(self.session, cipher, key, content.size)
        check_package(name, io.BufferedReader(stored, CHUNK_BYTES))
        found = Attachment(
            id=key,
            record_type=entity.number,
            record_id=place[1],
            filename=name,
            media_type=content.kind,
            size=content.size,
            sha256=content.hashed.hexdigest(),
            subject_id=subject,
            stream=cipher.header,
            stream_version=1,
            owner_id=self._author(),
            created_by=self._author(),
            updated_by=self._author(),
        )
        self.session.add(found)
        self._flush()
        return found

    def of(self, place: Place) -> list[Attachment]:
        """The attachments of a record, newest first."""
        entity, _record = self._place(place, "read")
        return list(
            self.session.scalars(
                select(Attachment)
                .where(
                    Attachment.record_type == entity.number,
                    Attachment.record_id == place[1],
                    Attachment.deleted_at.is_(None),
                )
                .order_by(Attachment.created_at.desc(), Attachment.id.desc())
            )
        )

    def open(self, attachment_id: UUID) -> Attachment:
        """An attachment that the actor is about to read; the reading is an event of the audit log.

        A file may hold anything about anybody, and no mask reaches into it: whoever sees personal fields masked or not
        at all may not read it.

        Raises:
            NotAllowed: the role has no level of reading for personal fields.
        """
        found = self._readable(attachment_id, "read")
        if not readable_by(self.actor):
            raise NotAllowed(
                "field:personal",
                _(
                    "Files may hold personal data in clear, and your role sees personal data masked or not at all."
                ),
            )
        try:
            reopen(self.session, found, found.subject_id)
        except KeyErased:
            raise NotFound(_("This file was erased together with the person whom it was about.")) from None
        event = Event(
            "read",
            "download",
            object_type=self.entity.number,
            object_ref=found.id,
            subjects=(found.subject_id,) if found.subject_id else (),
            meta={"size": found.size},
        )
        write(self.session.connection(), self.actor, [event])
        return found

    def remove(self, attachment_id: UUID) -> None:
        """Put an attachment into the bin."""
        found = self._readable(attachment_id, "update")
        found.deleted_at, found.deleted_by = now(), self._author()
        self._flush()

    def require(self, action: str) -> None:
        """Attachments have no permissions of their own: `store`, `of`, `open` and `remove` ask for the record's."""
        if not self.actor.all_permissions:
            raise NotAllowed(f"crm:attachment:{action}")

    def _readable(self, attachment_id: UUID, action: str) -> Attachment:
        found = self.session.get(Attachment, attachment_id)
        if found is None or found.deleted_at is not None:
            raise NotFound
        entity = self.datamap.by_number(found.record_type)
        if entity is None:
            raise NotFound
        self._place((entity.name, found.record_id), action)
        return found

    def _place(self, place: Place, action: str) -> tuple[EntityDef, Any]:
        entity = self.datamap.entities.get(place[0])
        if entity is None or not entity.exposed:
            raise NotFound
        permission = f"crm:{entity.name}:{action}"
        if not self.actor.may(permission):
            raise NotAllowed(permission)
        record = self.session.get(entity.model, place[1])
        if record is None or record.deleted_at is not None:
            raise NotFound
        reach.require(self.session, entity, record.id, RowAction(action), made=True)
        return entity, record

    def _write(self, batch: list[dict[str, Any]]) -> None:
        if batch:
            self.session.execute(insert(AttachmentChunk), batch)
            batch.clear()


def stream(factory: sessionmaker[Session], actor: Actor, attachment_id: UUID) -> Iterator[bytes]:
    """The content of an attachment in chunks, over a session of its own.

    The answer to a request is sent when its transaction is over, so the content is read by another one. Whoever calls
    this has asked `AttachmentService.open` first.
    """
    with open_session(factory, actor) as session:
        found = session.get_one(Attachment, attachment_id)
        cipher = reopen(session, found, found.subject_id)
        yield from open_stream(cipher, _bodies(session, attachment_id))


def _bodies(session: Session, attachment_id: UUID) -> Iterator[bytes]:
    following = 0
    while True:
        rows = session.execute(
            select(AttachmentChunk.number, AttachmentChunk.body)
            .where(AttachmentChunk.attachment_id == attachment_id, AttachmentChunk.number >= following)
            .order_by(AttachmentChunk.number)
            .limit(_BATCH)
        ).all()
        # Between two reads no connection is held: a slow reader must not starve the others.
        session.rollback()
        for _number, body in rows:
            yield bytes(body)
        if len(rows) < _BATCH:
            return
        following = rows[-1].number + 1


def readable_by(actor: Actor) -> bool:
    """Whether an actor may read the content of files, given that the record is theirs to read."""
    return actor.field_level(Access.PERSONAL) in {"read", "write"}


def download_headers(attachment: Attachment) -> dict[str, str]:
    """Headers of a download: never shown inside the page, never guessed at (RFC 6266, RFC 8187)."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", attachment.filename)
    return {
        "Content-Type": attachment.media_type,
        "Content-Length": str(attachment.size),
        "Content-Disposition": (
            f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(attachment.filename, safe='')}"
        ),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-store",
        "ETag": f'"{attachment.sha256}"',
    }


def move(session: Session, datamap: DataMap, source: Place, target: Place) -> int:
    """Hand the attachments of one record to another, in the transaction of the act that does so; returns how many."""
    old, new = datamap[source[0]], datamap[target[0]]
    record = session.get(new.model, target[1])
    found = session.scalars(
        select(Attachment).where(Attachment.record_type == old.number, Attachment.record_id == source[1])
    ).all()
    for attachment in found:
        attachment.record_type, attachment.record_id = new.number, target[1]
        attachment.subject_id = subject_of(new, record)
    session.flush()
    return len(found)


def forget(session: Session, entity: EntityDef, record_id: UUID) -> None:
    """Remove the attachments of a record that is purged."""
    session.execute(
        delete(Attachment).where(Attachment.record_type == entity.number, Attachment.record_id == record_id)
    )


def subject_of(entity: EntityDef, record: Any) -> UUID | None:
    """The data subject that a record leads to, if any."""
    return getattr(record, "subject_id", None) if entity.policy.subject == "subject_id" else None


def clean_filename(text: str) -> str:
    """A name to show: no folders, no control characters, at most 200 characters with its extension kept."""
    name = unicodedata.normalize("NFC", text).replace("\\", "/").rpartition("/")[2]
    # Cf holds the characters that turn the direction of writing and so hide an extension.
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cf", "Cs"}).strip(" .")
    stem, dot, extension = name.rpartition(".")
    if len(name) > 200:
        name = f"{stem[: 199 - len(extension)]}{dot}{extension}"[-200:]
    return name or "file"


class _Incoming:
    """A file on its way in: counted, hashed, and looked at while it is sealed."""

    def __init__(self, stream_in: BinaryIO, name: str, limit: int) -> None:
        self._stream, self._name, self._limit = stream_in, name, limit
        self.size, self.kind, self.hashed = 0, "", hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """Exactly so many bytes, however little each read of the stream gives, and less at its end.

        Raises:
            TooLarge, UnsupportedMedia: see `AttachmentService.store`.
        """
        body = b""
        while len(body) < size and (part := self._stream.read(size - len(body))):
            body += part
        if body and not self.size:
            self.kind = media_type(self._name, body)
        self.size += len(body)
        if self.size > self._limit:
            raise TooLarge(_("Files may have at most ${n} MB.", mapping={"n": self._limit // 1_000_000}))
        self.hashed.update(body)
        return body


__all__ = ["AttachmentService", "download_headers", "forget", "move", "readable_by", "stream"]
