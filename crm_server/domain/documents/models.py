"""Attachments and their chunks. The content is never one value, so that no request holds a whole file.

Name, exact size and hash lie in the sealed document, and the padded content in sealed chunks: the database knows of a
file its type, and its size to within an eighth.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, SmallInteger
from sqlalchemy.orm import Mapped

from compliance.datamap import (
    Base,
    EntityKind,
    EntityPolicy,
    KeyClass,
    Sealed,
    Semantic,
    document_version,
    field,
    sealed,
    sealed_document,
)
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, PERSON_FACT, PERSON_NOTE, SYSTEM, TECHNICAL
from crm_server.kernel.model import Record

CHUNK_BYTES = 64 * 1024
"""Size of a chunk before it is sealed; the last one is shorter (ENC-16)."""


class Attachment(Record, Base):
    """A file on a record. The type is found from its content; the name that the sender gave is only shown."""

    __tablename__ = "attachment"
    __entity__ = EntityPolicy(
        17,
        "attachment",
        "attachments",
        _("Attachment"),
        _("Attachments"),
        EntityKind.PART,
        title="filename",
        subject="subject_id",
        icon="paperclip",
    )
    __table_args__ = (
        Index("ix_attachment_record", "record_type", "record_id"),
        Index("ix_attachment_subject", "subject_id"),
        {"schema": "crm"},
    )

    record_type: Mapped[int] = field(
        20,
        Semantic.SMALL_INTEGER,
        _("Kind of record"),
        SYSTEM,
        required=True,
        managed=True,
        sql=SmallInteger(),
    )
    record_id: Mapped[UUID] = field(21, Semantic.ID, _("Record"), SYSTEM, required=True, managed=True)
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    filename: Sealed[str] = sealed(22, Semantic.TEXT, _("File name"), PERSON_NOTE, required=True)
    media_type: Mapped[str] = field(
        23, Semantic.TEXT, _("Type"), BUSINESS, required=True, managed=True, max_length=100
    )
    size: Sealed[int] = sealed(
        24, Semantic.INTEGER, _("Size"), PERSON_FACT, required=True, managed=True, minimum=1, maximum=2**53
    )
    sha256: Sealed[str] = sealed(
        25, Semantic.TEXT, _("SHA-256"), PERSON_FACT, required=True, managed=True, max_length=64
    )
    subject_id: Mapped[UUID | None] = field(
        26,
        Semantic.REFERENCE,
        _("Data subject"),
        SYSTEM,
        managed=True,
        target="data_subject",
        references="crm.data_subject.id",
        ondelete="SET NULL",
    )

    stream: Mapped[bytes] = field(
        27, Semantic.BYTES, _("Head of the sealed content"), TECHNICAL, required=True, managed=True
    )
    stream_version: Mapped[int] = field(
        28, Semantic.INTEGER, _("Version of the sealed content"), TECHNICAL, required=True, managed=True
    )


class AttachmentChunk(Base):
    """64 KiB of the padded content of an attachment, sealed."""

    __tablename__ = "attachment_chunk"
    __entity__ = EntityPolicy(
        18,
        "attachment_chunk",
        "attachment-chunks",
        _("Attachment chunk"),
        _("Attachment chunks"),
        EntityKind.TECHNICAL,
        subject="attachment_id",
    )
    __table_args__ = (
        # Checked at commit: chunks are written while the file comes in, when neither its size nor its hash is known.
        ForeignKeyConstraint(
            ["attachment_id"],
            ["crm.attachment.id"],
            ondelete="CASCADE",
            deferrable=True,
            initially="DEFERRED",
        ),
        {"schema": "crm"},
    )

    attachment_id: Mapped[UUID] = field(
        1, Semantic.REFERENCE, _("Attachment"), SYSTEM, primary_key=True, target="attachment"
    )
    number: Mapped[int] = field(2, Semantic.INTEGER, _("Number"), SYSTEM, primary_key=True)
    body: Mapped[bytes] = field(3, Semantic.BYTES, _("Content"), PERSON_NOTE, required=True)
