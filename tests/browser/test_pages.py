"""Every kind of page: accessible in both themes, widths and languages, and it keeps what the frame promises."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, violations
from tests.browser.test_records import first_row

PAGES = (
    "/",
    "/contacts",
    "/contacts?filter[country][eq]=DE&q=example",
    "/contacts/new",
    "/opportunities/board",
    "/bin",
    "/search?q=muster",
    "/search",
    "/profile",
    "/tags",
    "/pipelines",
    "/no-such-page",
)
RECORDS = ("accounts", "contacts", "leads", "opportunities", "cases", "activities", "products", "price-lists")
# Colours depend on the theme, room on width and language: two looks show all of them.
LOOKS = (("en-GB", 1440, False), ("zh-CN", 390, True))


def speak(page: Page, locale: str) -> None:
    """Choose the language in the bar, as a person does."""
    wanted = "zh_Hans" if locale.startswith("zh") else "en"
    page.goto("/profile")
    page.select_option("#f-locale", wanted)
    with page.expect_navigation():
        page.locator(".k-form-bar button[type=submit]").click()


class TestPages:
    @pytest.mark.parametrize("locale,width,dark", LOOKS)
    def test_no_page_breaks_a_rule_of_accessibility(self, open_as: Opener, locale, width, dark) -> None:
        page = open_as("manager", width=width, dark=dark, locale=locale)
        speak(page, locale)
        paths = [*PAGES, *(first_row(page, collection) for collection in RECORDS)]
        contact = first_row(page, "contacts")
        explained = f"/access/explain?entity=contact&record={contact.rpartition('/')[2]}"
        paths += [f"{contact}/sharing", explained]
        paths += [f"{first_row(page, 'leads')}/convert", f"{first_row(page, 'opportunities')}/edit"]
        found = []
        for path in paths:
            page.goto(path)
            found += violations(page)
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{path} is {wide} px wide on a screen of {width}")
        speak(page, "en-GB")
        assert not found, "\n".join(found)

    @pytest.mark.parametrize("dark", [False, True])
    def test_the_pages_of_an_administrator_and_of_a_stranger_are_accessible(
        self, open_as: Opener, dark
    ) -> None:
        stranger = open_as("", "/login", dark=dark)
        found = violations(stranger)
        page = open_as("admin", dark=dark)
        for path in ("/custom-fields", "/custom-fields/new", "/users", "/accounts/new"):
            page.goto(path)
            found += violations(page)
        assert not found, "\n".join(found)

    def test_dialogs_and_menus_are_accessible_while_they_are_open(self, open_as: Opener) -> None:
        page = open_as("sales1", "/contacts")
        found = []
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        found += violations(page)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("#ff")).to_be_visible()
        found += violations(page)
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Create").click()
        found += violations(page)
        assert not found, "\n".join(found)

    def test_the_language_is_switched_and_every_text_is_chinese(self, open_as: Opener) -> None:
        page = open_as("sales3", "/contacts")
        page.get_by_role("button", name="Language and appearance").click()
        page.get_by_role("button", name="中文").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("联系人")
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        page.get_by_role("button", name="语言与外观").click()
        page.get_by_role("button", name="English").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Contacts")

    def test_a_stranger_reads_the_log_in_page_in_the_language_of_the_browser(self, open_as: Opener) -> None:
        page = open_as("", "/login", locale="zh-CN")
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")

    def test_the_theme_follows_the_device_and_can_be_fixed(self, open_as: Opener) -> None:
        page = open_as("sales3", "/", dark=True)
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
        page.get_by_role("button", name="Language and appearance").click()
        page.get_by_role("button", name="Light").click()
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
        page.get_by_role("button", name="Language and appearance").click()
        page.get_by_role("button", name="As the device").click()
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")

    def test_the_keyboard_leads_everywhere(self, open_as: Opener) -> None:
        page = open_as("sales1")
        page.keyboard.press("g")
        page.keyboard.press("c")
        expect(page).to_have_url(re.compile("/contacts$"))
        page.wait_for_load_state()  # The address is there before the script that hears keys.
        page.keyboard.press("n")
        expect(page).to_have_url(re.compile("/contacts/new$"))
        page.goto("/accounts")
        page.keyboard.press("/")
        expect(page.locator("#search")).to_be_focused()
        page.goto("/accounts")
        page.keyboard.press("Control+k")
        page.keyboard.type("pipel")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("/opportunities/board$"))
        page.goto("/accounts")
        page.keyboard.press("Tab")
        expect(page.locator(".skip-link")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#content")).to_be_focused()

    def test_the_menu_of_a_phone_opens_and_closes(self, open_as: Opener) -> None:
        page = open_as("sales1", width=390)
        expect(page.locator("#sidebar")).not_to_be_in_viewport()
        page.get_by_role("button", name="Menu").click()
        expect(page.locator("#sidebar")).to_be_in_viewport()
        page.locator("#sidebar").get_by_role("link", name="Accounts").click()
        expect(page).to_have_url(re.compile("/accounts$"))

    @pytest.mark.parametrize(
        "login,path,words",
        [
            ("security", "/contacts", "You may not do this"),
            ("reader", "/contacts/new", "Reason: crm:contact:create"),
            ("sales1", "/no-such-page", "There is nothing here"),
            ("sales1", "/contacts/00000000-0000-7000-8000-000000000000", "There is nothing here"),
        ],
    )
    def test_a_refusal_says_why_and_what_to_do(self, open_as: Opener, login, path, words) -> None:
        page = open_as(login, path)
        expect(page.locator("main")).to_contain_text(words)
        expect(page.locator("main").get_by_role("link", name="To the home page")).to_be_visible()

    def test_a_reader_sees_masked_people_and_no_buttons_that_change(self, open_as: Opener) -> None:
        page = open_as("reader")
        page.goto(first_row(page, "contacts"))
        expect(page.locator("main")).to_contain_text("***")
        expect(page.get_by_role("button", name="Delete")).to_have_count(0)
        expect(page.get_by_role("link", name="Edit")).to_have_count(0)

    def test_a_custom_field_is_declared_filled_in_and_shown(self, open_as: Opener) -> None:
        page = open_as("admin", "/custom-fields/new")
        page.select_option("#f-entity", "account")
        page.select_option("#f-semantic", "choice")
        page.fill("#f-label_en", "Partner level")
        page.fill("#f-label_zh", "合作等级")
        page.fill("#f-choices", "Gold | 金牌\nSilver | 银牌")
        page.locator(".k-form-bar button[type=submit]").click()
        expect(page.locator("#problems")).to_be_visible()
        page.locator("#handling-business").check()
        page.locator(".k-form-bar button[type=submit]").click()
        expect(page.locator("main")).to_contain_text("Partner level")
        user = open_as("sales1")
        path = first_row(user, "accounts")
        user.goto(f"{path}/edit")
        user.select_option("#f-custom-partner_level", "gold")
        user.locator(".k-form-bar button[type=submit]").click()
        expect(user.locator("main dl", has_text="Partner level")).to_contain_text("Gold")
        user.goto("/accounts?columns=name,custom.partner_level")
        expect(user.locator("th", has_text="Partner level")).to_have_count(1)
        expect(user.locator("td", has_text="Gold")).to_have_count(1)
