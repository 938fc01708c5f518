"""Custom fields and their values. Values are typed rows and not jsonb, so that an index below a row rule serves."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, SmallInteger, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, PERSON_SEGMENT, SYSTEM
from crm_server.kernel.model import Record


class CustomField(Record, Base):
    """A field added at run time. `policy` holds its complete declaration, checked by the same gate as code."""

    __tablename__ = "custom_field"
    __entity__ = EntityPolicy(
        22,
        "custom_field",
        "custom-fields",
        _("Custom field"),
        _("Custom fields"),
        EntityKind.PART,
        title="label_en",
        icon="forms",
    )
    __table_args__ = (
        Index("uq_custom_field_number", "entity", "number", unique=True),
        Index(
            "uq_custom_field_name", "entity", "name", unique=True, postgresql_where=text("deleted_at is null")
        ),
        {"schema": "crm"},
    )

    entity: Mapped[int] = field(
        20, Semantic.SMALL_INTEGER, _("Entity"), BUSINESS, required=True, sql=SmallInteger()
    )
    number: Mapped[int] = field(21, Semantic.INTEGER, _("Number"), BUSINESS, required=True, managed=True)
    name: Mapped[str] = field(22, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=60)
    label_en: Mapped[str] = field(23, Semantic.TEXT, _("Label (English)"), BUSINESS, required=True)
    label_zh: Mapped[str | None] = field(24, Semantic.TEXT, _("Label (Chinese)"), BUSINESS)
    semantic: Mapped[str] = field(25, Semantic.TEXT, _("Type"), BUSINESS, required=True)
    policy: Mapped[dict[str, Any]] = field(26, Semantic.JSON, _("Declaration"), BUSINESS, required=True)
    position: Mapped[int] = field(
        27,
        Semantic.SMALL_INTEGER,
        _("Position"),
        BUSINESS,
        required=True,
        default=0,
        server_default=text("0"),
        minimum=0,
        maximum=999,
    )


class CustomValue(Base):
    """The value of a custom field on a record, in the column of its type.

    Sealed custom fields have no row here: they lie in the document of their record.
    """

    __tablename__ = "custom_value"
    __entity__ = EntityPolicy(
        23,
        "custom_value",
        "custom-values",
        _("Custom value"),
        _("Custom values"),
        EntityKind.TECHNICAL,
        subject="record_id",
    )
    __table_args__ = (
        Index(
            "ix_custom_value_text", "field_id", "text_value", postgresql_where=text("text_value is not null")
        ),
        Index("ix_custom_value_int", "field_id", "int_value", postgresql_where=text("int_value is not null")),
        Index(
            "ix_custom_value_date", "field_id", "date_value", postgresql_where=text("date_value is not null")
        ),
        Index(
            "ix_custom_value_time", "field_id", "time_value", postgresql_where=text("time_value is not null")
        ),
        {"schema": "crm"},
    )

    record_id: Mapped[UUID] = field(1, Semantic.ID, _("Record"), SYSTEM, primary_key=True)
    field_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("Custom field"),
        SYSTEM,
        primary_key=True,
        target="custom_field",
        references="crm.custom_field.id",
        ondelete="CASCADE",
    )
    text_value: Mapped[str | None] = field(3, Semantic.LONG_TEXT, _("Text"), PERSON_SEGMENT)
    int_value: Mapped[int | None] = field(4, Semantic.INTEGER, _("Number"), PERSON_SEGMENT, sql=BigInteger())
    date_value: Mapped[date | None] = field(5, Semantic.DATE, _("Date"), PERSON_SEGMENT)
    time_value: Mapped[datetime | None] = field(6, Semantic.DATETIME, _("Time"), PERSON_SEGMENT)
    bool_value: Mapped[bool | None] = field(7, Semantic.BOOLEAN, _("Yes or no"), PERSON_SEGMENT)
