"""Where a law demands that passwords are changed: off by default, told before, and locking nobody out (AUTH-17)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import select

from compliance.audit.models import AuditEvent
from crm_server.app import main
from crm_server.domain.identity.authentication import COOKIE
from crm_server.domain.identity.models import User
from crm_server.domain.identity.services import password_age
from crm_server.domain.identity.services.login import Step
from crm_server.kernel.clock import now
from crm_server.settings import Settings, SettingsError, load
from tests.conftest import close
from tests.integration.identity.conftest import CLIENT, GOOD, World
from tests.integration.identity.test_identity_pages import alert, form, log_in, new_browser, only

DAYS = 90
NEXT = "another otter compiles"


@pytest.fixture(scope="module")
def site(identity_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    listed = tmp_path_factory.mktemp("passwords") / "refused.txt"
    listed.write_text("Winter in Kontorhausen\n", encoding="utf-8")
    made = main(
        Settings(
            dict(identity_settings.values)
            | {"local_password_days": DAYS, "local_password_blocklist": Path(listed)}
        )
    )
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


def test_it_is_off_unless_a_site_sets_it_and_takes_no_senseless_number() -> None:
    url = {"KONTOR_DATABASE_URL": "postgresql://a@localhost/b"}
    assert load(url).local_password_days == 0
    assert load({**url, "KONTOR_LOCAL_PASSWORD_DAYS": "30"}).local_password_days == 30
    for wrong in ("1", "29", "-1", "4000", "monthly"):
        with pytest.raises(SettingsError, match="KONTOR_LOCAL_PASSWORD_DAYS: must be"):
            load({**url, "KONTOR_LOCAL_PASSWORD_DAYS": wrong})


def test_without_it_no_age_matters(world: World) -> None:
    person = world.user("User")
    with time_machine.travel(now() + timedelta(days=3650)):
        result = world.services.login.password(person.login, GOOD, CLIENT)
    assert result.step is Step.SIGNED_IN
    assert result.actor is not None
    assert result.actor.reduced is None
    assert result.password_days is None


def test_people_are_told_from_two_weeks_before(site: object, world: World) -> None:
    person = world.user("User")
    with time_machine.travel(now() + timedelta(days=DAYS - 15)):
        browser = new_browser(site)
        log_in(browser, person.login)
        assert "has to be changed within" not in browser.get("/").text
        # The date itself is always on the page of one's own security.
        assert "It has to be changed by" in browser.get("/profile/security").text
    with time_machine.travel(now() + timedelta(days=DAYS - 6, hours=-1)):
        browser = new_browser(site)
        log_in(browser, person.login)
        assert "has to be changed within 6 days" in browser.get("/").text
        assert browser.get("/contacts").status_int == 200


def test_when_it_is_over_the_next_log_in_changes_it_before_anything_else(site: object, world: World) -> None:
    person = world.user("User")
    with time_machine.travel(now() + timedelta(days=DAYS, hours=1)):
        browser = new_browser(site)
        answer = log_in(browser, person.login, next="/contacts?limit=5")
        assert answer.location == "https://localhost/profile/security/password?next=%2Fcontacts%3Flimit%3D5"
        assert browser.get("/contacts").location == "https://localhost/profile/security/password"
        assert browser.get("/profile/security").location == "https://localhost/profile/security/password"
        assert browser.get("/api/v1/contacts", status=403).json["reason"] == "password_expired"
        assert len(events(world, person.id, "password_expired")) == 1

        def change(old: str, new: str) -> object:
            found = form(browser.get(answer.location), "/security/password")
            found["old"], found["new"], found["again"] = old, new, new
            return found.submit(expect_errors=True)

        assert "present password" in alert(change("wrong", NEXT))
        assert "another password than the present" in alert(change(GOOD, GOOD))
        assert "lists that attackers try first" in alert(change(GOOD, "winter in kontorhausen"))
        before = browser.cookies[COOKIE]
        assert change(GOOD, NEXT).location == "https://localhost/contacts?limit=5"
        assert browser.cookies[COOKIE] != before, "the session may do more now, so its token is another"
        assert browser.get("/contacts").status_int == 200
        assert len(events(world, person.id, "password_changed")) == 1
        # The days count anew.
        again = new_browser(site)
        assert log_in(again, person.login, NEXT).location == "https://localhost/"
        assert again.get("/contacts").status_int == 200


def test_a_password_that_is_too_old_opens_its_page_for_as_long_as_it_takes(
    site: object, world: World
) -> None:
    person = world.user("User")
    with time_machine.travel(now() + timedelta(days=20 * DAYS)):
        browser = new_browser(site)
        log_in(browser, person.login)
        # Whoever goes away without changing it may come back.
        form(browser.get("/profile/security/password"), "/logout").submit()
        log_in(browser, person.login)
        assert "Choose another password" in browser.get("/profile/security/password").text


def test_an_account_for_emergencies_is_told_and_never_held_up(site: object, world: World) -> None:
    person = world.user("Emergency access")
    with time_machine.travel(now() + timedelta(days=2 * DAYS)):
        browser = new_browser(site)
        assert log_in(browser, person.login).location == "https://localhost/"
        assert "has to be changed within" in browser.get("/").text
        # The page where the role is taken asks for a fresh proof and for nothing else.
        assert browser.get("/emergency").status_int == 200


def test_who_logs_in_without_it_is_not_asked(site: object, world: World) -> None:
    """A passkey, a provider or a directory proves who somebody is: the age of a password says nothing then."""
    person = world.user("User")
    with (
        time_machine.travel(now() + timedelta(days=2 * DAYS)),
        site.registry.session_factory() as session,  # type: ignore[attr-defined]
    ):
        user = session.get_one(User, person.id)
        assert password_age.must_change(session, user, "password")
        assert password_age.must_change(session, user, "password+totp")
        for method in ("passkey", "sso+mfa", "directory"):
            assert not password_age.must_change(session, user, method)


def test_the_meter_says_what_a_change_would_say(site: object, world: World) -> None:
    person = world.user("User")
    browser = new_browser(site)
    log_in(browser, person.login)
    token = form(browser.get("/profile/security"), "/security/password")["csrf_token"].value

    def judged(text: str) -> tuple[str, str]:
        page = browser.post(
            "/profile/security/password/strength",
            {"csrf_token": token, "password": text},
            headers={"Origin": "https://localhost"},
        )
        return page.html.select_one("meter")["value"], page.text

    assert judged("short")[0] == "0"
    assert "at least 15 characters" in judged("tv9#kelp")[1]
    assert "lists that attackers try first" in judged("Winter in Kontorhausen")[1]
    assert "Too weak" in judged("Winter in Kontorhausen")[1]
    assert judged(NEXT)[0] in {"3", "4"}
    assert NEXT not in judged(NEXT)[1]


def test_the_meter_of_an_invitation_answers_those_alone_who_have_the_link(site: object, world: World) -> None:
    with world.session() as session:
        made = world.services.users.create(session, f"rotated{world.count}", "Somebody New")
        link = world.services.links.make(session, made)
        session.commit()
    browser = new_browser(site)
    page = browser.get(f"/welcome/{link}")
    sent = {"csrf_token": only(page)["csrf_token"].value, "password": "somebody new somebody"}
    headers = {"Origin": "https://localhost"}
    assert "Your own name" in browser.post(f"/welcome/{link}/strength", sent, headers=headers).text
    browser.post(f"/welcome/{link[:-2]}xx/strength", sent, headers=headers, status=404)


def events(world: World, user_id: object, action: str) -> list[AuditEvent]:
    with world.session() as session:
        query = select(AuditEvent).where(AuditEvent.action == action, AuditEvent.object_ref == user_id)
        return list(session.scalars(query))
