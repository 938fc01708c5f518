"""Fixtures that many tests share: a private PostgreSQL, a database built by migrations, and sessions that roll back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from compliance.audit.events import Event
from compliance.audit.vocabulary import EVENT_TYPES
from crm_server.domain.audit.facts import FACTS
from crm_server.domain.audit.words import reason_word
from crm_server.kernel import db
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.keys import Keys
from crm_server.local import postgres
from crm_server.migrations import manage
from crm_server.settings import Settings, load

# A busy machine is no failed test.
hypothesis.settings.register_profile("kontor", deadline=None)
hypothesis.settings.load_profile("kontor")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_server.local.postgres import Cluster


RING = "KONTOR_KEY_RING"


@pytest.fixture(scope="session", autouse=True)
def key_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One key ring for all databases of this test process, so that its passphrase is stretched once.

    It is in the environment, for commands; settings that are made by hand name it (`ring_of_tests`).
    """
    folder = tmp_path_factory.mktemp("keys") / "keyring"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RING, str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def events_are_known() -> Iterator[None]:
    """Fail where an event is made that the catalogue (`compliance.audit.vocabulary`) doesn't know, or one that the
    explorer has no words for. # SIEM-5"""
    made = Event.__init__

    def checked(self: Event, event_class: str, action: str, *rest: Any, **more: Any) -> None:
        made(self, event_class, action, *rest, **more)
        assert action in EVENT_TYPES.get(event_class, ()), (
            f"no event of the catalogue: {event_class} {action}"
        )
        strange = (set(self.meta) | set(self.payload or ())) - set(FACTS) - {"changes"}
        assert not strange, f"no words for facts of {action} in crm_server/domain/audit/facts.py: {strange}"
        assert self.reason is None or reason_word(self.reason), f"no words for the reason {self.reason}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Event, "__init__", checked)
        yield


def ring_of_tests() -> dict[str, str]:
    """The setting of the shared key ring."""
    return {RING: os.environ[RING]}


def close(app: Any) -> None:
    """End what an application in this process keeps open: what it counts, the listener of its keys, its connections."""
    app.registry.denials.end()
    app.registry.keys.close()
    app.registry.hot.dispose()
    app.registry.engine.dispose()


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


def settings_of(cluster: Cluster, database: str, **more: str) -> Settings:
    """Settings of the application against a database of the cluster, with the shared key ring.

    Args:
        more: Other variables by name, such as `KONTOR_BODY_LIMIT`.
    """
    return load(
        {
            "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, database),
            "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, database),
            "KONTOR_LOG_FORMAT": "text",
            **ring_of_tests(),
            **more,
        }
    )


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
    return settings_of(cluster, database)


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
    """The engine of the application role. What tests look at without an actor, they look at as the system."""
    made = see_everything(db.create_app_engine(settings))
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def keys(settings: Settings, engine: Engine) -> Iterator[Keys]:
    """The keys of the shared test database; what other processes erase isn't heard."""
    made = Keys.open(settings, engine, listen=False)
    yield made
    made.close()


@pytest.fixture
def actor() -> Actor:
    """The system as actor; tests of rights make their own."""
    return system_actor()


@pytest.fixture
def session(engine: Engine, actor: Actor, settings: Settings, keys: Keys) -> Iterator[Session]:
    """A session inside one transaction that is rolled back; commits inside become savepoints."""
    with engine.connect() as connection:
        outer = connection.begin()
        made = Session(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        made.info |= {db.ACTOR: actor, db.SETTINGS: settings, db.KEYS: keys}
        yield made
        made.close()
        outer.rollback()
