"""Second factors, one-time links, log-ins that wait for their second step, and limits with exact windows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crm_server.migrations import support

revision = "0003_factors"
down_revision = "0002_imports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; counters of limits start anew, because the old ones could not slide."""
    op.execute("truncate identity.rate_limit")
    op.create_table(
        "one_time_link",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("purpose IN ('invite', 'reset')", name=op.f("ck_one_time_link_purpose_choice")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_one_time_link_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_link")),
        schema="identity",
    )
    op.create_index("ix_one_time_link_user", "one_time_link", ["user_id"], unique=False, schema="identity")
    op.create_index("uq_one_time_link_token", "one_time_link", ["token_hash"], unique=True, schema="identity")
    op.create_table(
        "passkey",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_passkey_name_length")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_passkey_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        schema="identity",
    )
    op.create_index("ix_passkey_user", "passkey", ["user_id"], unique=False, schema="identity")
    op.create_index("uq_passkey_credential", "passkey", ["credential_id"], unique=True, schema="identity")
    op.create_table(
        "pending_login",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("challenge", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(address) <= 60", name=op.f("ck_pending_login_address_length")),
        sa.CheckConstraint(
            "char_length(auth_method) <= 60", name=op.f("ck_pending_login_auth_method_length")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_pending_login_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_pending_login")),
        schema="identity",
    )
    op.create_index("ix_pending_login_user", "pending_login", ["user_id"], unique=False, schema="identity")
    op.create_table(
        "recovery_code",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_recovery_code_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_code")),
        schema="identity",
    )
    op.create_table(
        "totp_factor",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_totp_factor_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totp_factor")),
        schema="identity",
    )
    op.add_column(
        "rate_limit",
        sa.Column("attempts", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        schema="identity",
    )
    op.add_column(
        "rate_limit", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False), schema="identity"
    )
    op.create_index("ix_rate_limit_expires", "rate_limit", ["expires_at"], unique=False, schema="identity")
    op.drop_column("rate_limit", "window_start", schema="identity")
    op.drop_column("rate_limit", "hits", schema="identity")
    support.apply_grants()


def downgrade() -> None:
    """Drop the tables and bring the old counters back, empty."""
    for name in ("totp_factor", "recovery_code", "passkey", "one_time_link", "pending_login"):
        op.drop_table(name, schema="identity")
    op.execute("truncate identity.rate_limit")
    op.drop_index("ix_rate_limit_expires", "rate_limit", schema="identity")
    op.drop_column("rate_limit", "attempts", schema="identity")
    op.drop_column("rate_limit", "expires_at", schema="identity")
    op.add_column("rate_limit", sa.Column("hits", sa.Integer(), nullable=False), schema="identity")
    op.add_column(
        "rate_limit", sa.Column("window_start", sa.DateTime(timezone=True), nullable=False), schema="identity"
    )
