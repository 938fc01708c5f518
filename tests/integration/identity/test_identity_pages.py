"""The pages of identity, through the whole application (AUTH-2, AUTH-11 to AUTH-18)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
import time_machine
from sqlalchemy import delete
from webtest import Form, TestApp, TestResponse

from crm_server.app import main
from crm_server.domain.identity.authentication import COOKIE
from crm_server.domain.identity.directory_models import CompanyDirectory
from crm_server.domain.identity.models import User
from crm_server.domain.identity.services.login import Step
from crm_server.kernel.clock import now
from crm_server.settings import Settings
from security.identity import totp
from tests.conftest import close
from tests.integration.api.conftest import make_token
from tests.integration.identity.conftest import CLIENT, GOOD, World
from tests.integration.identity.openldap_data import GROUPS, PEOPLE
from tests.integration.identity.servers import PASSWORD, SERVICE_DN, SERVICE_PASSWORD, Slapd
from tests.unit.identity.test_webauthn import Authenticator

Browser: TypeAlias = TestApp


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[object]:
    made = main(identity_settings)
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


@pytest.fixture
def browser(application: object) -> Browser:
    return new_browser(application)


def new_browser(application: object) -> Browser:
    environ = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "https", "REMOTE_ADDR": "192.0.2.7"}
    return TestApp(application, extra_environ=environ)


def form(page: TestResponse, action: str) -> Form:
    (found,) = [one for one in page.forms.values() if one.action.endswith(action)]
    return found


def only(page: TestResponse) -> Form:
    """The one form of a page that isn't part of its frame."""
    frame = ("/preferences", "/logout", "/search")
    (found,) = {id(one): one for one in page.forms.values() if not one.action.endswith(frame)}.values()
    return found


ORIGIN = "https://localhost"


def csrf_of(page: TestResponse) -> dict[str, str]:
    return {"X-CSRF-Token": page.html.select_one("input[name=csrf_token]")["value"], "Origin": ORIGIN}


def having(page: TestResponse, field: str, without: str = "") -> Form:
    """The first form that has a field, and not another."""
    return next(one for one in page.forms.values() if field in one.fields and without not in one.fields)


def log_in(browser: Browser, login: str, password: str = GOOD, **query: str) -> TestResponse:
    page = browser.get("/login", params=query)
    filled = only(page)
    filled["login"], filled["password"] = login, password
    return filled.submit(expect_errors=True)


def code_of(seed: bytes) -> str:
    return totp.code_at(seed, int(now().timestamp()) // 30)


def alert(page: TestResponse) -> str:
    return " ".join(page.html.select_one(".alert").get_text().split())


class TestLogIn:
    def test_it_leads_to_the_page_that_was_wanted_with_a_host_cookie(  # AUTH-16
        self, browser: Browser, world: World
    ) -> None:
        user = world.user("User")
        response = log_in(browser, user.login, next="/profile/security")
        assert response.status_int == 303
        assert response.location == "https://localhost/profile/security"
        (cookie,) = [one for one in response.headers.getall("Set-Cookie") if one.startswith(f"{COOKIE}=")]
        for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "path=/"):
            assert attribute.lower() in cookie.lower()
        assert "domain" not in cookie.lower()
        assert "Security" in browser.get("/profile/security").text

    @pytest.mark.parametrize(
        "wanted",
        ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\nb", ""],
    )
    def test_it_never_leads_to_another_host(self, browser: Browser, world: World, wanted: str) -> None:
        response = log_in(browser, world.user().login, next=wanted)
        assert response.location == "https://localhost/"

    def test_refusals_are_equal_to_the_byte_but_for_what_was_typed(
        self, browser: Browser, world: World
    ) -> None:  # AUTH-2
        user = world.user()
        pages = []
        for login in (user.login, "nobody-of-that-name"):
            response = log_in(browser, login, "wrong")
            assert response.status_int == 422
            text = response.text.replace(login, "LOGIN")
            text = re.sub(r'nonce="[^"]+"|value="[^"]{20,}"', "", text)
            pages.append(
                (
                    text,
                    {name: len(value) for name, value in response.headers.items() if name != "X-Request-Id"},
                )
            )
        assert pages[0][0] == pages[1][0]
        assert "not right" in pages[0][0]

    def test_a_form_without_its_token_is_refused_before_log_in(self, browser: Browser, world: World) -> None:
        world.user()
        browser.post("/login", {"login": "x", "password": "y"}, status=[400, 403])

    def test_too_many_attempts_are_told_with_a_time(self, browser: Browser, world: World) -> None:  # AUTH-18
        user = world.user()
        for _ in range(5):
            log_in(browser, user.login, "wrong")
        response = log_in(browser, user.login)
        assert response.status_int == 429
        assert 0 < int(response.headers["Retry-After"]) <= 300
        assert "wait 5 minutes" in alert(response)

    def test_the_page_speaks_chinese(self, browser: Browser) -> None:
        page = browser.get("/login", headers={"Accept-Language": "zh-CN"})
        assert page.html.select_one("html")["lang"] == "zh-Hans"
        assert page.html.select_one("h1").get_text() == "登录"

    def test_log_out_ends_the_session_on_the_server(self, browser: Browser, world: World) -> None:  # AUTH-16
        log_in(browser, world.user().login)
        cookie = browser.cookies[COOKIE]
        page = browser.get("/profile/security")
        form(page, "/logout").submit()
        browser.set_cookie(COOKIE, cookie)
        assert browser.get("/profile/security", expect_errors=True).status_int in (302, 303, 401)

    def test_logging_in_anew_replaces_the_session(
        self, browser: Browser, application: object, world: World
    ) -> None:  # AUTH-16
        user = world.user()
        log_in(browser, user.login)
        old = browser.cookies[COOKIE]
        page = new_browser(application)
        page.set_cookie(COOKIE, old)
        start = new_browser(application).get("/login")
        token, csrf = only(start)["csrf_token"].value, start.headers["Set-Cookie"].split(";")[0]
        response = page.post(
            "/login",
            {"csrf_token": token, "login": user.login, "password": GOOD},
            headers={"Cookie": f"{csrf}; {COOKIE}={old}", "Referer": "https://localhost/login"},
        )
        assert response.status_int == 303
        stolen = new_browser(application)
        stolen.set_cookie(COOKIE, old)
        assert stolen.get("/profile/security", expect_errors=True).status_int in (302, 303, 401)

    def test_addresses_behind_strangers_are_not_believed(self, browser: Browser, world: World) -> None:
        user = world.user()
        page = browser.get("/login")
        only(page)["login"], only(page)["password"] = user.login, GOOD
        only(page).submit(headers={"X-Forwarded-For": "203.0.113.66"})
        assert "192.0.2.7" in browser.get("/profile/security").text


class TestSecondFactor:
    def test_enrolment_log_in_and_recovery(
        self, browser: Browser, world: World
    ) -> None:  # AUTH-11 to AUTH-13
        user = world.user()
        log_in(browser, user.login)
        page = browser.get("/profile/security/app")
        seed_text = page.html.select_one("code").get_text().replace(" ", "")
        seed = base64.b32decode(seed_text + "=" * (-len(seed_text) % 8))
        assert page.html.select_one("svg path") is not None
        again = browser.get("/profile/security/app")
        assert again.html.select_one("code").get_text().replace(" ", "") == seed_text
        enrol = form(page, "/profile/security/app")
        enrol["code"] = "000000"
        assert enrol.submit(status=422)
        enrol["code"] = used = code_of(seed)
        shown = enrol.submit()
        codes = [one.get_text() for one in shown.html.select("main li code")]
        assert len(codes) == 10
        assert shown.headers["Cache-Control"] == "no-store"
        form(shown, "/logout").submit()

        first = log_in(browser, user.login)
        assert first.location.startswith("https://localhost/login/code")
        browser.get("/profile/security", status=[302, 303, 401])
        step = first.follow()
        only(step)["code"] = used
        assert "used before" in alert(only(step).submit(status=422))
        only(step)["code"] = codes[3].lower()
        assert only(step).submit().status_int == 303
        assert "9 recovery codes" in browser.get("/profile/security").text

    def test_removing_the_app_asks_who_one_is_after_five_minutes(
        self, browser: Browser, world: World
    ) -> None:  # AUTH-15
        user = world.user()
        seed, codes = world.enrol_app(user)
        page = log_in(browser, user.login).follow()
        only(page)["code"] = codes[0]
        only(page).submit()
        before = browser.cookies[COOKIE]
        page = browser.get("/profile/security")
        with time_machine.travel(now().timestamp() + 301):
            asked = form(page, "/app/remove").submit()
            assert asked.location.startswith("https://localhost/confirm")
            confirm = asked.follow()
            only(confirm)["proof"] = "000000"
            assert only(confirm).submit(status=422)
            only(confirm)["proof"] = code_of(seed)
            back = only(confirm).submit()
            assert back.location == "https://localhost/profile/security"
            assert browser.cookies[COOKIE] != before
            form(browser.get("/profile/security"), "/app/remove").submit()
            assert "Log-in asks for your password alone" in browser.get("/profile/security").text
        assert world.reasons("step_up", user) == ["wrong_proof"]

    def test_a_stolen_cookie_gets_none_of_the_privilege_that_its_owner_proves_and_ends_with_them(
        self, browser: Browser, application: object, world: World
    ) -> None:  # AUTH-15, AUTH-16
        user = world.user("System administrator")
        log_in(browser, user.login)
        thief = new_browser(application)
        thief.set_cookie(COOKIE, browser.cookies[COOKIE])
        assert thief.get("/users").status_int == 200
        with time_machine.travel(now().timestamp() + 301):
            assert thief.get("/users/new", status=200)
            confirm = form(browser.get("/directories/new", status=303).follow(), "/confirm")
            confirm["proof"] = GOOD
            confirm.submit(status=303)
            assert thief.get("/users", expect_errors=True).status_int == 303
            assert browser.get("/users").status_int == 200


class TestPasskeys:
    def enrol(self, browser: Browser, key: Authenticator) -> TestResponse:
        page = browser.get("/profile/security/passkeys")
        options = page.html.select_one("#passkey-options").string
        sent = {"answer": key.register(options, origin=ORIGIN, party="localhost"), "name": "Test key"}
        return browser.post_json(
            "/profile/security/passkeys", sent, headers=csrf_of(page), expect_errors=True
        )

    def test_a_passkey_is_enrolled_and_opens_the_second_step(
        self, browser: Browser, world: World
    ) -> None:  # AUTH-14
        user, key = world.user(), Authenticator()
        log_in(browser, user.login)
        assert self.enrol(browser, key).json["next"] == "/profile/security"
        page = browser.get("/profile/security")
        assert "Test key" in page.text
        assert "Make recovery codes now" in page.text
        form(page, "/logout").submit()
        step = log_in(browser, user.login, next="/profile/security").follow()
        options = browser.get("/login/passkey").text
        answer = key.sign(options, origin=ORIGIN, party="localhost")
        done = browser.post_json("/login/passkey?next=/profile/security", answer, headers=csrf_of(step))
        assert done.json["next"].endswith("/profile/security")
        assert "Password + Passkey" in browser.get("/profile/security").text

    def test_replays_other_keys_and_copied_keys_are_refused(
        self, browser: Browser, world: World
    ) -> None:  # AUTH-14
        user, key = world.user(), Authenticator()
        log_in(browser, user.login)
        key.count = 5
        self.enrol(browser, key)
        form(browser.get("/profile/security"), "/logout").submit()
        step = log_in(browser, user.login).follow()

        def answer(sent: dict[str, object]) -> int:
            found = browser.post_json("/login/passkey", sent, headers=csrf_of(step), expect_errors=True)
            return int(found.status_int)

        options = browser.get("/login/passkey").text
        assert answer(key.sign(options, origin=ORIGIN, party="localhost", count=5)) == 422
        assert world.reasons("passkey_counter_regressed") == ["possible_clone"]
        assert answer(key.sign(options, origin=ORIGIN, party="localhost")) == 422  # The challenge is used up.
        impostor = Authenticator()
        impostor.id = key.id
        options = browser.get("/login/passkey").text
        assert answer(impostor.sign(options, origin=ORIGIN, party="localhost")) == 422
        assert answer({"id": 5}) == 422
        assert browser.post("/login/passkey", "nonsense", headers=csrf_of(step), status=400)
        assert world.reasons("second_step", user)[:2] == [
            "passkey_counter_regressed",
            "challenge_used_before",
        ]


class TestPasskeyAlone:
    """A log-in with nothing but a passkey (AUTH-14)."""

    def enrolled(self, browser: Browser, world: World) -> tuple[Any, Authenticator, dict[str, str]]:
        user, key = world.user("User"), Authenticator()
        log_in(browser, user.login)
        page = browser.get("/profile/security/passkeys")
        options = page.html.select_one("#passkey-options").string
        made = {"answer": key.register(options, origin=ORIGIN, party="localhost"), "name": "Key"}
        assert browser.post_json("/profile/security/passkeys", made, headers=csrf_of(page)).status_int == 200
        browser.reset()
        return user, key, csrf_of(browser.get("/login"))

    def test_it_opens_a_session_once_for_the_browser_that_asked(
        self, browser: Browser, world: World, application: object
    ) -> None:
        _user, key, headers = self.enrolled(browser, world)
        options = browser.get("/login/with-passkey?next=/profile/security").text
        answer = key.sign(options, origin=ORIGIN, party="localhost")
        stranger = new_browser(application)
        refused = stranger.post_json(
            "/login/with-passkey", answer, headers=csrf_of(stranger.get("/login")), expect_errors=True
        )
        assert refused.status_int == 422
        cookies = dict(browser.cookies)
        done = browser.post_json("/login/with-passkey?next=/profile/security", answer, headers=headers)
        assert done.json["next"].endswith("/profile/security")
        assert "passkey" in browser.get("/profile/security").text
        for name, value in cookies.items():
            browser.set_cookie(name, value)
        again = browser.post_json("/login/with-passkey", answer, headers=headers, expect_errors=True)
        assert again.status_int in (400, 403, 422)

    def test_wrong_origins_people_and_states_are_refused_and_told_apart_in_the_audit_log(
        self, browser: Browser, world: World
    ) -> None:
        user, key, headers = self.enrolled(browser, world)
        other = world.user()

        def attempt(**change: object) -> int:
            options = browser.get("/login/with-passkey").text
            given = {"origin": ORIGIN, "party": "localhost"} | {
                name: value for name, value in change.items() if name in ("origin", "party")
            }
            answer = key.sign(options, **given)  # type: ignore[arg-type]
            answer["response"] |= change.get("response", {})  # type: ignore[operator]
            answer |= {name: value for name, value in change.items() if name == "id"}
            found = browser.post_json("/login/with-passkey", answer, headers=headers, expect_errors=True)
            return int(found.status_int)

        handle = base64.urlsafe_b64encode(other.id.bytes).rstrip(b"=").decode()
        for change, reason in (
            ({"origin": "https://evil.example"}, "passkey_InvalidAuthenticationResponse"),
            ({"id": "AAAA"}, "unknown_passkey"),
            ({"id": "%"}, "unknown_passkey"),
            ({"response": {"userHandle": handle}}, "passkey_of_somebody_else"),
        ):
            assert attempt(**change) == 422
            assert world.reasons("passkey")[-1] == reason
        with world.session() as session:
            world.services.users.set_state(session, user.id, enabled=False)
            session.commit()
        assert attempt() == 422
        assert world.reasons("passkey")[-1] == "account_disabled"

    def test_a_step_up_by_passkey_counts_for_its_own_session_alone(  # AUTH-15
        self, browser: Browser, world: World, application: object
    ) -> None:
        user, key, _headers = self.enrolled(browser, world)
        victim = world.user("User")
        log_in(browser, victim.login)
        headers = csrf_of(browser.get("/confirm?next=/profile"))
        options = browser.get("/confirm/passkey?next=/profile").text
        answer = key.sign(options, origin=ORIGIN, party="localhost")
        refused = browser.post_json("/confirm/passkey", answer, headers=headers, expect_errors=True)
        assert refused.status_int == 422
        assert world.reasons("step_up", victim)[-1] == "wrong_proof"
        assert user.id != victim.id


class TestAStolenSession:
    def test_a_copy_dies_with_the_next_proof_and_with_log_out_and_its_owner_sees_it(  # AUTH-15, AUTH-16
        self, browser: Browser, world: World, application: object
    ) -> None:
        user = world.user()
        log_in(browser, user.login)

        def thief() -> Browser:
            made = new_browser(application)
            made.set_cookie(COOKIE, browser.cookies[COOKIE].strip('"'))
            return made

        first = thief()
        assert first.get("/profile").status_int == 200
        page = browser.get("/confirm?next=/profile/security")
        filled = having(page, "proof")
        filled["proof"] = GOOD
        filled.submit()
        assert first.get("/profile", expect_errors=True).status_int == 303
        second = thief()
        assert second.get("/profile").status_int == 200
        form(browser.get("/profile/security"), "/logout").submit()
        assert second.get("/profile", expect_errors=True).status_int == 303


class TestOwnSecurity:
    def test_sessions_are_listed_and_ended(
        self, browser: Browser, application: object, world: World
    ) -> None:  # AUTH-16
        user = world.user()
        other = new_browser(application)
        log_in(other, user.login)
        log_in(browser, user.login)
        page = browser.get("/profile/security")
        (end,) = [
            one for one in page.forms.values() if re.search(r"/sessions/[0-9a-f-]{36}/end$", one.action)
        ]
        end.submit()
        assert other.get("/profile/security", expect_errors=True).status_int in (302, 303, 401)
        browser.get("/profile/security", status=200)

    def test_nobody_ends_the_session_of_somebody_else(
        self, browser: Browser, application: object, world: World
    ) -> None:
        victim, attacker = world.user(), world.user()
        other = new_browser(application)
        log_in(other, victim.login)
        with world.session() as session:
            from crm_server.domain.identity import queries

            (theirs,) = queries.live_sessions(session, victim.id)
        log_in(browser, attacker.login)
        log_in(new_browser(application), attacker.login)
        page = browser.get("/profile/security")
        (end,) = [
            one for one in page.forms.values() if re.search(r"/sessions/[0-9a-f-]{36}/end$", one.action)
        ]
        end.action = f"/profile/security/sessions/{theirs.id}/end"
        assert end.submit(expect_errors=True).status_int == 404
        other.get("/profile/security", status=200)

    def test_the_password_is_changed_with_the_old_one(
        self, browser: Browser, world: World
    ) -> None:  # AUTH-17
        user = world.user()
        log_in(browser, user.login)

        def change(old: str, new: str) -> TestResponse:
            found = form(browser.get("/profile/security"), "/security/password")
            found["old"], found["new"], found["again"] = old, new, new
            return found.submit(expect_errors=True)

        assert "present password" in alert(change("wrong", GOOD + " too"))
        assert "at least 15 characters" in alert(change(GOOD, "short"))
        assert change(GOOD, GOOD + " too").status_int == 303
        assert log_in(new_browser(browser.app), user.login, GOOD + " too").status_int == 303

    def test_a_token_is_shown_once_and_works_until_revoked(  # AUTH-18
        self, browser: Browser, application: object, world: World
    ) -> None:
        user = world.user("User")
        log_in(browser, user.login)
        found = form(browser.get("/profile/security"), "/security/tokens")
        found["name"] = "nightly"
        found["permissions"] = ["crm:contact:read"]
        shown = found.submit()
        token = shown.html.select_one("main code").get_text()
        assert re.fullmatch(r"kntr_[0-9a-f]{16}_[0-9A-Za-z]{49}", token)
        page = browser.get("/profile/security")
        assert token not in page.text
        program = new_browser(application)
        headers = {"Authorization": f"Bearer {token}"}
        assert program.get("/users", headers=headers, expect_errors=True).status_int == 403
        (revoke,) = [one for one in page.forms.values() if one.action.endswith("/revoke")]
        revoke.submit()
        assert program.get("/users", headers=headers, expect_errors=True).status_int in (302, 303, 401)


class TestAdministration:
    @pytest.fixture
    def admin(self, browser: Browser, world: World) -> Browser:
        log_in(browser, world.user("System administrator").login)
        return browser

    def test_a_user_is_invited_disabled_and_reset(
        self, admin: Browser, application: object, world: World
    ) -> None:
        page = admin.get("/users/new")
        create = having(page, "login")
        create["login"], create["name"], create["email"] = "ida", "", "not an address"
        wrong = create.submit(status=422)
        assert {one["id"] for one in wrong.html.select(".invalid-feedback")} == {"name-error", "email-error"}
        create["name"], create["email"] = "Ida Example", "ida@example.com"
        link = create.submit().html.select_one("main code").get_text()
        guest = new_browser(application)
        page = guest.get(link.removeprefix("https://localhost"))
        only(page)["password"], only(page)["again"] = GOOD, GOOD
        assert only(page).submit().location == "https://localhost/login"
        assert log_in(guest, "ida").status_int == 303
        guest.get("/users", status=403)

        listed = admin.get("/users", params={"q": "Ida"})
        user = admin.get(listed.html.select_one("main td a")["href"])
        state = form(user, "/state")
        state.submit()
        assert guest.get("/profile/security", expect_errors=True).status_int in (302, 303, 401)
        user = admin.get(listed.html.select_one("main td a")["href"])
        assert "Disabled" in user.text
        form(user, "/state").submit()
        user = admin.get(listed.html.select_one("main td a")["href"])
        link = form(user, "/link").submit().html.select_one("main code").get_text()
        assert guest.get(link.removeprefix("https://localhost")).status_int == 200

    def test_sessions_and_tokens_of_a_user_are_seen_and_ended_one_by_one(
        self, admin: Browser, application: object, world: World
    ) -> None:  # AUTH-16, AUTH-18
        person = world.user("User")
        first, second = new_browser(application), new_browser(application)
        assert log_in(first, person.login).status_int == log_in(second, person.login).status_int == 303
        page = admin.get(f"/users/{person.id}")
        assert "Password" in page.html.find("table").get_text()
        forms = [one for one in page.forms.values() if "session" in one.fields]
        assert len(forms) == 2
        forms[0].submit().follow()
        assert {one.get("/profile", expect_errors=True).status_int for one in (first, second)} == {200, 303}

        text, owner = make_token(application.registry.engine)  # type: ignore[attr-defined]
        program = {"Authorization": f"Bearer {text}"}
        guest = new_browser(application)
        guest.get("/api/v1/me", headers=program, status=200)
        page = admin.get(f"/users/{owner}")
        assert text not in page.text
        strange = form(page, "/revoke").action.replace(str(owner), str(person.id))
        admin.post(strange, headers=csrf_of(page), status=404)
        guest.get("/api/v1/me", headers=program, status=200)
        form(page, "/revoke").submit().follow()
        guest.get("/api/v1/me", headers=program, status=401)

    def test_teams_and_territories_are_kept(self, admin: Browser, world: World) -> None:
        member = world.user()
        page = admin.get("/teams")
        create = having(page, "description")
        create["name"] = "Team of the test"
        create["description"] = "Tests"
        team = create.submit().follow()
        refused = create.submit(status=422)
        field = refused.html.select_one("#name")
        assert "autofocus" in field.attrs
        assert refused.html.find(id=field["aria-describedby"]).get_text() == "There is a team of this name."
        again = having(refused, "description")
        assert (again["name"].value, again["description"].value) == ("Team of the test", "Tests")
        unknown = having(team, "login")
        unknown["login"] = "nobody of this name"
        refused = unknown.submit(status=404)
        assert "Nobody has this log-in name" in refused.text
        assert having(refused, "login")["login"].value == "nobody of this name"
        adding = having(team, "login")
        adding["login"] = member.login
        team = adding.submit().follow()
        assert member.name in team.html.select_one("main table").get_text()
        row = admin.get("/teams").html.find("a", string="Team of the test").find_parent("tr")
        assert "1" in row.get_text()
        left = having(team, "remove").submit().follow()
        assert member.name not in left.html.select_one("main").get_text()
        page = admin.get("/territories")
        for name, parent in (("Test world", ""), ("Test Europe", "Test world")):
            page = admin.get("/territories")
            create = having(page, "parent")
            create["name"] = name
            if parent:
                create["parent"].select(text=next(o[2] for o in create["parent"].options if parent in o[2]))
            create.submit()
        inside = admin.get("/territories").html.select(".k-tree .k-tree a")
        world_item = next(one for one in inside if one.get_text() == "Test Europe").find_parent("ul").parent
        assert world_item.select_one("a").get_text() == "Test world"

    def test_the_system_administrator_gives_no_roles(self, admin: Browser) -> None:
        admin.get("/roles", status=403)

    def test_the_security_administrator_gives_roles_but_not_to_themselves(  # separation of duties
        self, browser: Browser, world: World
    ) -> None:
        me, other = world.user("Security administrator"), world.user()
        log_in(browser, me.login)
        page = browser.get("/roles")
        assert "crm:" not in page.html.select_one("main").get_text()
        role = browser.get(page.html.find("a", string="Manager")["href"])

        def give(page: TestResponse, login: str) -> TestResponse:
            found = [one for one in page.forms.values() if "login" in one.fields][-1]
            found["login"] = login
            return found.submit(expect_errors=True)

        assert give(role, other.login).status_int == 303
        assert "role_given" in world.actions(other)
        assert "Somebody else has to change your roles" in alert(give(role, me.login))
        assert "Nobody has this log-in name" in alert(give(role, "nobody-there"))
        audit = browser.get(page.html.find("a", string="Audit administrator")["href"])
        administrator = world.user("System administrator")
        assert "at once" in give(audit, administrator.login).text


class TestDirectoryPage:
    def test_a_directory_is_set_up_tested_and_given_a_meaning(  # AUTH-10
        self, browser: Browser, world: World, slapd: Slapd
    ) -> None:
        log_in(browser, world.user("System administrator").login)
        page = browser.get("/directories/new")
        filled = having(page, "bind_dn")
        filled["name"], filled["flavour"], filled["servers"] = "Page", "openldap", "ldap://localhost"
        filled["bind_dn"], filled["user_base"], filled["group_base"] = SERVICE_DN, PEOPLE, GROUPS
        filled["secret"], filled["authorities"] = SERVICE_PASSWORD, slapd.authority.ca_file.read_text()
        filled["user_filter"] = "(&(objectClass=inetOrgPerson)(!(uid=huge)))"
        assert "starttls://dc1.example.com is expected here" in alert(filled.submit(status=422))
        filled["servers"] = f"ldaps://localhost:{slapd.ldaps_port}"
        page = filled.submit().follow()
        try:
            assert SERVICE_PASSWORD not in browser.get(f"{page.request.path}/edit").text
            test = having(page, "login")
            test["login"] = "omar"
            tested = test.submit()
            assert "Failed" not in tested.html.select_one("main").get_text()
            assert "company, sales-department, sellers" in tested.text
            test["login"] = "twin"
            assert "2 found" in test.submit().text
            found = having(tested, "group")
            found["group"] = "sellers"
            mapping = having(found.submit(), "group_id")
            options = " ".join(text for _, _, text in mapping["meaning"].options)
            assert "Role: User" in options
            assert "administrator" not in options  # AUTH-7
            mapping["meaning"].select(text="Role: User")
            page = mapping.submit().follow()
            assert page.html.find("td", string="sellers") is not None
            told = having(page, "login")
            told["login"] = "omar"
            assert "Role: User" in told.submit().html.select_one("#person").get_text()
            form(page, "/state").submit()
            assert "Enabled" in browser.get("/directories").text
            assert world.services.login.password("omar", PASSWORD, CLIENT).step is Step.SIGNED_IN
            mapping["meaning"].select(text="Role: Reader")
            page = mapping.submit().follow()
            preview = form(page, "/preview").submit().html.find("td", string="Omar Haddad").parent
            assert [one.get_text(strip=True) for one in preview.find_all("td")][1:] == ["Role: Reader", "–"]
        finally:
            with world.session() as session:
                session.execute(delete(User).where(User.login == "omar"))
                session.execute(delete(CompanyDirectory).where(CompanyDirectory.name == "Page"))
                session.commit()
