"""Passkeys and authenticator apps in a real browser, with Chromium's virtual authenticator (AUTH-12, AUTH-14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
from playwright.sync_api import CDPSession, Page, expect
from sqlalchemy import Engine, create_engine, text

from crm_server.migrations import manage
from tests.browser.conftest import Opener, violations
from tests.browser.site import Site

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class Device:
    """A virtual authenticator of one page."""

    def __init__(self, page: Page) -> None:
        self.session: CDPSession = page.context.new_cdp_session(page)
        self.session.send("WebAuthn.enable")
        self.id = self.session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})[
            "authenticatorId"
        ]

    def credentials(self) -> list[dict[str, Any]]:
        return self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"]

    def verified(self, verified: bool) -> None:
        self.session.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": verified}
        )

    def rewind(self, count: int) -> None:
        """Make the authenticator count from `count`, as a copy of an older state would."""
        (credential,) = self.credentials()
        self.session.send(
            "WebAuthn.removeCredential",
            {"authenticatorId": self.id, "credentialId": credential["credentialId"]},
        )
        self.session.send(
            "WebAuthn.addCredential",
            {"authenticatorId": self.id, "credential": {**credential, "signCount": count}},
        )


def enrol(page: Page) -> None:
    page.goto("/profile/security")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name of the device").fill("Test device")
    button = page.get_by_role("button", name="Add a passkey")
    # Its script runs when the page is complete.
    page.wait_for_load_state()
    button.click()
    expect(page.locator("main")).to_contain_text("Test device")


def use_a_passkey(page: Page) -> None:
    button = page.get_by_role("button", name="Use a passkey")
    expect(button).to_be_visible()
    # Its script runs when the page is complete.
    page.wait_for_load_state()
    button.click()


def log_out(page: Page) -> None:
    page.context.clear_cookies()
    page.goto("/login")


@pytest.fixture
def database(site: Site, cluster: Any) -> Iterator[Engine]:
    """The site's database. The demo users of other tests have no second factor, so none stays."""
    engine = create_engine(cluster.url_for(manage.OWNER, "kontor_browser"))
    yield engine
    with engine.begin() as connection:
        for table in ("passkey", "totp_factor", "recovery_code", "pending_login", "rate_limit"):
            connection.execute(text(f"delete from identity.{table}"))
    engine.dispose()


def reasons(database: Engine, action: str) -> list[str | None]:
    """Reasons of the audit events of an action."""
    with database.connect() as connection:
        query = text("select reason from audit.event where action = :action order by event_id")
        return list(connection.scalars(query, {"action": action}))


class TestPasskeys:
    def test_one_is_enrolled_and_logs_in_alone_without_a_name(
        self, open_as: Opener, database: Engine
    ) -> None:
        page = open_as("sales2")
        device = Device(page)
        enrol(page)
        (credential,) = device.credentials()
        assert credential["isResidentCredential"]
        log_out(page)
        use_a_passkey(page)
        expect(page).to_have_url(re.compile("/$"))
        page.goto("/profile/security")
        expect(page.locator("main")).to_contain_text("passkey")
        # The device that can't say that it was the person opens nothing.
        log_out(page)
        device.verified(False)
        use_a_passkey(page)
        expect(page.locator("#passkey-error")).to_be_visible()
        expect(page).to_have_url(re.compile("/login"))
        # Nor does a copy whose counter lies behind; that is an alarm.
        device.verified(True)
        device.rewind(0)
        use_a_passkey(page)
        expect(page.locator("#passkey-error")).to_be_visible()
        assert reasons(database, "passkey_counter_regressed") == ["possible_clone"]
        assert reasons(database, "passkey")[-1] == "passkey_counter_regressed"

    def test_it_is_the_second_step_after_the_password_and_the_proof_of_a_step_up(
        self, open_as: Opener, site: Site, database: Engine
    ) -> None:
        page = open_as("service1")
        device = Device(page)
        enrol(page)
        log_out(page)
        page.fill("#login", "service1")
        page.fill("#password", site.password)
        page.click("main button[type=submit]")
        expect(page.get_by_role("heading", level=1)).to_have_text("Second step")
        use_a_passkey(page)
        expect(page).to_have_url(re.compile("/$"))
        page.goto("/confirm?next=/profile/security")
        use_a_passkey(page)
        expect(page).to_have_url(re.compile("/profile/security$"))
        page.get_by_role("button", name="Remove", exact=True).click()
        page.locator("dialog[open] button.btn-danger, dialog[open] button[type=submit]").first.click()
        expect(page.locator("main")).not_to_contain_text("Test device")
        assert device.credentials()

    def test_a_device_that_knows_no_passkey_of_ours_says_so(self, open_as: Opener) -> None:
        page = open_as("", "/login")
        Device(page)
        use_a_passkey(page)
        expect(page.locator("#passkey-error")).to_be_visible()
        assert violations(page) == []


class TestAuthenticatorApps:
    def test_an_app_is_enrolled_by_the_picture_and_opens_the_second_step(
        self, open_as: Opener, site: Site, database: Engine
    ) -> None:
        page = open_as("sales3", "/profile/security")
        page.get_by_role("link", name="Add an authenticator app").click()
        picture = page.get_by_role("img", name="QR picture")
        expect(picture.locator("svg")).to_be_visible()
        box = picture.locator("svg").bounding_box()
        assert box is not None
        assert 120 < box["width"] < 400
        assert violations(page) == []
        seed = page.locator("main code").inner_text().replace(" ", "")
        code = pyotp.TOTP(seed).now()
        page.fill("#code", code)
        page.get_by_role("button", name="Add the app").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
        page.wait_for_load_state()
        codes = page.locator("main code").all_inner_texts()
        assert len(" ".join(codes).split()) >= 10
        recovery = codes[0].split()[0]
        log_out(page)
        page.fill("#login", "sales3")
        page.fill("#password", site.password)
        page.click("main button[type=submit]")
        expect(page.get_by_role("heading", level=1)).to_have_text("Second step")
        assert violations(page) == []
        # The code of the enrolment was used by it (AUTH-12): a recovery code opens instead.
        page.fill("#code", code)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator(".alert-danger:visible")).to_contain_text("used before")
        page.fill("#code", recovery)
        page.get_by_role("button", name="Continue").click()
        expect(page).to_have_url(re.compile("/$"))
