"""Tags and their places."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Index, SmallInteger, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Search, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, SYSTEM
from crm_server.kernel.model import Record

COLOURS = {
    name: _(name.capitalize())
    for name in (
        "blue",
        "azure",
        "indigo",
        "purple",
        "pink",
        "red",
        "orange",
        "yellow",
        "lime",
        "green",
        "teal",
    )
}


class Tag(Record, Base):
    """A word that users put on records."""

    __tablename__ = "tag"
    __entity__ = EntityPolicy(
        19, "tag", "tags", _("Tag"), _("Tags"), list_fields=("name", "colour"), icon="tag"
    )
    __table_args__ = (
        Index("uq_tag_name", text("lower(name)"), unique=True, postgresql_where=text("deleted_at is null")),
        Index("ix_tag_bin", "deleted_at", "id", postgresql_where=text("deleted_at is not null")),
        {"schema": "crm"},
    )

    name: Mapped[str] = field(
        20, Semantic.TEXT, _("Name"), BUSINESS, required=True, search=Search.TEXT, max_length=60
    )
    colour: Mapped[str] = field(
        21,
        Semantic.CHOICE,
        _("Colour"),
        BUSINESS,
        required=True,
        choices=COLOURS,
        default="blue",
        server_default=text("'blue'"),
    )


class Tagging(Base):
    """A tag on a record."""

    __tablename__ = "tagging"
    __entity__ = EntityPolicy(
        20, "tagging", "taggings", _("Tag on a record"), _("Tags on records"), EntityKind.TECHNICAL
    )
    __table_args__ = (Index("ix_tagging_record", "record_type", "record_id"), {"schema": "crm"})

    tag_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Tag"),
        SYSTEM,
        primary_key=True,
        target="tag",
        references="crm.tag.id",
        ondelete="CASCADE",
    )
    record_type: Mapped[int] = field(
        2, Semantic.SMALL_INTEGER, _("Kind of record"), SYSTEM, primary_key=True, sql=SmallInteger()
    )
    record_id: Mapped[UUID] = field(3, Semantic.ID, _("Record"), SYSTEM, primary_key=True)
