"""A person's path through an import: upload a list with mistakes, check, import, correct, find, take back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, violations, wait_for_work

LIST = """Kundennummer;Vorname;Nachname;E-Mail;Telefon;Firma;Land
B-1;Ada;Beispielfrau;ada@example.com;030 123456;Probe & Söhne;Deutschland
B-2;Max;Mustermann;keine Adresse;0151 1234567;Probe & Söhne;DE
B-3;伟;王;wang@example.com;+86 138 0013 8000;示例公司;中国
"""


class TestImport:
    def test_a_list_with_mistakes_is_imported_corrected_found_and_taken_back(
        self, open_as: Opener, work: Callable[[], None], tmp_path: Path
    ) -> None:
        path = tmp_path / "kunden.csv"
        path.write_text(LIST, encoding="gb18030")
        page = open_as("manager", "/contacts")
        page.click("main a:has-text('Import')")
        page.set_input_files("#f-file", path)
        page.click("main button:has-text('Upload')")

        expect(page.locator("h1")).to_have_text("kunden.csv")
        expect(page.locator("#f-field-3")).to_have_value("email")
        expect(page.locator("section:has(h2:has-text('Preview'))")).to_contain_text("+4930123456")
        assert violations(page) == []
        _picture(page, "mapping")

        page.click(".k-form-bar button:has-text('Check')")
        wait_for_work(page, work)
        expect(page.locator("main")).to_contain_text("Nothing has been written")
        page.click("button:has-text('Import now')")
        expect(page.locator("#progress")).to_be_visible()
        assert violations(page) == []
        wait_for_work(page, work)
        expect(page.locator("main")).to_contain_text("Download the rows that failed")
        expect(page.locator("main")).to_contain_text("Not a valid e-mail address")
        assert violations(page) == []
        _picture(page, "result")
        result = page.url

        with page.expect_download() as download:
            page.click("a:has-text('Download the rows that failed')")
        errors = Path(download.value.path()).read_text(encoding="utf-8-sig")
        corrected = tmp_path / "corrected.csv"
        corrected.write_text(errors.replace("keine Adresse", "max@example.com"), encoding="utf-8")
        page.goto("/imports")
        assert violations(page) == []
        page.set_input_files("#f-file", corrected)
        page.click("main button:has-text('Upload')")
        page.click("button:has-text('Import now')")
        wait_for_work(page, work)

        page.goto("/contacts?q=Mustermann")
        expect(page.locator("main")).to_contain_text("Max Mustermann")
        page.goto("/contacts?q=Beispielfrau")
        expect(page.locator("main")).to_contain_text("Ada Beispielfrau")

        page.goto(result)
        page.click("button:has-text('Undo the import')")
        page.click("dialog[open] button:has-text('Yes, go on')")
        wait_for_work(page, work)
        expect(page.locator("main")).to_contain_text("The import was taken back.")
        page.goto("/contacts?q=Beispielfrau")
        expect(page.locator("main")).to_contain_text("Nothing found")

    @pytest.mark.parametrize("width, dark", [(390, False), (1440, True)])
    def test_the_pages_fit_phones_and_the_dark(
        self, width: int, *, dark: bool, open_as: Opener, tmp_path: Path
    ) -> None:
        path = tmp_path / "kunden.csv"
        path.write_text(LIST, encoding="utf-8")
        page = open_as("manager", "/imports", width=width, dark=dark)
        page.set_input_files("#f-file", path)
        page.click("main button:has-text('Upload')")
        expect(page.locator("#f-field-3")).to_have_value("email")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        _picture(page, f"mapping-{width}")


def _picture(page: Page, name: str) -> None:
    """Keep a picture where somebody asked for one."""
    if folder := os.environ.get("PICTURES_OF_TESTS"):
        page.screenshot(path=Path(folder) / f"import-{name}.png", full_page=True)
