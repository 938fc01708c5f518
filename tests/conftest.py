"""Fixtures that many tests share: a private PostgreSQL, a database built by migrations, and sessions that roll back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from crm_server.kernel import db
from crm_server.kernel.actor import Actor, system_actor
from crm_server.local import postgres
from crm_server.migrations import manage
from crm_server.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_server.local.postgres import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of this test process alone."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with tempfile.TemporaryDirectory(prefix=f"kontor-test-{worker}-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / "state"
        started = postgres.start(state, durable=False)
        try:
            yield started
        finally:
            postgres.stop(state)


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """A database built by the migrations, from which others are copied."""
    name = "kontor_template"
    manage.init(cluster.superuser_url, name, {role: cluster.password_of(role) for role in manage.ROLES})
    manage.upgrade(cluster.url_for(manage.OWNER, name))
    return name


def copy_database(cluster: Cluster, template: str, name: str) -> None:
    """Make the database `name` as a copy of `template`."""
    engine = manage.owner_engine(cluster.superuser_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"drop database if exists {name} with (force)"))
        connection.execute(text(f"create database {name} template {template} owner {manage.OWNER}"))
    manage.init(cluster.superuser_url, name, {role: cluster.password_of(role) for role in manage.ROLES})


def see_everything(engine: Engine) -> Engine:
    """Connections of this engine see every row unless a transaction says what its actor reaches."""

    @event.listens_for(engine, "connect")
    def tell(raw: Any, _record: Any) -> None:
        with raw.cursor() as cursor:
            cursor.execute("set kontor.rows = '*'")
        raw.commit()

    return engine


@pytest.fixture(scope="session")
def database(cluster: Cluster, template: str) -> str:
    """The database that the tests of this process share; they leave nothing in it."""
    copy_database(cluster, template, "kontor_test")
    return "kontor_test"


@pytest.fixture(scope="session")
def settings(cluster: Cluster, database: str) -> Settings:
    """Settings of the application against the shared test database."""
    return load(
        {
            "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, database),
            "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, database),
            "KONTOR_LOG_FORMAT": "text",
        }
    )


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
    """The engine of the application role. What tests look at without an actor, they look at as the system."""
    made = see_everything(db.create_app_engine(settings))
    yield made
    made.dispose()


@pytest.fixture
def actor() -> Actor:
    """The system as actor; tests of rights make their own."""
    return system_actor()


@pytest.fixture
def session(engine: Engine, actor: Actor) -> Iterator[Session]:
    """A session inside one transaction that is rolled back; commits inside become savepoints."""
    with engine.connect() as connection:
        outer = connection.begin()
        made = Session(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        made.info[db.ACTOR] = actor
        yield made
        made.close()
        outer.rollback()
