"""Making, migrating and checking the database. Called by `kontor db` and by the fixtures of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions
import psycopg2.sql as pgsql
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, pool, text

from compliance.datamap import Base
from crm_server.kernel import rowsql
from crm_server.kernel.rowrules import GUARDED
from crm_server.migrations import HEAD
from crm_server.models import datamap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

OWNER, APP, SEALER, BI, MONITOR = (
    "kontor_owner",
    "kontor_app",
    "kontor_sealer",
    "kontor_bi",
    "kontor_monitor",
)
ROLES = (OWNER, APP, SEALER, BI, MONITOR)
_SCHEMAS = ("kontor", "identity", "crm", "audit", "keys", "search")
# Stray connections hang for ever without it; none of these statements waits long for a healthy reason.
_CONNECT_TIMEOUT = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between the models and the database."""

    text: str


def init(superuser_url: str, database: str, passwords: Mapping[str, str]) -> None:
    """Create the roles and the database, or bring them to the state they should have. Idempotent.

    Args:
        superuser_url: Address of a role that may create roles and databases.
        database: Name of the database to make.
        passwords: Password of each role of `ROLES`.
    """
    connection = _raw(superuser_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for role in ROLES:
                cursor.execute("select 1 from pg_roles where rolname = %s", (role,))
                verb = pgsql.SQL("alter") if cursor.fetchone() else pgsql.SQL("create")
                statement = pgsql.SQL(
                    "{} role {} login nosuperuser nocreatedb nocreaterole noinherit password {}"
                )
                # These two are given `pg_monitor`, which must count without `set role`.
                if role in {MONITOR, SEALER}:
                    statement = pgsql.SQL(
                        "{} role {} login nosuperuser nocreatedb nocreaterole inherit password {}"
                    )
                cursor.execute(statement.format(verb, pgsql.Identifier(role), pgsql.Literal(passwords[role])))
            cursor.execute(
                pgsql.SQL("grant pg_monitor to {} with admin option").format(pgsql.Identifier(OWNER))
            )
            cursor.execute("select 1 from pg_database where datname = %s", (database,))
            if cursor.fetchone() is None:
                cursor.execute(
                    pgsql.SQL("create database {} owner {} template template0 encoding 'UTF8'").format(
                        pgsql.Identifier(database), pgsql.Identifier(OWNER)
                    )
                )
            name = pgsql.Identifier(database)
            cursor.execute(pgsql.SQL("revoke all on database {} from public").format(name))
            # Bulk loads into tables under row rules go through temporary tables.
            cursor.execute(
                pgsql.SQL("grant temporary on database {} to {}").format(name, pgsql.Identifier(APP))
            )
            for role in ROLES[1:]:
                cursor.execute(
                    pgsql.SQL("grant connect on database {} to {}").format(name, pgsql.Identifier(role))
                )
            # The job queue's functions name their tables without a schema.
            for role in (OWNER, APP):
                cursor.execute(
                    pgsql.SQL("alter role {} in database {} set search_path = jobs, public").format(
                        pgsql.Identifier(role), name
                    )
                )
    finally:
        connection.close()


def _raw(url: str) -> psycopg2.extensions.connection:
    parts = make_url(url)
    return psycopg2.connect(
        host=parts.query.get("host", parts.host),
        port=parts.query.get("port", parts.port),
        user=parts.username,
        password=parts.password,
        dbname=parts.database,
        connect_timeout=_CONNECT_TIMEOUT,
    )


def owner_engine(owner_url: str) -> Engine:
    """An engine of the owner role, without a pool."""
    return create_engine(
        owner_url,
        poolclass=pool.NullPool,
        hide_parameters=True,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT, "application_name": "kontor-migrate"},
    )


def config(owner_url: str) -> Config:
    """Alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.set_main_option("sqlalchemy.url", owner_url.replace("%", "%%"))
    return made


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Migrate to `revision`; the newest one is followed by the defaults of this release."""
    from crm_server import defaults

    command.upgrade(config(owner_url), revision)
    if revision == "head":
        defaults.ensure(owner_url)


def current(owner_url: str) -> tuple[str | None, str | None]:
    """(revision of the database, newest revision of this release)."""
    engine = owner_engine(owner_url)
    with engine.connect() as connection:
        there = connection.execute(text("select to_regclass('kontor.schema_version')")).scalar()
        found = (
            connection.execute(text("select version_num from kontor.schema_version")).scalar()
            if there
            else None
        )
    return found, HEAD


def drift(owner_url: str) -> list[Drift]:
    """What the database and the models disagree about: tables, columns, indexes, triggers, views. Empty: nothing."""
    datamap()
    engine = owner_engine(owner_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _parents: (
                    name in _SCHEMAS if kind == "schema" else name != "schema_version"
                ),
                "compare_type": True,
            },
        )
        found = [Drift(str(item)) for item in compare_metadata(context, Base.metadata)]
        armed = {
            row[0]
            for row in connection.execute(
                text("select tgrelid::regclass::text from pg_trigger where tgname = 'capture_update'")
            )
        }
        ruled = {
            row[0]
            for row in connection.execute(
                text(
                    "select n.nspname || '.' || c.relname from pg_class c "
                    "join pg_namespace n on n.oid = c.relnamespace "
                    "where c.relrowsecurity and exists (select 1 from pg_policy p where p.polrelid = c.oid)"
                )
            )
        }
        views = set(
            connection.scalars(
                text("select schemaname || '.' || viewname from pg_views where schemaname = 'kontor'")
            )
        )
    found += [
        Drift(f"{name}: the view that lists read is missing")
        for name in (rowsql.mine(datamap()[kind]) for kind in GUARDED)
        if name not in views
    ]
    found += [
        Drift(f"{name}: the policies of row rules are missing")
        for name in sorted(rowsql.guarded_tables(datamap()) - ruled)
    ]
    for entity in datamap():
        if "event_id" in entity.fields and "version" in entity.fields:
            name = f"{entity.table.schema}.{_quoted(entity.table.name)}"
            if name not in armed:
                found.append(Drift(f"{name}: the triggers of audit capture are missing"))
    return found


def _quoted(name: str) -> str:
    return f'"{name}"' if name in {"user", "case"} else name
