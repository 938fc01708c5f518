"""Hears on a connection of its own which data keys were erased on any node, and drops them from the cache (ENC-15).

While it can't hear, the cache keeps nothing: each use of a key then asks the key table, which is slower and always
right. It starts with the first use of keys in a process, so that it also works in processes that fork.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg2
import structlog
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from crm_server.kernel.errors import AppError
from security.crypto.errors import KeyRingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from security.crypto.cache import BoundedCache
    from security.crypto.document import DocumentKey

log = structlog.get_logger("kontor.keys")

CHANNEL: Final = "kontor_keys"
_PROBE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 240.0
"""So often a process looks at the epochs though nobody said anything, and attests for its node."""
_STOP_SECONDS: Final = 2.0
_PAUSES: Final = (0.1, 0.5, 1.0, 2.0)


class KeyListener:
    """A daemon thread for one cache. `on_epoch` is called when epochs have changed, `on_handover` when a node asks for
    one; neither may take long.
    """

    def __init__(
        self,
        url: str,
        cache: BoundedCache[bytes, DocumentKey],
        on_epoch: Callable[[], None],
        on_handover: Callable[[], None],
    ) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._cache = cache
        self._on_epoch = on_epoch
        self._on_handover = on_handover
        self._lock = threading.Lock()
        self._process: int | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self.heard = threading.Event()
        """Set while the listener can hear."""

    def start(self) -> None:
        """Start once in each process; returns at once."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process == os.getpid() or self._stopped.is_set():
                return
            self._process = os.getpid()
            self._cache.suspend()
            # Of this process: a child that was forked must not wake its parent.
            self._wake = os.pipe()
            self._thread = threading.Thread(target=self._run, name="kontor-keys", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End at once, and for good; the cache keeps nothing any more."""
        with self._lock:
            self._stopped.set()
            self._cache.suspend()
            if self._thread is None or self._wake is None or self._process != os.getpid():
                return
            os.write(self._wake[1], b".")
            # A connection that is just being made ends by itself.
            self._thread.join(_STOP_SECONDS)
            if not self._thread.is_alive():
                for end in self._wake:
                    os.close(end)
            self._thread = self._wake = None

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self._listen()
                failures = 0
            except (psycopg2.Error, OSError) as error:
                if self.heard.is_set():
                    failures = 0
                    log.warning("erasures can't be heard; the key cache is off", error=type(error).__name__)
            finally:
                self.heard.clear()
                self._cache.suspend()
            self._stopped.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    def _listen(self) -> None:
        connection: Any = psycopg2.connect(
            self._url, application_name="kontor-keys", connect_timeout=5, tcp_user_timeout=10_000
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"listen {CHANNEL}")
                self._safely(self._on_epoch)
                self._safely(self._on_handover)
                self._cache.resume()
                self.heard.set()
                looked = time.monotonic()
                while not self._stopped.is_set():
                    wake = self._wake[0] if self._wake is not None else connection
                    if not select.select([connection, wake], [], [], _PROBE_SECONDS)[0]:
                        cursor.execute("select 1")  # Notices a connection that died without a word.
                    if time.monotonic() - looked > _LOOK_SECONDS:
                        looked = time.monotonic()
                        self._safely(self._on_epoch)
                    connection.poll()
                    while connection.notifies:
                        self._take(connection.notifies.pop(0).payload)
        finally:
            connection.close()

    def _take(self, message: str) -> None:
        word, _space, rest = message.partition(" ")
        if word == "drop":
            self._cache.drop(*(bytes.fromhex(name) for name in rest.split(",")))
        elif word == "epoch":
            self._safely(self._on_epoch)
        elif word == "handover":
            self._safely(self._on_handover)
        else:
            self._cache.clear()

    @staticmethod
    def _safely(look: Callable[[], None]) -> None:
        try:
            look()
        except (AppError, KeyRingError, DBAPIError) as error:
            log.warning("epochs can't be looked at", error=type(error).__name__)
