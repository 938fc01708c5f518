"""Tables of the kernel itself: the change feed, idempotency keys, and facts about this installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, SmallInteger, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.sqltypes import Xid8
from compliance.datamap.text import _
from crm_server.kernel.handling import SECRET, SYSTEM, TECHNICAL


class Change(Base):
    """One row of the change feed (the outbox), written by trigger in the transaction of the change.

    Readers take rows whose `xid` is below the oldest running transaction, in order of (xid, seq): so a
    transaction that commits late is never skipped.
    """

    __tablename__ = "change"
    __entity__ = EntityPolicy(41, "change", "changes", _("Change"), _("Changes"), EntityKind.TECHNICAL)
    __table_args__ = (Index("ix_change_feed", "xid", "seq"), {"schema": "crm"})

    seq: Mapped[int] = field(
        1,
        Semantic.INTEGER,
        _("Sequence"),
        SYSTEM,
        sql=BigInteger(),
        primary_key=True,
        server_default=Identity(always=True),
    )
    xid: Mapped[int] = field(
        2,
        Semantic.INTEGER,
        _("Transaction"),
        SYSTEM,
        sql=Xid8(),
        required=True,
        server_default=text("pg_current_xact_id()"),
    )
    entity: Mapped[int] = field(
        3, Semantic.SMALL_INTEGER, _("Kind of record"), SYSTEM, required=True, sql=SmallInteger()
    )
    record_id: Mapped[UUID] = field(4, Semantic.ID, _("Record"), SYSTEM, required=True)
    operation: Mapped[str] = field(5, Semantic.TEXT, _("Operation"), SYSTEM, required=True, max_length=10)
    version: Mapped[int] = field(6, Semantic.INTEGER, _("Version"), SYSTEM, required=True)
    changed_at: Mapped[datetime] = field(7, Semantic.DATETIME, _("Time"), SYSTEM, required=True)


class IdempotencyKey(Base):
    """The answer to a POST that carried an Idempotency-Key, kept so that a repeat creates nothing twice."""

    __tablename__ = "idempotency_key"
    __entity__ = EntityPolicy(
        42,
        "idempotency_key",
        "idempotency-keys",
        _("Idempotency key"),
        _("Idempotency keys"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (Index("ix_idempotency_key_created", "created_at"), {"schema": "kontor"})

    actor_id: Mapped[UUID] = field(1, Semantic.ID, _("Actor"), TECHNICAL, primary_key=True)
    key: Mapped[str] = field(2, Semantic.TEXT, _("Key"), TECHNICAL, primary_key=True, max_length=255)
    request_hash: Mapped[bytes] = field(3, Semantic.BYTES, _("Request"), TECHNICAL, required=True)
    status: Mapped[int] = field(4, Semantic.SMALL_INTEGER, _("Status"), TECHNICAL, required=True)
    location: Mapped[str | None] = field(5, Semantic.TEXT, _("Location"), TECHNICAL, max_length=500)
    record_id: Mapped[UUID | None] = field(6, Semantic.ID, _("Record"), TECHNICAL)
    created_at: Mapped[datetime] = field(
        7, Semantic.DATETIME, _("Created"), TECHNICAL, required=True, server_default=text("now()")
    )
    answer: Mapped[Any | None] = field(8, Semantic.JSON, _("Answer"), TECHNICAL)


class Installation(Base):
    """One row: who this installation is. `tenant` is bound into every sealed document."""

    __tablename__ = "installation"
    __entity__ = EntityPolicy(
        43, "installation", "installations", _("Installation"), _("Installations"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": "kontor"},)

    tenant: Mapped[UUID] = field(1, Semantic.ID, _("Tenant"), TECHNICAL, primary_key=True)
    created_at: Mapped[datetime] = field(
        2, Semantic.DATETIME, _("Created"), TECHNICAL, required=True, server_default=text("now()")
    )
    limit_key: Mapped[bytes] = field(3, Semantic.BYTES, _("Key of rate limits"), SECRET, required=True)


class TokenIndex(Base):
    """One blind index of a sealed field: the tokens of one epoch, made in one way.

    The newest of a field gets what is written, all are asked. A new generation has its own keys, so that its tokens
    can't be laid beside those of the one before.
    """

    __tablename__ = "token_index"
    __entity__ = EntityPolicy(
        90,
        "token_index",
        "token-indexes",
        _("Blind index"),
        _("Blind indexes"),
        EntityKind.TECHNICAL,
        title="field_number",
    )
    __table_args__ = (
        Index("uq_token_index", "entity", "field_number", "epoch", "generation", unique=True),
        {"schema": "search"},
    )

    id: Mapped[int] = field(
        1, Semantic.INTEGER, _("Id"), SYSTEM, primary_key=True, server_default=Identity(always=True)
    )
    entity: Mapped[int] = field(
        2, Semantic.SMALL_INTEGER, _("Kind of record"), SYSTEM, required=True, sql=SmallInteger()
    )
    field_number: Mapped[int] = field(3, Semantic.INTEGER, _("Field"), SYSTEM, required=True)
    epoch: Mapped[int] = field(4, Semantic.INTEGER, _("Epoch"), SYSTEM, required=True)
    generation: Mapped[int] = field(5, Semantic.INTEGER, _("Generation"), SYSTEM, required=True)
    transform: Mapped[str] = field(6, Semantic.TEXT, _("Normal form"), SYSTEM, required=True, max_length=20)
    version: Mapped[int] = field(7, Semantic.SMALL_INTEGER, _("Version"), SYSTEM, required=True)
    bits: Mapped[int] = field(8, Semantic.SMALL_INTEGER, _("Bits"), SYSTEM, required=True)
    created_at: Mapped[datetime] = field(9, Semantic.DATETIME, _("Created"), SYSTEM, required=True)


class Token(Base):
    """That a record has a value with this token in the field of an index. Short on purpose: many records share one."""

    __tablename__ = "token"
    __entity__ = EntityPolicy(
        91, "token", "tokens", _("Search token"), _("Search tokens"), EntityKind.TECHNICAL, title="token"
    )
    __table_args__ = (Index("ix_token_record", "record_id"), {"schema": "search"})

    index_id: Mapped[int] = field(1, Semantic.INTEGER, _("Blind index"), TECHNICAL, primary_key=True)
    token: Mapped[int] = field(2, Semantic.INTEGER, _("Token"), TECHNICAL, primary_key=True)
    record_id: Mapped[UUID] = field(3, Semantic.ID, _("Record"), TECHNICAL, primary_key=True)
