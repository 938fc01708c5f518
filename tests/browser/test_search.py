"""The find box: parts, mistakes and Chinese, on a desk and on a phone; lists in the order of a sealed name."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, violations
from tests.browser.test_pages import speak


def make(page: Page, family: str, given: str) -> None:
    """A new contact."""
    page.goto("/contacts/new")
    page.fill("#f-family_name", family)
    page.fill("#f-given_name", given)
    page.locator(".k-form-bar button[type=submit]").click()
    page.wait_for_url(re.compile(r"/contacts/[0-9a-f-]{36}"))


def find(page: Page, text: str) -> None:
    """Type into the box of the bar and send it off."""
    box = page.locator("input[type=search]").first
    if not box.is_visible():
        page.goto("/search")
        box = page.locator("input[type=search]:visible").first
    box.fill(text)
    box.press("Enter")
    page.wait_for_url(lambda address: parse_qs(urlsplit(address).query).get("q") == [text])


@pytest.mark.parametrize("locale,width", [("en-GB", 1440), ("zh-CN", 390)])
def test_somebody_new_is_found_at_once_by_parts_mistakes_and_pinyin(
    open_as: Opener, locale: str, width: int
) -> None:
    page = open_as("manager", width=width, locale=locale)
    speak(page, locale)
    make(page, "Wackernagel", "Hildegund")
    make(page, "慕容", "雪村")
    for typed, name in (
        ("wackernagel", "Wackernagel"), ("ckernag", "Wackernagel"), ("Wakcernagel", "Wackernagel"),
        ("慕容", "慕容"), ("murongxuecun", "慕容"), ("mrxc", "慕容"),
    ):  # fmt: skip
        find(page, typed)
        expect(page.locator("main .k-list li a").first).to_contain_text(name)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_list_goes_in_the_order_of_a_sealed_name(open_as: Opener) -> None:
    page = open_as("manager", width=1440)
    page.goto("/contacts?sort=name")
    rising = page.locator("main tbody tr td a").all_inner_texts()
    page.goto("/contacts?sort=-name")
    falling = page.locator("main tbody tr td a").all_inner_texts()
    assert rising
    assert rising[0] != falling[0]
