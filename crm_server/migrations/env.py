"""Alembic environment: runs as the owner role, with lock and statement time-outs, one transaction a migration.

A migration that can't get its lock in time gives up and changes nothing, instead of queueing all traffic behind it.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

from compliance.datamap import Base
from crm_server.models import datamap

LOCK_TIMEOUT = "4s"
STATEMENT_TIMEOUT = "10min"

datamap()


def run() -> None:
    """Run the migrations on the connection handed in, or on the address in the configuration."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate(connection)
        return
    engine = create_engine(
        context.config.get_main_option("sqlalchemy.url") or "", poolclass=pool.NullPool, hide_parameters=True
    )
    with engine.connect() as opened:
        migrate(opened)
        opened.commit()


def migrate(connection) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - Alembic's own type
    """Migrate over one connection."""
    connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.execute(text("create schema if not exists kontor"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_schemas=True,
        include_name=_ours,
        version_table="schema_version",
        version_table_schema="kontor",
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _ours(name, kind, _parents) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001 - Alembic's own types
    if kind == "schema":
        return name in {"crm", "identity", "audit", "keys", "kontor", "search"}
    return not (kind == "table" and name == "schema_version")


run()
