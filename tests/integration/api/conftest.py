"""A database of its own (the API commits), the whole application over it, and users with tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select
from sqlalchemy.orm import Session
from webtest import TestApp, TestResponse

from crm_server.app import main
from crm_server.domain.identity.models import ApiToken, Role, User, UserRole
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.ids import new_id
from crm_server.local.postgres import Cluster
from crm_server.settings import Settings
from security.identity.tokens import new_api_token
from tests.conftest import close, copy_database, see_everything, settings_of
from tests.searching import searching, with_search

BASE = "/api/v1"


@pytest.fixture(scope="package")
def api_settings(cluster: Cluster, template: str) -> Settings:
    copy_database(cluster, template, "kontor_api")
    return with_search(
        settings_of(
            cluster,
            "kontor_api",
            KONTOR_LOG_LEVEL="warning",
            KONTOR_LOG_FORMAT="json",
            KONTOR_BODY_LIMIT="2000000",
        )
    )


@pytest.fixture(scope="package")
def wsgi(api_settings: Settings) -> Iterator[Any]:
    app = main(api_settings)
    with searching(api_settings):
        yield app
    close(app)


@pytest.fixture(scope="package")
def api_engine(api_settings: Settings) -> Iterator[Engine]:
    """What tests look at without an actor, they look at as the system; the application has its own engine."""
    made = see_everything(db.create_app_engine(api_settings))
    yield made
    made.dispose()


def open_db(engine: Engine) -> Session:
    session = Session(engine, expire_on_commit=False)
    session.info[db.ACTOR] = system_actor()
    return session


def make_token(
    engine: Engine, *roles: str, own: dict[str, Any] | None = None, **token: Any
) -> tuple[str, Any]:
    """A token of a user with built-in roles, or with a role of their own (permissions and field rules)."""
    secret = new_api_token()
    with open_db(engine) as session:
        user = User(login=f"user-{new_id()}", name="Example User")
        session.add(user)
        found = list(session.scalars(select(Role).where(Role.name.in_(roles)))) if roles else []
        assert len(found) == len(roles)
        if own is not None:
            role = Role(name=f"Role {new_id()}", **own)
            session.add(role)
            found.append(role)
        session.flush()
        for role in found:
            session.execute(insert(UserRole).values(user_id=user.id, role_id=role.id))
        session.add(
            ApiToken(user_id=user.id, name="Test", prefix=secret.public_id, token_hash=secret.digest, **token)
        )
        session.commit()
    return secret.text, user.id


@dataclass
class Client:
    """Calls the API as one user. Paths are below /api/v1."""

    app: TestApp
    token: str | None
    user_id: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: Any = None, *, status: Any = None, **headers: str
    ) -> TestResponse:
        """One request; header names are written with underscores."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given |= self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("/api/") else BASE + path
        if body is None:
            return self.app.request(url, method=method, headers=given, status=status or "*")
        return self.app._gen_request(
            method,
            url,
            params=_encoded(body),
            headers=given,
            content_type=given.pop("Content-Type", "application/json"),
            status=status or "*",
        )

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        return self.call("POST", path, body, **more)

    def patch(self, path: str, body: Any, version: int | None, **more: Any) -> TestResponse:
        tag = {} if version is None else {"If_Match": f'"{version}"'}
        return self.call("PATCH", path, body, **tag, **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self.call("DELETE", path, **more)


def _encoded(body: Any) -> bytes:
    import orjson

    return body if isinstance(body, bytes) else orjson.dumps(body)


@pytest.fixture(scope="package")
def test_app(wsgi: Any) -> TestApp:
    return TestApp(wsgi, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})


@pytest.fixture(scope="package")
def login(test_app: TestApp, api_engine: Engine) -> Callable[..., Client]:
    """`login("Manager")`: a client with a fresh user of these roles."""

    def make(*roles: str, **more: Any) -> Client:
        token, user_id = make_token(api_engine, *roles, **more)
        return Client(test_app, token, user_id)

    return make


@pytest.fixture(scope="package")
def manager(login: Callable[..., Client]) -> Client:
    return login("Manager")


@pytest.fixture(scope="package")
def user(login: Callable[..., Client]) -> Client:
    return login("User")


@pytest.fixture(scope="package")
def reader(login: Callable[..., Client]) -> Client:
    return login("Reader")


@pytest.fixture
def nobody(test_app: TestApp) -> Client:
    return Client(test_app, None)


@pytest.fixture
def statements(wsgi: Any) -> Iterator[list[str]]:
    """What is sent to PostgreSQL, statement by statement."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        sent.append(statement)

    engine = wsgi.registry.engine
    event.listen(engine, "before_cursor_execute", note)
    hot = wsgi.registry.hot
    once = hot._once

    def counted(statement: Any, *more: Any) -> Any:
        sent.append(getattr(statement, "name", "plain"))
        return once(statement, *more)

    hot._once = counted
    yield sent
    hot._once = once
    event.remove(engine, "before_cursor_execute", note)
