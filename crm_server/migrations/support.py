"""What migrations share: schemas, functions, triggers of record tables, and the rights of the database roles."""

from __future__ import annotations

from importlib import resources

from alembic import op

from crm_server.kernel import rowsql
from crm_server.models import datamap

SCHEMAS = ("kontor", "identity", "crm", "audit", "audit_part", "keys", "search", "jobs")

# Tables of records and of their parts: (table, entity number, whether it is in the change feed).
Records = tuple[tuple[str, int, bool], ...]

_FUNCTIONS = (
    ("crm_server.migrations", "sql/functions.sql"),
    ("compliance.audit.log", "partitions.sql"),
    ("compliance.audit.log", "retention.sql"),
)
_GRANTS = (
    ("crm_server.migrations", "sql/guards.sql"),
    ("crm_server.migrations", "sql/grants.sql"),
    ("crm_server.migrations", "sql/keys.sql"),
    ("crm_server.migrations", "sql/search.sql"),
    ("compliance.audit.log", "grants.sql"),
    ("crm_server.migrations", "sql/rowrules.sql"),
    ("crm_server.migrations", "sql/feed.sql"),
)


def _run_files(files: tuple[tuple[str, str], ...]) -> None:
    for package, name in files:
        sql = resources.files(package).joinpath(name).read_text("utf-8")
        # The driver would read % as a place for a parameter.
        op.get_bind().exec_driver_sql(sql.replace("%", "%%"))


def create_schemas() -> None:
    """Create the schemas. `public` stays empty and closed."""
    for name in SCHEMAS:
        op.execute(f"create schema if not exists {name}")
    op.execute("revoke all on schema public from public")


def apply_functions() -> None:
    """Create or replace the shared functions."""
    _run_files(_FUNCTIONS)


def attach_triggers(records: Records) -> None:
    """Attach the capture and change-feed triggers."""
    for table, number, feed in records:
        op.execute(
            f"select kontor.attach_record_triggers('{table}'::regclass, {number}::smallint, {str(feed).lower()})"
        )


def apply_grants() -> None:
    """Guard what no statement may get wrong, and give each role what it needs and nothing else, row rules among it.

    Run again after a migration that adds a table.
    """
    _run_files(_GRANTS)
    for statement in rowsql.statements(datamap()):
        op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def install_jobs() -> None:
    """Install the schema of the job queue (procrastinate) into the schema `jobs`."""
    from procrastinate.schema import SchemaManager

    op.execute("set local search_path = jobs, pg_catalog")
    op.get_bind().exec_driver_sql(SchemaManager.get_schema().replace("%", "%%"))
    op.execute("reset search_path")
    # Its functions name their tables without a schema; with a path of their own they work for every caller.
    op.execute("""
        do $$ declare f regprocedure; begin
          for f in select oid::regprocedure from pg_proc where pronamespace = 'jobs'::regnamespace loop
            execute format('alter function %s set search_path = jobs, pg_catalog', f);
          end loop;
        end $$""")
    op.execute("grant select, insert, update, delete on all tables in schema jobs to kontor_app")
    op.execute("grant usage on all sequences in schema jobs to kontor_app")
    op.execute("grant execute on all functions in schema jobs to kontor_app")


def register_installation() -> None:
    """Give the installation its tenant id and the key of its rate limits."""
    op.execute(
        "insert into kontor.installation (tenant, limit_key) "
        "select gen_random_uuid(), uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"
    )
