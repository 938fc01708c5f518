"""Who asks is recalled for safe requests, and confirmed before anything is answered or refused: what changes about a
token, its user or their roles counts for the very next request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from crm_server.domain.identity.authentication import TOKEN
from crm_server.domain.identity.models import LoginSession
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.errors import Outdated
from crm_server.kernel.recalled import Recalled
from security.identity.sessions import new_session_token
from tests.integration.api.conftest import Client, open_db


@pytest.fixture
def change(api_engine: Engine) -> Callable[..., None]:
    """Changes rows in a transaction of the system."""

    def run(statement: str, **values: Any) -> None:
        with open_db(api_engine) as session:
            session.execute(text(statement), values)
            session.commit()

    return run


@pytest.fixture
def asker(login: Callable[..., Client]) -> Client:
    """A client of a fresh user who was found a moment ago: the first request writes that the token was used."""
    made = login("Reader")
    for _ in range(2):
        made.get("/accounts", status=200)
    return made


def names(statements: list[str]) -> list[str]:
    return [name.removesuffix(name.partition("list_")[2]) for name in statements]


class TestConfirmed:
    def test_a_list_is_one_round_trip_which_confirms_who_asks(
        self, asker: Client, statements: list[str]
    ) -> None:
        asker.get("/accounts", status=200)
        assert names(statements) == ["list_"]

    def test_an_answer_that_needs_no_statement_is_confirmed_by_a_look_alone(
        self, asker: Client, statements: list[str]
    ) -> None:
        asker.get("/me", status=200)
        assert statements == ["look_api_token"]

    def test_a_refusal_is_confirmed_as_well(self, asker: Client, statements: list[str]) -> None:
        asker.get("/audit/events", status=403)
        assert statements[0] == "look_api_token"

    def test_who_changes_something_is_looked_up_first(self, asker: Client, statements: list[str]) -> None:
        asker.post("/accounts", {"name": "Refused"}, status=403)
        assert statements[0] == "find_api_token"

    def test_who_asks_for_what_is_not_there_is_looked_up(self, asker: Client, statements: list[str]) -> None:
        asker.get("/no-such-thing", status=404)
        assert set(statements) <= {"find_api_token"}


OUT = [
    ("update identity.api_token set revoked_at = now() where user_id = :user", 401),
    ("update identity.api_token set expires_at = now() - interval '1 second' where user_id = :user", 401),
    ("update identity.api_token set prefix = 'ffffffffffffffff' where user_id = :user", 401),
    ("delete from identity.api_token where user_id = :user", 401),
    ("update identity.\"user\" set state = 'disabled' where id = :user", 401),
    ("delete from identity.user_role where user_id = :user", 403),
    (
        "update identity.user_role set expires_at = now() - interval '1 second' where user_id = :user",
        403,
    ),
    ("update identity.api_token set permissions = '[\"crm:contact:read\"]' where user_id = :user", 403),
]


class TestChanges:
    @pytest.mark.parametrize("statement, status", OUT)
    def test_what_is_taken_away_counts_for_the_next_request(
        self, asker: Client, change: Callable[..., None], statements: list[str], statement: str, status: int
    ) -> None:
        change(statement, user=asker.user_id)
        statements.clear()
        asker.get("/accounts", status=status)
        assert names(statements)[:2] == ["list_", "find_api_token"]

    def test_a_role_that_is_changed_counts_for_the_next_request(
        self, login: Callable[..., Client], change: Callable[..., None]
    ) -> None:
        who = login(own={"permissions": ["crm:account:read"], "scopes": {"account:read": ["all"]}})
        for _ in range(2):
            who.get("/accounts", status=200)
        change(
            "update identity.role set permissions = '[]', version = version + 1 "
            "where id = (select role_id from identity.user_role where user_id = :user)",
            user=who.user_id,
        )
        who.get("/accounts", status=403)

    def test_what_is_granted_counts_for_the_next_request_though_the_last_was_refused(
        self, asker: Client, change: Callable[..., None]
    ) -> None:
        asker.get("/audit/events", status=403)
        change(
            "insert into identity.user_role (user_id, role_id) "
            "select :user, id from identity.role where name = 'Audit administrator'",
            user=asker.user_id,
        )
        asker.get("/audit/events", status=200)

    def test_a_new_name_shows_at_once(self, asker: Client, change: Callable[..., None]) -> None:
        assert asker.get("/me").json["name"] == "Example User"
        change('update identity."user" set name = :name where id = :user', user=asker.user_id, name="Otto")
        assert asker.get("/me").json["name"] == "Otto"

    def test_a_session_that_ended_opens_nothing(
        self, asker: Client, api_engine: Engine, change: Callable[..., None], statements: list[str]
    ) -> None:
        token = new_session_token()
        with open_db(api_engine) as session:
            session.add(LoginSession(user_id=asker.user_id, token_hash=token.digest, auth_method="password"))
            session.commit()
        browser = Client(asker.app, None, headers={"Cookie": f"__Host-kontor={token.text}"})
        browser.get("/accounts", status=200)
        statements.clear()
        browser.get("/accounts", status=200)
        assert names(statements) == ["list_"]
        change("update identity.session set revoked_at = now() where user_id = :user", user=asker.user_id)
        browser.get("/accounts", status=401)

    def test_a_read_that_was_stopped_leaves_no_event(
        self, asker: Client, api_engine: Engine, change: Callable[..., None]
    ) -> None:
        def events() -> int:
            with open_db(api_engine) as session:
                return int(
                    session.scalar(
                        text(
                            "select count(*) from audit.event where actor_ref = :user and outcome = 'success'"
                        ),
                        {"user": asker.user_id},
                    )
                )

        before = events()
        assert before
        change("update identity.api_token set revoked_at = now() where user_id = :user", user=asker.user_id)
        asker.get("/accounts", status=401)
        assert events() == before


class TestRecalled:
    def test_a_session_of_an_actor_who_is_outdated_does_nothing(self, wsgi: Any) -> None:
        hot = wsgi.registry.hot
        recalled = Recalled(hot, TOKEN.look, ("00" * 32, "61"))
        actor = Actor(id=uuid4(), name="Anna", recalled=recalled)
        with db.open_session(wsgi.registry.session_factory, actor) as session, pytest.raises(Outdated):
            session.scalar(text("select 1"))
        with pytest.raises(Outdated):
            hot.run_once("select 1", {}, actor)
        assert not recalled.confirmed

    def test_a_recalled_actor_is_equal_to_the_one_who_is_found(self, wsgi: Any, asker: Client) -> None:
        authenticator = wsgi.registry.authenticator
        request = UUID(int=1)
        found = authenticator.by_token(asker.token, request)
        recalled = authenticator.by_token(asker.token, request, recall=True)
        assert found.recalled is None
        assert recalled.recalled is not None
        assert found == recalled
