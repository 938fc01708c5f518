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
            "prepared": _("Being handed to other nodes"),
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


class NodeAttestation(Base):
    """What a node says of an epoch: that it holds it, and later that it has nothing of it any more (ENC-9, ENC-13)."""

    __tablename__ = "attestation"
    __entity__ = EntityPolicy(
        132,
        "key_attestation",
        "key-attestations",
        _("Attestation of a node"),
        _("Attestations of nodes"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = ({"schema": "keys"},)

    node: Mapped[str] = field(1, Semantic.TEXT, _("Node"), TECHNICAL, primary_key=True, max_length=200)
    epoch: Mapped[int] = field(
        2, Semantic.INTEGER, _("Epoch"), TECHNICAL, primary_key=True, autoincrement=False
    )
    holds_at: Mapped[datetime | None] = field(3, Semantic.DATETIME, _("Holds it since"), TECHNICAL)
    gone_at: Mapped[datetime | None] = field(4, Semantic.DATETIME, _("Gone since"), TECHNICAL)
    seen_at: Mapped[datetime] = field(5, Semantic.DATETIME, _("Last seen"), TECHNICAL, required=True)


class EpochHandover(Base):
    """A node asks the others for an epoch, and is answered (`crm_server.kernel.handover`); gone when it has it.

    The answer is sealed to a key pair in the memory of the process that asked. `held` is the epoch that both hold, by
    which the node proves itself; 0 for a new one, whom a person admits by a code.
    """

    __tablename__ = "handover"
    __entity__ = EntityPolicy(
        136,
        "key_handover",
        "key-handovers",
        _("Epoch on its way to a node"),
        _("Epochs on their way to nodes"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = ({"schema": "keys"},)

    node: Mapped[str] = field(1, Semantic.TEXT, _("Node"), TECHNICAL, primary_key=True, max_length=200)
    epoch: Mapped[int] = field(
        2, Semantic.INTEGER, _("Epoch"), TECHNICAL, primary_key=True, autoincrement=False
    )
    held: Mapped[int] = field(3, Semantic.INTEGER, _("Epoch that both hold"), TECHNICAL, required=True)
    public: Mapped[bytes] = field(4, Semantic.BYTES, _("Public key"), TECHNICAL, required=True)
    proof: Mapped[bytes] = field(5, Semantic.BYTES, _("Proof"), TECHNICAL, required=True)
    asked_at: Mapped[datetime] = field(6, Semantic.DATETIME, _("Asked"), TECHNICAL, required=True)
    answer: Mapped[bytes | None] = field(7, Semantic.BYTES, _("Answer"), TECHNICAL)


class EpochDestruction(Base):
    """That an epoch may be destroyed: two persons agreed, or nobody refused in time. `id` is that of the request."""

    __tablename__ = "destruction"
    __entity__ = EntityPolicy(
        133,
        "key_destruction",
        "key-destructions",
        _("Destruction of an epoch"),
        _("Destructions of epochs"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (
        CheckConstraint("released_by >= 0", name="released_by_nobody_or_more"),
        {"schema": "keys"},
    )

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), TECHNICAL, primary_key=True)
    epoch: Mapped[int] = field(2, Semantic.INTEGER, _("Epoch"), TECHNICAL, required=True)
    agreed_at: Mapped[datetime] = field(10, Semantic.DATETIME, _("Agreed"), TECHNICAL, required=True)
    released_by: Mapped[int] = field(
        11, Semantic.SMALL_INTEGER, _("Second persons"), TECHNICAL, required=True
    )
    done_at: Mapped[datetime | None] = field(9, Semantic.DATETIME, _("Done"), TECHNICAL)


class KeyDrill(Base):
    """A drill of erasure that was run on a database of its own (ENC-10); `evidence` has its steps."""

    __tablename__ = "drill"
    __entity__ = EntityPolicy(
        135, "key_drill", "key-drills", _("Drill of erasure"), _("Drills of erasure"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": "keys"},)

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), TECHNICAL, primary_key=True)
    at: Mapped[datetime] = field(2, Semantic.DATETIME, _("Ended"), TECHNICAL, required=True)
    node: Mapped[str] = field(3, Semantic.TEXT, _("Node"), TECHNICAL, required=True, max_length=200)
    passed: Mapped[bool] = field(4, Semantic.BOOLEAN, _("Passed"), TECHNICAL, required=True)
    evidence: Mapped[dict[str, Any]] = field(5, Semantic.JSON, _("Evidence"), TECHNICAL, required=True)


class KeyEscrow(Base):
    """A copy of the key table that lies beside the backups, sealed under an epoch; the row says what is in it."""

    __tablename__ = "escrow"
    __entity__ = EntityPolicy(
        134, "key_escrow", "key-escrows", _("Escrow"), _("Escrows"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": "keys"},)

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), TECHNICAL, primary_key=True)
    epoch: Mapped[int] = field(2, Semantic.INTEGER, _("Epoch"), TECHNICAL, required=True)
    file: Mapped[str] = field(3, Semantic.TEXT, _("File"), TECHNICAL, required=True, max_length=1000)
    digest: Mapped[bytes] = field(4, Semantic.BYTES, _("SHA-256"), TECHNICAL, required=True)
    keys: Mapped[int] = field(5, Semantic.INTEGER, _("Keys"), TECHNICAL, required=True)
    behind: Mapped[int] = field(6, Semantic.INTEGER, _("Keys of earlier epochs"), TECHNICAL, required=True)
    made_at: Mapped[datetime] = field(7, Semantic.DATETIME, _("Made"), TECHNICAL, required=True)
    opened_at: Mapped[datetime | None] = field(8, Semantic.DATETIME, _("Opened"), TECHNICAL)
    gone_at: Mapped[datetime | None] = field(9, Semantic.DATETIME, _("Gone since"), TECHNICAL)
