"""The saved view."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS
from crm_server.kernel.model import Record


class SavedView(Record, Base):
    """A named filter, set of columns and sort order of one list; private, or shared with everybody."""

    __tablename__ = "saved_view"
    __entity__ = EntityPolicy(
        21, "saved_view", "saved-views", _("Saved view"), _("Saved views"), EntityKind.PART
    )
    __table_args__ = (Index("ix_saved_view_entity", "entity", "owner_id"), {"schema": "crm"})

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100)
    entity: Mapped[str] = field(21, Semantic.TEXT, _("List"), BUSINESS, required=True, max_length=40)
    definition: Mapped[dict[str, Any]] = field(
        22,
        Semantic.JSON,
        _("Definition"),
        BUSINESS,
        required=True,
        default=dict,
        server_default=text("'{}'::jsonb"),
    )
    shared: Mapped[bool] = field(
        23,
        Semantic.BOOLEAN,
        _("Shared"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
