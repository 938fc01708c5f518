"""A database of its own for imports: they commit, in several transactions and from several connections."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any
from uuid import UUID

import pytest
from psycopg2.errors import DeadlockDetected
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from webtest import TestApp

from compliance.datamap import DataMap
from crm_server.domain.identity.models import ApiToken, Role, User, UserRole
from crm_server.domain.imports.custom import widened
from crm_server.domain.imports.models import Import
from crm_server.domain.imports.storage import store_file
from crm_server.importing.detect import inspect_file
from crm_server.importing.mapping import ImportMapping
from crm_server.importing.propose import propose_mapping
from crm_server.importing.readers import open_rows
from crm_server.importing.texts import translate
from crm_server.importing.values.convert import Options
from crm_server.kernel import db
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.settings import Settings
from security.identity.tokens import new_api_token
from tests.conftest import close, copy_database, see_everything, settings_of
from tests.searching import searching, with_search

_NAME = "kontor_imports"


@pytest.fixture(scope="session")
def import_settings(cluster: Cluster, template: str) -> Settings:
    copy_database(cluster, template, _NAME)
    return with_search(settings_of(cluster, _NAME))


@pytest.fixture(scope="session")
def import_engine(import_settings: Settings) -> Iterator[Engine]:
    made = see_everything(db.create_app_engine(import_settings))
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def entities() -> DataMap:
    return datamap()


@pytest.fixture
def sessions(import_engine: Engine, import_settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Sessions that really commit; the tables of people and imports are emptied afterwards."""
    keys = Keys.open(import_settings, import_engine, listen=False)
    yield db.session_factory(import_engine, import_settings, keys)
    owner = manage.owner_engine(import_settings.owner_database_url)
    while not _emptied(owner):
        pass
    owner.dispose()


def _emptied(owner: Engine) -> bool:
    """Empty the tables; False if the search service was just reading them in another order, and this had to yield."""
    tables = ("import_job", "import_mapping", "contact", "account", "opportunity", "lead")
    try:
        with owner.begin() as connection:
            connection.execute(text(f"truncate {', '.join(f'crm.{name}' for name in tables)} cascade"))
    except OperationalError as error:
        if not isinstance(error.orig, DeadlockDetected):
            raise
        return False
    return True


@pytest.fixture
def upload(sessions: sessionmaker[Session], entities: DataMap, actor: Actor) -> Callable[..., UUID]:
    """Stores a file as an import that waits to be run, with the proposed mapping or a changed one."""

    def make(
        content: bytes | str,
        *,
        entity: str = "contact",
        phase: str = "run",
        country: str | None = "DE",
        change: Callable[[ImportMapping], ImportMapping] | None = None,
        **settings: Any,
    ) -> UUID:
        data = content.encode() if isinstance(content, str) else content
        file = io.BytesIO(data)
        profile = inspect_file(file)
        with db.open_session(sessions, actor) as session:
            target = widened(session, entities, entities[entity])
        mapping, _all = propose_mapping(
            target,
            profile.columns,
            islice(open_rows(file, profile), 50),
            options=Options(country=country, **settings),
            translate=translate,
        )
        if change is not None:
            mapping = change(mapping)
        import_id = new_id()
        with db.open_session(sessions, actor) as session:
            session.add(
                Import(
                    id=import_id, entity=entity, filename="list.csv", size=len(data), sha256=b"\0" * 32, state="queued",
                    phase=phase, profile=profile.to_json(), mapping=mapping.to_json(),
                )
            )  # fmt: skip
            session.flush()
            store_file(session, import_id, file, 1 << 30)
            db.commit(session)
        return import_id

    return make


@pytest.fixture(scope="session")
def wsgi(import_settings: Settings) -> Iterator[Any]:
    """The whole application over the same database."""
    from crm_server.app import main

    app = main(import_settings)
    with searching(import_settings):
        yield app
    close(app)


@pytest.fixture(scope="session")
def browser_of(wsgi: Any, import_engine: Engine) -> Callable[..., TestApp]:
    """``browser_of("Manager")``: calls as a fresh user with these roles; pages and API alike."""

    def make(*roles: str, locale: str = "en") -> TestApp:
        secret = new_api_token()
        with Session(import_engine) as session:
            session.info[db.ACTOR] = system_actor()
            user = User(login=f"user-{new_id()}", name="Example User", locale=locale)
            session.add(user)
            session.flush()
            for role in session.scalars(select(Role).where(Role.name.in_(roles))):
                session.execute(insert(UserRole).values(user_id=user.id, role_id=role.id))
            session.add(
                ApiToken(user_id=user.id, name="Test", prefix=secret.public_id, token_hash=secret.digest)
            )
            session.commit()
        environ = {
            "HTTP_HOST": "localhost",
            "wsgi.url_scheme": "https",
            "HTTP_AUTHORIZATION": f"Bearer {secret.text}",
        }
        return TestApp(wsgi, extra_environ=environ)

    return make


@pytest.fixture
def work(import_settings: Settings) -> Callable[[], None]:
    """Runs the worker until no job waits."""
    from crm_server import tasks

    def run() -> None:
        # A thread of its own: a browser test in the same process may leave an event loop running.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(lambda: tasks.worker(import_settings).run(until_empty=True)).result()

    return run
