"""The saved view."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
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
from crm_server.kernel.handling import BUSINESS, SOUGHT, SYSTEM
from crm_server.kernel.model import Record


class SavedView(Record, Base):
    """A named filter, set of columns and sort order of one list; private, or shared with everybody."""

    __tablename__ = "saved_view"
    __entity__ = EntityPolicy(
        21,
        "saved_view",
        "saved-views",
        _("Saved view"),
        _("Saved views"),
        EntityKind.PART,
        subject="subject_id",
    )
    __table_args__ = (Index("ix_saved_view_entity", "entity", "owner_id"), {"schema": "crm"})

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100)
    entity: Mapped[str] = field(21, Semantic.TEXT, _("List"), BUSINESS, required=True, max_length=40)
    # Always empty: what is sealed here belongs to nobody alone, so it is under the key of the installation.
    subject_id: Mapped[UUID | None] = field(17, Semantic.ID, _("Data subject"), SYSTEM)
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    # What somebody filters by may name a person.
    definition: Sealed[dict[str, Any] | None] = sealed(22, Semantic.JSON, _("Definition"), SOUGHT)
    shared: Mapped[bool] = field(
        23,
        Semantic.BOOLEAN,
        _("Shared"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
