"""A whole Kontor for browser tests and pictures: its own database with demo data, granian with HTTPS, Chromium.

Used by tests/browser/conftest.py and by bin/screenshots.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from crm_server.demo import load as demo
from crm_server.local import certificate
from crm_server.settings import load
from tests.searching import searching

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    # The tests' own address, and nothing else: a page that loads anything from outside fails.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A running Kontor. `password` is that of all demo users, `environment` holds the server's settings."""

    address: str
    password: str
    environment: Mapping[str, str]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serve(environment: Mapping[str, str], *, contacts: int = 300) -> Iterator[Site]:
    """Fill the database, start the server, wait until it can serve, and stop it afterwards.

    Args:
        environment: Settings, among them KONTOR_DATABASE_URL of an empty, migrated database.
        contacts: How many contacts the demo data has.
    """
    with tempfile.TemporaryDirectory(prefix="kontor-browser-") as folder:
        own = {"KONTOR_STATE_DIR": folder, "KONTOR_KEY_RING": f"{folder}/keyring", **environment}
        _logins, password = demo.load(load(own), contacts)
        tls = certificate.ensure(Path(folder) / "tls")
        port = _free_port()
        command = [
            *(sys.executable, "-m", "crm_server.serving", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--blocking-threads", "4"),
            *("--ssl-certificate", str(tls.chain), "--ssl-keyfile", str(tls.key)),
        ]
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, "KONTOR_LOG_FORMAT": "text", **own},
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        address = f"https://localhost:{port}"
        try:
            _wait(address, tls.authority, process, log)
            with searching(load(own)):
                yield Site(address, password, own)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
            if os.environ.get("KONTOR_BROWSER_LOG"):
                shutil.copy(log, os.environ["KONTOR_BROWSER_LOG"])


def _wait(address: str, authority: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    context = ssl.create_default_context(cafile=str(authority))
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5, context=context):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"The server does not answer:\n{log.read_text(errors='replace')[-3000:]}")


def chromium_path() -> str | None:
    """Where Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium with an empty profile."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=chromium_path(), args=list(CHROMIUM_FLAGS), timeout=120_000
        )
        try:
            yield made
        finally:
            made.close()
