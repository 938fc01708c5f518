"""Imports: the job, its file, what became of its rows, saved mappings."""

# ruff: noqa: E501 - one statement a table, as Alembic writes them

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from crm_server.migrations import support

revision = "0002_imports"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    """Create the four tables. Their rows are technical: the job writes audit events of its own."""
    op.create_table(
        "import_job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'draft'"), nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("profile", JSON, nullable=False),
        sa.Column("mapping", JSON, nullable=False),
        sa.Column("styles", JSON, nullable=True),
        sa.Column("counts", JSON, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("rows_total", sa.Integer(), nullable=True),
        sa.Column("rows_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_line", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("has_file", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("char_length(entity) <= 40", name=op.f("ck_import_job_entity_length")),
        sa.CheckConstraint("char_length(error) <= 100", name=op.f("ck_import_job_error_length")),
        sa.CheckConstraint("char_length(filename) <= 200", name=op.f("ck_import_job_filename_length")),
        sa.CheckConstraint("phase IN ('check', 'run', 'undo')", name=op.f("ck_import_job_phase_choice")),
        sa.CheckConstraint(
            "state IN ('draft', 'queued', 'working', 'checked', 'done', 'undone', 'failed', 'stopped')",
            name=op.f("ck_import_job_state_choice"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_job")),
        schema="crm",
    )
    op.create_index("ix_import_job_created", "import_job", ["created_by", "created_at"], schema="crm")
    op.create_table(
        "import_chunk",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["crm.import_job.id"], name=op.f("fk_import_chunk_import_id_import_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "number", name=op.f("pk_import_chunk")),
        schema="crm",
    )
    op.create_table(
        "import_row",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=True),
        sa.Column("record_version", sa.Integer(), nullable=True),
        sa.Column("problems", JSON, nullable=True),
        sa.Column("before", JSON, nullable=True),
        sa.CheckConstraint(
            "outcome IN ('failed', 'updated', 'merged', 'skipped', 'kept')",
            name=op.f("ck_import_row_outcome_choice"),
        ),
        sa.ForeignKeyConstraint(
            ["import_id"], ["crm.import_job.id"], name=op.f("fk_import_row_import_id_import_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("import_id", "ordinal", name=op.f("pk_import_row")),
        schema="crm",
    )
    op.create_table(
        "import_mapping",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mapping", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(entity) <= 40", name=op.f("ck_import_mapping_entity_length")),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_import_mapping_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_mapping")),
        schema="crm",
    )
    op.create_index("uq_import_mapping", "import_mapping", ["entity", "name"], unique=True, schema="crm")
    support.apply_grants()


def downgrade() -> None:
    """Drop the tables; the files and the record of what came in are lost with them."""
    for table in ("import_mapping", "import_row", "import_chunk", "import_job"):
        op.drop_table(table, schema="crm")
