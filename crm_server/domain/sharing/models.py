"""Shares of records, and the paths of the tree of territories that row rules follow."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, SYSTEM, TECHNICAL
from crm_server.kernel.model import USER_KEY, Audited

LEVELS = {"read": _("Read"), "write": _("Read and change")}


class RecordShare(Audited, Base):
    """A record given to a user or a team, for reading or changing, until a time or for good."""

    __tablename__ = "record_share"
    __entity__ = EntityPolicy(
        71,
        "record_share",
        "record-shares",
        _("Share of a record"),
        _("Shares of records"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (
        CheckConstraint("(user_id is null) <> (team_id is null)", name="one_receiver"),
        Index("uq_record_share_user", "user_id", "record_type", "record_id", unique=True),
        Index("uq_record_share_team", "team_id", "record_type", "record_id", unique=True),
        Index("ix_record_share_record", "record_type", "record_id"),
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
    user_id: Mapped[UUID | None] = field(
        22, Semantic.REFERENCE, _("User"), BUSINESS, target="user", references=USER_KEY, ondelete="CASCADE"
    )
    team_id: Mapped[UUID | None] = field(
        23,
        Semantic.REFERENCE,
        _("Team"),
        BUSINESS,
        target="team",
        references="identity.team.id",
        ondelete="CASCADE",
    )
    level: Mapped[str] = field(
        24,
        Semantic.CHOICE,
        _("May"),
        BUSINESS,
        required=True,
        choices=LEVELS,
        default="read",
        server_default=text("'read'"),
    )
    until: Mapped[datetime | None] = field(25, Semantic.DATETIME, _("Until"), BUSINESS)


class TerritoryPath(Base):
    """Each territory with each one above it and itself. Kept by triggers; row rules ask it for subtrees."""

    __tablename__ = "territory_path"
    __entity__ = EntityPolicy(
        70,
        "territory_path",
        "territory-paths",
        _("Territory path"),
        _("Territory paths"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (Index("ix_territory_path_territory", "territory_id"), {"schema": "identity"})

    ancestor_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Above"),
        TECHNICAL,
        primary_key=True,
        target="territory",
        references="identity.territory.id",
        ondelete="CASCADE",
    )
    territory_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("Territory"),
        TECHNICAL,
        primary_key=True,
        target="territory",
        references="identity.territory.id",
        ondelete="CASCADE",
    )
