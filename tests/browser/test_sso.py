"""The pages of single sign-on: set up by an administrator, and the button on the log-in page (AUTH-10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import create_engine, text

from crm_server.migrations import manage
from tests.browser.conftest import Opener, violations
from tests.browser.site import Site


@pytest.fixture
def no_provider(site: Site, cluster: Any) -> Iterator[None]:
    """No provider of other tests is there, and none stays for them."""
    engine = create_engine(cluster.url_for(manage.OWNER, "kontor_browser"))

    def forget() -> None:
        with engine.begin() as connection:
            connection.execute(text("delete from identity.group_mapping where source like 'sso:%'"))
            connection.execute(text("delete from identity.sso_provider"))

    forget()
    yield
    forget()
    engine.dispose()


def fits(page: Page, width: int) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth")
    return violations(page) + ([f"{page.url} is {wide} px wide on {width}"] if wide > width else [])


@pytest.mark.parametrize("width,dark,locale", [(1440, False, "en-GB"), (390, True, "en-GB")])
def test_a_provider_is_set_up_tested_mapped_and_offered(
    open_as: Opener, site: Site, no_provider: None, width: int, dark: bool, locale: str
) -> None:
    page = open_as("admin", "/single-sign-on", width=width, dark=dark, locale=locale)
    expect(page.locator("main")).to_contain_text("No provider yet")
    found = fits(page, width)
    page.get_by_role("link", name="New provider").first.click()
    page.wait_for_url("**/new")
    found += fits(page, width)
    page.fill("#name", "Example AG")
    page.fill("#issuer", "https://127.0.0.1:1")
    page.fill("#client_id", "kontor")
    page.fill("#secret", "a secret")
    page.select_option("#provisioning", "login")
    page.locator(".k-form-bar button[type=submit]").click()
    # The guard of outgoing calls knows that this is no address of a provider.
    expect(page.locator("main .alert-danger")).to_contain_text("KONTOR_OUTGOING_NETWORKS")
    page.fill("#issuer", "https://sso.example.invalid/realms/main")
    page.locator(".k-form-bar button[type=submit]").click()
    expect(page.locator("main")).to_contain_text("/callback")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("main")).to_contain_text("this name has no address here")
    page.fill("#group", "sellers")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("main")).to_contain_text("sellers")
    page.fill("#groups", "sellers\nothers")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#gives")).to_contain_text("Log-in")
    found += fits(page, width)
    page.fill("#token-name", "Provisioning")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("main")).to_contain_text("kntr_")
    found += fits(page, width)
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_role("button", name="Enable").click()
    stranger = open_as("", "/login", width=width, dark=dark)
    expect(stranger.get_by_role("link", name="Log in with Example AG")).to_be_visible()
    found += fits(stranger, width)
    stranger.get_by_role("link", name="Log in with Example AG").click()
    expect(stranger.locator("main")).to_contain_text("can't be reached at the moment")
    found += fits(stranger, width)
    stranger.get_by_role("link", name="Back to log-in").click()
    expect(stranger).to_have_url(re.compile("/login"))
    assert not found, "\n".join(found)
