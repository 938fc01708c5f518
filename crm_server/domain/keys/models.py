"""The tables of the key hierarchy: data keys by their owner, and the epochs that wrap them.

No table holds a usable key: data keys are wrapped under an epoch, and epochs live in the key ring outside of the
database. Rows name subjects by pseudonym alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import TECHNICAL


class DataKey(Base):
    """The wrapped data key of one (tenant, subject, class, generation), or the tombstone of an erased one.

    Half of each page stays free (fillfactor), so that a rotation, which rewrites every row, needs no new index
    entries. Triggers keep tombstones for ever (ENC-6) and tell all processes of an erasure (ENC-15).
    """

    __tablename__ = "data_key"
    __entity__ = EntityPolicy(
        130, "data_key", "data-keys", _("Data key"), _("Data keys"), EntityKind.TECHNICAL
    )

    kid: Mapped[bytes] = field(1, Semantic.BYTES, _("Key"), TECHNICAL, primary_key=True)
    tenant: Mapped[UUID] = field(2, Semantic.ID, _("Tenant"), TECHNICAL, required=True)
    subject: Mapped[UUID] = field(3, Semantic.ID, _("Data subject"), TECHNICAL, required=True)
    key_class: Mapped[str] = field(
        4, Semantic.TEXT, _("Class"), TECHNICAL, required=True, max_length=20, name="class"
    )
    generation: Mapped[int] = field(
        5, Semantic.SMALL_INTEGER, _("Generation"), TECHNICAL, required=True, sql=SmallInteger()
    )
    epoch: Mapped[int] = field(6, Semantic.INTEGER, _("Epoch"), TECHNICAL, required=True)
    state: Mapped[str] = field(
        7,
        Semantic.CHOICE,
        _("State"),
        TECHNICAL,
        required=True,
        choices={"active": _("Active"), "held": _("Held"), "erased": _("Erased")},
    )
    wrapped: Mapped[bytes | None] = field(8, Semantic.BYTES, _("Wrapped key"), TECHNICAL)
    kcv: Mapped[bytes] = field(9, Semantic.BYTES, _("Check value"), TECHNICAL, required=True)
    created_at: Mapped[datetime] = field(10, Semantic.DATETIME, _("Created"), TECHNICAL, required=True)
    erased_at: Mapped[datetime | None] = field(11, Semantic.DATETIME, _("Erased"), TECHNICAL)
    erase_event: Mapped[UUID | None] = field(12, Semantic.ID, _("Event of the erasure"), TECHNICAL)

    __table_args__ = (
        UniqueConstraint("tenant", "subject", "class", "generation"),
        CheckConstraint("octet_length(kid) = 16", name="kid_length"),
        CheckConstraint("octet_length(kcv) = 8", name="kcv_length"),
        CheckConstraint("octet_length(wrapped) = 40", name="wrapped_length"),
        CheckConstraint("generation > 0 and epoch > 0", name="counts_from_one"),
        CheckConstraint(
            "(state = 'erased') = (wrapped is null) and (state = 'erased') = (erased_at is not null)",
            name="tombstone",
        ),
        {"schema": "keys"},
    )


class Epoch(Base):
    """An epoch as the database knows it: the ring has its keys, this says which one new data keys are wrapped under.

    `fingerprint` ties the row to the material in the ring, so that a foreign ring is told from ours.
    """

    __tablename__ = "epoch"
    __entity__ = EntityPolicy(131, "key_epoch", "key-epochs", _("Epoch"), _("Epochs"), EntityKind.TECHNICAL)

    number: Mapped[int] = field(
        1, Semantic.INTEGER, _("Number"), TECHNICAL, primary_key=True, autoincrement=False
    )
    state: Mapped[str] = field(
        2,
        Semantic.CHOICE,
        _("State"),
        TECHNICAL,
        required=True,
        choices={
            "active": _("Active"),
            "retired": _("Retired"),
            "destroying": _("Being destroyed"),
            "destroyed": _("Destroyed"),
        },
    )
    fingerprint: Mapped[str] = field(
        3, Semantic.TEXT, _("Fingerprint"), TECHNICAL, required=True, max_length=64
    )
    provider: Mapped[str] = field(4, Semantic.TEXT, _("Provider"), TECHNICAL, required=True, max_length=40)
    created_at: Mapped[datetime] = field(5, Semantic.DATETIME, _("Created"), TECHNICAL, required=True)
    retired_at: Mapped[datetime | None] = field(6, Semantic.DATETIME, _("Retired"), TECHNICAL)
    destroyed_at: Mapped[datetime | None] = field(7, Semantic.DATETIME, _("Destroyed"), TECHNICAL)
    evidence: Mapped[dict[str, Any] | None] = field(8, Semantic.JSON, _("Evidence"), TECHNICAL)

    __table_args__ = (
        Index("uq_epoch_active", "state", unique=True, postgresql_where=text("state = 'active'")),
        {"schema": "keys"},
    )
