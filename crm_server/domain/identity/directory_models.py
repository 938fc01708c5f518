"""Tables of company directories, and of what groups mean here."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, SECRET, SYSTEM, TECHNICAL
from crm_server.kernel.model import Audited

SCHEMA = "identity"


class CompanyDirectory(Audited, Base):
    """How a company directory is reached. Log-in asks the enabled ones; the service password is sealed."""

    __tablename__ = "directory"
    __entity__ = EntityPolicy(
        50,
        "directory",
        "directories",
        _("Directory"),
        _("Directories"),
        EntityKind.TECHNICAL,
        icon="sitemap",
    )
    __table_args__ = ({"schema": SCHEMA},)

    name: Mapped[str] = field(
        20, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100, unique=True
    )
    enabled: Mapped[bool] = field(
        21,
        Semantic.BOOLEAN,
        _("Enabled"),
        BUSINESS,
        required=True,
        default=False,
        server_default=text("false"),
    )
    flavour: Mapped[str] = field(
        22,
        Semantic.CHOICE,
        _("Kind of directory"),
        BUSINESS,
        required=True,
        choices={"active_directory": _("Active Directory"), "openldap": _("OpenLDAP")},
    )
    servers: Mapped[list[str]] = field(
        23,
        Semantic.JSON,
        _("Servers"),
        BUSINESS,
        required=True,
        default=list,
        server_default=text("'[]'::jsonb"),
    )
    bind_dn: Mapped[str] = field(
        24, Semantic.TEXT, _("Service account"), BUSINESS, required=True, max_length=500
    )
    bind_password: Mapped[bytes | None] = field(
        25, Semantic.BYTES, _("Password of the service account"), SECRET
    )
    user_base: Mapped[str] = field(
        26, Semantic.TEXT, _("Where people are"), BUSINESS, required=True, max_length=500
    )
    group_base: Mapped[str] = field(
        27, Semantic.TEXT, _("Where groups are"), BUSINESS, required=True, max_length=500
    )
    user_filter: Mapped[str | None] = field(
        28, Semantic.TEXT, _("Filter of people"), BUSINESS, max_length=1000
    )
    authorities: Mapped[str | None] = field(
        29, Semantic.LONG_TEXT, _("Certificate authorities (PEM)"), BUSINESS
    )
    last_sync_at: Mapped[datetime | None] = field(
        30, Semantic.DATETIME, _("Last comparison"), TECHNICAL, managed=True
    )
    last_sync: Mapped[dict[str, Any] | None] = field(
        31, Semantic.JSON, _("Result of the last comparison"), TECHNICAL, managed=True
    )


class GroupMapping(Audited, Base):
    """What membership in a group means: that one may log in, and a role, team or territory.

    The group is one of a directory, of a single sign-on provider, or one that SCIM brought.
    """

    __tablename__ = "group_mapping"
    __entity__ = EntityPolicy(
        79,
        "group_mapping",
        "group-mappings",
        _("Meaning of a group"),
        _("Meanings of groups"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (
        Index(
            "uq_group_mapping",
            "source",
            "group_key",
            "kind",
            "target_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        {"schema": SCHEMA},
    )

    group_name: Mapped[str] = field(
        22, Semantic.TEXT, _("Name of the group"), BUSINESS, required=True, max_length=300
    )
    kind: Mapped[str] = field(
        23,
        Semantic.CHOICE,
        _("Gives"),
        BUSINESS,
        required=True,
        choices={
            "login": _("Log-in"),
            "role": _("Role"),
            "team": _("Team"),
            "territory": _("Territory"),
        },
    )
    target_id: Mapped[UUID | None] = field(24, Semantic.ID, _("Which"), BUSINESS)
    source: Mapped[str] = field(25, Semantic.TEXT, _("Source"), SYSTEM, required=True, max_length=60)
    """Whose group it is, in the words of `User.source`: "directory:<id>" or "sso:<id>"."""
    group_key: Mapped[str] = field(26, Semantic.TEXT, _("Group"), BUSINESS, required=True, max_length=300)
    """The group's lasting key at its source: an id where there is one, else its name."""
