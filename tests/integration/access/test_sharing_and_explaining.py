"""Sharing, handing over and the access explainer, through API and pages, with real people in a real database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from webtest import TestApp

from crm_server.app import main
from crm_server.domain.access.queries import ACTS
from crm_server.domain.identity.models import Team, TeamMember
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.ids import new_id
from crm_server.local.postgres import Cluster
from crm_server.services import records
from crm_server.settings import Settings
from tests.conftest import close, copy_database, settings_of
from tests.integration.api.conftest import Client, make_token, open_db

Login = Callable[..., Client]


@pytest.fixture(scope="module")
def access_settings(cluster: Cluster, template: str) -> Settings:
    copy_database(cluster, template, "kontor_access")
    return settings_of(cluster, "kontor_access")


@pytest.fixture(scope="module")
def site(access_settings: Settings) -> Iterator[Any]:
    made = main(access_settings)
    yield made
    close(made)


@pytest.fixture(scope="module")
def login(site: Any) -> Login:
    def opened(*roles: str, **more: Any) -> Client:
        token, user_id = make_token(site.registry.engine, *roles, **more)
        app = TestApp(site, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})
        return Client(app, token, user_id)

    return opened


@pytest.fixture(scope="module")
def team_of(site: Any) -> Callable[..., UUID]:
    def made(*users: UUID) -> UUID:
        key = new_id()
        with open_db(site.registry.engine) as session:
            session.add(Team(id=key, name=f"Team {key}"))
            session.flush()
            session.add_all(TeamMember(team_id=key, user_id=user) for user in users)
            session.commit()
        return key

    return made


class TestSharing:
    def test_a_share_for_reading_lets_its_receiver_read_and_nothing_else(self, login: Login) -> None:
        owner, receiver = login("Sales"), login("Sales")
        made = owner.post("/accounts", {"name": "Shared"}, status=201).json
        path = f"/accounts/{made['id']}"
        receiver.get(path, status=404)
        share = owner.post(f"{path}/shares", {"user_id": str(receiver.user_id)}, status=201).json
        assert (share["level"], share["until"]) == ("read", None)
        assert receiver.get(path, status=200).json["name"] == "Shared"
        refused = receiver.patch(path, {"name": "Mine"}, version=1, status=403).json
        assert refused["reason"] == "row:account:update"
        receiver.post(f"{path}/shares", {"user_id": str(owner.user_id)}, status=403)
        owner.delete(f"{path}/shares/{share['id']}", status=204)
        receiver.get(path, status=404)

    def test_a_share_for_changing_lets_change_but_neither_delete_nor_pass_on(self, login: Login) -> None:
        owner, receiver, third = login("Sales"), login("Sales"), login("Sales")
        path = f"/accounts/{owner.post('/accounts', {'name': 'Ours'}, status=201).json['id']}"
        owner.post(f"{path}/shares", {"user_id": str(receiver.user_id), "level": "write"}, status=201)
        receiver.patch(path, {"name": "Changed"}, version=1, status=200)
        receiver.delete(path, status=403)
        refused = receiver.post(f"{path}/shares", {"user_id": str(third.user_id)}, status=403).json
        assert refused["reason"] == "row:account:share"

    def test_a_team_receives_for_all_its_members(self, login: Login, team_of: Callable[..., UUID]) -> None:
        owner, one, other = login("Sales"), login("Sales"), login("Sales")
        path = f"/accounts/{owner.post('/accounts', {'name': 'For a team'}, status=201).json['id']}"
        owner.post(f"{path}/shares", {"team_id": str(team_of(one.user_id))}, status=201)
        one.get(path, status=200)
        other.get(path, status=404)

    def test_whoever_received_may_give_back(self, login: Login) -> None:
        owner, receiver = login("Sales"), login("Sales")
        path = f"/accounts/{owner.post('/accounts', {'name': 'Not for me'}, status=201).json['id']}"
        share = owner.post(f"{path}/shares", {"user_id": str(receiver.user_id)}, status=201).json
        receiver.delete(f"{path}/shares/{share['id']}", status=204)
        receiver.get(path, status=404)

    @pytest.mark.parametrize(
        "body, code",
        [
            ({}, "one_receiver"),
            ({"user_id": str(UUID(int=7))}, "unknown"),
            ({"team_id": str(UUID(int=7))}, "unknown"),
            ({"level": "everything"}, "choice"),
            ({"until": "2020-01-01T00:00:00Z"}, "past"),
            ({"until": "tomorrow"}, "type"),
            ({"until": "2030-01-01"}, "type"),
            ({"nonsense": 1}, "unknown_field"),
        ],
    )
    def test_what_makes_no_sense_is_refused_at_its_place(
        self, login: Login, body: dict[str, Any], code: str
    ) -> None:
        owner = login("Sales")
        path = f"/accounts/{owner.post('/accounts', {'name': 'Sound'}, status=201).json['id']}"
        refused = owner.post(f"{path}/shares", body, status=422).json
        assert code in {one["code"] for one in refused["errors"]}

    def test_shares_and_their_ends_are_events_and_go_with_the_record(self, login: Login, site: Any) -> None:
        owner, receiver = login("Manager"), login("Sales")
        key = owner.post("/accounts", {"name": "Told"}, status=201).json["id"]
        owner.post(f"/accounts/{key}/shares", {"user_id": str(receiver.user_id)}, status=201)
        with db.connect(site.registry.engine, system_actor()) as connection:
            told = connection.execute(
                text(
                    "select action, meta->>'to' from audit.event where object_ref = :key and action = 'share'"
                ),
                {"key": key},
            ).one()
            assert told == ("share", str(receiver.user_id))
        owner.delete(f"/accounts/{key}", status=204)
        receiver.get(f"/accounts/{key}", status=404)
        owner.post(f"/accounts/{key}/restore", {}, status=200)
        receiver.get(f"/accounts/{key}", status=200)
        owner.delete(f"/accounts/{key}", status=204)
        owner.post(f"/accounts/{key}/purge", {}, status=204)
        with db.connect(site.registry.engine, system_actor()) as connection:
            left = connection.execute(
                text("select count(*) from crm.record_share where record_id = :key"), {"key": key}
            )
            assert left.scalar_one() == 0


class TestHandingOver:
    def test_an_owner_hands_over_and_sees_it_no_more(self, login: Login) -> None:
        owner, following = login("Sales"), login("Sales")
        path = f"/accounts/{owner.post('/accounts', {'name': 'Yours now'}, status=201).json['id']}"
        following.get(path, status=404)
        owner.patch(path, {"owner_id": str(following.user_id)}, version=1, status=200)
        owner.get(path, status=404)
        assert following.get(path, status=200).json["owner_id"] == str(following.user_id)

    def test_nobody_makes_records_for_others_outside_their_scopes(self, login: Login) -> None:
        one, other = login("Sales"), login("Sales")
        refused = one.post("/accounts", {"name": "Foreign", "owner_id": str(other.user_id)}, status=403).json
        assert refused["reason"] == "row:account:create"

    def test_nobody_refers_to_what_they_do_not_see_and_names_of_it_are_not_shown(self, login: Login) -> None:
        owner, other = login("Sales"), login("Sales")
        account = owner.post("/accounts", {"name": "Hidden name"}, status=201).json["id"]
        refused = other.post("/contacts", {"family_name": "Someone", "account_id": account}, status=422).json
        assert [one["code"] for one in refused["errors"]] == ["unknown"]
        contact = owner.post("/contacts", {"family_name": "Someone", "account_id": account}, status=201).json
        owner.post(f"/contacts/{contact['id']}/shares", {"user_id": str(other.user_id)}, status=201)
        shown = other.get(f"/contacts/{contact['id']}?include=account", status=200).json
        assert shown["account"] is None
        listed = other.get("/contacts?include=account", status=200)
        assert "Hidden name" not in listed.text
        # Through the reference nothing can be guessed either.
        assert other.get("/contacts?filter[account.name][eq]=Hidden name", status="*").json.get("data") in (
            [],
            None,
        )


class TestExplainer:
    def ask(self, client: Client, user: Any, record: str, action: str = "read", status: int = 200) -> Any:
        who = f"&user={user}" if user else ""
        return client.get(
            f"/access/explain?entity=account&record={record}&action={action}{who}", status=status
        ).json

    def test_it_names_the_scope_that_fits(self, login: Login, team_of: Callable[..., UUID]) -> None:
        security, owner, mate = login("Security administrator"), login("Sales"), login("Sales")
        team = team_of(owner.user_id, mate.user_id)
        made = owner.post("/accounts", {"name": "Why", "team_id": str(team)}, status=201).json
        own = self.ask(security, owner.user_id, made["id"])
        assert own["allowed"]
        fits = [rule["scope"] for rule in own["rules"] if rule["rule"] == "row" and rule["allows"]]
        assert fits == ["own", "team"]
        found = self.ask(security, mate.user_id, made["id"])
        fits = [rule for rule in found["rules"] if rule["rule"] == "row" and rule["allows"]]
        assert [rule["scope"] for rule in fits] == ["team"]
        assert fits[0]["because"].startswith("Team Team ")
        assert not self.ask(security, mate.user_id, made["id"], "delete")["allowed"]

    def test_it_says_what_is_missing(self, login: Login) -> None:
        security, owner, stranger = login("Security administrator"), login("Sales"), login("Sales")
        record = owner.post("/accounts", {"name": "Why not"}, status=201).json["id"]
        found = self.ask(security, stranger.user_id, record)
        assert not found["allowed"]
        assert {"rule": "row", "allows": False, "role": None, "scope": None, "because": None} in found[
            "rules"
        ]
        found = self.ask(security, security.user_id, record)
        assert {"rule": "permission", "allows": False, "role": None, "scope": None, "because": None} in found[
            "rules"
        ]

    def test_a_denied_field_and_a_shown_one_are_explained_by_their_roles(self, login: Login) -> None:
        owner, reader = login("User"), login("Reader")
        key = owner.post("/contacts", {"family_name": "Field"}, status=201).json["id"]
        found = reader.get(f"/access/explain?entity=contact&record={key}", status=200).json
        assert {"group": "special", "level": "hidden", "role": None, "decides": True} in found["field_rules"]
        masked = {"group": "personal", "level": "masked", "role": "Reader", "decides": True}
        assert masked in found["field_rules"]
        assert {one["group"] for one in found["field_rules"]} == set(found["fields"])

    def test_it_agrees_with_what_happens(self, login: Login, team_of: Callable[..., UUID]) -> None:
        security, owner = login("Security administrator"), login("Sales")
        mate, stranger, reader = login("Sales"), login("Sales"), login("Reader")
        team = team_of(owner.user_id, mate.user_id)
        record = owner.post("/accounts", {"name": "Truth", "team_id": str(team)}, status=201).json["id"]
        for who, action in itertools.product((owner, mate, stranger, reader), ACTS):
            told = self.ask(security, who.user_id, record, action.value)["allowed"]
            if action.value == "read":
                assert told == (who.get(f"/accounts/{record}", status="*").status_int == 200)
            elif action.value == "update":
                version = owner.get(f"/accounts/{record}", status=200).json["version"]
                done = who.patch(
                    f"/accounts/{record}",
                    {"website": "https://example.com"},
                    version=version,
                    status="*",
                )
                assert told == (done.status_int == 200)
            elif action.value == "delete" and not told:
                assert who.delete(f"/accounts/{record}", status="*").status_int in {403, 404}

    def test_about_oneself_everybody_asks_and_an_unseen_record_is_like_none(self, login: Login) -> None:
        owner, stranger = login("Sales"), login("Sales")
        record = owner.post("/accounts", {"name": "Secret"}, status=201).json["id"]
        assert self.ask(owner, None, record)["allowed"]
        unseen, missing = self.ask(stranger, "me", record), self.ask(stranger, "me", str(new_id()))
        del unseen["record_id"], missing["record_id"]
        assert unseen == missing
        self.ask(stranger, owner.user_id, record, status=403)

    def test_every_question_is_an_event(self, login: Login, site: Any) -> None:
        security, owner = login("Security administrator"), login("Sales")
        record = owner.post("/accounts", {"name": "Asked"}, status=201).json["id"]
        self.ask(security, owner.user_id, record)
        with db.connect(site.registry.engine, system_actor()) as connection:
            told = connection.execute(
                text(
                    "select actor_ref, meta->>'user' from audit.event where object_ref = :key and action = 'explain'"
                ),
                {"key": record},
            ).one()
        assert told == (security.user_id, str(owner.user_id))

    @pytest.mark.parametrize(
        "query", ["", "entity=account", "entity=account&record=x", "entity=nothing&record={key}"]
    )
    def test_half_a_question_is_refused(self, login: Login, query: str) -> None:
        answer = login("Sales").get(f"/access/explain?{query.format(key=new_id())}", status="*")
        assert answer.status_int in {400, 404}


class TestPages:
    @pytest.fixture
    def browser(self, site: Any, login: Login) -> Callable[[str], TestApp]:
        def opened(role: str) -> TestApp:
            client = login(role)
            with open_db(site.registry.engine) as session:
                from crm_server.domain.identity.actors import actor_of_user

                actor = actor_of_user(session, client.user_id)
            environ = {
                "HTTP_HOST": "localhost",
                "wsgi.url_scheme": "https",
                "HTTP_REFERER": "https://localhost/",
                "kontor.identity": actor,
            }
            return TestApp(site, extra_environ=environ)

        return opened

    def test_a_record_is_shared_and_handed_over_on_its_page(
        self, browser: Callable[[str], TestApp], login: Login, site: Any
    ) -> None:
        app, other = browser("Sales"), login("Sales")
        me = app.extra_environ["kontor.identity"]
        with db.open_session(site.registry.session_factory, me) as session:
            key = records(session, "account").create({"name": "On a page"}).id
            session.commit()
        page = app.get(f"/accounts/{key}").click("Sharing")
        form = next(one for one in page.forms.values() if one.action.endswith("/sharing"))
        form["user"] = str(other.user_id)
        shown = form.submit().follow()
        assert "Example User" in shown
        other.get(f"/accounts/{key}", status=200)
        form = next(one for one in shown.forms.values() if one.action.endswith("/sharing"))
        assert "Name either a user or a team." in form.submit(status=422)
        why = shown.click("Why can I see this")
        assert "may do this" in why
        form = next(one for one in shown.forms.values() if one.action.endswith("/hand-over"))
        form["owner"], form["keep"] = str(other.user_id), True
        after = form.submit().follow()
        assert "On a page" in after
        assert app.get(f"/accounts/{key}/sharing").forms is not None

    def test_a_security_administrator_explains_without_seeing_the_record(
        self, browser: Callable[[str], TestApp], login: Login
    ) -> None:
        owner = login("Sales")
        key = owner.post("/accounts", {"name": "Never shown"}, status=201).json["id"]
        page = browser("Security administrator").get(
            f"/access/explain?entity=account&record={key}&user={owner.user_id}&action=update"
        )
        assert "may do this" in page
        assert "Never shown" not in page
        assert "There is no such record or person." in browser("Security administrator").get(
            f"/access/explain?entity=account&record={new_id()}"
        )
