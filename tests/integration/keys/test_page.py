"""The page "Encryption keys" and its API: who sees it, what it says, and what it lets one ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
from sqlalchemy import text
from webtest import TestApp

from compliance.datamap import KeyClass
from crm_server import tasks
from crm_server.api.openapi import document
from crm_server.app import main
from crm_server.domain.identity.models import LoginSession
from crm_server.domain.keys import destruction, escrow, rotation
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import keys_of
from crm_server.permissions import Permission
from tests.conftest import close
from tests.integration.api.conftest import make_token
from tests.integration.keys.conftest import Site


@pytest.fixture
def as_role(site: Site) -> Iterator[Callable[..., TestApp]]:
    """An application as somebody with a token of a role."""
    made = main(site.settings)

    def use(role: str) -> TestApp:
        token, _user = make_token(site.engine, role)
        given = {
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "wsgi.url_scheme": "https",
            "HTTP_HOST": "localhost",
        }
        return TestApp(made, extra_environ=given)

    yield use
    close(made)


@pytest.fixture
def in_browser(site: Site, as_role: Callable[..., TestApp]) -> Callable[..., TestApp]:
    """The same as somebody who proved a minute ago who they are."""

    def use(role: str) -> TestApp:
        program = as_role(role)
        token, user = make_token(site.engine, role)
        session_ref = new_id()
        with site.session() as session:
            session.add(
                LoginSession(id=session_ref, user_id=user, token_hash=token.encode(), auth_method="password")
            )
            session.commit()
        permissions = frozenset(map(str, (Permission.KEYS_READ, Permission.KEYS_MANAGE)))
        person = Actor(user, "Sam", permissions=permissions, session_ref=session_ref)
        program.extra_environ["kontor.identity"] = person
        return program

    return use


def people(site: Site, number: int) -> None:
    with site.session() as session:
        keys_of(session).for_sealing_many([uuid4() for _ in range(number)], KeyClass.IDENTITY)
        session.commit()


class TestApi:
    def test_the_state_is_told_to_the_security_administrator_without_keys(self, site: Site, as_role: Any):
        people(site, 3)
        state = as_role("Security administrator").get("/api/v1/keys").json
        assert (state["active"], state["share"]) == (1, 1.0)
        assert state["by_class"]["identity"] == {"active": 3, "held": 0, "erased": 0}
        assert state["proves_destruction"] is False
        assert "can't prove" in state["statement"]
        schemas = document()["components"]["schemas"]
        jsonschema_rs.validate(schemas["Keys"] | {"components": {"schemas": schemas}}, state)
        assert not {"wrapped", "kcv", "kid"} & set(str(state).split("'"))

    @pytest.mark.parametrize("role", ["Manager", "Audit administrator", "System administrator", "Reader"])
    def test_nobody_else_sees_or_changes_anything(self, as_role: Any, role: str):
        app = as_role(role)
        app.get("/api/v1/keys", status=403)
        app.post("/api/v1/keys/rotate", status=403)
        app.post_json("/api/v1/keys/epochs/1/destroy", {}, status=403)

    def test_a_rotation_that_was_asked_for_is_done_by_the_worker_with_an_escrow(
        self, site: Site, as_role: Any
    ):
        people(site, 3)
        app = as_role("Security administrator")
        app.post("/api/v1/keys/rotate", status=202)
        tasks.worker(site.settings).run(until_empty=True)
        state = app.get("/api/v1/keys").json
        assert (state["active"], state["behind"]) == (2, 0)
        assert state["escrow"]["opened_at"]
        assert state["epochs"][1]["obstacles"] == []

    def test_a_destruction_needs_a_fresh_proof_and_the_sentence_that_says_what_happens(
        self, site: Site, as_role: Any, in_browser: Any
    ):
        people(site, 2)
        work = KeyWork(site.keys, site.engine, site.settings, system_actor())
        rotation.rotate(work)
        path = "/api/v1/keys/epochs/1/destroy"
        program = as_role("Security administrator").post_json(path, {}, status=403).json
        assert program["reason"] == "step_up_required"
        app = in_browser("Security administrator")
        wrong = app.post_json(path, {"reason": "Its time is over.", "confirm": "yes"}, status=422).json
        assert wrong["errors"][0]["code"] == "confirm"
        live = app.get("/api/v1/keys").json["live"]
        body = {"reason": "Its time is over.", "confirm": destruction.phrase(1, live)}
        refused = app.post_json(path, body, status=409).json
        assert refused["reason"] == "no_escrow"
        escrow.open_scratch(work, escrow.export(work).file)
        asked = app.post_json(path, body, status=202).json
        assert asked["due_at"]
        with site.engine.connect() as connection:
            waiting = connection.execute(text("select kind, state from identity.approval")).one()
        assert tuple(waiting) == ("keys.destroy", "pending")
        assert app.get("/api/v1/keys").json["epochs"][1]["veto_until"]
        app.post_json("/api/v1/keys/epochs/x/destroy", body, status=404)


class TestPage:
    def test_it_says_what_there_is_in_plain_words(self, site: Site, as_role: Any):
        people(site, 2)
        work = KeyWork(site.keys, site.engine, site.settings, system_actor())
        rotation.rotate(work)
        page = as_role("Security administrator").get("/keys")
        page.mustcontain(
            "Encryption keys", "Can't prove destruction", "Waits for its destruction", "No escrow"
        )
        page.mustcontain("There is none yet")
        assert "csrf_token" in page.text

    def test_a_rotation_that_runs_shows_how_far_it_is_until_the_page_comes_anew(
        self, site: Site, as_role: Any
    ):
        people(site, 4)
        work = KeyWork(site.keys, site.engine, site.settings, system_actor())
        app = as_role("Security administrator")
        assert app.get("/keys/progress").headers["HX-Refresh"] == "true"
        rotation._new_epoch(work, 1)  # As a rotation that has just begun.
        for path in ("/keys", "/keys/progress"):
            app.get(path).mustcontain("Keys are being wrapped under epoch 2", "every 2s")
        rotation.rotate(work)
        assert "HX-Refresh" in app.get("/keys/progress").headers

    def test_a_program_can_not_press_its_buttons(self, as_role: Any):
        as_role("Security administrator").post("/keys/rotate", status=403)
