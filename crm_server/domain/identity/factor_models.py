"""Tables of second factors, one-time links and log-ins that wait for their second step.

Apart from `models` because log-in alone reads them. Secrets are sealed or hashed; none can be shown.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped

from compliance.datamap import Base, EntityKind, EntityPolicy, Semantic, field
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, SECRET, STAFF, SYSTEM, TECHNICAL
from crm_server.kernel.ids import new_id
from crm_server.kernel.model import USER_KEY

SCHEMA = "identity"


class TotpFactor(Base):
    """A user's authenticator app. The seed is sealed; `last_step` makes a code work once (AUTH-12)."""

    __tablename__ = "totp_factor"
    __entity__ = EntityPolicy(
        45,
        "totp_factor",
        "totp-factors",
        _("Authenticator app"),
        _("Authenticator apps"),
        EntityKind.TECHNICAL,
        subject="user_id",
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
    seed: Mapped[bytes] = field(2, Semantic.BYTES, _("Seed"), SECRET, required=True)
    last_step: Mapped[int] = field(
        3, Semantic.INTEGER, _("Last step used"), TECHNICAL, required=True, sql=BigInteger(), default=0
    )
    confirmed_at: Mapped[datetime | None] = field(4, Semantic.DATETIME, _("Confirmed"), SYSTEM)
    created_at: Mapped[datetime] = field(
        5, Semantic.DATETIME, _("Created"), SYSTEM, required=True, server_default=text("now()")
    )


class RecoveryCode(Base):
    """One unused recovery code, as a slow hash. A used one is deleted (AUTH-13)."""

    __tablename__ = "recovery_code"
    __entity__ = EntityPolicy(
        46,
        "recovery_code",
        "recovery-codes",
        _("Recovery code"),
        _("Recovery codes"),
        EntityKind.TECHNICAL,
        subject="user_id",
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
    digest: Mapped[bytes] = field(2, Semantic.BYTES, _("Code"), SECRET, primary_key=True)
    salt: Mapped[bytes] = field(3, Semantic.BYTES, _("Salt"), SECRET, required=True)


class Passkey(Base):
    """A passkey or security key: public key and signature counter (AUTH-14)."""

    __tablename__ = "passkey"
    __entity__ = EntityPolicy(
        47,
        "passkey",
        "passkeys",
        _("Passkey"),
        _("Passkeys"),
        EntityKind.TECHNICAL,
        subject="user_id",
    )
    __table_args__ = (
        Index("uq_passkey_credential", "credential_id", unique=True),
        Index("ix_passkey_user", "user_id"),
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
    name: Mapped[str] = field(3, Semantic.TEXT, _("Name"), BUSINESS, required=True, max_length=100)
    credential_id: Mapped[bytes] = field(4, Semantic.BYTES, _("Credential"), SECRET, required=True)
    public_key: Mapped[bytes] = field(5, Semantic.BYTES, _("Public key"), SECRET, required=True)
    sign_count: Mapped[int] = field(
        6, Semantic.INTEGER, _("Signatures"), TECHNICAL, required=True, sql=BigInteger(), default=0
    )
    backed_up: Mapped[bool] = field(
        7, Semantic.BOOLEAN, _("Synchronised"), TECHNICAL, required=True, default=False
    )
    created_at: Mapped[datetime] = field(
        8, Semantic.DATETIME, _("Created"), SYSTEM, required=True, server_default=text("now()")
    )
    last_used_at: Mapped[datetime | None] = field(9, Semantic.DATETIME, _("Last used"), TECHNICAL)


class OneTimeLink(Base):
    """An invitation or a reset that was sent to a user. The link holds the token, the table its SHA-256."""

    __tablename__ = "one_time_link"
    __entity__ = EntityPolicy(
        48,
        "one_time_link",
        "one-time-links",
        _("One-time link"),
        _("One-time links"),
        EntityKind.TECHNICAL,
        subject="user_id",
    )
    __table_args__ = (
        Index("uq_one_time_link_token", "token_hash", unique=True),
        Index("ix_one_time_link_user", "user_id"),
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
    purpose: Mapped[str] = field(
        3,
        Semantic.CHOICE,
        _("Purpose"),
        SYSTEM,
        required=True,
        choices={"invite": _("Invitation"), "reset": _("Reset")},
    )
    token_hash: Mapped[bytes] = field(4, Semantic.BYTES, _("Token"), SECRET, required=True)
    created_at: Mapped[datetime] = field(
        5, Semantic.DATETIME, _("Created"), SYSTEM, required=True, server_default=text("now()")
    )
    expires_at: Mapped[datetime] = field(6, Semantic.DATETIME, _("Expires"), SYSTEM, required=True)


class PendingLogin(Base):
    """A log-in that waits for its second step. It opens nothing but that step."""

    __tablename__ = "pending_login"
    __entity__ = EntityPolicy(
        49,
        "pending_login",
        "pending-logins",
        _("Pending log-in"),
        _("Pending log-ins"),
        EntityKind.TECHNICAL,
        subject="user_id",
    )
    __table_args__ = (Index("ix_pending_login_user", "user_id"), {"schema": SCHEMA})

    token_hash: Mapped[bytes] = field(1, Semantic.BYTES, _("Token"), SECRET, primary_key=True)
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
    auth_method: Mapped[str] = field(
        3, Semantic.TEXT, _("Way of logging in"), SYSTEM, required=True, max_length=60
    )
    address: Mapped[str | None] = field(4, Semantic.TEXT, _("Address"), STAFF, max_length=60)
    challenge: Mapped[bytes | None] = field(5, Semantic.BYTES, _("Challenge"), SECRET)
    expires_at: Mapped[datetime] = field(6, Semantic.DATETIME, _("Expires"), SYSTEM, required=True)
    vouched: Mapped[bytes | None] = field(7, Semantic.BYTES, _("Session of single sign-on"), SECRET)
