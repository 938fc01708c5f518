"""The tables of the audit log: the event without personal data, and its payload beside it.

An event is written in the transaction of what it tells (AUD-1). Its payload lives in a side table from which
erasure deletes, while the event and its commitment stay for ever.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, SmallInteger, text
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


class AuditEvent(Base):
    """One event, with the fields of requirement AUD. References are pseudonyms; nothing here is personal."""

    __tablename__ = "event"
    __entity__ = EntityPolicy(
        60, "audit_event", "audit-events", _("Audit event"), _("Audit events"), EntityKind.TECHNICAL
    )

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

    __table_args__ = (
        Index(
            "ix_event_object", "object_ref", "occurred_at", postgresql_where=text("object_ref is not null")
        ),
        Index("ix_event_actor", "actor_ref", "occurred_at"),
        {"schema": "audit"},
    )


class AuditPayload(Base):
    """The personal part of an event: old and new values, search terms. Erasure deletes the row.

    `format` 0 is canonical JSON in clear; other numbers are suites of sealed documents.
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
    __table_args__ = ({"schema": "audit"},)

    event_id: Mapped[UUID] = field(1, Semantic.ID, _("Event"), _EVIDENCE, primary_key=True)
    format: Mapped[int] = field(2, Semantic.SMALL_INTEGER, _("Format"), _EVIDENCE, required=True)
    body: Mapped[bytes] = field(3, Semantic.BYTES, _("Content"), _PAYLOAD, required=True)
