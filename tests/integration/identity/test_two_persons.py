"""What takes two persons, through the whole application: administrators' roles and mass exports (AUTH-15)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from webtest import TestApp, TestResponse

import crm_server.approvals  # noqa: F401 - registers the kinds
from crm_server.app import main
from crm_server.cli.approvals import approvals
from crm_server.domain.approvals.models import Approval
from crm_server.domain.approvals.services import ApprovalService
from crm_server.domain.identity.models import Role, User, UserRole
from crm_server.domain.identity.services import granting
from crm_server.kernel import db
from crm_server.settings import Settings
from tests.conftest import close
from tests.integration.identity.conftest import World
from tests.integration.identity.test_identity_pages import csrf_of, form, log_in, new_browser, only


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[object]:
    made = main(Settings({**identity_settings.values, "export_release_rows": 3}))
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


def browser_of(application: object, user: User) -> TestApp:
    browser = new_browser(application)
    assert log_in(browser, user.login).status_int == 303
    return browser


def roles_of(world: World, user: User) -> set[str]:
    with world.session() as session:
        return set(session.scalars(select(Role.name).join(UserRole).where(UserRole.user_id == user.id)))


def role_page(world: World, browser: TestApp, name: str) -> TestResponse:
    with world.session() as session:
        key = session.scalars(select(Role.id).where(Role.name == name)).one()
    return browser.get(f"/roles/{key}")


def giving(page: TestResponse) -> Any:
    """The form that gives the role; each member has one beside it that takes the role away."""
    return next(
        one
        for one in page.forms.values()
        if one.action.endswith("/members")
        and one.fields.get("login", [None])[0].attrs.get("type") != "hidden"
    )


class TestAdministrators:
    @pytest.mark.parametrize("role", ["System administrator", "Emergency access"])
    def test_a_second_person_makes_an_administrator(
        self, application: object, world: World, role: str
    ) -> None:
        first, other = world.user("Security administrator"), world.user("Audit administrator")
        person = world.user("User")
        browser = browser_of(application, first)
        give = giving(role_page(world, browser, role))
        give["login"], give["reason"] = person.login, "Runs the system from May on"
        asked = give.submit()
        assert "/approvals/" in asked.location
        assert roles_of(world, person) == {"User"}
        page = asked.follow()
        assert person.name in page.text
        assert not [one for one in page.forms.values() if one.action.endswith("/release")]
        second = browser_of(application, other)
        inbox = second.get("/approvals")
        assert "Runs the system from May on" in inbox.text
        assert int(inbox.html.select_one(".k-nav .k-count").get_text().split()[0]) >= 1
        done = form(second.get(asked.location), "/release").submit().follow()
        assert "Carried out" in done.text
        assert roles_of(world, person) == {"User", role}

    def test_a_reason_is_asked_for(self, application: object, world: World) -> None:
        browser, person = browser_of(application, world.user("Security administrator")), world.user("User")
        give = giving(role_page(world, browser, "Audit administrator"))
        give["login"] = person.login
        assert "Give a reason" in give.submit(status=422).text

    def test_an_ordinary_role_needs_nobody_else(self, application: object, world: World) -> None:
        browser, person = browser_of(application, world.user("Security administrator")), world.user()
        give = giving(role_page(world, browser, "Reader"))
        give["login"] = person.login
        assert "/roles/" in give.submit().location
        assert roles_of(world, person) == {"Reader"}

    def test_a_release_after_the_roles_have_changed_gives_nothing(
        self,
        application: object,
        world: World,
    ) -> None:
        first, other, person = (
            world.user("Security administrator"), world.user("Audit administrator"), world.user("User"),
        )  # fmt: skip
        browser = browser_of(application, first)
        give = giving(role_page(world, browser, "System administrator"))
        give["login"], give["reason"] = person.login, "because"
        asked = give.submit().location
        with world.session() as session:
            world.services.users.set_roles(session, person.id, [])
            session.commit()
        page = form(browser_of(application, other).get(asked), "/release").submit().follow()
        assert "have changed since" in page.text
        assert roles_of(world, person) == set()

    def test_the_database_refuses_two_kinds_of_administration(self, world: World) -> None:
        person = world.user("System administrator")
        give = text(
            "insert into identity.user_role (user_id, role_id) "
            "select :user, id from identity.role where name = 'Audit administrator'"
        )
        with world.session() as session, pytest.raises(DBAPIError, match="one kind of administration"):
            session.execute(give, {"user": person.id})
        widen = text(
            "update identity.role set permissions = permissions || '[\"audit:log:read\"]' "
            "where name in ('System administrator')"
        )
        with world.session() as session, pytest.raises(DBAPIError, match="one kind of administration"):
            session.execute(widen)

    def test_the_kind_is_registered(self) -> None:
        assert granting.GRANT == "administrators.grant"


class TestAuditSettings:
    def test_a_second_person_lets_audit_events_be_kept_for_another_time(
        self,
        application: object,
        world: World,
    ) -> None:
        browser = browser_of(application, world.user("Audit administrator"))
        page = form(browser.get("/audit-retention"), "/audit-retention/set")
        page["read"] = "12"
        assert "Give a reason" in page.submit(status=422).text
        page["reason"] = "The law asks for one year"
        asked = page.submit()
        assert form(browser.get("/audit-retention"), "/audit-retention/set")["read"].value == "72"
        second = browser_of(application, world.user("Security administrator"))
        shown = second.get(asked.location)
        assert "72 → 12" in shown.text
        assert "Carried out" in form(shown, "/release").submit().follow().text
        after = form(browser.get("/audit-retention"), "/audit-retention/set")
        assert after["read"].value == "12"


class TestMassExport:
    def test_more_records_than_policy_lets_take_a_second_person(
        self,
        application: object,
        world: World,
    ) -> None:
        first, other = world.user("Manager"), world.user("Manager")
        browser = browser_of(application, first)
        token = csrf_of(browser.get("/approvals"))
        for number in range(5):
            browser.post_json("/api/v1/products", {"name": f"Lamp {first.login} {number}"}, headers=token)
        address = f"/products/export?filter[name][contains]={first.login}&format=csv"
        asked = browser.get(address)
        assert asked.location.startswith("https://localhost/products/export/release?")
        page = asked.follow()
        assert "5" in page.html.select_one(".k-fields dd").get_text()
        only(page)["reason"] = "Yearly report"
        request = only(page).submit()
        assert browser.get(address).location.endswith(asked.location.split("?")[1])
        form(browser_of(application, other).get(request.location), "/release").submit()
        # The release is for this list alone, and works once.
        assert browser.get("/products/export?format=csv").status_int == 303
        assert browser.get(address).body.count(b"Lamp") == 5
        assert browser.get(address).status_int == 303

    def test_a_small_export_passes(self, application: object, world: World) -> None:
        browser = browser_of(application, world.user("Manager"))
        assert browser.get("/products/export?filter[name]=none-of-this-name").status_int == 200

    def test_a_program_is_told_and_asks(self, application: object, world: World) -> None:
        browser = browser_of(application, world.user("Manager"))
        token = csrf_of(browser.get("/approvals"))
        for number in range(4):
            browser.post_json("/api/v1/tags", {"name": f"T{number} {browser!r}"[:40]}, headers=token)
        refused = browser.get("/api/v1/tags/export", status=403).json
        assert refused["code"] == "approval_required"
        asked = browser.post_json(
            "/api/v1/tags/export/release", {"reason": "nightly copy"}, headers=token, status=201
        )
        assert browser.get(asked.headers["Location"]).json["kind"] == "records.export"
        listed = browser.get("/api/v1/approvals?state=pending").json
        assert asked.json["id"] in [one["id"] for one in listed["data"]]
        withdrawn = browser.post_json(f"/api/v1/approvals/{asked.json['id']}/withdraw", {}, headers=token)
        assert withdrawn.json["state"] == "withdrawn"

    def test_a_token_cannot_release(self, application: object, world: World) -> None:
        first, other = world.user("Manager"), world.user("Manager")
        factory = db.session_factory(world.engine)
        browser = browser_of(application, first)
        token = csrf_of(browser.get("/approvals"))
        asked = browser.post_json(
            "/api/v1/products/export/release", {"reason": "copy"}, headers=token, status=201
        ).json["id"]
        page = browser_of(application, other).get("/profile/security")
        made = form(page, "/tokens")
        made["name"], made["permissions"] = "release", ["release:exports:mass"]
        shown = made.submit().html.select_one("main code").get_text()
        program = new_browser(application)
        refused = program.post_json(
            f"/api/v1/approvals/{asked}/release", {}, headers={"Authorization": f"Bearer {shown}"}, status=403
        )
        assert refused.json["reason"] == "step_up_required"
        with db.open_session(factory, world.session().info[db.ACTOR]) as session:
            assert session.get_one(Approval, asked).state == "pending"


class TestCommand:
    def test_requests_are_listed_shown_and_withdrawn_but_never_released(
        self, world: World, identity_settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = identity_settings.database_url.replace("postgresql+psycopg2", "postgresql")
        monkeypatch.setenv("KONTOR_DATABASE_URL", url)
        with world.session() as session:
            parameters = {"entity": "contact", "format": "csv", "query": []}
            asked = ApprovalService(session).request("records.export", parameters, "nightly copy")
            session.commit()

        def run(*arguments: str) -> Result:
            return CliRunner().invoke(approvals, arguments)

        rows = json.loads(run("list", "--state", "pending", "--json").output)
        (row,) = [one for one in rows if one["id"] == str(asked.id)]
        assert row["persons_needed"] == 2
        assert "nightly copy" in run("show", str(asked.id)).output
        assert "release:exports:mass" in run("kinds").output
        assert "release" not in approvals.commands
        assert run("withdraw", str(asked.id)).exit_code == 0
        assert run("withdraw", str(asked.id)).exit_code == 1
        assert run("list", "--state", "nonsense").exit_code == 2
