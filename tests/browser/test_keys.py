"""The page of encryption keys in a real browser: readable for everybody, and its buttons do what they say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from crm_server.migrations import manage
from tests.browser.conftest import Opener, violations

# Keys that open nothing, to look at: this runs after the rotation.
_KEYS = """
insert into keys.data_key
    (kid, tenant, subject, class, generation, epoch, state, wrapped, kcv, created_at, erased_at)
select decode(md5(n::text), 'hex'), gen_random_uuid(), gen_random_uuid(), 'identity', 1, e.number, s,
       case when s <> 'erased' then decode(repeat('00', 40), 'hex') end, decode(repeat('00', 8), 'hex'), now(),
       case when s = 'erased' then now() end
  from generate_series(1, 60) n,
       lateral (select case when n % 6 = 0 then 'erased' when n % 10 = 0 then 'held' else 'active' end as s) states,
       keys.epoch e
 where e.state = 'active' on conflict do nothing
"""


def test_a_rotation_is_asked_for_and_shown(open_as: Opener, work: Callable[[], None]) -> None:
    page = open_as("security", "/keys")
    expect(page.locator("main")).to_contain_text("It can't prove that a key was destroyed")
    assert violations(page) == []
    page.get_by_role("button", name="Rotate now").click()
    page.get_by_role("button", name="Yes, go on").click()
    expect(page.locator("body")).to_contain_text("The work on the keys has begun")
    work()
    page.goto("/keys")
    expect(page.locator("main")).to_contain_text("Waits for its destruction")
    expect(page.locator("main")).to_contain_text("Opened and checked")
    _picture(page, "en")
    page.get_by_text("Ask for the destruction").first.click()
    page.fill("input[name=reason]", "The epoch is over.")
    page.fill("input[name=confirm]", "yes")
    page.locator("form[action$='/destroy'] button").click()
    expect(page.locator("main")).to_contain_text("typed differently")
    assert violations(page) == []
    sentence = page.locator("label[for^=confirm-]").first.text_content() or ""
    page.get_by_text("Ask for the destruction").first.click()
    page.fill("input[name=reason]", "The epoch is over.")
    page.fill("input[name=confirm]", sentence.partition("Type: ")[2].strip())
    page.locator("form[action$='/destroy'] button").click()
    expect(page.locator("body")).to_contain_text("The destruction was asked for")
    expect(page.locator("main")).to_contain_text("Without a refusal it is released at")


@pytest.mark.parametrize("locale,width,dark", [("en", 1440, False), ("zh_Hans", 390, True)])
def test_it_is_accessible_in_every_shape(
    open_as: Opener, cluster: Any, width: int, dark: bool, locale: str
) -> None:
    _speak(cluster, locale)
    try:
        page = open_as("security", "/keys", width=width, dark=dark)
        expect(page.locator("h1")).to_have_text("Encryption keys" if locale == "en" else "加密密钥")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        _picture(page, f"{locale}-{width}-{'dark' if dark else 'light'}")
    finally:
        _speak(cluster, "en")


def _speak(cluster: Any, locale: str) -> None:
    """Let the security administrator read another language, and have some keys to look at."""
    owner = manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_browser"))
    with owner.begin() as connection:
        connection.execute(
            text("""update identity."user" set locale = :locale where login = 'security'"""),
            {"locale": locale},
        )
        connection.execute(text(_KEYS))
    owner.dispose()


def _picture(page: Page, name: str) -> None:
    """Keep a picture where somebody asked for one."""
    if folder := os.environ.get("PICTURES_OF_TESTS"):
        page.screenshot(path=Path(folder) / f"keys-{name}.png", full_page=True)
