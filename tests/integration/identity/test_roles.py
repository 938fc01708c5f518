"""Roles made by administrators, what they ask at log-in, and field lists of API tokens (AUTH-11, AUTH-15, AUTH-18)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import time_machine
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from webtest import TestApp, TestResponse

from compliance.audit.models import AuditEvent
from crm_server.app import main
from crm_server.domain.identity.models import LoginSession, Role, RoleVersion, User, UserRole
from crm_server.domain.identity.services.roles import RoleDraft, draft_of
from crm_server.kernel.actor import Actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, NotAllowed, ValidationFailed
from crm_server.settings import Settings
from tests.conftest import close
from tests.integration.identity.conftest import World
from tests.integration.identity.test_identity_pages import (
    code_of,
    csrf_of,
    form,
    having,
    log_in,
    new_browser,
    only,
)

pytestmark = pytest.mark.usefixtures("identity_search")

SEE = "crm:contact:read"
EXPORT = "crm:contact:export"


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[object]:
    made = main(Settings({**identity_settings.values, "trusted_proxies": ("10.0.0.1",)}))
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


def as_(user: User) -> Actor:
    return Actor(id=user.id, name=user.name, auth_method="password")


def link(page: TestResponse, text: str) -> str:
    """The address behind the words of a link."""
    return next(str(one["href"]) for one in page.html.select("main a") if one.get_text(strip=True) == text)


def a_role(world: World, **changes: object) -> Role:
    draft = replace(RoleDraft(name=f"Role {uuid4().hex[:8]}", permissions=(SEE,)), **changes)  # type: ignore[arg-type]
    with world.session() as db:
        made = world.services.roles.create(db, draft)
        db.commit()
        return made


def give(world: World, user: User, role: Role) -> None:
    with world.session() as db:
        held = set(db.scalars(select(UserRole.role_id).where(UserRole.user_id == user.id)))
        world.services.users.set_roles(db, user.id, held | {role.id})
        db.commit()


def browser_of(application: object, user: User, **environ: str) -> TestApp:
    browser = new_browser(application)
    browser.extra_environ.update(environ)
    assert log_in(browser, user.login).status_int == 303
    return browser


def change(
    world: World, role: Role, by: User | None = None, address: str = "192.0.2.7", **changes: object
) -> Role:
    with world.session(as_(by) if by else None) as db:
        row = db.get_one(Role, role.id)
        wanted = replace(draft_of(row), **changes)  # type: ignore[arg-type]
        world.services.roles.update(db, role.id, wanted, version=row.version, address=address)
        db.commit()
        return row


class TestMakingRoles:
    def test_a_role_is_made_copied_changed_and_removed_on_its_pages(
        self, application: object, world: World
    ) -> None:
        browser = browser_of(application, world.user("Security administrator"))
        page = browser.get(browser.get("/roles").html.find("a", string="Reader")["href"])
        filled = having(browser.get(link(page, "Copy")), "permissions")
        assert filled["name"].value == "Copy of Reader"
        filled["name"] = f"Helpers {uuid4().hex[:6]}"
        shown = filled.submit().follow()
        edit = having(browser.get(link(shown, "Change")), "permissions")
        for box in edit.fields["permissions"]:
            if box._value == "crm:lead:read":
                box.checked = False
        edit["fields.personal"] = "hidden"
        previewed = edit.submit("step", value="preview")
        told = previewed.html.select_one("#difference").get_text(" ", strip=True)
        assert "Leads: see" in told
        assert "masked → hidden" in told
        done = having(previewed, "permissions").submit("step", value="save").follow()
        assert "It counts at once" in done.text
        history = browser.get(link(done, "History"))
        assert "Leads: see" in history.text
        back = (
            [one for one in history.forms.values() if one.action.endswith("/restore")][-1].submit().follow()
        )
        restored = UUID(done.request.path.rpartition("/")[2])
        with world.session() as db:
            assert "crm:lead:read" in db.get_one(Role, restored).permissions
        gone = form(back, "/delete").submit()
        assert gone.location.endswith("/roles")

    def test_a_built_in_role_grants_what_it_grants(self, application: object, world: World) -> None:
        browser = browser_of(application, world.user("Security administrator"))
        page = browser.get(browser.get("/roles").html.find("a", string="Manager")["href"])
        edit = browser.get(link(page, "Change"))
        assert "permissions" not in having(edit, "factors").fields
        with world.session() as db:
            role = db.scalars(select(Role).where(Role.name == "Manager")).one()
            draft = replace(draft_of(role), permissions=(SEE,))
            with pytest.raises(NotAllowed, match="not_allowed"):
                world.services.roles.update(db, role.id, draft, version=role.version, address=None)
            with pytest.raises(NotAllowed):
                world.services.roles.delete(db, role.id, version=role.version)

    def test_the_preview_counts_people_who_really_lose(self, world: World) -> None:
        role, other = a_role(world, permissions=(SEE, EXPORT)), a_role(world, permissions=(EXPORT,))
        people = [world.user() for _n in range(3)]
        for person in people:
            give(world, person, role)
        give(world, people[0], other)
        with world.session() as db:
            wanted = replace(draft_of(db.get_one(Role, role.id)), permissions=(SEE,))
            found = world.services.roles.preview(db, role.id, wanted, None)
        assert found.members == 3
        assert [(one.permission, one.people) for one in found.lost] == [(EXPORT, 2)]

    def test_a_change_is_an_event_with_the_difference(self, world: World) -> None:
        role = a_role(world, permissions=(SEE, EXPORT))
        change(world, role, permissions=(SEE,), fields={"personal": "masked"})
        with world.session() as db:
            event = db.scalars(
                select(AuditEvent).where(
                    AuditEvent.object_ref == role.id, AuditEvent.action == "role_changed"
                )
            ).one()
        assert event.meta["lost"] == [EXPORT]
        assert event.meta["fields"] == {"personal": ["hidden", "masked"]}

    def test_who_was_slower_is_told(self, world: World) -> None:
        role = a_role(world)
        with world.session() as db, pytest.raises(Conflict):
            world.services.roles.update(db, role.id, draft_of(role), version=role.version + 5, address=None)

    def test_acting_on_records_includes_seeing_them_and_all_else_is_denied(self, world: World) -> None:
        role = a_role(world, permissions=(EXPORT,))
        assert set(role.permissions) == {SEE, EXPORT, "app:self:use"}
        assert role.field_rules == {}

    @pytest.mark.parametrize(
        "changes,pointer",
        [
            ({"name": " "}, "/name"),
            ({"name": "reader"}, "/name"),
            ({"permissions": ("crm:nothing:read",)}, "/permissions"),
            ({"permissions": ("system:users:manage", "audit:log:read")}, "/permissions"),
            ({"fields": {"personal": "everything"}}, "/fields"),
            ({"fields": {"secret": "read"}}, "/fields"),
            ({"factors": "sms"}, "/factors"),
            ({"factor_grace": 91}, "/factor_grace"),
            ({"networks": ("192.0.2.7/24",)}, "/networks"),
            ({"networks": ("everywhere",)}, "/networks"),
        ],
    )
    def test_what_no_role_can_be_is_refused_with_its_place(
        self, world: World, changes: dict[str, object], pointer: str
    ) -> None:
        with pytest.raises(ValidationFailed) as refused:
            a_role(world, **changes)
        assert pointer in [one.pointer for one in refused.value.errors]

    def test_nobody_changes_what_a_role_of_their_own_grants(self, world: World) -> None:
        role, person = a_role(world), world.user()
        give(world, person, role)
        with pytest.raises(NotAllowed) as refused:
            change(world, role, person, permissions=(SEE, EXPORT))
        assert refused.value.reason == "own_role"

    def test_people_don_t_become_administrators_by_a_change_of_their_role(self, world: World) -> None:
        role = a_role(world)
        give(world, world.user(), role)
        with pytest.raises(Conflict):
            change(world, role, permissions=(SEE, "security:roles:manage"))

    def test_a_role_that_people_hold_stays(self, world: World) -> None:
        role = a_role(world)
        give(world, world.user(), role)
        with world.session() as db, pytest.raises(Conflict):
            world.services.roles.delete(db, role.id, version=role.version)

    def test_history_is_only_added_to(self, world: World) -> None:
        role = a_role(world)
        change(world, role, description="other")
        with world.session() as db:
            assert db.scalars(select(RoleVersion).where(RoleVersion.role_id == role.id)).all()
            for statement in (
                "delete from identity.role_version",
                "update identity.role_version set version = 9",
            ):
                with pytest.raises(DBAPIError, match="permission denied"), db.begin_nested():
                    db.execute(text(statement))

    def test_a_change_counts_at_once(self, application: object, world: World) -> None:
        role, person = a_role(world), world.user()
        give(world, person, role)
        browser = browser_of(application, person)
        assert browser.get("/api/v1/contacts").status_int == 200
        change(world, role, permissions=())
        assert browser.get("/api/v1/contacts", status=403).json["reason"] == SEE


class TestApi:
    def test_a_role_is_made_previewed_changed_and_removed(self, application: object, world: World) -> None:
        browser = browser_of(application, world.user("Security administrator"))
        token = csrf_of(browser.get("/roles"))
        body = {
            "name": f"Api {uuid4().hex[:6]}",
            "permissions": [SEE, EXPORT],
            "scopes": {"contact:read": ["own"]},
        }
        made = browser.post_json("/api/v1/roles", body, headers=token, status=201)
        address, tag = made.headers["Location"], made.headers["ETag"]
        assert made.json["scopes"] == {"contact:read": ["own"]}
        found = browser.post_json(f"{address}/preview", {"permissions": [SEE]}, headers=token).json
        assert [one["permission"] for one in found["lost"]] == [EXPORT]
        assert browser.get(address).json["version"] == made.json["version"]
        browser.patch_json(address, {"permissions": [SEE]}, headers=token, status=428)
        done = browser.patch_json(address, {"permissions": [SEE]}, headers=token | {"If-Match": tag})
        assert EXPORT not in done.json["permissions"]
        stale = browser.patch_json(
            address, {"permissions": []}, headers=token | {"If-Match": tag}, status=412
        )
        assert stale.json["theirs"]["permissions"] == done.json["permissions"]
        assert browser.get(f"{address}/members").json == {"data": []}
        browser.delete(address, headers=token | {"If-Match": done.headers["ETag"]}, status=204)
        browser.get(address, status=404)

    @pytest.mark.parametrize(
        "body", [{"name": 5}, {"permissions": "all"}, {"scopes": {"x": 1}}, {"wrong": 1}]
    )
    def test_bad_bodies_are_told_at_their_place(
        self, application: object, world: World, body: dict[str, object]
    ) -> None:
        browser = browser_of(application, world.user("Security administrator"))
        token = csrf_of(browser.get("/roles"))
        refused = browser.post_json("/api/v1/roles", body, headers=token, status=422)
        assert refused.json["errors"][0]["pointer"].startswith("/")

    def test_who_does_not_give_roles_sees_none(self, application: object, world: World) -> None:
        browser_of(application, world.user("Manager")).get("/api/v1/roles", status=403)


class TestSecondFactorByRole:  # AUTH-11
    def test_who_lacks_it_can_do_nothing_but_set_it_up(self, application: object, world: World) -> None:
        role, person = a_role(world, factors="any"), world.user("User")
        give(world, person, role)
        browser = browser_of(application, person)
        assert browser.get("/contacts").location == "https://localhost/profile/security"
        assert browser.get("/api/v1/contacts", status=403).json["reason"] == "second_factor_required"
        page = browser.get("/profile/security")
        assert "Set it up now" in page.text
        app = browser.get("/profile/security/app")
        import base64

        seed_text = app.html.select_one("code").get_text().replace(" ", "")
        enrol = form(app, "/profile/security/app")
        enrol["code"] = code_of(base64.b32decode(seed_text + "=" * (-len(seed_text) % 8)))
        assert "recovery codes" in enrol.submit().text.lower()
        assert browser.get("/contacts").status_int == 200
        assert (
            "Set up another one first"
            in form(browser.get("/profile/security"), "/app/remove").submit(status=409).text
        )

    def test_days_of_grace_count_from_the_role_or_from_when_it_was_given(
        self, application: object, world: World
    ) -> None:
        role, person = a_role(world, factors="any", factor_grace=7), world.user("User")
        give(world, person, role)
        browser = browser_of(application, person)
        assert browser.get("/contacts").status_int == 200
        assert "your role asks for a second factor" in browser.get("/profile/security").text
        with world.session() as db:
            db.execute(
                update(UserRole).where(UserRole.user_id == person.id).values(given_at=now() - timedelta(8))
            )
            db.commit()
        # The role itself asks for it only since today.
        assert browser_of(application, person).get("/contacts").status_int == 200
        with time_machine.travel(now() + timedelta(days=7, hours=1)):
            later = new_browser(application)
            log_in(later, person.login)
            assert later.get("/contacts").location.endswith("/profile/security")

    def test_a_role_that_asks_for_a_passkey_takes_no_code_of_an_app(self, world: World) -> None:
        from crm_server.domain.identity.factor_models import Passkey
        from tests.integration.identity.conftest import CLIENT, GOOD

        role, person = a_role(world, factors="passkey"), world.user()
        seed, codes = world.enrol_app(person)
        give(world, person, role)
        first = world.services.login.password(person.login, GOOD, CLIENT)
        result = world.services.login.code(first.token or "", code_of(seed), CLIENT)
        assert result.actor is not None
        with world.session() as db:
            row = db.scalars(
                select(LoginSession)
                .where(LoginSession.user_id == person.id)
                .order_by(LoginSession.created_at.desc())
            ).first()
            assert row is not None
            assert row.must_enrol
            key = Passkey(user_id=person.id, name="K", credential_id=uuid4().bytes, public_key=b"x")
            db.add(key)
            db.commit()
        with time_machine.travel(now() + timedelta(minutes=2)):
            world.forget_limits()
            first = world.services.login.password(person.login, GOOD, CLIENT)
            refused = world.services.login.code(first.token or "", code_of(seed), CLIENT)
            assert refused.actor is None
            assert world.reasons("second_step", person)[-1] == "passkey_required"
            assert world.services.login.code(first.token or "", codes[0], CLIENT).actor is not None

    def test_asking_for_more_ends_the_sessions_that_have_less(
        self, application: object, world: World
    ) -> None:
        role, person = a_role(world), world.user("User")
        give(world, person, role)
        browser = browser_of(application, person)
        assert browser.get("/contacts").status_int == 200
        change(world, role, factors="any")
        assert browser.get("/contacts").location.startswith("https://localhost/login")


class TestNetworks:  # AUTH-18
    @pytest.mark.parametrize(
        "networks,inside,outside",
        [
            (("192.0.2.0/24",), "192.0.2.7", "198.51.100.1"),
            (("2001:db8::/32",), "2001:db8::1", "2001:db9::1"),
            (("192.0.2.7",), "::ffff:192.0.2.7", "192.0.2.8"),
        ],
    )
    def test_a_role_counts_from_its_networks_alone(
        self, application: object, world: World, networks: tuple[str, ...], inside: str, outside: str
    ) -> None:
        role, person = a_role(world, networks=networks), world.user()
        give(world, person, role)
        browser = browser_of(application, person, REMOTE_ADDR=inside)
        assert browser.get("/api/v1/contacts").status_int == 200
        browser.extra_environ["REMOTE_ADDR"] = outside
        assert browser.get("/api/v1/contacts", status=403).json["reason"] == "network"

    def test_only_a_trusted_proxy_says_where_somebody_comes_from(
        self, application: object, world: World
    ) -> None:
        role, person = a_role(world, networks=("203.0.113.0/24",)), world.user()
        give(world, person, role)
        browser = browser_of(application, person, REMOTE_ADDR="198.51.100.1")
        forged = {"X-Forwarded-For": "203.0.113.5"}
        browser.get("/api/v1/contacts", headers=forged, status=403)
        browser.extra_environ["REMOTE_ADDR"] = "10.0.0.1"
        assert browser.get("/api/v1/contacts", headers=forged).status_int == 200
        browser.get("/api/v1/contacts", headers={"X-Forwarded-For": "203.0.113.5, 198.51.100.9"}, status=403)
        browser.get("/api/v1/contacts", headers={"X-Forwarded-For": "rubbish"}, status=403)

    def test_nobody_saves_a_list_that_locks_them_out(self, world: World) -> None:
        role, person = a_role(world), world.user()
        give(world, person, role)
        with pytest.raises(ValidationFailed) as refused:
            change(world, role, person, networks=("198.51.100.0/24",))
        assert refused.value.errors[0].code == "locked_out"
        with pytest.raises(ValidationFailed):
            change(world, role, person, address="", networks=("192.0.2.0/24",))
        change(world, role, person, networks=("192.0.2.0/24",))


class TestFieldsOfTokens:  # AUTH-18
    @pytest.fixture
    def program(self, application: object, world: World) -> TestApp:
        """A program with a token of a manager, limited to the names of contacts and accounts."""
        browser = browser_of(application, world.user("Manager"))
        token = csrf_of(browser.get("/profile/security"))
        account = browser.post_json("/api/v1/accounts", {"name": "Example"}, headers=token).json["id"]
        contact = {"family_name": "Lamp", "email": "lamp@example.com", "account_id": account}
        browser.post_json("/api/v1/contacts", contact, headers=token)
        browser.post_json("/api/v1/contacts", {"family_name": "Abend"}, headers=token)
        filled = form(browser.get("/profile/security"), "/tokens")
        filled["name"] = "names"
        filled["permissions"] = [SEE, EXPORT, "crm:contact:update", "crm:account:read", "crm:contact:create"]
        filled["fields"] = "contact.family_name, contact.name contact.account_id account.name"
        shown: TestResponse = filled.submit()
        program = new_browser(application)
        program.authorization = ("Bearer", shown.html.select_one("main code").get_text())
        return program

    def test_it_sees_these_fields_and_no_others(self, program: TestApp) -> None:
        rows = program.get("/api/v1/contacts?include=account").json["data"]
        assert rows
        for row in rows:
            assert set(row) <= {"id", "version", "family_name", "name", "account_id", "account", "custom"}
            one = program.get(f"/api/v1/contacts/{row['id']}").json
            assert "email" not in one
        names = {row["account"]["name"] for row in rows if row.get("account")}
        assert names == {"Example"}

    def test_it_filters_sorts_and_selects_by_these_alone(self, program: TestApp) -> None:
        good = program.get("/api/v1/contacts?filter[family_name]=Lamp&sort=family_name").json["data"]
        assert good
        for query in (
            "filter[email]=lamp@example.com",
            "sort=email",
            "fields=email",
            "filter[created_by]=me",
        ):
            program.get(f"/api/v1/contacts?{query}", status=400)

    def test_it_writes_these_alone(self, program: TestApp) -> None:
        row = program.get("/api/v1/contacts?filter[family_name]=Lamp").json["data"][0]
        tag = {"If-Match": f'"{row["version"]}"'}
        refused = program.patch_json(
            f"/api/v1/contacts/{row['id']}", {"email": "x@example.com"}, headers=tag, status=422
        )
        assert refused.json["errors"][0]["code"] == "not_allowed"
        done = program.patch_json(f"/api/v1/contacts/{row['id']}", {"family_name": "Lampe"}, headers=tag)
        assert "email" not in done.json
        program.patch_json(
            f"/api/v1/contacts/{row['id']}",
            {"family_name": "Lamp"},
            headers={"If-Match": done.headers["ETag"]},
        )

    def test_its_exports_hold_these_alone(self, program: TestApp) -> None:
        body = program.get("/api/v1/contacts/export?format=csv").body.decode()
        assert "Lamp" in body
        assert "lamp@example.com" not in body
        program.get("/api/v1/contacts/export?format=csv&fields=email", status=400)

    def test_the_meta_data_tells_of_these_alone(self, program: TestApp) -> None:
        (contact,) = [one for one in program.get("/api/v1/meta").json["entities"] if one["name"] == "contact"]
        assert {one["name"] for one in contact["fields"]} <= {
            "id",
            "version",
            "family_name",
            "name",
            "account_id",
        }

    def test_a_list_that_is_none_is_refused(self, application: object, world: World) -> None:
        browser = browser_of(application, world.user("Manager"))
        filled = form(browser.get("/profile/security"), "/tokens")
        filled["name"], filled["permissions"], filled["fields"] = "x", [SEE], "contact email"
        assert "contact.email" in filled.submit(status=422).text


class TestSessions:  # AUTH-16
    def test_a_session_of_an_administrator_of_any_kind_ends_earlier(
        self, application: object, world: World
    ) -> None:
        role = a_role(world, permissions=("system:custom_fields:manage",))
        plain, admin = world.user("User"), world.user()
        give(world, admin, role)
        first, second = browser_of(application, plain), browser_of(application, admin)
        with world.session() as db:
            db.execute(
                update(LoginSession)
                .where(LoginSession.user_id.in_([plain.id, admin.id]))
                .values(last_seen_at=now() - timedelta(minutes=16))
            )
            db.commit()
        assert first.get("/profile/security").status_int == 200
        assert second.get("/profile/security", expect_errors=True).status_int in (302, 303, 401)


def test_frame_of_a_role_page_needs_its_permission(application: object, world: World) -> None:
    browser = browser_of(application, world.user("System administrator"))
    for path in ("/roles", "/roles/new"):
        browser.get(path, status=403)
    assert only(new_browser(application).get("/login"))
