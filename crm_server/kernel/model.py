"""The columns that every record has, declared once."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped, declared_attr

from compliance.datamap import Semantic, field
from compliance.datamap.text import _
from crm_server.kernel import handling
from crm_server.kernel.clock import now
from crm_server.kernel.ids import new_id

USER_KEY = "identity.user.id"


class Audited:
    """Key, version, event of the last change, and who changed it when. Field numbers 1 to 7.

    `version` rises with each change and is the ETag; `event_id` names the audit event of the last change.
    """

    id: Mapped[UUID] = field(
        1, Semantic.ID, _("Id"), handling.SYSTEM, primary_key=True, managed=True, default=new_id
    )
    version: Mapped[int] = field(
        2,
        Semantic.INTEGER,
        _("Version"),
        handling.SYSTEM,
        required=True,
        managed=True,
        server_default=text("1"),
    )
    event_id: Mapped[UUID | None] = field(3, Semantic.ID, _("Last event"), handling.TECHNICAL, managed=True)
    created_at: Mapped[datetime] = field(
        4,
        Semantic.DATETIME,
        _("Created"),
        handling.SYSTEM,
        required=True,
        managed=True,
        default=now,
        server_default=text("now()"),
    )
    updated_at: Mapped[datetime] = field(
        5,
        Semantic.DATETIME,
        _("Changed"),
        handling.SYSTEM,
        required=True,
        managed=True,
        default=now,
        onupdate=now,
        server_default=text("now()"),
    )
    created_by: Mapped[UUID | None] = field(
        6, Semantic.REFERENCE, _("Created by"), handling.SYSTEM, managed=True, target="user"
    )
    updated_by: Mapped[UUID | None] = field(
        7, Semantic.REFERENCE, _("Changed by"), handling.SYSTEM, managed=True, target="user"
    )

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands in the class
        return {"version_id_col": cls.__table__.c.version, "eager_defaults": False}  # type: ignore[attr-defined]


class Record(Audited):
    """A record of the CRM: owned by a user, kept in the bin before it is purged. Field numbers up to 12."""

    owner_id: Mapped[UUID | None] = field(
        8,
        Semantic.REFERENCE,
        _("Owner"),
        handling.BUSINESS,
        target="user",
        references=USER_KEY,
        ondelete="SET NULL",
    )
    deleted_at: Mapped[datetime | None] = field(
        9, Semantic.DATETIME, _("Deleted"), handling.LIFE, managed=True
    )
    deleted_by: Mapped[UUID | None] = field(
        10, Semantic.REFERENCE, _("Deleted by"), handling.LIFE, managed=True, target="user"
    )
    import_id: Mapped[UUID | None] = field(11, Semantic.ID, _("Import"), handling.TECHNICAL, managed=True)


FIRST_FREE = 20
"""Domains number their own fields from here, so that the shared columns can grow."""
