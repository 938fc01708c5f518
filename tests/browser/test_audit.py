"""The audit log in a browser: accessible and fitting in each look, and every text is translated."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import Opener, violations
from tests.browser.test_pages import LOOKS, speak


class TestAuditLog:
    @pytest.mark.parametrize("locale,width,dark", LOOKS)
    def test_log_event_and_empty_answer_fit_and_are_accessible(
        self, open_as: Opener, locale: str, width: int, dark: bool
    ) -> None:
        page = open_as("audit", "/audit", width=width, dark=dark, locale=locale)
        speak(page, locale)
        found = []
        page.goto("/audit")
        event = page.locator("tbody tr td a").first.get_attribute("href")
        assert event is not None
        pages = ("/audit-alerts", "/audit-retention", "/audit-sinks", "/audit-sinks/new")
        for path in ("/audit", event, "/audit?until=2020-01-01", "/audit?action=create", *pages):
            page.goto(path)
            found += violations(page)
            assert page.locator("main form, main table, main dl, main .k-empty").count(), (
                f"{path} is an error page"
            )
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{path} is {wide} px wide on a screen of {width}")
            if locale.startswith("zh"):
                assert re.search("[一-鿿]", page.locator("h1").inner_text())
        speak(page, "en-GB")
        assert not found, "\n".join(found)

    def test_an_administrator_narrows_the_log_and_opens_an_event(self, open_as: Opener) -> None:
        page = open_as("audit", "/audit")
        page.locator("summary").click()
        page.select_option("#f-action", "create")
        page.locator("form[role=search] button[type=submit]").last.click()
        page.wait_for_url("**/audit?*action=create*")
        page.locator("tbody tr td a").first.click()
        page.wait_for_url(re.compile("/audit/[0-9a-f-]{36}"))
        assert "Record created" in page.locator("h1").inner_text()

    def test_a_sink_is_set_up_and_its_test_event_is_shown(self, open_as: Opener) -> None:
        page = open_as("audit", "/audit-sinks/new")
        page.wait_for_selector("#name")
        assert violations(page) == []
        page.fill("#name", "Archive")
        page.select_option("#transport", "file")
        page.fill("#address", "../audit.log")
        page.select_option("#format", "ocsf")
        page.locator("main form button[type=submit]").last.click()
        assert "A plain name" in page.locator("#address-error").inner_text()
        page.fill("#address", "audit.log")
        page.locator("main form button[type=submit]").last.click()
        page.wait_for_url(re.compile("/audit-sinks/[0-9a-f-]{36}$"))
        assert violations(page) == []
        page.get_by_role("button", name="Send a test event").click()
        page.wait_for_url(re.compile("/test$"))
        assert (
            '"activity_name"' in page.locator("main pre").inner_text()
            or "test" in page.locator("main pre").inner_text()
        )
        assert violations(page) == []

    def test_the_history_of_a_record_is_reached_from_the_log(self, open_as: Opener) -> None:
        page = open_as("audit", "/audit?action=create&class=change")
        page.locator("tbody tr td a").first.click()
        page.get_by_role("link", name="History", exact=True).click()
        page.wait_for_url(re.compile("/audit-history/"))
        assert violations(page) == []
