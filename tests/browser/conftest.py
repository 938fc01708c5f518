"""One site and one browser for all browser tests of a process; each test logs in within a context of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect

from crm_server import tasks
from crm_server.migrations import manage
from crm_server.settings import load
from tests.browser.site import ROOT, Site, chromium_path, serve
from tests.browser.site import browser as launch
from tests.conftest import copy_database

# Waits end when the awaited state is there; this is only when a test gives up, on a machine that is busy as well.
LIMIT = 30_000
expect.set_options(timeout=LIMIT)
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file follow each other in one worker, which has a site and a browser of its own."""
    for item in items:
        if Path(str(item.fspath)).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group(Path(str(item.fspath)).stem))


def _missing(what: str, way_out: str) -> None:
    message = f"{what} is missing. {way_out}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def built() -> None:
    """Assets and translations as the set-up makes them."""
    if chromium_path() is None:
        _missing("Chromium", "apt-get install -y chromium fonts-noto-cjk")
    if not AXE.exists():
        _missing("axe-core", "npm ci")
    if not (ROOT / "crm_server/web/assets/dist/manifest.json").exists():
        subprocess.run(["node", "bin/assets.mjs"], cwd=ROOT, check=True)
    for catalogue in ROOT.glob("crm_server/locale/*/LC_MESSAGES/kontor.po"):
        compiled = catalogue.with_suffix(".mo")
        if not compiled.exists() or compiled.stat().st_mtime < catalogue.stat().st_mtime:
            babel = Path(sys.executable).parent / "pybabel"
            subprocess.run([babel, "-q", "compile", "-i", catalogue, "-o", compiled], check=True)


@pytest.fixture(scope="session")
def site(cluster: Any, template: str, built: None) -> Iterator[Site]:
    """A running Kontor with demo data."""
    copy_database(cluster, template, "kontor_browser")
    environment = {
        "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, "kontor_browser"),
        "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, "kontor_browser"),
        "KONTOR_DEMO": "true",
    }
    with serve(environment) as running:
        yield running


@pytest.fixture(scope="session")
def chromium(built: None) -> Iterator[Browser]:
    """The browser."""
    with launch() as made:
        yield made


Opener = Callable[..., Page]


class Sessions:
    """Cookies of people who have logged in lately: their session goes on in the next test, unless it was ended.

    Later they log in anew, as a step-up asks for a proof that is some minutes old at most.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}

    def of(self, login: str) -> Any:
        since, state = self._kept.get(login, (0.0, None))
        return state if time.monotonic() - since < 60 else None

    def keep(self, login: str, state: Any) -> None:
        self._kept[login] = time.monotonic(), state


@pytest.fixture(scope="session")
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def open_as(site: Site, chromium: Browser, sessions: Sessions) -> Iterator[Opener]:
    """Open a page as a demo user: `open_as("sales1", "/contacts", width=390, dark=True)`; "" logs nobody in.

    Whatever the console says of errors, broken policies or missing files fails the test at its end.
    """
    complaints: list[str] = []
    with ExitStack() as stack:

        def opened(
            login: str, path: str = "/", *, width: int = 1440, dark: bool = False, locale: str = "en-GB"
        ) -> Page:
            context = chromium.new_context(
                ignore_https_errors=True,
                viewport={"width": width, "height": 844 if width < 500 else 900},
                color_scheme="dark" if dark else "light",
                has_touch=width < 500,
                locale=locale,
                # Nothing glides: what a test measures is where it stays.
                reduced_motion="reduce",
                base_url=site.address,
                storage_state=sessions.of(login),
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(LIMIT)
            page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
            page.on(
                "console",
                lambda message: (
                    complaints.append(f"{page.url}: {message.text}")
                    if message.type == "error" and "the server responded with a status of" not in message.text
                    else None
                ),
            )
            page.goto(path)
            if login and urlsplit(page.url).path == "/login":
                page.goto("/login")  # without the way back
                page.fill("#login", login)
                page.fill("#password", site.password)
                page.click("main button[type=submit]")
                page.wait_for_url(f"{site.address}/")
                sessions.keep(login, context.storage_state())
                if path != "/":
                    page.goto(path)
            return page

        yield opened
    assert not complaints, "\n".join(complaints)


def lying_still(element: Locator) -> FloatRect:
    """The box of an element in the middle of the screen, once it neither moves nor is covered."""
    # Pages scroll smoothly where the device doesn't ask for less motion; a box measured meanwhile is already wrong.
    element.evaluate("one => one.scrollIntoView({block: 'center', behavior: 'instant'})")
    element.click(trial=True)
    box = element.bounding_box()
    assert box
    return box


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is shown now."""
    page.wait_for_load_state()
    # Through the debugger and not as an element: the page's own policy allows no foreign script.
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
    session.detach()
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(one => "
        "({id: one.id, help: one.help, places: one.nodes.slice(0, 3).map(node => node.html.slice(0, 160))}))"
    )
    return [f"{page.url} {one['id']}: {one['help']} {one['places']}" for one in found]


@pytest.fixture
def work(site: Site) -> Callable[[], None]:
    """Runs the worker until no job waits; in a thread, for the browser's driver owns this one's event loop."""
    settings = load({**site.environment, "KONTOR_LOG_FORMAT": "text"})

    def run() -> None:
        thread = threading.Thread(target=lambda: tasks.worker(settings).run(until_empty=True))
        thread.start()
        thread.join(240)
        assert not thread.is_alive(), "the worker has not ended"

    return run


def wait_for_work(page: Page, work: Callable[[], None]) -> None:
    expect(page.locator("#progress")).to_be_visible()
    work()
    # The bar asks once a second and then brings the whole page.
    expect(page.locator("#progress")).to_have_count(0)
