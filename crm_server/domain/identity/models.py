"""The tables of identity. Secrets are stored hashed; a user's own data is employee data."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, Integer, SmallInteger, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Search, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel import rowrules
from crm_server.kernel.handling import BUSINESS, SECRET, STAFF, SYSTEM, TECHNICAL
from crm_server.kernel.ids import new_id
from crm_server.kernel.model import USER_KEY, Audited

USER_STATES = {"invited": _("Invited"), "active": _("Active"), "disabled": _("Disabled")}
FACTOR_POLICIES = {
    "none": _("Everybody as they like"),
    "any": _("App or passkey"),
    "passkey": _("Passkey"),
}
"""What a role asks of those who hold it, from little to much."""
SCHEMA = "identity"


class User(Audited, Base):
    """A person who logs in. `source` says which directory vouches for them."""

    __tablename__ = "user"
    __entity__ = EntityPolicy(
        30,
        "user",
        "users",
        _("User"),
        _("Users"),
        EntityKind.TECHNICAL,
        subject="id",
        icon="user-circle",
    )
    __table_args__ = (
        Index("uq_user_login", text("lower(login)"), unique=True),
        {"schema": SCHEMA},
    )

    login: Mapped[str] = field(
        20, Semantic.TEXT, _("Log-in name"), STAFF, required=True, search=Search.TEXT, max_length=100
    )
    name: Mapped[str] = field(21, Semantic.TEXT, _("Full name"), STAFF, required=True, search=Search.TEXT)
    email: Mapped[str | None] = field(22, Semantic.EMAIL, _("E-mail"), STAFF, search=Search.EXACT)
    state: Mapped[str] = field(
        23,
        Semantic.CHOICE,
        _("State"),
        STAFF,
        required=True,
        choices=USER_STATES,
        default="active",
        server_default=text("'active'"),
    )
    locale: Mapped[str] = field(
        24,
        Semantic.LANGUAGE,
        _("Language"),
        STAFF,
        required=True,
        default="en",
        server_default=text("'en'"),
    )
    timezone: Mapped[str] = field(
        25,
        Semantic.TIMEZONE,
        _("Time zone"),
        STAFF,
        required=True,
        default="UTC",
        server_default=text("'UTC'"),
    )
    theme: Mapped[str] = field(
        26,
        Semantic.CHOICE,
        _("Appearance"),
        STAFF,
        required=True,
        choices={"auto": _("As the device"), "light": _("Light"), "dark": _("Dark")},
        default="auto",
        server_default=text("'auto'"),
    )
    password_hash: Mapped[str | None] = field(27, Semantic.TEXT, _("Password"), SECRET, max_length=500)
    password_changed_at: Mapped[datetime | None] = field(
        28, Semantic.DATETIME, _("Password changed"), TECHNICAL, managed=True
    )
    source: Mapped[str] = field(
        29,
        Semantic.TEXT,
        _("Source"),
        STAFF,
        required=True,
        managed=True,
        default="local",
        server_default=text("'local'"),
        max_length=60,
    )
    source_key: Mapped[str | None] = field(
        30, Semantic.TEXT, _("Key at the source"), STAFF, managed=True, max_length=200
    )
    manager_id: Mapped[UUID | None] = field(
        31,
        Semantic.REFERENCE,
        _("Manager"),
        STAFF,
        target="user",
        references=USER_KEY,
        ondelete="SET NULL",
    )
    last_login_at: Mapped[datetime | None] = field(
        32, Semantic.DATETIME, _("Last log-in"), TECHNICAL, managed=True
    )
    preferences: Mapped[dict[str, Any]] = field(
        33,
        Semantic.JSON,
        _("Preferences"),
        TECHNICAL,
        required=True,
        default=dict,
        server_default=text("'{}'::jsonb"),
    )


class Role(Audited, Base):
    """A named set of permissions, row scopes and field rules. Built-in roles can be copied, not changed."""

    __tablename__ = "role"
    __entity__ = EntityPolicy(31, "role", "roles", _("Role"), _("Roles"), EntityKind.TECHNICAL, icon="shield")
    __table_args__ = ({"schema": SCHEMA},)

    name: Mapped[str] = field(
        20, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100, unique=True
    )
    description: Mapped[str | None] = field(21, Semantic.TEXT, _("Description"), BUSINESS, max_length=500)
    built_in: Mapped[bool] = field(
        22,
        Semantic.BOOLEAN,
        _("Built in"),
        BUSINESS,
        required=True,
        managed=True,
        default=False,
        server_default=text("false"),
    )
    permissions: Mapped[list[str]] = field(
        23,
        Semantic.JSON,
        _("Permissions"),
        BUSINESS,
        required=True,
        default=list,
        server_default=text("'[]'::jsonb"),
    )
    # "contact:read" to names of scopes (kernel/rowrules.py); what is not there is not reached.
    scopes: Mapped[dict[str, list[str]]] = field(
        24,
        Semantic.JSON,
        _("Row scopes"),
        BUSINESS,
        required=True,
        default=rowrules.everything,
        server_default=text("'{}'::jsonb"),
    )
    field_rules: Mapped[dict[str, str]] = field(
        25,
        Semantic.JSON,
        _("Field rules"),
        BUSINESS,
        required=True,
        default=dict,
        server_default=text("'{}'::jsonb"),
    )
    factors: Mapped[str] = field(
        26,
        Semantic.CHOICE,
        _("Second factor"),
        BUSINESS,
        required=True,
        choices=FACTOR_POLICIES,
        default="none",
        server_default=text("'none'"),
    )
    factor_grace: Mapped[int] = field(
        27,
        Semantic.SMALL_INTEGER,
        _("Days to set it up"),
        BUSINESS,
        required=True,
        sql=SmallInteger(),
        default=0,
        server_default=text("0"),
    )
    factors_since: Mapped[datetime | None] = field(
        28, Semantic.DATETIME, _("Second factor asked for since"), BUSINESS, managed=True
    )
    networks: Mapped[list[str]] = field(
        29,
        Semantic.JSON,
        _("Networks"),
        BUSINESS,
        required=True,
        default=list,
        server_default=text("'[]'::jsonb"),
    )
    emergency_minutes: Mapped[int] = field(
        30,
        Semantic.SMALL_INTEGER,
        _("Minutes in an emergency"),
        BUSINESS,
        required=True,
        sql=SmallInteger(),
        default=0,
        server_default=text("0"),
    )


class RoleVersion(Base):
    """A role as it was after each change, so that a change can be looked at and undone. Only ever added to."""

    __tablename__ = "role_version"
    __entity__ = EntityPolicy(
        122,
        "role_version",
        "role-versions",
        _("Version of a role"),
        _("Versions of roles"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = ({"schema": SCHEMA},)

    # No foreign key: the history outlives the role.
    role_id: Mapped[UUID] = field(1, Semantic.ID, _("Role"), SYSTEM, primary_key=True)
    version: Mapped[int] = field(
        2, Semantic.INTEGER, _("Version"), SYSTEM, primary_key=True, sql=Integer(), autoincrement=False
    )
    document: Mapped[dict[str, Any]] = field(3, Semantic.JSON, _("Role"), BUSINESS, required=True)
    changed_at: Mapped[datetime] = field(4, Semantic.DATETIME, _("Changed"), SYSTEM, required=True)
    changed_by: Mapped[UUID | None] = field(5, Semantic.ID, _("Changed by"), SYSTEM)


class UserRole(Base):
    """Which user has which role."""

    __tablename__ = "user_role"
    __entity__ = EntityPolicy(
        32, "user_role", "user-roles", _("Role of a user"), _("Roles of users"), EntityKind.TECHNICAL
    )
    __table_args__ = ({"schema": SCHEMA},)

    user_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        primary_key=True,
        target="user",
        references=USER_KEY,
        ondelete="CASCADE",
    )
    role_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("Role"),
        SYSTEM,
        primary_key=True,
        target="role",
        references="identity.role.id",
        ondelete="CASCADE",
    )
    given_at: Mapped[datetime] = field(
        3, Semantic.DATETIME, _("Given"), SYSTEM, required=True, server_default=text("now()")
    )
    # Of emergency access; the role counts until then.
    expires_at: Mapped[datetime | None] = field(4, Semantic.DATETIME, _("Expires"), SYSTEM)


class Emergency(Audited, Base):
    """One use of emergency access: who took which role, why, for how long, and what the review found."""

    __tablename__ = "emergency"
    __entity__ = EntityPolicy(
        123, "emergency", "emergencies", _("Emergency access"), _("Emergency access"), EntityKind.TECHNICAL
    )
    __table_args__ = (
        Index("ix_emergency_unreviewed", "created_at", postgresql_where=text("reviewed_at is null")),
        Index("ix_emergency_user", "user_id"),
        {"schema": SCHEMA},
    )

    user_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Person"),
        SYSTEM,
        required=True,
        target="user",
        references=USER_KEY,
        ondelete="RESTRICT",
    )
    role_id: Mapped[UUID] = field(21, Semantic.ID, _("Role"), SYSTEM, required=True)
    role_name: Mapped[str] = field(
        22, Semantic.TEXT, _("Name of the role"), BUSINESS, required=True, max_length=100
    )
    reason: Mapped[str] = field(23, Semantic.TEXT, _("Reason"), BUSINESS, required=True, max_length=1000)
    ends_at: Mapped[datetime] = field(24, Semantic.DATETIME, _("Ends"), BUSINESS, required=True)
    ended_at: Mapped[datetime | None] = field(25, Semantic.DATETIME, _("Ended"), BUSINESS)
    reviewed_at: Mapped[datetime | None] = field(26, Semantic.DATETIME, _("Reviewed"), BUSINESS)
    reviewed_by: Mapped[UUID | None] = field(
        27,
        Semantic.REFERENCE,
        _("Reviewed by"),
        SYSTEM,
        target="user",
        references=USER_KEY,
        ondelete="RESTRICT",
    )
    review: Mapped[str | None] = field(28, Semantic.TEXT, _("Review"), BUSINESS, max_length=2000)


class Team(Audited, Base):
    """People who work together; records of a team are shared among its members."""

    __tablename__ = "team"
    __entity__ = EntityPolicy(34, "team", "teams", _("Team"), _("Teams"), EntityKind.TECHNICAL, icon="users")
    __table_args__ = ({"schema": SCHEMA},)

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True, unique=True)
    description: Mapped[str | None] = field(21, Semantic.TEXT, _("Description"), BUSINESS, max_length=500)


class TeamMember(Base):
    """Membership of a user in a team."""

    __tablename__ = "team_member"
    __entity__ = EntityPolicy(
        35, "team_member", "team-members", _("Team member"), _("Team members"), EntityKind.TECHNICAL
    )
    __table_args__ = (Index("ix_team_member_user", "user_id"), {"schema": SCHEMA})

    team_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Team"),
        SYSTEM,
        primary_key=True,
        target="team",
        references="identity.team.id",
        ondelete="CASCADE",
    )
    user_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        primary_key=True,
        target="user",
        references=USER_KEY,
        ondelete="CASCADE",
    )
    leads: Mapped[bool] = field(
        3,
        Semantic.BOOLEAN,
        _("Leads the team"),
        SYSTEM,
        required=True,
        default=False,
        server_default=text("false"),
    )


class Territory(Audited, Base):
    """A region of sales. Territories form a tree; who has one has its subtree."""

    __tablename__ = "territory"
    __entity__ = EntityPolicy(
        36, "territory", "territories", _("Territory"), _("Territories"), EntityKind.TECHNICAL, icon="map"
    )
    __table_args__ = (Index("ix_territory_parent", "parent_id"), {"schema": SCHEMA})

    name: Mapped[str] = field(20, Semantic.TEXT, _("Name"), BUSINESS, required=True)
    parent_id: Mapped[UUID | None] = field(
        21,
        Semantic.REFERENCE,
        _("Part of"),
        BUSINESS,
        target="territory",
        references="identity.territory.id",
        ondelete="RESTRICT",
    )


class TerritoryMember(Base):
    """Assignment of a user to a territory and its subtree."""

    __tablename__ = "territory_member"
    __entity__ = EntityPolicy(
        37,
        "territory_member",
        "territory-members",
        _("Territory member"),
        _("Territory members"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (Index("ix_territory_member_user", "user_id"), {"schema": SCHEMA})

    territory_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Territory"),
        SYSTEM,
        primary_key=True,
        target="territory",
        references="identity.territory.id",
        ondelete="CASCADE",
    )
    user_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        primary_key=True,
        target="user",
        references=USER_KEY,
        ondelete="CASCADE",
    )


class LoginSession(Base):
    """A session on the server. The browser holds the token, the table its SHA-256 (AUTH-16)."""

    __tablename__ = "session"
    __entity__ = EntityPolicy(
        38, "session", "sessions", _("Session"), _("Sessions"), EntityKind.TECHNICAL, subject="user_id"
    )
    __table_args__ = (
        Index("uq_session_token", "token_hash", unique=True),
        Index("ix_session_user", "user_id"),
        {"schema": SCHEMA},
    )

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), SYSTEM, primary_key=True, default=new_id)
    user_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        required=True,
        target="user",
        references=USER_KEY,
        ondelete="CASCADE",
    )
    token_hash: Mapped[bytes] = field(3, Semantic.BYTES, _("Token"), SECRET, required=True)
    created_at: Mapped[datetime] = field(
        5, Semantic.DATETIME, _("Created"), SYSTEM, required=True, server_default=text("now()")
    )
    last_seen_at: Mapped[datetime] = field(
        6, Semantic.DATETIME, _("Last used"), SYSTEM, required=True, server_default=text("now()")
    )
    authenticated_at: Mapped[datetime] = field(
        7, Semantic.DATETIME, _("Authenticated"), SYSTEM, required=True, server_default=text("now()")
    )
    auth_method: Mapped[str] = field(8, Semantic.TEXT, _("Way of logging in"), SYSTEM, required=True)
    address: Mapped[str | None] = field(9, Semantic.TEXT, _("Address"), STAFF, max_length=60)
    user_agent: Mapped[str | None] = field(10, Semantic.TEXT, _("Browser"), STAFF, max_length=300)
    revoked_at: Mapped[datetime | None] = field(11, Semantic.DATETIME, _("Revoked"), SYSTEM)
    must_enrol: Mapped[bool] = field(
        12,
        Semantic.BOOLEAN,
        _("Must set up a second factor"),
        SYSTEM,
        required=True,
        default=False,
        server_default=text("false"),
    )
    must_change_password: Mapped[bool] = field(
        13,
        Semantic.BOOLEAN,
        _("Must choose another password"),
        SYSTEM,
        required=True,
        default=False,
        server_default=text("false"),
    )


class ApiToken(Audited, Base):
    """A token for programs. Only its prefix and hash are kept (AUTH-18)."""

    __tablename__ = "api_token"
    __entity__ = EntityPolicy(
        39,
        "api_token",
        "api-tokens",
        _("API token"),
        _("API tokens"),
        EntityKind.TECHNICAL,
        subject="user_id",
    )
    __table_args__ = (
        Index("uq_api_token_hash", "token_hash", unique=True),
        Index("ix_api_token_user", "user_id"),
        {"schema": SCHEMA},
    )

    user_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        required=True,
        target="user",
        references=USER_KEY,
        ondelete="CASCADE",
    )
    name: Mapped[str] = field(21, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100)
    prefix: Mapped[str] = field(22, Semantic.TEXT, _("Prefix"), BUSINESS, required=True, max_length=40)
    token_hash: Mapped[bytes] = field(23, Semantic.BYTES, _("Token"), SECRET, required=True)
    permissions: Mapped[list[str] | None] = field(24, Semantic.JSON, _("Limited to"), BUSINESS)
    expires_at: Mapped[datetime | None] = field(25, Semantic.DATETIME, _("Expires"), BUSINESS)
    last_used_at: Mapped[datetime | None] = field(26, Semantic.DATETIME, _("Last used"), TECHNICAL)
    revoked_at: Mapped[datetime | None] = field(27, Semantic.DATETIME, _("Revoked"), BUSINESS)
    # Names such as "contact.email"; None: every field that its owner sees.
    fields: Mapped[list[str] | None] = field(28, Semantic.JSON, _("Fields"), BUSINESS)


class RateLimit(Base):
    """Attempts counted by named limits. `key` is a keyed hash, never a name or an address in clear."""

    __tablename__ = "rate_limit"
    __entity__ = EntityPolicy(
        44, "rate_limit", "rate-limits", _("Rate limit"), _("Rate limits"), EntityKind.TECHNICAL
    )
    __table_args__ = (Index("ix_rate_limit_expires", "expires_at"), {"schema": SCHEMA})

    limit_name: Mapped[str] = field(1, Semantic.TEXT, _("Limit"), TECHNICAL, primary_key=True)
    key: Mapped[bytes] = field(2, Semantic.BYTES, _("Key"), TECHNICAL, primary_key=True)
    attempts: Mapped[list[datetime]] = field(
        5, Semantic.DATETIME, _("Attempts"), TECHNICAL, required=True, sql=ARRAY(DateTime(timezone=True))
    )
    expires_at: Mapped[datetime] = field(6, Semantic.DATETIME, _("Expires"), TECHNICAL, required=True)
