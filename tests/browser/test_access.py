"""Roles, approvals, emergency access and one's own security in a real browser (AUTH-11, AUTH-15, AUTH-18)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, violations

PAGES = {
    "roles": "/roles",
    "role-new": "/roles/new",
    "approvals": "/approvals",
    "emergency": "/emergency",
    "own-security": "/profile/security",
}
LOOKS = [(1440, False), (390, True)]


def picture(page: Page, name: str, width: int, *, dark: bool, language: str = "en") -> None:
    """Keep a picture where somebody asks for it."""
    if folder := os.environ.get("PICTURES_OF_TESTS"):
        look = f"{width}-{'dark' if dark else 'light'}-{language}"
        page.screenshot(path=Path(folder) / f"{name}-{look}.png", full_page=True)


def fits(page: Page) -> bool:
    """No page scrolls sideways; wide tables do so inside themselves."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def chinese(page: Page) -> None:
    page.locator("button:has(use[href$='#language'])").click()
    page.locator("button[name=locale][value=zh_Hans]").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")


@pytest.mark.parametrize("width,dark", LOOKS)
def test_the_pages_of_access_are_accessible_in_every_look(open_as: Opener, width: int, dark: bool) -> None:
    page = open_as("security", "/roles", width=width, dark=dark)
    page.locator("main a", has_text="Manager").first.click()
    expect(page.locator("h1")).to_have_text("Manager")
    PAGES["role"] = page.url.partition("://")[2].partition("/")[2].join(("/", ""))
    for name, path in PAGES.items():
        page.goto(path)
        picture(page, name, width, dark=dark)
        assert violations(page) == []
        assert fits(page), path
    page.goto(f"{PAGES['role']}/edit")
    assert violations(page) == []


ADMINISTRATION = {
    "users": "/users",
    "user-new": "/users/new",
    "teams": "/teams",
    "directories": "/directories",
    "directory-new": "/directories/new",
    "sso": "/single-sign-on",
    "sso-new": "/single-sign-on/new",
}


@pytest.mark.parametrize("width,dark", LOOKS)
def test_the_pages_of_users_directories_and_providers_are_accessible(
    open_as: Opener, width: int, dark: bool
) -> None:
    page = open_as("admin", "/users", width=width, dark=dark)
    page.locator("main td a").first.click()
    pages = {"user": page.url.partition("://")[2].partition("/")[2].join(("/", "")), **ADMINISTRATION}
    for name, path in pages.items():
        page.goto(path)
        picture(page, name, width, dark=dark)
        assert violations(page) == [], path
        assert fits(page), path


@pytest.mark.parametrize("width,dark", LOOKS)
def test_a_directory_and_a_provider_are_set_up_and_tested_on_their_pages(
    open_as: Opener, width: int, dark: bool
) -> None:  # AUTH-10
    page = open_as("admin", "/directories/new", width=width, dark=dark)
    page.fill("#name", f"Directory {width}")
    page.fill("#servers", "ldaps://127.0.0.1:9")
    for place in ("bind_dn", "user_base", "group_base"):
        page.fill(f"#{place}", "dc=example,dc=com")
    page.fill("#secret", "a password of a service")
    page.locator("main form button.btn-primary").click()
    expect(page.locator("h1")).to_have_text(f"Directory {width}")
    page.get_by_role("button", name="Test").click()
    expect(page.locator("main")).to_contain_text("Failed")
    picture(page, "directory", width, dark=dark)
    assert violations(page) == []
    assert fits(page)
    page.goto("/single-sign-on/new")
    page.fill("#name", f"Provider {width}")
    page.fill("#issuer", "http://sso.example.com")
    page.fill("#client_id", "kontor")
    page.locator("main form button.btn-primary").click()
    expect(page.locator(".alert-danger")).to_be_visible()
    picture(page, "sso-refused", width, dark=dark)
    assert violations(page) == []
    page.fill("#issuer", "https://sso.example.com/realms/main")
    page.locator("main form button.btn-primary").click()
    expect(page.locator("h1")).to_have_text(f"Provider {width}")
    picture(page, "sso-provider", width, dark=dark)
    assert violations(page) == []
    assert fits(page)


@pytest.mark.parametrize("width,dark", LOOKS)
def test_sharing_its_question_and_the_explainer_are_accessible(
    open_as: Opener, width: int, dark: bool
) -> None:
    page = open_as("sales1", "/accounts", width=width, dark=dark)
    page.locator("main td a").first.click()
    page.wait_for_url("**/accounts/*-*")
    page.goto(f"{page.url}/sharing")
    page.select_option("#team", index=1)
    page.get_by_role("button", name="Share", exact=True).click()
    end = page.locator("main table form button").first
    expect(end).to_be_visible()
    picture(page, "sharing", width, dark=dark)
    assert violations(page) == []
    assert fits(page)
    page.get_by_role("link", name="Why can I see this?").click()
    expect(page.locator("main")).to_contain_text("may do this")
    picture(page, "explain", width, dark=dark)
    assert violations(page) == []
    assert fits(page)
    page.go_back()
    end.click()
    expect(page.locator("main")).to_contain_text("Nobody beside those")


def test_built_in_roles_and_stages_speak_chinese(open_as: Opener) -> None:
    page = open_as("security", "/roles")
    chinese(page)
    expect(page.locator("main")).to_contain_text("安全管理员")
    expect(page.locator("main")).not_to_contain_text("Security administrator")
    picture(page, "roles", 1440, dark=False, language="zh")
    page.goto("/approvals")
    expect(page.locator("h1")).to_have_text("批准事项")
    picture(page, "approvals", 1440, dark=False, language="zh")
    board = open_as("sales4", "/opportunities/board")
    expect(board.locator("main")).to_contain_text("谈判")
    page.locator("button:has(use[href$='#language'])").click()
    page.locator("button[name=locale][value=en]").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_the_meter_judges_a_password_while_it_is_typed(open_as: Opener) -> None:  # AUTH-17
    page = open_as("reader", "/profile/security")
    meter = page.locator("#new-strength")
    page.fill("#new", "password123")
    expect(meter).to_contain_text("lists that attackers try first")
    expect(meter.locator("meter")).to_have_attribute("value", "0")
    assert violations(page) == []
    page.fill("#new", "velvet otter compiles")
    expect(meter).to_have_text("Very good")
    page.fill("#new", "")
    expect(meter).to_be_empty()


def test_a_role_is_copied_and_its_change_is_seen_before_it_counts(open_as: Opener) -> None:  # AUTH-15
    page = open_as("security", "/roles")
    page.locator("main a", has_text="Reader").first.click()
    page.get_by_role("link", name="Copy").click()
    page.fill("#name", "Helpers")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("h1")).to_have_text("Helpers")
    page.get_by_role("link", name="Change").click()
    page.get_by_label("Leads: see", exact=True).uncheck()
    page.get_by_role("button", name="Show what this changes").click()
    told = page.locator("#difference")
    expect(told).to_contain_text("Leads: see")
    picture(page, "role-preview", 1440, dark=False)
    assert violations(page) == []
    page.get_by_role("button", name="Save this change").click()
    expect(page.locator("h1")).to_have_text("Helpers")
    page.get_by_role("link", name="History").click()
    page.wait_for_url("**/history*")
    expect(page.locator("main")).to_contain_text("Leads: see")
    assert violations(page) == []


def test_two_persons_make_an_administrator(open_as: Opener) -> None:  # AUTH-15
    page = open_as("security", "/roles")
    page.locator("main a", has_text="Audit administrator").first.click()
    page.fill("#login", "reader")
    page.fill("#reason", "Takes over the audits of the summer")
    page.get_by_role("button", name="Give the role").click()
    expect(page.locator("main")).to_contain_text("Takes over the audits of the summer")
    address = page.url
    expect(page.get_by_role("button", name="Release")).to_have_count(0)
    for width, dark in LOOKS:
        second = open_as("audit", "/approvals", width=width, dark=dark)
        expect(second.locator("#waiting")).to_contain_text("Takes over the audits of the summer")
        picture(second, "approvals-waiting", width, dark=dark)
        assert violations(second) == []
        second.goto(address)
        picture(second, "approval", width, dark=dark)
        assert violations(second) == []
        assert fits(second)
    second.get_by_role("button", name="Release").click()
    second.locator("dialog[open] button.btn-primary, dialog[open] button.btn-danger").first.click()
    expect(second.locator("main")).to_contain_text("Carried out")
    page.goto("/roles")
    page.locator("main a", has_text="Audit administrator").first.click()
    expect(page.locator("main")).to_contain_text("reader")


@pytest.mark.parametrize("width", [1440, 390])
def test_territories_are_a_tree(open_as: Opener, width: int) -> None:
    page = open_as("admin", "/territories", width=width)
    expect(page.locator(".k-tree .k-tree a").first).to_be_visible()
    picture(page, "territories", width, dark=False)
    assert violations(page) == []
    assert fits(page)
