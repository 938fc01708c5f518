"""A person's first day, as one path through the whole product."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, violations, wait_for_work
from tests.browser.site import Site
from tests.browser.test_records import save
from tests.browser.test_sales import column, drag

LIST = """First name;Last name;E-mail;Company
Nora;Firstday;nora.firstday@example.com;Firstday Works
Omar;Firstday;omar at example.com;Firstday Works
"""


class TestFirstDay:
    def test_from_the_log_in_to_a_restored_record(
        self, open_as: Opener, site: Site, work: Callable[[], None], tmp_path: Path
    ) -> None:
        page = open_as("", "/contacts")
        _log_in(page, site)
        _import_with_a_mistake_and_its_correction(page, work, tmp_path)
        _find_and_edit_in_two_windows(page, open_as("manager"))
        _convert_a_lead(page)
        _drag_the_deal(page)
        _restore_from_the_bin(page)
        page.goto("/")
        seen = page.locator("section", has=page.get_by_role("heading", name="Recently viewed"))
        expect(seen).to_contain_text("Nora Firstday")
        assert violations(page) == []


def _log_in(page: Page, site: Site) -> None:
    expect(page).to_have_url(re.compile("/login"))
    page.fill("#login", "manager")
    page.fill("#password", "not this one")
    page.click("main button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("not right")
    page.fill("#login", "manager")
    page.fill("#password", site.password)
    page.click("main button[type=submit]")
    expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")  # where the person wanted to go


def _import_with_a_mistake_and_its_correction(page: Page, work: Callable[[], None], folder: Path) -> None:
    given = folder / "first-day.csv"
    given.write_text(LIST, encoding="utf-8")
    page.goto("/contacts")
    page.click("main a:has-text('Import')")
    page.set_input_files("#f-file", given)
    page.click("main button:has-text('Upload')")
    page.click("button:has-text('Import now')")
    wait_for_work(page, work)
    with page.expect_download() as download:
        page.click("a:has-text('Download the rows that failed')")
    failed = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert "Nora" not in failed
    corrected = folder / "corrected.csv"
    corrected.write_text(failed.replace("omar at", "omar@"), encoding="utf-8")
    page.goto("/imports")
    page.set_input_files("#f-file", corrected)
    page.click("main button:has-text('Upload')")
    page.click("button:has-text('Import now')")
    wait_for_work(page, work)


def _find_and_edit_in_two_windows(one: Page, two: Page) -> None:
    for window in (one, two):
        window.fill("#search", "Nora Firstday")
        window.press("#search", "Enter")
        window.locator("main").get_by_role("link", name="Nora Firstday").first.click()
        expect(window.get_by_role("heading", level=1)).to_have_text("Nora Firstday")
        window.get_by_role("link", name="Edit").click()
    two.fill("#f-job_title", "Buyer")
    save(two)
    expect(two.locator(".k-toast")).to_contain_text("Saved")
    one.fill("#f-job_title", "Head of buying")
    save(one)
    row = one.locator(".k-conflict tr", has_text="Job title")
    expect(row).to_contain_text("Buyer")
    row.locator("input[value=mine]").check()
    one.locator(".k-form-bar button[type=submit]").click()
    expect(one.locator("main")).to_contain_text("Head of buying")


def _convert_a_lead(page: Page) -> None:
    page.goto("/leads/new")
    page.fill("#f-given_name", "Petra")
    page.fill("#f-family_name", "Firstlead")
    page.fill("#f-company", "Firstlead AG")
    save(page)
    page.get_by_role("link", name="Convert").click()
    page.fill("#f-name", "Firstlead order")
    page.locator(".k-form-bar button[type=submit]").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Firstlead order")


def _drag_the_deal(page: Page) -> None:
    page.goto("/opportunities/board?owner=me")
    card = page.locator("[data-deal]", has_text="Firstlead order")
    drag(page, card, column(page, "Proposal"))
    expect(column(page, "Proposal")).to_contain_text("Firstlead order")


def _restore_from_the_bin(page: Page) -> None:
    page.goto("/contacts?q=Petra Firstlead")
    page.locator("td.k-title-cell a", has_text="Petra Firstlead").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Petra Firstlead")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".k-toast")).to_contain_text("Moved to the bin")
    page.goto("/bin?kind=contact")
    page.locator("tr", has_text="Petra Firstlead").get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Petra Firstlead")
