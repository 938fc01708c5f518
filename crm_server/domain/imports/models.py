"""Tables of imports: the job, its file in chunks, what became of its rows, and mappings that people saved."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import (
    Access,
    Audit,
    Base,
    EntityKind,
    EntityPolicy,
    Erasure,
    Handling,
    KeyClass,
    Privacy,
    Retention,
    Semantic,
    Withheld,
    field,
)
from compliance.datamap.sqltypes import Xid8
from compliance.datamap.text import _
from crm_server.kernel.clock import now
from crm_server.kernel.handling import TECHNICAL
from crm_server.kernel.ids import new_id

STATES = {
    "draft": _("Not started"),
    "queued": _("Waiting"),
    "working": _("Running"),
    "checked": _("Checked"),
    "done": _("Done"),
    "undone": _("Undone"),
    "failed": _("Failed"),
    "stopped": _("Stopped"),
}
PHASES = {"check": _("Check"), "run": _("Import"), "undo": _("Undo")}
OUTCOMES = {
    "failed": _("Not imported"),
    "updated": _("Changed"),
    "merged": _("Repeated in the file"),
    "skipped": _("Left as it was"),
    "kept": _("Could not be undone"),
}

_CONTENT = Handling(
    privacy=Privacy.FREE_TEXT,
    key_class=KeyClass.IDENTITY,
    retention=Retention.OPERATION,
    audit=Audit.FACT,
    erasure=Erasure.DELETE,
    access=Access.SECRET,
    export=Withheld(
        "The records that the file became are exported; the file itself is deleted after its retention."
    ),
)
"""What an uploaded file holds: data of many persons, kept only as long as the import can be undone."""


class Import(Base):
    """One file on its way in. ``rows_done`` is the cursor: rows before it are committed and never done
    twice.
    """

    __tablename__ = "import_job"
    __entity__ = EntityPolicy(
        25, "import", "imports", _("Import"), _("Imports"), EntityKind.TECHNICAL, title="filename"
    )
    __table_args__ = (Index("ix_import_job_created", "created_by", "created_at"), {"schema": "crm"})

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), TECHNICAL, primary_key=True, default=new_id)
    entity: Mapped[str] = field(
        2, Semantic.TEXT, _("Kind of record"), TECHNICAL, required=True, max_length=40
    )
    filename: Mapped[str] = field(3, Semantic.TEXT, _("File name"), TECHNICAL, required=True)
    size: Mapped[int] = field(4, Semantic.INTEGER, _("Size"), TECHNICAL, required=True, sql=BigInteger())
    sha256: Mapped[bytes] = field(5, Semantic.BYTES, _("SHA-256"), TECHNICAL, required=True)
    state: Mapped[str] = field(
        6, Semantic.CHOICE, _("State"), TECHNICAL, required=True, choices=STATES, default="draft",
        server_default=text("'draft'"),
    )  # fmt: skip
    phase: Mapped[str | None] = field(7, Semantic.CHOICE, _("Step"), TECHNICAL, choices=PHASES)
    profile: Mapped[dict[str, Any]] = field(
        8, Semantic.JSON, _("How the file is read"), TECHNICAL, required=True
    )
    mapping: Mapped[dict[str, Any]] = field(9, Semantic.JSON, _("Mapping"), TECHNICAL, required=True)
    styles: Mapped[dict[str, Any] | None] = field(10, Semantic.JSON, _("How columns are written"), TECHNICAL)
    counts: Mapped[dict[str, Any]] = field(
        11,
        Semantic.JSON,
        _("Counts"),
        TECHNICAL,
        required=True,
        server_default=text("'{}'::jsonb"),
        default=dict,
    )
    rows_total: Mapped[int | None] = field(12, Semantic.INTEGER, _("Rows"), TECHNICAL)
    rows_done: Mapped[int] = field(
        13, Semantic.INTEGER, _("Rows done"), TECHNICAL, required=True, default=0, server_default=text("0")
    )
    error: Mapped[str | None] = field(14, Semantic.TEXT, _("Error"), TECHNICAL, max_length=100)
    error_line: Mapped[int | None] = field(15, Semantic.INTEGER, _("Line of the error"), TECHNICAL)
    created_at: Mapped[datetime] = field(
        16,
        Semantic.DATETIME,
        _("Created"),
        TECHNICAL,
        required=True,
        default=now,
        server_default=text("now()"),
    )
    created_by: Mapped[UUID | None] = field(17, Semantic.ID, _("Created by"), TECHNICAL)
    queued_at: Mapped[datetime | None] = field(18, Semantic.DATETIME, _("Queued"), TECHNICAL)
    started_at: Mapped[datetime | None] = field(19, Semantic.DATETIME, _("Started"), TECHNICAL)
    finished_at: Mapped[datetime | None] = field(20, Semantic.DATETIME, _("Finished"), TECHNICAL)
    has_file: Mapped[bool] = field(
        21, Semantic.BOOLEAN, _("File is kept"), TECHNICAL, required=True, default=True,
        server_default=text("true"),
    )  # fmt: skip
    file_id: Mapped[UUID | None] = field(22, Semantic.ID, _("Owner of the file's key"), TECHNICAL)
    stream: Mapped[bytes | None] = field(23, Semantic.BYTES, _("Head of the sealed file"), TECHNICAL)


class ImportChunk(Base):
    """One piece of the uploaded file, sealed."""

    __tablename__ = "import_chunk"
    __entity__ = EntityPolicy(
        26, "import_chunk", "import-chunks", _("Import chunk"), _("Import chunks"), EntityKind.TECHNICAL,
        title="number", subject="import_id",
    )  # fmt: skip
    __table_args__ = ({"schema": "crm"},)

    import_id: Mapped[UUID] = field(
        1, Semantic.REFERENCE, _("Import"), TECHNICAL, primary_key=True, target="import",
        references="crm.import_job.id", ondelete="CASCADE",
    )  # fmt: skip
    number: Mapped[int] = field(2, Semantic.INTEGER, _("Number"), TECHNICAL, primary_key=True)
    body: Mapped[bytes] = field(3, Semantic.BYTES, _("Content"), _CONTENT, required=True)


class ImportRow(Base):
    """What became of a row that was not simply created: why it failed, or what an update overwrote.

    ``ordinal`` counts the rows of the file from 0, ``line`` is where a person finds the row. Created records
    carry the import's id themselves and need no row here.
    """

    __tablename__ = "import_row"
    __entity__ = EntityPolicy(
        27, "import_row", "import-rows", _("Import row"), _("Import rows"), EntityKind.TECHNICAL,
        title="line", subject="import_id",
    )  # fmt: skip
    __table_args__ = ({"schema": "crm"},)

    import_id: Mapped[UUID] = field(
        1, Semantic.REFERENCE, _("Import"), TECHNICAL, primary_key=True, target="import",
        references="crm.import_job.id", ondelete="CASCADE",
    )  # fmt: skip
    ordinal: Mapped[int] = field(2, Semantic.INTEGER, _("Place"), TECHNICAL, primary_key=True)
    line: Mapped[int] = field(3, Semantic.INTEGER, _("Line"), TECHNICAL, required=True)
    outcome: Mapped[str] = field(4, Semantic.CHOICE, _("Outcome"), TECHNICAL, required=True, choices=OUTCOMES)
    record_id: Mapped[UUID | None] = field(5, Semantic.ID, _("Record"), TECHNICAL)
    record_version: Mapped[int | None] = field(6, Semantic.INTEGER, _("Version"), TECHNICAL)
    problems: Mapped[list[dict[str, Any]] | None] = field(7, Semantic.JSON, _("Problems"), TECHNICAL)
    before: Mapped[bytes | None] = field(8, Semantic.BYTES, _("Old values"), _CONTENT)


class ImportMade(Base):
    """What one batch has made, sealed, for imports that run at the same time; gone when this one ends.

    The content are the records and the values by which they are recognised. Whoever made them knows these, and opening
    one list takes the place of opening each record (``sealedkeys``).
    """

    __tablename__ = "import_made"
    __entity__ = EntityPolicy(
        29, "import_made", "import-made", _("Records of a batch"), _("Records of batches"), EntityKind.TECHNICAL,
        title="xid", subject="import_id",
    )  # fmt: skip
    __table_args__ = ({"schema": "crm"},)

    import_id: Mapped[UUID] = field(
        1, Semantic.REFERENCE, _("Import"), TECHNICAL, primary_key=True, target="import",
        references="crm.import_job.id", ondelete="CASCADE",
    )  # fmt: skip
    xid: Mapped[int] = field(
        2, Semantic.INTEGER, _("Transaction"), TECHNICAL, primary_key=True, autoincrement=False, sql=Xid8()
    )
    entity: Mapped[int] = field(3, Semantic.SMALL_INTEGER, _("Kind of record"), TECHNICAL, required=True)
    field_number: Mapped[int] = field(4, Semantic.SMALL_INTEGER, _("Field"), TECHNICAL, required=True)
    body: Mapped[bytes] = field(5, Semantic.BYTES, _("Content"), _CONTENT, required=True)


class SavedMapping(Base):
    """A mapping that a person keeps for the next file of the same make."""

    __tablename__ = "import_mapping"
    __entity__ = EntityPolicy(
        28, "import_mapping", "import-mappings", _("Saved mapping"), _("Saved mappings"), EntityKind.TECHNICAL
    )
    __table_args__ = (Index("uq_import_mapping", "entity", "name", unique=True), {"schema": "crm"})

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), TECHNICAL, primary_key=True, default=new_id)
    entity: Mapped[str] = field(
        2, Semantic.TEXT, _("Kind of record"), TECHNICAL, required=True, max_length=40
    )
    name: Mapped[str] = field(3, Semantic.TEXT, _("Name"), TECHNICAL, required=True, max_length=100)
    mapping: Mapped[dict[str, Any]] = field(4, Semantic.JSON, _("Mapping"), TECHNICAL, required=True)
    created_at: Mapped[datetime] = field(
        5,
        Semantic.DATETIME,
        _("Created"),
        TECHNICAL,
        required=True,
        default=now,
        server_default=text("now()"),
    )
    created_by: Mapped[UUID | None] = field(6, Semantic.ID, _("Created by"), TECHNICAL)
