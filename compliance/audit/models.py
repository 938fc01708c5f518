"""The tables of the audit log: the event without personal data, its payload beside it, and what the sealer owns.

An event is written in the transaction of what it tells (AUD-1). Its payload lives in a side table from which
erasure deletes, while the event and its commitment stay for ever.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger, text
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

_EVIDENCE = Handling(
    privacy=Privacy.NONE,
    key_class=KeyClass.NONE,
    retention=Retention.EVIDENCE,
    audit=Audit.OFF,
    erasure=Erasure.NOT_PERSONAL,
    access=Access.SYSTEM,
    export=Withheld("Shown to the person as the record of accesses and changes (Art. 15), not as stored."),
)
_PAYLOAD = Handling(
    privacy=Privacy.FREE_TEXT,
    key_class=KeyClass.AUDIT,
    retention=Retention.EVIDENCE,
    audit=Audit.FACT,
    erasure=Erasure.DELETE,
    access=Access.SECRET,
    export=Withheld("Old values are exported with the record they belong to."),
)

MONTHLY = "RANGE (event_id)"
"""Keys are UUIDv7, so their ranges are months (log/partitions.sql)."""


class AuditEvent(Base):
    """One event, with the fields of requirement AUD. References are pseudonyms; nothing here is personal."""

    __tablename__ = "event"
    __entity__ = EntityPolicy(
        60, "audit_event", "audit-events", _("Audit event"), _("Audit events"), EntityKind.TECHNICAL
    )
    # PostgreSQL parses the checks of a table anew for each statement: seven lengths made an insert a quarter dearer.
    # Only the product writes these words, and a leaf has a limit of its own (log/leaf.py).
    __checked__ = False

    event_id: Mapped[UUID] = field(1, Semantic.ID, _("Event"), _EVIDENCE, primary_key=True)
    occurred_at: Mapped[datetime] = field(2, Semantic.DATETIME, _("Time"), _EVIDENCE, required=True)
    event_class: Mapped[str] = field(3, Semantic.TEXT, _("Class"), _EVIDENCE, required=True)
    action: Mapped[str] = field(4, Semantic.TEXT, _("Action"), _EVIDENCE, required=True)
    outcome: Mapped[str] = field(5, Semantic.TEXT, _("Outcome"), _EVIDENCE, required=True)
    reason: Mapped[str | None] = field(6, Semantic.TEXT, _("Reason"), _EVIDENCE)
    severity: Mapped[int] = field(
        7, Semantic.SMALL_INTEGER, _("Severity"), _EVIDENCE, required=True, server_default=text("1")
    )
    actor_ref: Mapped[UUID] = field(8, Semantic.ID, _("Actor"), _EVIDENCE, required=True)
    auth_method: Mapped[str | None] = field(9, Semantic.TEXT, _("Way of logging in"), _EVIDENCE)
    session_ref: Mapped[UUID | None] = field(10, Semantic.ID, _("Session"), _EVIDENCE)
    request_id: Mapped[UUID | None] = field(11, Semantic.ID, _("Request"), _EVIDENCE)
    origin: Mapped[str] = field(12, Semantic.TEXT, _("Origin"), _EVIDENCE, required=True)
    object_type: Mapped[int | None] = field(
        13, Semantic.SMALL_INTEGER, _("Kind of record"), _EVIDENCE, sql=SmallInteger()
    )
    object_ref: Mapped[UUID | None] = field(14, Semantic.ID, _("Record"), _EVIDENCE)
    subject_ref: Mapped[list[UUID] | None] = field(15, Semantic.UUID_LIST, _("Data subjects"), _EVIDENCE)
    purpose: Mapped[str | None] = field(16, Semantic.TEXT, _("Purpose"), _EVIDENCE)
    policy_version: Mapped[int] = field(
        17, Semantic.SMALL_INTEGER, _("Policy version"), _EVIDENCE, required=True, server_default=text("1")
    )
    meta: Mapped[dict[str, Any]] = field(
        18, Semantic.JSON, _("Facts"), _EVIDENCE, required=True, server_default=text("'{}'::jsonb")
    )
    payload_commit: Mapped[bytes | None] = field(19, Semantic.BYTES, _("Commitment"), _EVIDENCE)
    # The transaction that wrote the event; the sealer finds by it what was committed since its last round. The
    # application has no right to set it (grants.sql), so an event can't hide from the sealer.
    xid: Mapped[int] = field(
        20,
        Semantic.INTEGER,
        _("Transaction"),
        _EVIDENCE,
        sql=Xid8(),
        required=True,
        server_default=text("pg_current_xact_id()"),
    )

    __table_args__ = (
        Index(
            "ix_event_object", "object_ref", "occurred_at", postgresql_where=text("object_ref is not null")
        ),
        # Keys are UUIDv7, so their order is that of time and pages of the log need no index on the time.
        Index("ix_event_actor", "actor_ref", "event_id"),
        Index("ix_event_xid", "xid", "event_id"),
        # "Who looked at this person": lists and searches name every person whom they returned.
        Index(
            "ix_event_subject",
            "subject_ref",
            postgresql_using="gin",
            # Kilobytes of new entries that wait. The sealer files them each second (`audit.file_subjects`); a request
            # does when there are so many, and takes 10 to 40 ms longer among a million people, not 250 to 400.
            postgresql_with={"gin_pending_list_limit": 256},
            postgresql_where=text("subject_ref is not null"),
        ),
        Index(
            "ix_event_rare",
            "event_class",
            "event_id",
            postgresql_where=text("event_class not in ('change', 'read')"),
        ),
        Index(
            "ix_event_rare_actor",
            "actor_ref",
            "event_class",
            "event_id",
            postgresql_where=text("event_class not in ('change', 'read')"),
        ),
        # What is rare is found by its own small index; what is common is among the newest anyway.
        Index(
            "ix_event_action",
            "action",
            "event_id",
            postgresql_where=text("action not in ('create', 'update', 'read', 'list')"),
        ),
        Index("ix_event_outcome", "outcome", "event_id", postgresql_where=text("outcome <> 'success'")),
        Index(
            "ix_event_purpose",
            "purpose",
            "event_id",
            postgresql_where=text("purpose not in ('', 'operation')"),
        ),
        {"schema": "audit", "postgresql_partition_by": MONTHLY},
    )


class AuditPayload(Base):
    """The personal part of an event: old and new values, search terms. Erasure deletes the row.

    `format` 1 is a sealed document under the key of the event's data subject, class `audit`, bound to the event. Inside
    stand the salt of the commitment and canonical JSON.
    """

    __tablename__ = "event_payload"
    __entity__ = EntityPolicy(
        61,
        "audit_payload",
        "audit-payloads",
        _("Audit payload"),
        _("Audit payloads"),
        EntityKind.TECHNICAL,
        subject="event_id",
    )
    __table_args__ = ({"schema": "audit", "postgresql_partition_by": MONTHLY},)

    event_id: Mapped[UUID] = field(1, Semantic.ID, _("Event"), _EVIDENCE, primary_key=True)
    format: Mapped[int] = field(2, Semantic.SMALL_INTEGER, _("Format"), _EVIDENCE, required=True)
    body: Mapped[bytes] = field(3, Semantic.BYTES, _("Content"), _PAYLOAD, required=True)


class AuditLog(Base):
    """One row a transparency log; one is open. A log that could not be continued is closed and has a successor.

    `size` and `root` are the head, `cursor` says which transactions the sealer still has to look at.
    """

    __tablename__ = "log"
    __entity__ = EntityPolicy(
        62, "audit_log", "audit-logs", _("Audit log"), _("Audit logs"), EntityKind.TECHNICAL
    )

    number: Mapped[int] = field(
        1, Semantic.INTEGER, _("Number"), _EVIDENCE, primary_key=True, autoincrement=False
    )
    origin: Mapped[str] = field(2, Semantic.TEXT, _("Name"), _EVIDENCE, required=True, unique=True)
    size: Mapped[int] = field(3, Semantic.INTEGER, _("Size"), _EVIDENCE, required=True, sql=BigInteger())
    root: Mapped[bytes] = field(4, Semantic.BYTES, _("Root"), _EVIDENCE, required=True)
    cursor: Mapped[dict[str, Any] | None] = field(5, Semantic.JSON, _("Cursor"), _EVIDENCE)
    opened_at: Mapped[datetime] = field(
        6, Semantic.DATETIME, _("Opened"), _EVIDENCE, required=True, server_default=text("now()")
    )
    closed_at: Mapped[datetime | None] = field(7, Semantic.DATETIME, _("Closed"), _EVIDENCE)

    __table_args__ = (
        CheckConstraint("size >= 0", name="size_positive"),
        CheckConstraint("octet_length(root) = 32", name="root_length"),
        Index(
            "uq_log_open",
            "closed_at",
            unique=True,
            postgresql_where=text("closed_at is null"),
            postgresql_nulls_not_distinct=True,
        ),
        {"schema": "audit"},
    )


class AuditLeaf(Base):
    """Which event is which leaf. Without foreign keys: an event that was removed must leave its hash behind.

    The key holds the event because a partitioned table can be unique only with its partition key. That an index is
    given once follows from the sealer, which alone may write here and locks the head.
    """

    __tablename__ = "leaf"
    __entity__ = EntityPolicy(
        63,
        "audit_leaf",
        "audit-leaves",
        _("Leaf of the audit log"),
        _("Leaves of the audit log"),
        EntityKind.TECHNICAL,
    )

    log: Mapped[int] = field(1, Semantic.INTEGER, _("Log"), _EVIDENCE, primary_key=True, autoincrement=False)
    index: Mapped[int] = field(
        2, Semantic.INTEGER, _("Index"), _EVIDENCE, primary_key=True, autoincrement=False, sql=BigInteger()
    )
    event_id: Mapped[UUID] = field(
        3, Semantic.ID, _("Event"), _EVIDENCE, primary_key=True, required=True, unique=True
    )
    leaf_hash: Mapped[bytes] = field(4, Semantic.BYTES, _("Hash"), _EVIDENCE, required=True)

    __table_args__ = (
        CheckConstraint("index >= 0", name="index_positive"),
        CheckConstraint("octet_length(leaf_hash) = 32", name="hash_length"),
        {"schema": "audit", "postgresql_partition_by": MONTHLY},
    )


class AuditCheckpoint(Base):
    """A signed checkpoint as it was published, so that a sealer on another node can take over."""

    __tablename__ = "checkpoint"
    __entity__ = EntityPolicy(
        64, "audit_checkpoint", "audit-checkpoints", _("Checkpoint"), _("Checkpoints"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": "audit"},)

    log: Mapped[int] = field(1, Semantic.INTEGER, _("Log"), _EVIDENCE, primary_key=True, autoincrement=False)
    size: Mapped[int] = field(
        2, Semantic.INTEGER, _("Size"), _EVIDENCE, primary_key=True, autoincrement=False, sql=BigInteger()
    )
    note: Mapped[str] = field(3, Semantic.LONG_TEXT, _("Note"), _EVIDENCE, required=True)
