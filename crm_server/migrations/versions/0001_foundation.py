"""Foundation: the schema of the first release."""

# ruff: noqa: E501, PLR0915 - one statement a table, as Alembic writes them

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import compliance.datamap.sqltypes
from crm_server.migrations import support

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

RECORDS: support.Records = (
    ("crm.account", 1, True),
    ("crm.contact", 2, True),
    ("crm.lead", 3, True),
    ("crm.opportunity", 4, True),
    ("crm.pipeline", 5, True),
    ("crm.stage", 6, True),
    ("crm.product", 8, True),
    ("crm.price_list", 9, True),
    ("crm.price", 10, False),
    ("crm.opportunity_line", 11, False),
    ("crm.activity", 12, True),
    ("crm.activity_participant", 13, False),
    ('crm."case"', 14, True),
    ("crm.case_comment", 15, False),
    ("crm.contact_role", 16, False),
    ("crm.attachment", 17, True),
    ("crm.tag", 19, True),
    ("crm.saved_view", 21, True),
    ("crm.custom_field", 22, True),
    ("crm.data_subject", 24, False),
    ('identity."user"', 30, False),
    ("identity.role", 31, False),
    ("identity.team", 34, False),
    ("identity.territory", 36, False),
    ("identity.api_token", 39, False),
    ("identity.directory", 50, False),
    ("audit.sink", 65, False),
    ("audit.retention", 67, False),
    ("audit.alert_rule", 68, False),
    ("audit.saved_search", 69, False),
    ("crm.record_share", 71, False),
    ("identity.group_mapping", 79, False),
    ("identity.sso_provider", 80, False),
    ("identity.scim_token", 83, False),
    ("identity.scim_group", 85, False),
    ("identity.approval", 120, False),
    ("identity.emergency", 123, False),
)


def upgrade() -> None:
    """Create everything."""
    support.create_schemas()
    create_tables()
    support.apply_functions()
    support.attach_triggers(RECORDS)
    support.install_jobs()
    support.apply_grants()
    support.register_installation()


def create_tables() -> None:
    """Create tables, indexes and the foreign keys of cycles."""
    op.create_table(
        "alert_rule",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column(
            "values",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(code) <= 40", name=op.f("ck_alert_rule_code_length")),
        sa.CheckConstraint("minutes BETWEEN 1 AND 1440", name=op.f("ck_alert_rule_minutes_range")),
        sa.CheckConstraint("threshold BETWEEN 1 AND 2147483647", name=op.f("ck_alert_rule_threshold_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_rule")),
        sa.UniqueConstraint("code", name=op.f("uq_alert_rule_code")),
        schema="audit",
    )
    op.create_table(
        "checkpoint",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint("char_length(note) <= 20000", name=op.f("ck_checkpoint_note_length")),
        sa.PrimaryKeyConstraint("log", "size", name=op.f("pk_checkpoint")),
        schema="audit",
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_class", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("severity", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("actor_ref", sa.Uuid(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=True),
        sa.Column("session_ref", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("object_type", sa.SmallInteger(), nullable=True),
        sa.Column("object_ref", sa.Uuid(), nullable=True),
        sa.Column("subject_ref", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("policy_version", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "meta",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("payload_commit", sa.LargeBinary(), nullable=True),
        sa.Column(
            "xid",
            compliance.datamap.sqltypes.Xid8(),
            server_default=sa.text("pg_current_xact_id()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
        schema="audit",
        postgresql_partition_by="RANGE (event_id)",
    )
    op.create_table(
        "event_payload",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_payload")),
        schema="audit",
        postgresql_partition_by="RANGE (event_id)",
    )
    op.create_table(
        "leaf",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("index >= 0", name=op.f("ck_leaf_index_positive")),
        sa.CheckConstraint("octet_length(leaf_hash) = 32", name=op.f("ck_leaf_hash_length")),
        sa.PrimaryKeyConstraint("log", "index", "event_id", name=op.f("pk_leaf")),
        sa.UniqueConstraint("event_id", name=op.f("uq_leaf_event_id")),
        schema="audit",
        postgresql_partition_by="RANGE (event_id)",
    )
    op.create_table(
        "log",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("cursor", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("char_length(origin) <= 200", name=op.f("ck_log_origin_length")),
        sa.CheckConstraint("octet_length(root) = 32", name=op.f("ck_log_root_length")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_log_size_positive")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_log")),
        sa.UniqueConstraint("origin", name=op.f("uq_log_origin")),
        schema="audit",
    )
    op.create_table(
        "retention",
        sa.Column("event_class", sa.Text(), nullable=False),
        sa.Column("months", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(event_class) <= 40", name=op.f("ck_retention_event_class_length")),
        sa.CheckConstraint("months >= 6", name=op.f("ck_retention_months_least")),
        sa.CheckConstraint("months BETWEEN 6 AND 1200", name=op.f("ck_retention_months_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention")),
        sa.UniqueConstraint("event_class", name=op.f("uq_retention_event_class")),
        schema="audit",
    )
    op.create_table(
        "sink",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), server_default=sa.text("'pseudonym'"), nullable=False),
        sa.Column("message_limit", sa.Integer(), server_default=sa.text("8192"), nullable=False),
        sa.Column("enterprise", sa.Integer(), server_default=sa.text("32473"), nullable=False),
        sa.Column("authorities", sa.Text(), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("first_index", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "format IN ('rfc5424', 'rfc5424+json', 'cef', 'leef', 'ocsf', 'ecs')",
            name=op.f("ck_sink_format_choice"),
        ),
        sa.CheckConstraint("policy IN ('pseudonym', 'minimal', 'full')", name=op.f("ck_sink_policy_choice")),
        sa.CheckConstraint(
            "transport IN ('tls', 'https', 'hec', 'file', 'tcp', 'udp')",
            name=op.f("ck_sink_transport_choice"),
        ),
        sa.CheckConstraint("char_length(address) <= 1000", name=op.f("ck_sink_address_length")),
        sa.CheckConstraint("char_length(authorities) <= 20000", name=op.f("ck_sink_authorities_length")),
        sa.CheckConstraint("char_length(certificate) <= 20000", name=op.f("ck_sink_certificate_length")),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_sink_name_length")),
        sa.CheckConstraint("char_length(server_name) <= 253", name=op.f("ck_sink_server_name_length")),
        sa.CheckConstraint("enterprise BETWEEN 1 AND 2147483647", name=op.f("ck_sink_enterprise_range")),
        sa.CheckConstraint(
            "message_limit BETWEEN 4096 AND 1000000", name=op.f("ck_sink_message_limit_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sink")),
        sa.UniqueConstraint("name", name=op.f("uq_sink_name")),
        schema="audit",
    )
    op.create_table(
        "change",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "xid",
            compliance.datamap.sqltypes.Xid8(),
            server_default=sa.text("pg_current_xact_id()"),
            nullable=False,
        ),
        sa.Column("entity", sa.SmallInteger(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(operation) <= 10", name=op.f("ck_change_operation_length")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_change")),
        schema="crm",
    )
    op.create_table(
        "data_subject",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_subject")),
        schema="crm",
    )
    op.create_table(
        "import_job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'draft'"), nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("profile", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("mapping", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("styles", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
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
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("stream", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("phase IN ('check', 'run', 'undo')", name=op.f("ck_import_job_phase_choice")),
        sa.CheckConstraint(
            "state IN ('draft', 'queued', 'working', 'checked', 'done', 'undone', 'failed', 'stopped')",
            name=op.f("ck_import_job_state_choice"),
        ),
        sa.CheckConstraint("char_length(entity) <= 40", name=op.f("ck_import_job_entity_length")),
        sa.CheckConstraint("char_length(error) <= 100", name=op.f("ck_import_job_error_length")),
        sa.CheckConstraint("char_length(filename) <= 200", name=op.f("ck_import_job_filename_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_job")),
        schema="crm",
    )
    op.create_table(
        "import_mapping",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mapping", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(entity) <= 40", name=op.f("ck_import_mapping_entity_length")),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_import_mapping_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_mapping")),
        schema="crm",
    )
    op.create_table(
        "directory",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("flavour", sa.Text(), nullable=False),
        sa.Column(
            "servers",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("bind_dn", sa.Text(), nullable=False),
        sa.Column("bind_password", sa.LargeBinary(), nullable=True),
        sa.Column("user_base", sa.Text(), nullable=False),
        sa.Column("group_base", sa.Text(), nullable=False),
        sa.Column("user_filter", sa.Text(), nullable=True),
        sa.Column("authorities", sa.Text(), nullable=True),
        sa.Column("last_sync_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_sync", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "flavour IN ('active_directory', 'openldap')", name=op.f("ck_directory_flavour_choice")
        ),
        sa.CheckConstraint("char_length(authorities) <= 20000", name=op.f("ck_directory_authorities_length")),
        sa.CheckConstraint("char_length(bind_dn) <= 500", name=op.f("ck_directory_bind_dn_length")),
        sa.CheckConstraint("char_length(group_base) <= 500", name=op.f("ck_directory_group_base_length")),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_directory_name_length")),
        sa.CheckConstraint("char_length(user_base) <= 500", name=op.f("ck_directory_user_base_length")),
        sa.CheckConstraint("char_length(user_filter) <= 1000", name=op.f("ck_directory_user_filter_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory")),
        sa.UniqueConstraint("name", name=op.f("uq_directory_name")),
        schema="identity",
    )
    op.create_table(
        "group_mapping",
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('login', 'role', 'team', 'territory')", name=op.f("ck_group_mapping_kind_choice")
        ),
        sa.CheckConstraint("char_length(group_key) <= 300", name=op.f("ck_group_mapping_group_key_length")),
        sa.CheckConstraint("char_length(group_name) <= 300", name=op.f("ck_group_mapping_group_name_length")),
        sa.CheckConstraint("char_length(source) <= 60", name=op.f("ck_group_mapping_source_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_mapping")),
        schema="identity",
    )
    op.create_table(
        "rate_limit",
        sa.Column("limit_name", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(limit_name) <= 200", name=op.f("ck_rate_limit_limit_name_length")),
        sa.PrimaryKeyConstraint("limit_name", "key", name=op.f("pk_rate_limit")),
        schema="identity",
    )
    op.create_table(
        "role",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("built_in", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "permissions",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "scopes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "field_rules",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("factors", sa.Text(), server_default=sa.text("'none'"), nullable=False),
        sa.Column("factor_grace", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("factors_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "networks",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("emergency_minutes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("factors IN ('none', 'any', 'passkey')", name=op.f("ck_role_factors_choice")),
        sa.CheckConstraint("char_length(description) <= 500", name=op.f("ck_role_description_length")),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_role_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("name", name=op.f("uq_role_name")),
        schema="identity",
    )
    op.create_table(
        "role_version",
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("role_id", "version", name=op.f("pk_role_version")),
        schema="identity",
    )
    op.create_table(
        "sso_provider",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("protocol", sa.Text(), server_default=sa.text("'oidc'"), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("client_secret", sa.LargeBinary(), nullable=True),
        sa.Column("scopes", sa.Text(), server_default=sa.text("'openid profile email'"), nullable=False),
        sa.Column("identity_claim", sa.Text(), server_default=sa.text("'sub'"), nullable=False),
        sa.Column("login_claim", sa.Text(), server_default=sa.text("'preferred_username'"), nullable=False),
        sa.Column("groups_claim", sa.Text(), server_default=sa.text("'groups'"), nullable=False),
        sa.Column(
            "trusted_methods",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("provisioning", sa.Text(), server_default=sa.text("'login'"), nullable=False),
        sa.Column("authorities", sa.Text(), nullable=True),
        sa.Column("brake_released_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("protocol IN ('oidc')", name=op.f("ck_sso_provider_protocol_choice")),
        sa.CheckConstraint(
            "provisioning IN ('login', 'scim')", name=op.f("ck_sso_provider_provisioning_choice")
        ),
        sa.CheckConstraint(
            "char_length(authorities) <= 20000", name=op.f("ck_sso_provider_authorities_length")
        ),
        sa.CheckConstraint("char_length(client_id) <= 300", name=op.f("ck_sso_provider_client_id_length")),
        sa.CheckConstraint(
            "char_length(groups_claim) <= 100", name=op.f("ck_sso_provider_groups_claim_length")
        ),
        sa.CheckConstraint(
            "char_length(identity_claim) <= 100", name=op.f("ck_sso_provider_identity_claim_length")
        ),
        sa.CheckConstraint("char_length(issuer) <= 500", name=op.f("ck_sso_provider_issuer_length")),
        sa.CheckConstraint(
            "char_length(login_claim) <= 100", name=op.f("ck_sso_provider_login_claim_length")
        ),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_sso_provider_name_length")),
        sa.CheckConstraint("char_length(scopes) <= 500", name=op.f("ck_sso_provider_scopes_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sso_provider")),
        sa.UniqueConstraint("name", name=op.f("uq_sso_provider_name")),
        schema="identity",
    )
    op.create_table(
        "team",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(description) <= 500", name=op.f("ck_team_description_length")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_team_name_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team")),
        sa.UniqueConstraint("name", name=op.f("uq_team_name")),
        schema="identity",
    )
    op.create_table(
        "territory",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_territory_name_length")),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["identity.territory.id"],
            name=op.f("fk_territory_parent_id_territory"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_territory")),
        schema="identity",
    )
    op.create_table(
        "user",
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("locale", sa.Text(), server_default=sa.text("'en'"), nullable=False),
        sa.Column("timezone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("theme", sa.Text(), server_default=sa.text("'auto'"), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), server_default=sa.text("'local'"), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=True),
        sa.Column("manager_id", sa.Uuid(), nullable=True),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "preferences",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("state IN ('invited', 'active', 'disabled')", name=op.f("ck_user_state_choice")),
        sa.CheckConstraint("theme IN ('auto', 'light', 'dark')", name=op.f("ck_user_theme_choice")),
        sa.CheckConstraint("char_length(email) <= 254", name=op.f("ck_user_email_length")),
        sa.CheckConstraint("char_length(locale) <= 20", name=op.f("ck_user_locale_length")),
        sa.CheckConstraint("char_length(login) <= 100", name=op.f("ck_user_login_length")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_user_name_length")),
        sa.CheckConstraint("char_length(password_hash) <= 500", name=op.f("ck_user_password_hash_length")),
        sa.CheckConstraint("char_length(source) <= 60", name=op.f("ck_user_source_length")),
        sa.CheckConstraint("char_length(source_key) <= 200", name=op.f("ck_user_source_key_length")),
        sa.CheckConstraint("char_length(timezone) <= 64", name=op.f("ck_user_timezone_length")),
        sa.ForeignKeyConstraint(
            ["manager_id"], ["identity.user.id"], name=op.f("fk_user_manager_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        schema="identity",
    )
    op.create_table(
        "attestation",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holds_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(node) <= 200", name=op.f("ck_attestation_node_length")),
        sa.PrimaryKeyConstraint("node", "epoch", name=op.f("pk_attestation")),
        schema="keys",
    )
    op.create_table(
        "data_key",
        sa.Column("kid", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("generation", sa.SmallInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("kcv", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erase_event", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(state = 'erased') = (wrapped is null) and (state = 'erased') = (erased_at is not null)",
            name=op.f("ck_data_key_tombstone"),
        ),
        sa.CheckConstraint("state IN ('active', 'held', 'erased')", name=op.f("ck_data_key_state_choice")),
        sa.CheckConstraint("char_length(class) <= 20", name=op.f("ck_data_key_class_length")),
        sa.CheckConstraint("generation > 0 and epoch > 0", name=op.f("ck_data_key_counts_from_one")),
        sa.CheckConstraint("octet_length(kcv) = 8", name=op.f("ck_data_key_kcv_length")),
        sa.CheckConstraint("octet_length(kid) = 16", name=op.f("ck_data_key_kid_length")),
        sa.CheckConstraint("octet_length(wrapped) = 40", name=op.f("ck_data_key_wrapped_length")),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_data_key")),
        sa.UniqueConstraint(
            "tenant",
            "subject",
            "class",
            "generation",
            name=op.f("uq_data_key_tenant_subject_class_generation"),
        ),
        schema="keys",
    )
    op.create_table(
        "destruction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_by", sa.SmallInteger(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("released_by >= 0", name=op.f("ck_destruction_released_by_nobody_or_more")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destruction")),
        schema="keys",
    )
    op.create_table(
        "drill",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("char_length(node) <= 200", name=op.f("ck_drill_node_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drill")),
        schema="keys",
    )
    op.create_table(
        "epoch",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("destroyed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "state IN ('prepared', 'active', 'retired', 'destroying', 'destroyed')",
            name=op.f("ck_epoch_state_choice"),
        ),
        sa.CheckConstraint("char_length(fingerprint) <= 64", name=op.f("ck_epoch_fingerprint_length")),
        sa.CheckConstraint("char_length(provider) <= 40", name=op.f("ck_epoch_provider_length")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_epoch")),
        schema="keys",
    )
    op.create_table(
        "escrow",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("behind", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("char_length(file) <= 1000", name=op.f("ck_escrow_file_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escrow")),
        schema="keys",
    )
    op.create_table(
        "handover",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("char_length(node) <= 200", name=op.f("ck_handover_node_length")),
        sa.PrimaryKeyConstraint("node", "epoch", name=op.f("pk_handover")),
        schema="keys",
    )
    op.create_table(
        "idempotency_key",
        sa.Column("actor_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("record_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("char_length(key) <= 255", name=op.f("ck_idempotency_key_key_length")),
        sa.CheckConstraint("char_length(location) <= 500", name=op.f("ck_idempotency_key_location_length")),
        sa.PrimaryKeyConstraint("actor_id", "key", name=op.f("pk_idempotency_key")),
        schema="kontor",
    )
    op.create_table(
        "installation",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("limit_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_installation")),
        schema="kontor",
    )
    op.create_table(
        "token",
        sa.Column("index_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("index_id", "token", "record_id", name=op.f("pk_token")),
        schema="search",
    )
    op.create_table(
        "token_index",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("entity", sa.SmallInteger(), nullable=False),
        sa.Column("field_number", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("transform", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("bits", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(transform) <= 20", name=op.f("ck_token_index_transform_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_index")),
        schema="search",
    )
    op.create_table(
        "saved_search",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_saved_search_name_length")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_saved_search_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_search")),
        schema="audit",
    )
    op.create_table(
        "sink_state",
        sa.Column("sink_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("peer", sa.Text(), nullable=True),
        sa.Column("certificate_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("log", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.CheckConstraint("char_length(cause) <= 30", name=op.f("ck_sink_state_cause_length")),
        sa.CheckConstraint("char_length(error) <= 500", name=op.f("ck_sink_state_error_length")),
        sa.CheckConstraint("char_length(log) <= 200", name=op.f("ck_sink_state_log_length")),
        sa.CheckConstraint("char_length(peer) <= 1000", name=op.f("ck_sink_state_peer_length")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_sink_state_position_positive")),
        sa.ForeignKeyConstraint(
            ["sink_id"], ["audit.sink.id"], name=op.f("fk_sink_state_sink_id_sink"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sink_id", name=op.f("pk_sink_state")),
        schema="audit",
    )
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("legal_name", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), server_default=sa.text("'prospect'"), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("industry", sa.Text(), nullable=True),
        sa.Column("lifecycle_stage", sa.Text(), nullable=True),
        sa.Column("grade", sa.Text(), nullable=True),
        sa.Column("website", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("billing_street", sa.Text(), nullable=True),
        sa.Column("billing_postal_code", sa.Text(), nullable=True),
        sa.Column("billing_city", sa.Text(), nullable=True),
        sa.Column("billing_region", sa.Text(), nullable=True),
        sa.Column("billing_country", sa.Text(), nullable=True),
        sa.Column("employees", sa.Integer(), nullable=True),
        sa.Column("annual_revenue", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("tax_number", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("territory_id", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("grade IN ('a', 'b', 'c', 'd')", name=op.f("ck_account_grade_choice")),
        sa.CheckConstraint(
            "industry IN ('agriculture', 'automotive', 'banking', 'chemicals', 'construction', 'education', 'energy', 'government', 'healthcare', 'insurance', 'it', 'logistics', 'machinery', 'media', 'pharma', 'retail', 'telecom', 'other')",
            name=op.f("ck_account_industry_choice"),
        ),
        sa.CheckConstraint(
            "kind IN ('prospect', 'customer', 'partner', 'supplier', 'competitor', 'other')",
            name=op.f("ck_account_kind_choice"),
        ),
        sa.CheckConstraint(
            "lifecycle_stage IN ('subscriber', 'lead', 'marketing_qualified', 'sales_qualified', 'opportunity', 'customer', 'evangelist', 'former')",
            name=op.f("ck_account_lifecycle_stage_choice"),
        ),
        sa.CheckConstraint("char_length(billing_city) <= 200", name=op.f("ck_account_billing_city_length")),
        sa.CheckConstraint(
            "char_length(billing_country) <= 2", name=op.f("ck_account_billing_country_length")
        ),
        sa.CheckConstraint(
            "char_length(billing_postal_code) <= 20", name=op.f("ck_account_billing_postal_code_length")
        ),
        sa.CheckConstraint(
            "char_length(billing_region) <= 200", name=op.f("ck_account_billing_region_length")
        ),
        sa.CheckConstraint(
            "char_length(billing_street) <= 200", name=op.f("ck_account_billing_street_length")
        ),
        sa.CheckConstraint("char_length(currency) <= 3", name=op.f("ck_account_currency_length")),
        sa.CheckConstraint("char_length(description) <= 20000", name=op.f("ck_account_description_length")),
        sa.CheckConstraint("char_length(email) <= 254", name=op.f("ck_account_email_length")),
        sa.CheckConstraint("char_length(external_id) <= 100", name=op.f("ck_account_external_id_length")),
        sa.CheckConstraint("char_length(legal_name) <= 200", name=op.f("ck_account_legal_name_length")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_account_name_length")),
        sa.CheckConstraint("char_length(phone) <= 40", name=op.f("ck_account_phone_length")),
        sa.CheckConstraint("char_length(tax_number) <= 40", name=op.f("ck_account_tax_number_length")),
        sa.CheckConstraint("char_length(website) <= 2000", name=op.f("ck_account_website_length")),
        sa.CheckConstraint("employees BETWEEN 0 AND 2147483647", name=op.f("ck_account_employees_range")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_account_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["crm.account.id"], name=op.f("fk_account_parent_id_account"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["identity.team.id"], name=op.f("fk_account_team_id_team"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["territory_id"],
            ["identity.territory.id"],
            name=op.f("fk_account_territory_id_territory"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        schema="crm",
    )
    op.create_table(
        "attachment",
        sa.Column("record_type", sa.SmallInteger(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("stream", sa.LargeBinary(), nullable=False),
        sa.Column("stream_version", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(media_type) <= 100", name=op.f("ck_attachment_media_type_length")),
        sa.CheckConstraint(
            "octet_length(sealed_identity) >= 126 and get_byte(sealed_identity, 0) = 1 and get_byte(sealed_identity, 1) in (1, 2)",
            name=op.f("ck_attachment_sealed_identity_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_attachment_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["crm.data_subject.id"],
            name=op.f("fk_attachment_subject_id_data_subject"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachment")),
        schema="crm",
    )
    op.create_table(
        "custom_field",
        sa.Column("entity", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label_en", sa.Text(), nullable=False),
        sa.Column("label_zh", sa.Text(), nullable=True),
        sa.Column("semantic", sa.Text(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("position", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(label_en) <= 200", name=op.f("ck_custom_field_label_en_length")),
        sa.CheckConstraint("char_length(label_zh) <= 200", name=op.f("ck_custom_field_label_zh_length")),
        sa.CheckConstraint("char_length(name) <= 60", name=op.f("ck_custom_field_name_length")),
        sa.CheckConstraint("char_length(semantic) <= 200", name=op.f("ck_custom_field_semantic_length")),
        sa.CheckConstraint("position BETWEEN 0 AND 999", name=op.f("ck_custom_field_position_range")),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["identity.user.id"],
            name=op.f("fk_custom_field_owner_id_user"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_field")),
        schema="crm",
    )
    op.create_table(
        "import_chunk",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["crm.import_job.id"],
            name=op.f("fk_import_chunk_import_id_import_job"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "number", name=op.f("pk_import_chunk")),
        schema="crm",
    )
    op.create_table(
        "import_made",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("xid", compliance.datamap.sqltypes.Xid8(), autoincrement=False, nullable=False),
        sa.Column("entity", sa.SmallInteger(), nullable=False),
        sa.Column("field_number", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["crm.import_job.id"],
            name=op.f("fk_import_made_import_id_import_job"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "xid", name=op.f("pk_import_made")),
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
        sa.Column("problems", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('failed', 'updated', 'merged', 'skipped', 'kept')",
            name=op.f("ck_import_row_outcome_choice"),
        ),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["crm.import_job.id"],
            name=op.f("fk_import_row_import_id_import_job"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "ordinal", name=op.f("pk_import_row")),
        schema="crm",
    )
    op.create_table(
        "pipeline",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_pipeline_name_length")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_pipeline_owner_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline")),
        schema="crm",
    )
    op.create_table(
        "price_list",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(currency) <= 3", name=op.f("ck_price_list_currency_length")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_price_list_name_length")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_price_list_owner_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_list")),
        schema="crm",
    )
    op.create_table(
        "product",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(category) <= 100", name=op.f("ck_product_category_length")),
        sa.CheckConstraint("char_length(description) <= 20000", name=op.f("ck_product_description_length")),
        sa.CheckConstraint("char_length(external_id) <= 100", name=op.f("ck_product_external_id_length")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_product_name_length")),
        sa.CheckConstraint("char_length(sku) <= 60", name=op.f("ck_product_sku_length")),
        sa.CheckConstraint("char_length(unit) <= 30", name=op.f("ck_product_unit_length")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_product_owner_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
        schema="crm",
    )
    op.create_table(
        "record_share",
        sa.Column("record_type", sa.SmallInteger(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("level", sa.Text(), server_default=sa.text("'read'"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("level IN ('read', 'write')", name=op.f("ck_record_share_level_choice")),
        sa.CheckConstraint(
            "(user_id is null) <> (team_id is null)", name=op.f("ck_record_share_one_receiver")
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["identity.team.id"], name=op.f("fk_record_share_team_id_team"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_record_share_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_record_share")),
        schema="crm",
    )
    op.create_table(
        "saved_view",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("shared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(entity) <= 40", name=op.f("ck_saved_view_entity_length")),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_saved_view_name_length")),
        sa.CheckConstraint(
            "octet_length(sealed_identity) >= 126 and get_byte(sealed_identity, 0) = 1 and get_byte(sealed_identity, 1) in (1, 2)",
            name=op.f("ck_saved_view_sealed_identity_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_saved_view_owner_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
        schema="crm",
    )
    op.create_table(
        "tag",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("colour", sa.Text(), server_default=sa.text("'blue'"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "colour IN ('blue', 'azure', 'indigo', 'purple', 'pink', 'red', 'orange', 'yellow', 'lime', 'green', 'teal')",
            name=op.f("ck_tag_colour_choice"),
        ),
        sa.CheckConstraint("char_length(name) <= 60", name=op.f("ck_tag_name_length")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_tag_owner_id_user"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag")),
        schema="crm",
    )
    op.create_table(
        "api_token",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("permissions", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_api_token_name_length")),
        sa.CheckConstraint("char_length(prefix) <= 40", name=op.f("ck_api_token_prefix_length")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_api_token_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        schema="identity",
    )
    op.create_table(
        "approval",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("needed", sa.SmallInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'released', 'executed', 'vetoed', 'withdrawn', 'expired', 'failed')",
            name=op.f("ck_approval_state_choice"),
        ),
        sa.CheckConstraint("char_length(digest) <= 64", name=op.f("ck_approval_digest_length")),
        sa.CheckConstraint("char_length(kind) <= 60", name=op.f("ck_approval_kind_length")),
        sa.CheckConstraint("char_length(reason) <= 1000", name=op.f("ck_approval_reason_length")),
        sa.CheckConstraint("char_length(remark) <= 1000", name=op.f("ck_approval_remark_length")),
        sa.CheckConstraint(
            "octet_length(sealed_identity) >= 126 and get_byte(sealed_identity, 0) = 1 and get_byte(sealed_identity, 1) in (1, 2)",
            name=op.f("ck_approval_sealed_identity_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"],
            ["identity.user.id"],
            name=op.f("fk_approval_decided_by_user"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["requested_by"],
            ["identity.user.id"],
            name=op.f("fk_approval_requested_by_user"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
        schema="identity",
    )
    op.create_table(
        "emergency",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("role_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_by", sa.Uuid(), nullable=True),
        sa.Column("review", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(reason) <= 1000", name=op.f("ck_emergency_reason_length")),
        sa.CheckConstraint("char_length(review) <= 2000", name=op.f("ck_emergency_review_length")),
        sa.CheckConstraint("char_length(role_name) <= 100", name=op.f("ck_emergency_role_name_length")),
        sa.ForeignKeyConstraint(
            ["reviewed_by"],
            ["identity.user.id"],
            name=op.f("fk_emergency_reviewed_by_user"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_emergency_user_id_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency")),
        schema="identity",
    )
    op.create_table(
        "login_request",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=True),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("verifier", sa.Text(), nullable=True),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(nonce) <= 100", name=op.f("ck_login_request_nonce_length")),
        sa.CheckConstraint("char_length(verifier) <= 128", name=op.f("ck_login_request_verifier_length")),
        sa.CheckConstraint("char_length(wanted) <= 2000", name=op.f("ck_login_request_wanted_length")),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["identity.sso_provider.id"],
            name=op.f("fk_login_request_provider_id_sso_provider"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_request")),
        schema="identity",
    )
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
    op.create_table(
        "pending_login",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("challenge", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("vouched", sa.LargeBinary(), nullable=True),
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
        "scim_group",
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "char_length(display_name) <= 300", name=op.f("ck_scim_group_display_name_length")
        ),
        sa.CheckConstraint("char_length(external_id) <= 300", name=op.f("ck_scim_group_external_id_length")),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["identity.sso_provider.id"],
            name=op.f("fk_scim_group_provider_id_sso_provider"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scim_group")),
        schema="identity",
    )
    op.create_table(
        "scim_token",
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(name) <= 100", name=op.f("ck_scim_token_name_length")),
        sa.CheckConstraint("char_length(prefix) <= 40", name=op.f("ck_scim_token_prefix_length")),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["identity.sso_provider.id"],
            name=op.f("fk_scim_token_provider_id_sso_provider"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scim_token")),
        schema="identity",
    )
    op.create_table(
        "scim_user",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "emails",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["identity.sso_provider.id"],
            name=op.f("fk_scim_user_provider_id_sso_provider"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_scim_user_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_scim_user")),
        schema="identity",
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "authenticated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("must_enrol", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("char_length(address) <= 60", name=op.f("ck_session_address_length")),
        sa.CheckConstraint("char_length(auth_method) <= 200", name=op.f("ck_session_auth_method_length")),
        sa.CheckConstraint("char_length(user_agent) <= 300", name=op.f("ck_session_user_agent_length")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_session_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        schema="identity",
    )
    op.create_table(
        "team_member",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("leads", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["identity.team.id"], name=op.f("fk_team_member_team_id_team"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_team_member_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_team_member")),
        schema="identity",
    )
    op.create_table(
        "territory_member",
        sa.Column("territory_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["territory_id"],
            ["identity.territory.id"],
            name=op.f("fk_territory_member_territory_id_territory"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["identity.user.id"],
            name=op.f("fk_territory_member_user_id_user"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("territory_id", "user_id", name=op.f("pk_territory_member")),
        schema="identity",
    )
    op.create_table(
        "territory_path",
        sa.Column("ancestor_id", sa.Uuid(), nullable=False),
        sa.Column("territory_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["ancestor_id"],
            ["identity.territory.id"],
            name=op.f("fk_territory_path_ancestor_id_territory"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["territory_id"],
            ["identity.territory.id"],
            name=op.f("fk_territory_path_territory_id_territory"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("ancestor_id", "territory_id", name=op.f("pk_territory_path")),
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
    op.create_table(
        "user_role",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["role_id"], ["identity.role.id"], name=op.f("fk_user_role_role_id_role"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_user_role_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "role_id", name=op.f("pk_user_role")),
        schema="identity",
    )
    op.create_table(
        "attachment_chunk",
        sa.Column("attachment_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attachment_id"],
            ["crm.attachment.id"],
            name=op.f("fk_attachment_chunk_attachment_id_attachment"),
            ondelete="CASCADE",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("attachment_id", "number", name=op.f("pk_attachment_chunk")),
        schema="crm",
    )
    op.create_table(
        "contact",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("salutation", sa.Text(), nullable=True),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("lifecycle_stage", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("reports_to_id", sa.Uuid(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("territory_id", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "lifecycle_stage IN ('subscriber', 'lead', 'marketing_qualified', 'sales_qualified', 'opportunity', 'customer', 'evangelist', 'former')",
            name=op.f("ck_contact_lifecycle_stage_choice"),
        ),
        sa.CheckConstraint(
            "salutation IN ('mr', 'ms', 'mx', 'dr', 'prof')", name=op.f("ck_contact_salutation_choice")
        ),
        sa.CheckConstraint(
            "source IN ('web', 'phone', 'mail', 'referral', 'event', 'partner', 'advertising', 'social', 'import', 'other')",
            name=op.f("ck_contact_source_choice"),
        ),
        sa.CheckConstraint("char_length(country) <= 2", name=op.f("ck_contact_country_length")),
        sa.CheckConstraint("char_length(external_id) <= 100", name=op.f("ck_contact_external_id_length")),
        sa.CheckConstraint("char_length(language) <= 20", name=op.f("ck_contact_language_length")),
        sa.CheckConstraint(
            "octet_length(sealed_identity) >= 126 and get_byte(sealed_identity, 0) = 1 and get_byte(sealed_identity, 1) in (1, 2)",
            name=op.f("ck_contact_sealed_identity_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["crm.account.id"],
            name=op.f("fk_contact_account_id_account"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_contact_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["reports_to_id"],
            ["crm.contact.id"],
            name=op.f("fk_contact_reports_to_id_contact"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["crm.data_subject.id"],
            name=op.f("fk_contact_subject_id_data_subject"),
            ondelete="RESTRICT",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["identity.team.id"], name=op.f("fk_contact_team_id_team"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["territory_id"],
            ["identity.territory.id"],
            name=op.f("fk_contact_territory_id_territory"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
        schema="crm",
    )
    op.create_table(
        "custom_value",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("field_id", sa.Uuid(), nullable=False),
        sa.Column("text_value", sa.Text(), nullable=True),
        sa.Column("int_value", sa.BigInteger(), nullable=True),
        sa.Column("date_value", sa.Date(), nullable=True),
        sa.Column("time_value", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bool_value", sa.Boolean(), nullable=True),
        sa.CheckConstraint(
            "char_length(text_value) <= 20000", name=op.f("ck_custom_value_text_value_length")
        ),
        sa.ForeignKeyConstraint(
            ["field_id"],
            ["crm.custom_field.id"],
            name=op.f("fk_custom_value_field_id_custom_field"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("record_id", "field_id", name=op.f("pk_custom_value")),
        schema="crm",
    )
    op.create_table(
        "price",
        sa.Column("price_list_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("unit_price", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(currency) <= 3", name=op.f("ck_price_currency_length")),
        sa.CheckConstraint(
            "unit_price BETWEEN 0 AND 1000000000000000", name=op.f("ck_price_unit_price_range")
        ),
        sa.ForeignKeyConstraint(
            ["price_list_id"],
            ["crm.price_list.id"],
            name=op.f("fk_price_price_list_id_price_list"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["crm.product.id"], name=op.f("fk_price_product_id_product"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price")),
        schema="crm",
    )
    op.create_table(
        "stage",
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("probability", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("kind IN ('open', 'won', 'lost')", name=op.f("ck_stage_kind_choice")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_stage_name_length")),
        sa.CheckConstraint("position BETWEEN 0 AND 999", name=op.f("ck_stage_position_range")),
        sa.CheckConstraint("probability BETWEEN 0 AND 100", name=op.f("ck_stage_probability_range")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_stage_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_id"],
            ["crm.pipeline.id"],
            name=op.f("fk_stage_pipeline_id_pipeline"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage")),
        schema="crm",
    )
    op.create_table(
        "tagging",
        sa.Column("tag_id", sa.Uuid(), nullable=False),
        sa.Column("record_type", sa.SmallInteger(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["crm.tag.id"], name=op.f("fk_tagging_tag_id_tag"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tag_id", "record_type", "record_id", name=op.f("pk_tagging")),
        schema="crm",
    )
    op.create_table(
        "approval_vote",
        sa.Column("approval_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("voted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["approval_id"],
            ["identity.approval.id"],
            name=op.f("fk_approval_vote_approval_id_approval"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_approval_vote_user_id_user"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("approval_id", "user_id", name=op.f("pk_approval_vote")),
        schema="identity",
    )
    op.create_table(
        "scim_member",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["identity.scim_group.id"],
            name=op.f("fk_scim_member_group_id_scim_group"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_scim_member_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_scim_member")),
        schema="identity",
    )
    op.create_table(
        "sso_session",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("provider_session", sa.Text(), nullable=True),
        sa.Column("id_token", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "char_length(provider_session) <= 300", name=op.f("ck_sso_session_provider_session_length")
        ),
        sa.CheckConstraint("char_length(subject) <= 300", name=op.f("ck_sso_session_subject_length")),
        sa.ForeignKeyConstraint(
            ["provider_id"],
            ["identity.sso_provider.id"],
            name=op.f("fk_sso_session_provider_id_sso_provider"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["identity.session.id"],
            name=op.f("fk_sso_session_session_id_session"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["identity.user.id"], name=op.f("fk_sso_session_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sso_session")),
        schema="identity",
    )
    op.create_table(
        "case",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False, start=1001), nullable=False),
        sa.Column("sealed_support", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'new'"), nullable=False),
        sa.Column("priority", sa.Text(), server_default=sa.text("'normal'"), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("product_id", sa.Uuid(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "origin IN ('mail', 'phone', 'web', 'portal', 'chat', 'visit')",
            name=op.f("ck_case_origin_choice"),
        ),
        sa.CheckConstraint(
            "priority IN ('low', 'normal', 'high', 'urgent')", name=op.f("ck_case_priority_choice")
        ),
        sa.CheckConstraint(
            "status IN ('new', 'open', 'waiting', 'resolved', 'closed')", name=op.f("ck_case_status_choice")
        ),
        sa.CheckConstraint("char_length(external_id) <= 100", name=op.f("ck_case_external_id_length")),
        sa.CheckConstraint(
            "octet_length(sealed_support) >= 126 and get_byte(sealed_support, 0) = 1 and get_byte(sealed_support, 1) in (1, 2)",
            name=op.f("ck_case_sealed_support_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["crm.account.id"], name=op.f("fk_case_account_id_account"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["crm.contact.id"], name=op.f("fk_case_contact_id_contact"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_case_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["crm.product.id"], name=op.f("fk_case_product_id_product"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["crm.data_subject.id"],
            name=op.f("fk_case_subject_id_data_subject"),
            ondelete="RESTRICT",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["identity.team.id"], name=op.f("fk_case_team_id_team"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case")),
        schema="crm",
    )
    op.create_table(
        "opportunity",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("stage_id", sa.Uuid(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), server_default=sa.text("'EUR'"), nullable=False),
        sa.Column("probability", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("close_date", sa.Date(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("forecast", sa.Text(), server_default=sa.text("'pipeline'"), nullable=False),
        sa.Column("lost_reason", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("next_step", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stage_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("territory_id", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "forecast IN ('pipeline', 'best_case', 'commit', 'closed', 'omitted')",
            name=op.f("ck_opportunity_forecast_choice"),
        ),
        sa.CheckConstraint(
            "lost_reason IN ('price', 'competitor', 'no_budget', 'no_decision', 'timing', 'product', 'other')",
            name=op.f("ck_opportunity_lost_reason_choice"),
        ),
        sa.CheckConstraint(
            "source IN ('web', 'phone', 'mail', 'referral', 'event', 'partner', 'advertising', 'social', 'import', 'other')",
            name=op.f("ck_opportunity_source_choice"),
        ),
        sa.CheckConstraint("status IN ('open', 'won', 'lost')", name=op.f("ck_opportunity_status_choice")),
        sa.CheckConstraint("amount BETWEEN 0 AND 1000000000000000", name=op.f("ck_opportunity_amount_range")),
        sa.CheckConstraint("char_length(currency) <= 3", name=op.f("ck_opportunity_currency_length")),
        sa.CheckConstraint(
            "char_length(description) <= 20000", name=op.f("ck_opportunity_description_length")
        ),
        sa.CheckConstraint("char_length(external_id) <= 100", name=op.f("ck_opportunity_external_id_length")),
        sa.CheckConstraint("char_length(name) <= 200", name=op.f("ck_opportunity_name_length")),
        sa.CheckConstraint("char_length(next_step) <= 200", name=op.f("ck_opportunity_next_step_length")),
        sa.CheckConstraint("probability BETWEEN 0 AND 100", name=op.f("ck_opportunity_probability_range")),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["crm.account.id"],
            name=op.f("fk_opportunity_account_id_account"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["crm.contact.id"],
            name=op.f("fk_opportunity_contact_id_contact"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_opportunity_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["pipeline_id"],
            ["crm.pipeline.id"],
            name=op.f("fk_opportunity_pipeline_id_pipeline"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["stage_id"], ["crm.stage.id"], name=op.f("fk_opportunity_stage_id_stage"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["identity.team.id"], name=op.f("fk_opportunity_team_id_team"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["territory_id"],
            ["identity.territory.id"],
            name=op.f("fk_opportunity_territory_id_territory"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opportunity")),
        schema="crm",
    )
    op.create_table(
        "case_comment",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_support", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("public", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "octet_length(sealed_support) >= 126 and get_byte(sealed_support, 0) = 1 and get_byte(sealed_support, 1) in (1, 2)",
            name=op.f("ck_case_comment_sealed_support_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["crm.case.id"], name=op.f("fk_case_comment_case_id_case"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["crm.data_subject.id"],
            name=op.f("fk_case_comment_subject_id_data_subject"),
            ondelete="RESTRICT",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_comment")),
        schema="crm",
    )
    op.create_table(
        "contact_role",
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("opportunity_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("influence", sa.SmallInteger(), nullable=True),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "role IN ('decision_maker', 'approver', 'influencer', 'champion', 'user', 'gatekeeper', 'blocker', 'billing', 'technical', 'other')",
            name=op.f("ck_contact_role_role_choice"),
        ),
        sa.CheckConstraint(
            "(account_id is null) <> (opportunity_id is null)", name=op.f("ck_contact_role_one_parent")
        ),
        sa.CheckConstraint("char_length(note) <= 500", name=op.f("ck_contact_role_note_length")),
        sa.CheckConstraint("influence BETWEEN 1 AND 5", name=op.f("ck_contact_role_influence_range")),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["crm.account.id"],
            name=op.f("fk_contact_role_account_id_account"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["crm.contact.id"],
            name=op.f("fk_contact_role_contact_id_contact"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["opportunity_id"],
            ["crm.opportunity.id"],
            name=op.f("fk_contact_role_opportunity_id_opportunity"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_role")),
        schema="crm",
    )
    op.create_table(
        "lead",
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("website", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'new'"), nullable=False),
        sa.Column("rating", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("unqualified_reason", sa.Text(), nullable=True),
        sa.Column("converted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("converted_account_id", sa.Uuid(), nullable=True),
        sa.Column("converted_contact_id", sa.Uuid(), nullable=True),
        sa.Column("converted_opportunity_id", sa.Uuid(), nullable=True),
        sa.Column("converted_made", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("territory_id", sa.Uuid(), nullable=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("rating IN ('hot', 'warm', 'cold')", name=op.f("ck_lead_rating_choice")),
        sa.CheckConstraint(
            "source IN ('web', 'phone', 'mail', 'referral', 'event', 'partner', 'advertising', 'social', 'import', 'other')",
            name=op.f("ck_lead_source_choice"),
        ),
        sa.CheckConstraint(
            "status IN ('new', 'working', 'qualified', 'unqualified', 'converted')",
            name=op.f("ck_lead_status_choice"),
        ),
        sa.CheckConstraint("char_length(company) <= 200", name=op.f("ck_lead_company_length")),
        sa.CheckConstraint("char_length(country) <= 2", name=op.f("ck_lead_country_length")),
        sa.CheckConstraint("char_length(external_id) <= 100", name=op.f("ck_lead_external_id_length")),
        sa.CheckConstraint("char_length(language) <= 20", name=op.f("ck_lead_language_length")),
        sa.CheckConstraint(
            "char_length(unqualified_reason) <= 200", name=op.f("ck_lead_unqualified_reason_length")
        ),
        sa.CheckConstraint("char_length(website) <= 2000", name=op.f("ck_lead_website_length")),
        sa.CheckConstraint(
            "octet_length(sealed_identity) >= 126 and get_byte(sealed_identity, 0) = 1 and get_byte(sealed_identity, 1) in (1, 2)",
            name=op.f("ck_lead_sealed_identity_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["converted_account_id"],
            ["crm.account.id"],
            name=op.f("fk_lead_converted_account_id_account"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["converted_contact_id"],
            ["crm.contact.id"],
            name=op.f("fk_lead_converted_contact_id_contact"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["converted_opportunity_id"],
            ["crm.opportunity.id"],
            name=op.f("fk_lead_converted_opportunity_id_opportunity"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_lead_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["crm.data_subject.id"],
            name=op.f("fk_lead_subject_id_data_subject"),
            ondelete="RESTRICT",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["territory_id"],
            ["identity.territory.id"],
            name=op.f("fk_lead_territory_id_territory"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lead")),
        schema="crm",
    )
    op.create_table(
        "opportunity_line",
        sa.Column("opportunity_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("quantity_milli", sa.BigInteger(), server_default=sa.text("1000"), nullable=False),
        sa.Column("unit_price", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("discount_percent", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(currency) <= 3", name=op.f("ck_opportunity_line_currency_length")),
        sa.CheckConstraint(
            "char_length(description) <= 500", name=op.f("ck_opportunity_line_description_length")
        ),
        sa.CheckConstraint(
            "discount_percent BETWEEN 0 AND 100", name=op.f("ck_opportunity_line_discount_percent_range")
        ),
        sa.CheckConstraint("position BETWEEN 0 AND 999", name=op.f("ck_opportunity_line_position_range")),
        sa.CheckConstraint(
            "quantity_milli BETWEEN 0 AND 1000000000000",
            name=op.f("ck_opportunity_line_quantity_milli_range"),
        ),
        sa.ForeignKeyConstraint(
            ["opportunity_id"],
            ["crm.opportunity.id"],
            name=op.f("fk_opportunity_line_opportunity_id_opportunity"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["crm.product.id"],
            name=op.f("fk_opportunity_line_product_id_product"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opportunity_line")),
        schema="crm",
    )
    op.create_table(
        "stage_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("opportunity_id", sa.Uuid(), nullable=False),
        sa.Column("from_stage_id", sa.Uuid(), nullable=True),
        sa.Column("to_stage_id", sa.Uuid(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("char_length(currency) <= 3", name=op.f("ck_stage_change_currency_length")),
        sa.ForeignKeyConstraint(
            ["from_stage_id"],
            ["crm.stage.id"],
            name=op.f("fk_stage_change_from_stage_id_stage"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["opportunity_id"],
            ["crm.opportunity.id"],
            name=op.f("fk_stage_change_opportunity_id_opportunity"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["to_stage_id"],
            ["crm.stage.id"],
            name=op.f("fk_stage_change_to_stage_id_stage"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_change")),
        schema="crm",
    )
    op.create_table(
        "activity",
        sa.Column("kind", sa.Text(), server_default=sa.text("'task'"), nullable=False),
        sa.Column("sealed_identity", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("priority", sa.Text(), server_default=sa.text("'normal'"), nullable=False),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("lead_id", sa.Uuid(), nullable=True),
        sa.Column("opportunity_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column(
            "happened_at",
            sa.DateTime(timezone=True),
            sa.Computed("coalesce(done_at, starts_at, due_at, created_at)", persisted=True),
            nullable=False,
        ),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Uuid(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_activity_direction_choice")),
        sa.CheckConstraint(
            "kind IN ('task', 'call', 'meeting', 'mail', 'note')", name=op.f("ck_activity_kind_choice")
        ),
        sa.CheckConstraint(
            "priority IN ('low', 'normal', 'high', 'urgent')", name=op.f("ck_activity_priority_choice")
        ),
        sa.CheckConstraint("status IN ('open', 'done', 'cancelled')", name=op.f("ck_activity_status_choice")),
        sa.CheckConstraint("char_length(location) <= 200", name=op.f("ck_activity_location_length")),
        sa.CheckConstraint(
            "ends_at is null or starts_at is null or ends_at >= starts_at",
            name=op.f("ck_activity_ends_after_start"),
        ),
        sa.CheckConstraint(
            "octet_length(sealed_identity) >= 126 and get_byte(sealed_identity, 0) = 1 and get_byte(sealed_identity, 1) in (1, 2)",
            name=op.f("ck_activity_sealed_identity_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["crm.account.id"],
            name=op.f("fk_activity_account_id_account"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["crm.case.id"], name=op.f("fk_activity_case_id_case"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["crm.contact.id"],
            name=op.f("fk_activity_contact_id_contact"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["lead_id"], ["crm.lead.id"], name=op.f("fk_activity_lead_id_lead"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["opportunity_id"],
            ["crm.opportunity.id"],
            name=op.f("fk_activity_opportunity_id_opportunity"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["identity.user.id"], name=op.f("fk_activity_owner_id_user"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["crm.data_subject.id"],
            name=op.f("fk_activity_subject_id_data_subject"),
            ondelete="RESTRICT",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity")),
        schema="crm",
    )
    op.create_table(
        "activity_participant",
        sa.Column("activity_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("part", sa.Text(), server_default=sa.text("'attendee'"), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "part IN ('organiser', 'attendee', 'sender', 'recipient')",
            name=op.f("ck_activity_participant_part_choice"),
        ),
        sa.CheckConstraint(
            "(contact_id is null) <> (user_id is null)", name=op.f("ck_activity_participant_one_person")
        ),
        sa.ForeignKeyConstraint(
            ["activity_id"],
            ["crm.activity.id"],
            name=op.f("fk_activity_participant_activity_id_activity"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["crm.contact.id"],
            name=op.f("fk_activity_participant_contact_id_contact"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["identity.user.id"],
            name=op.f("fk_activity_participant_user_id_user"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity_participant")),
        schema="crm",
    )
    op.create_index(
        "ix_event_action",
        "event",
        ["action", "event_id"],
        unique=False,
        schema="audit",
        postgresql_where=sa.text("action not in ('create', 'update', 'read', 'list')"),
    )
    op.create_index("ix_event_actor", "event", ["actor_ref", "event_id"], unique=False, schema="audit")
    op.create_index(
        "ix_event_object",
        "event",
        ["object_ref", "occurred_at"],
        unique=False,
        schema="audit",
        postgresql_where=sa.text("object_ref is not null"),
    )
    op.create_index(
        "ix_event_outcome",
        "event",
        ["outcome", "event_id"],
        unique=False,
        schema="audit",
        postgresql_where=sa.text("outcome <> 'success'"),
    )
    op.create_index(
        "ix_event_purpose",
        "event",
        ["purpose", "event_id"],
        unique=False,
        schema="audit",
        postgresql_where=sa.text("purpose not in ('', 'operation')"),
    )
    op.create_index(
        "ix_event_rare",
        "event",
        ["event_class", "event_id"],
        unique=False,
        schema="audit",
        postgresql_where=sa.text("event_class not in ('change', 'read')"),
    )
    op.create_index(
        "ix_event_rare_actor",
        "event",
        ["actor_ref", "event_class", "event_id"],
        unique=False,
        schema="audit",
        postgresql_where=sa.text("event_class not in ('change', 'read')"),
    )
    op.create_index(
        "ix_event_subject",
        "event",
        ["subject_ref"],
        unique=False,
        schema="audit",
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 256},
        postgresql_where=sa.text("subject_ref is not null"),
    )
    op.create_index("ix_event_xid", "event", ["xid", "event_id"], unique=False, schema="audit")
    op.create_index(
        "uq_log_open",
        "log",
        ["closed_at"],
        unique=True,
        schema="audit",
        postgresql_where=sa.text("closed_at is null"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_change_feed", "change", ["xid", "seq"], unique=False, schema="crm")
    op.create_index(
        "ix_import_job_created", "import_job", ["created_by", "created_at"], unique=False, schema="crm"
    )
    op.create_index("uq_import_mapping", "import_mapping", ["entity", "name"], unique=True, schema="crm")
    op.create_index(
        "uq_group_mapping",
        "group_mapping",
        ["source", "group_key", "kind", "target_id"],
        unique=True,
        schema="identity",
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_rate_limit_expires", "rate_limit", ["expires_at"], unique=False, schema="identity")
    op.create_index("ix_territory_parent", "territory", ["parent_id"], unique=False, schema="identity")
    op.create_index(
        "ix_user_manager",
        "user",
        ["manager_id"],
        unique=False,
        schema="identity",
        postgresql_where=sa.text("manager_id is not null"),
    )
    op.create_index(
        "uq_user_login", "user", [sa.literal_column("lower(login)")], unique=True, schema="identity"
    )
    op.create_index(
        "uq_epoch_active",
        "epoch",
        ["state"],
        unique=True,
        schema="keys",
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index(
        "ix_idempotency_key_created", "idempotency_key", ["created_at"], unique=False, schema="kontor"
    )
    op.create_index("ix_token_record", "token", ["record_id"], unique=False, schema="search")
    op.create_index(
        "uq_token_index",
        "token_index",
        ["entity", "field_number", "epoch", "generation"],
        unique=True,
        schema="search",
    )
    op.create_index("uq_saved_search", "saved_search", ["user_id", "name"], unique=True, schema="audit")
    op.create_index(
        "ix_account_bin",
        "account",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_account_live_created",
        "account",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_account_live_name",
        "account",
        ["name", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_account_owner",
        "account",
        ["owner_id", "created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_account_parent",
        "account",
        ["parent_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("parent_id is not null"),
    )
    op.create_index(
        "ix_account_team",
        "account",
        ["team_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_account_territory",
        "account",
        ["territory_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "uq_account_external_id",
        "account",
        ["external_id"],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("external_id is not null and deleted_at is null"),
    )
    op.create_index(
        "ix_attachment_record", "attachment", ["record_type", "record_id"], unique=False, schema="crm"
    )
    op.create_index("ix_attachment_subject", "attachment", ["subject_id"], unique=False, schema="crm")
    op.create_index(
        "uq_custom_field_name",
        "custom_field",
        ["entity", "name"],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index("uq_custom_field_number", "custom_field", ["entity", "number"], unique=True, schema="crm")
    op.create_index(
        "ix_pipeline_bin",
        "pipeline",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_price_list_bin",
        "price_list",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_product_bin",
        "product",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_product_live_created",
        "product",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_product_live_name",
        "product",
        ["name", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "uq_product_sku",
        "product",
        ["sku"],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null and sku is not null"),
    )
    op.create_index(
        "ix_record_share_record", "record_share", ["record_type", "record_id"], unique=False, schema="crm"
    )
    op.create_index(
        "uq_record_share_team",
        "record_share",
        ["team_id", "record_type", "record_id"],
        unique=True,
        schema="crm",
    )
    op.create_index(
        "uq_record_share_user",
        "record_share",
        ["user_id", "record_type", "record_id"],
        unique=True,
        schema="crm",
    )
    op.create_index("ix_saved_view_entity", "saved_view", ["entity", "owner_id"], unique=False, schema="crm")
    op.create_index(
        "ix_tag_bin",
        "tag",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "uq_tag_name",
        "tag",
        [sa.literal_column("lower(name)")],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index("ix_api_token_user", "api_token", ["user_id"], unique=False, schema="identity")
    op.create_index("uq_api_token_hash", "api_token", ["token_hash"], unique=True, schema="identity")
    op.create_index(
        "ix_approval_open",
        "approval",
        ["expires_at"],
        unique=False,
        schema="identity",
        postgresql_where=sa.text("state in ('pending', 'released')"),
    )
    op.create_index("ix_approval_requested_by", "approval", ["requested_by"], unique=False, schema="identity")
    op.create_index(
        "ix_emergency_unreviewed",
        "emergency",
        ["created_at"],
        unique=False,
        schema="identity",
        postgresql_where=sa.text("reviewed_at is null"),
    )
    op.create_index("ix_emergency_user", "emergency", ["user_id"], unique=False, schema="identity")
    op.create_index(
        "ix_login_request_expires", "login_request", ["expires_at"], unique=False, schema="identity"
    )
    op.create_index("ix_one_time_link_user", "one_time_link", ["user_id"], unique=False, schema="identity")
    op.create_index("uq_one_time_link_token", "one_time_link", ["token_hash"], unique=True, schema="identity")
    op.create_index("ix_passkey_user", "passkey", ["user_id"], unique=False, schema="identity")
    op.create_index("uq_passkey_credential", "passkey", ["credential_id"], unique=True, schema="identity")
    op.create_index("ix_pending_login_user", "pending_login", ["user_id"], unique=False, schema="identity")
    op.create_index(
        "uq_scim_group_name",
        "scim_group",
        ["provider_id", sa.literal_column("lower(display_name)")],
        unique=True,
        schema="identity",
    )
    op.create_index("uq_scim_token_hash", "scim_token", ["token_hash"], unique=True, schema="identity")
    op.create_index("ix_scim_user_provider", "scim_user", ["provider_id"], unique=False, schema="identity")
    op.create_index("ix_session_user", "session", ["user_id"], unique=False, schema="identity")
    op.create_index("uq_session_token", "session", ["token_hash"], unique=True, schema="identity")
    op.create_index("ix_team_member_user", "team_member", ["user_id"], unique=False, schema="identity")
    op.create_index(
        "ix_territory_member_user", "territory_member", ["user_id"], unique=False, schema="identity"
    )
    op.create_index(
        "ix_territory_path_territory", "territory_path", ["territory_id"], unique=False, schema="identity"
    )
    op.create_index(
        "ix_contact_account",
        "contact",
        ["account_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_contact_bin",
        "contact",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_contact_live_created",
        "contact",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_contact_owner",
        "contact",
        ["owner_id", "created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index("ix_contact_subject", "contact", ["subject_id"], unique=False, schema="crm")
    op.create_index(
        "ix_contact_team",
        "contact",
        ["team_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_contact_territory",
        "contact",
        ["territory_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "uq_contact_external_id",
        "contact",
        ["external_id"],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("external_id is not null and deleted_at is null"),
    )
    op.create_index(
        "ix_custom_value_date",
        "custom_value",
        ["field_id", "date_value"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("date_value is not null"),
    )
    op.create_index(
        "ix_custom_value_int",
        "custom_value",
        ["field_id", "int_value"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("int_value is not null"),
    )
    op.create_index(
        "ix_custom_value_text",
        "custom_value",
        ["field_id", "text_value"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("text_value is not null"),
    )
    op.create_index(
        "ix_custom_value_time",
        "custom_value",
        ["field_id", "time_value"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("time_value is not null"),
    )
    op.create_index("ix_price_product", "price", ["product_id"], unique=False, schema="crm")
    op.create_index(
        "uq_price_list_product", "price", ["price_list_id", "product_id"], unique=True, schema="crm"
    )
    op.create_index(
        "ix_stage_bin",
        "stage",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index("ix_stage_pipeline", "stage", ["pipeline_id", "position"], unique=False, schema="crm")
    op.create_index("ix_tagging_record", "tagging", ["record_type", "record_id"], unique=False, schema="crm")
    op.create_index("ix_scim_member_user", "scim_member", ["user_id"], unique=False, schema="identity")
    op.create_index(
        "ix_sso_session_subject", "sso_session", ["provider_id", "subject"], unique=False, schema="identity"
    )
    op.create_index(
        "ix_case_account",
        "case",
        ["account_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("account_id is not null"),
    )
    op.create_index(
        "ix_case_bin",
        "case",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_case_contact",
        "case",
        ["contact_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("contact_id is not null"),
    )
    op.create_index(
        "ix_case_live_created",
        "case",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_case_owner",
        "case",
        ["owner_id", "status"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_case_subject",
        "case",
        ["subject_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("subject_id is not null"),
    )
    op.create_index(
        "ix_case_team",
        "case",
        ["team_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index("uq_case_number", "case", ["number"], unique=True, schema="crm")
    op.create_index(
        "ix_opportunity_account",
        "opportunity",
        ["account_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_bin",
        "opportunity",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_opportunity_close",
        "opportunity",
        ["close_date", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_contact",
        "opportunity",
        ["contact_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_live_created",
        "opportunity",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_live_name",
        "opportunity",
        ["name", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_owner",
        "opportunity",
        ["owner_id", "created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_stage",
        "opportunity",
        ["stage_id", "close_date"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_team",
        "opportunity",
        ["team_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_territory",
        "opportunity",
        ["territory_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "uq_opportunity_external_id",
        "opportunity",
        ["external_id"],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("external_id is not null and deleted_at is null"),
    )
    op.create_index(
        "ix_case_comment_case", "case_comment", ["case_id", "created_at"], unique=False, schema="crm"
    )
    op.create_index(
        "ix_case_comment_subject",
        "case_comment",
        ["subject_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("subject_id is not null"),
    )
    op.create_index(
        "ix_contact_role_account",
        "contact_role",
        ["account_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("account_id is not null"),
    )
    op.create_index(
        "ix_contact_role_opportunity",
        "contact_role",
        ["opportunity_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("opportunity_id is not null"),
    )
    op.create_index(
        "uq_contact_role",
        "contact_role",
        ["contact_id", "account_id", "opportunity_id", "role"],
        unique=True,
        schema="crm",
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "ix_lead_bin",
        "lead",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_lead_live_created",
        "lead",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_lead_owner",
        "lead",
        ["owner_id", "created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index("ix_lead_subject", "lead", ["subject_id"], unique=False, schema="crm")
    op.create_index(
        "ix_lead_territory",
        "lead",
        ["territory_id", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "uq_lead_external_id",
        "lead",
        ["external_id"],
        unique=True,
        schema="crm",
        postgresql_where=sa.text("external_id is not null and deleted_at is null"),
    )
    op.create_index(
        "ix_opportunity_line_opportunity",
        "opportunity_line",
        ["opportunity_id", "position"],
        unique=False,
        schema="crm",
    )
    op.create_index(
        "ix_opportunity_line_product", "opportunity_line", ["product_id"], unique=False, schema="crm"
    )
    op.create_index(
        "ix_stage_change_opportunity",
        "stage_change",
        ["opportunity_id", "changed_at"],
        unique=False,
        schema="crm",
    )
    op.create_index(
        "ix_activity_account",
        "activity",
        ["account_id", "happened_at"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("account_id is not null"),
    )
    op.create_index(
        "ix_activity_bin",
        "activity",
        ["deleted_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is not null"),
    )
    op.create_index(
        "ix_activity_case",
        "activity",
        ["case_id", "happened_at"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("case_id is not null"),
    )
    op.create_index(
        "ix_activity_contact",
        "activity",
        ["contact_id", "happened_at"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("contact_id is not null"),
    )
    op.create_index(
        "ix_activity_lead",
        "activity",
        ["lead_id", "happened_at"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("lead_id is not null"),
    )
    op.create_index(
        "ix_activity_live_created",
        "activity",
        ["created_at", "id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_activity_opportunity",
        "activity",
        ["opportunity_id", "happened_at"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("opportunity_id is not null"),
    )
    op.create_index(
        "ix_activity_owner",
        "activity",
        ["owner_id", "status", "due_at"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("deleted_at is null"),
    )
    op.create_index(
        "ix_activity_subject",
        "activity",
        ["subject_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("subject_id is not null"),
    )
    op.create_index(
        "ix_activity_participant_activity",
        "activity_participant",
        ["activity_id"],
        unique=False,
        schema="crm",
    )
    op.create_index(
        "ix_activity_participant_contact",
        "activity_participant",
        ["contact_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("contact_id is not null"),
    )
    op.create_index(
        "ix_activity_participant_user",
        "activity_participant",
        ["user_id"],
        unique=False,
        schema="crm",
        postgresql_where=sa.text("user_id is not null"),
    )


def downgrade() -> None:
    """Remove everything; only before the first data."""
    for name in reversed(support.SCHEMAS):
        op.execute(f"drop schema {name} cascade" if name != "kontor" else "select 1")
