"""Tables of single sign-on and of SCIM: providers, log-ins that are under way, and what SCIM brought."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, SECRET, STAFF, SYSTEM, TECHNICAL
from crm_server.kernel.model import USER_KEY, Audited

SCHEMA = "identity"
_PROVIDER_KEY = "identity.sso_provider.id"


class SsoProvider(Audited, Base):
    """A provider of single sign-on that vouches for its people. The client's secret is sealed."""

    __tablename__ = "sso_provider"
    __entity__ = EntityPolicy(
        80,
        "sso_provider",
        "sso-providers",
        _("Single sign-on provider"),
        _("Single sign-on"),
        EntityKind.TECHNICAL,
        icon="login",
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
    protocol: Mapped[str] = field(
        22,
        Semantic.CHOICE,
        _("Protocol"),
        BUSINESS,
        required=True,
        choices={"oidc": _("OpenID Connect")},
        default="oidc",
        server_default=text("'oidc'"),
    )
    issuer: Mapped[str] = field(
        23, Semantic.TEXT, _("Address of the provider (issuer)"), BUSINESS, required=True, max_length=500
    )
    client_id: Mapped[str] = field(24, Semantic.TEXT, _("Client id"), BUSINESS, required=True, max_length=300)
    client_secret: Mapped[bytes | None] = field(25, Semantic.BYTES, _("Client secret"), SECRET)
    scopes: Mapped[str] = field(
        26,
        Semantic.TEXT,
        _("Scopes"),
        BUSINESS,
        required=True,
        max_length=500,
        default="openid profile email",
        server_default=text("'openid profile email'"),
    )
    identity_claim: Mapped[str] = field(
        27,
        Semantic.TEXT,
        _("Claim with the lasting id"),
        BUSINESS,
        required=True,
        max_length=100,
        default="sub",
        server_default=text("'sub'"),
    )
    login_claim: Mapped[str] = field(
        28,
        Semantic.TEXT,
        _("Claim with the log-in name"),
        BUSINESS,
        required=True,
        max_length=100,
        default="preferred_username",
        server_default=text("'preferred_username'"),
    )
    groups_claim: Mapped[str] = field(
        29,
        Semantic.TEXT,
        _("Claim with the groups"),
        BUSINESS,
        required=True,
        max_length=100,
        default="groups",
        server_default=text("'groups'"),
    )
    trusted_methods: Mapped[list[str]] = field(
        30,
        Semantic.JSON,
        _("Values of amr or acr that count as a second factor"),
        BUSINESS,
        required=True,
        default=list,
        server_default=text("'[]'::jsonb"),
    )
    provisioning: Mapped[str] = field(
        31,
        Semantic.CHOICE,
        _("Accounts come"),
        BUSINESS,
        required=True,
        choices={"login": _("at the first log-in"), "scim": _("by SCIM alone")},
        default="login",
        server_default=text("'login'"),
    )
    authorities: Mapped[str | None] = field(
        32, Semantic.LONG_TEXT, _("Certificate authorities (PEM)"), BUSINESS
    )
    brake_released_until: Mapped[datetime | None] = field(
        33, Semantic.DATETIME, _("Brake released until"), TECHNICAL, managed=True
    )


class LoginRequest(Base):
    """A log-in or step-up that waits for the answer of a provider or of a passkey, once.

    The browser holds the token whose SHA-256 is the key, so that no other browser can bring the answer.
    """

    __tablename__ = "login_request"
    __entity__ = EntityPolicy(
        81,
        "login_request",
        "login-requests",
        _("Log-in under way"),
        _("Log-ins under way"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (Index("ix_login_request_expires", "expires_at"), {"schema": SCHEMA})

    token_hash: Mapped[bytes] = field(1, Semantic.BYTES, _("Token"), SECRET, primary_key=True)
    provider_id: Mapped[UUID | None] = field(
        2,
        Semantic.REFERENCE,
        _("Provider"),
        SYSTEM,
        target="sso_provider",
        references=_PROVIDER_KEY,
        ondelete="CASCADE",
    )
    challenge: Mapped[bytes] = field(3, Semantic.BYTES, _("Challenge"), SECRET, required=True)
    """Of a passkey: its challenge. Of a provider: the SHA-256 of the state."""
    nonce: Mapped[str | None] = field(4, Semantic.TEXT, _("Nonce"), SECRET, max_length=100)
    verifier: Mapped[str | None] = field(5, Semantic.TEXT, _("Code verifier"), SECRET, max_length=128)
    wanted: Mapped[str] = field(
        6, Semantic.TEXT, _("Page that was wanted"), SYSTEM, required=True, max_length=2000
    )
    session_id: Mapped[UUID | None] = field(7, Semantic.ID, _("Session that steps up"), SYSTEM)
    expires_at: Mapped[datetime] = field(8, Semantic.DATETIME, _("Expires"), SYSTEM, required=True)


class SsoSession(Base):
    """What a session needs of the provider that vouched, so that either side can end it."""

    __tablename__ = "sso_session"
    __entity__ = EntityPolicy(
        82,
        "sso_session",
        "sso-sessions",
        _("Session of single sign-on"),
        _("Sessions of single sign-on"),
        EntityKind.TECHNICAL,
        subject="user_id",
    )
    __table_args__ = (Index("ix_sso_session_subject", "provider_id", "subject"), {"schema": SCHEMA})

    session_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Session"),
        SYSTEM,
        primary_key=True,
        target="session",
        references="identity.session.id",
        ondelete="CASCADE",
    )
    provider_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("Provider"),
        SYSTEM,
        required=True,
        target="sso_provider",
        references=_PROVIDER_KEY,
        ondelete="CASCADE",
    )
    subject: Mapped[str] = field(
        3, Semantic.TEXT, _("Subject at the provider"), STAFF, required=True, max_length=300
    )
    provider_session: Mapped[str | None] = field(
        4, Semantic.TEXT, _("Session at the provider"), SECRET, max_length=300
    )
    id_token: Mapped[bytes] = field(5, Semantic.BYTES, _("Identity token"), SECRET, required=True)
    user_id: Mapped[UUID] = field(
        6,
        Semantic.REFERENCE,
        _("User"),
        SYSTEM,
        required=True,
        target="user",
        references=USER_KEY,
        ondelete="CASCADE",
    )


class ScimToken(Audited, Base):
    """A bearer token with which a provider reaches SCIM and nothing else. Only its hash is kept."""

    __tablename__ = "scim_token"
    __entity__ = EntityPolicy(
        83, "scim_token", "scim-tokens", _("SCIM token"), _("SCIM tokens"), EntityKind.TECHNICAL
    )
    __table_args__ = (Index("uq_scim_token_hash", "token_hash", unique=True), {"schema": SCHEMA})

    provider_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Provider"),
        SYSTEM,
        required=True,
        target="sso_provider",
        references=_PROVIDER_KEY,
        ondelete="CASCADE",
    )
    name: Mapped[str] = field(21, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100)
    prefix: Mapped[str] = field(22, Semantic.TEXT, _("Prefix"), BUSINESS, required=True, max_length=40)
    token_hash: Mapped[bytes] = field(23, Semantic.BYTES, _("Token"), SECRET, required=True)
    expires_at: Mapped[datetime] = field(24, Semantic.DATETIME, _("Expires"), BUSINESS, required=True)
    revoked_at: Mapped[datetime | None] = field(25, Semantic.DATETIME, _("Revoked"), BUSINESS)


class ScimUser(Base):
    """That SCIM knows an account. Removing it there removes this row and disables the account."""

    __tablename__ = "scim_user"
    __entity__ = EntityPolicy(
        84,
        "scim_user",
        "scim-users",
        _("Account known to SCIM"),
        _("Accounts known to SCIM"),
        EntityKind.TECHNICAL,
        subject="user_id",
    )
    __table_args__ = (Index("ix_scim_user_provider", "provider_id"), {"schema": SCHEMA})

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
    provider_id: Mapped[UUID] = field(
        2,
        Semantic.REFERENCE,
        _("Provider"),
        SYSTEM,
        required=True,
        target="sso_provider",
        references=_PROVIDER_KEY,
        ondelete="CASCADE",
    )
    active: Mapped[bool] = field(
        3,
        Semantic.BOOLEAN,
        _("Active at the provider"),
        SYSTEM,
        required=True,
        default=True,
        server_default=text("true"),
    )
    """What SCIM said last. An account that an administrator disabled here isn't enabled by repeating it."""
    emails: Mapped[list[dict[str, Any]]] = field(
        4,
        Semantic.JSON,
        _("E-mail addresses"),
        STAFF,
        required=True,
        default=list,
        server_default=text("'[]'::jsonb"),
    )


class ScimGroup(Audited, Base):
    """A group that SCIM brought. What it means here says a `GroupMapping`."""

    __tablename__ = "scim_group"
    __entity__ = EntityPolicy(
        85, "scim_group", "scim-groups", _("Group of SCIM"), _("Groups of SCIM"), EntityKind.TECHNICAL
    )
    __table_args__ = (
        Index("uq_scim_group_name", "provider_id", text("lower(display_name)"), unique=True),
        {"schema": SCHEMA},
    )

    provider_id: Mapped[UUID] = field(
        20,
        Semantic.REFERENCE,
        _("Provider"),
        SYSTEM,
        required=True,
        target="sso_provider",
        references=_PROVIDER_KEY,
        ondelete="CASCADE",
    )
    display_name: Mapped[str] = field(21, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=300)
    external_id: Mapped[str | None] = field(
        22, Semantic.TEXT, _("Key at the source"), BUSINESS, max_length=300
    )


class ScimMember(Base):
    """Membership of an account in a group of SCIM."""

    __tablename__ = "scim_member"
    __entity__ = EntityPolicy(
        86,
        "scim_member",
        "scim-members",
        _("Member of a group of SCIM"),
        _("Members of groups of SCIM"),
        EntityKind.TECHNICAL,
    )
    __table_args__ = (Index("ix_scim_member_user", "user_id"), {"schema": SCHEMA})

    group_id: Mapped[UUID] = field(
        1,
        Semantic.REFERENCE,
        _("Group"),
        SYSTEM,
        primary_key=True,
        target="scim_group",
        references="identity.scim_group.id",
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
