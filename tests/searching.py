"""A search service for a database of a test, in a process of its own that is ready within a fraction of a second."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crm_server.search.client import SearchClient, SearchUnavailable
from crm_server.search.places import socket_path
from crm_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A server that has everything imported forks the processes: no thread of the tests is copied, nothing is imported anew.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["crm_server.search.server", "crm_server.models"])


def with_search(settings: Settings, path: Path | None = None) -> Settings:
    """The settings with a socket of their own."""
    chosen = path or Path(tempfile.mkdtemp(prefix="kontor-search-")) / "s"
    return Settings(dict(settings.values) | {"search_socket": chosen})


def _serve(values: dict[str, Any]) -> None:
    from crm_server.search.server import build
    from monitoring import logs

    logs.configure("warning", "text")
    server = build(Settings(values))
    # The process ends at once: it has nothing to save.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever(poll_interval=0.05)


def start(settings: Settings) -> Any:
    """Start a service and return its process; it may still be loading."""
    process = _processes.Process(target=_serve, args=(dict(settings.values),), daemon=True)
    process.start()
    return process


def wait_until_complete(client: SearchClient, seconds: float = 60) -> None:
    """Return when the service has loaded everything."""
    until = time.monotonic() + seconds
    while True:
        try:
            if client.state().complete:
                return
        except SearchUnavailable:
            pass
        assert time.monotonic() < until, "the search service does not get ready"
        time.sleep(0.01)


@contextmanager
def searching(settings: Settings) -> Iterator[SearchClient]:
    """A running, complete service for the database of `settings`, whose `search_socket` names its socket."""
    process = start(settings)
    client = SearchClient(socket_path(settings))
    try:
        wait_until_complete(client)
        yield client
    finally:
        client.close()
        if process.is_alive():
            process.terminate()
        process.join(10)
        socket_path(settings).unlink(missing_ok=True)
