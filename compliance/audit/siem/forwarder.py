"""Delivers the log to one sink, from its cursor on: at least once, in order, without holding anybody up
(SIEM-1).

The cursor is a leaf index and is written only after the sink is known to have everything below it. A sink
that is down costs nothing but a growing distance between cursor and log, since the log itself is the queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compliance.audit.log.files import write_atomically
from compliance.audit.siem.event import AuditEvent, Policy
from compliance.audit.siem.formats import Sender, render
from compliance.audit.siem.transport import DeliveryError, Item, Refusal, Transport
from security.network import Cause

Leaves = Callable[[int, int], Iterable[tuple[int, bytes]]]
"""`leaves(start, stop)` yields (index, leaf) of sealed events; `Mirror.leaves` fits."""


class Cursor(Protocol):
    """Where the next index to deliver is kept."""

    def read(self) -> int:
        """Index of the first event that the sink may not have."""
        ...

    def write(self, index: int) -> None:
        """Record it durably."""
        ...


class FileCursor:
    """A cursor in a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int:
        """See `Cursor.read`; 0 if nothing was ever delivered."""
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return 0

    def write(self, index: int) -> None:
        """See `Cursor.write`."""
        write_atomically(self._path, f"{index}\n".encode())


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """How a sink is fed: format, policy, message limit in bytes, most events a batch."""

    format: str
    sender: Sender
    policy: Policy = Policy.PSEUDONYM
    limit: int = 8192
    batch: int = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a sink.

    Attributes:
        cursor: First event that the sink is not certain to have; delivery goes on here after a break.
        sent: First event that was not handed over yet.
        size: Events in the log.
        error: Why delivery stands still, for the operator.
        peer: Whom it goes to.
        cause: The kind of error.
    """

    cursor: int
    sent: int
    size: int
    error: str | None
    peer: str | None
    cause: Cause | Refusal | None = None

    @property
    def backlog(self) -> int:
        """Events that were not handed over yet; all uncertain ones count while there is an error."""
        return self.size - (self.cursor if self.error else self.sent)


class Forwarder:
    """One sink. `step` never raises for the sink's sake: its answer says what happened."""

    def __init__(
        self,
        log: str,
        transport: Transport,
        cursor: Cursor,
        settings: SinkSettings,
        *,
        name_of: Callable[[str], str | None] = lambda _ref: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._transport, self._cursor, self._settings = log, transport, cursor, settings
        self._name_of, self._now = name_of, now
        self._next = cursor.read()
        self._peer: str | None = None
        self._retry_at, self._pause = 0.0, 1.0
        self._failure: DeliveryError | None = None

    def step(self, leaves: Leaves, size: int) -> Progress:
        """Deliver one batch of what is sealed; after an error waits 1, 2, 4 … 60 seconds before the next
        try.
        """
        if self._failure is not None and self._now() < self._retry_at:
            return self.progress(size)
        try:
            if self._peer is None:
                self._peer = self._transport.open()
                self._next = self._cursor.read()
            stop = min(size, self._next + self._settings.batch)
            items = [self._item(index, leaf) for index, leaf in leaves(self._next, stop)]
            self._transport.send(items)
            self._next = stop
            self._failure, self._pause = None, 1.0
            self._settle()
        except DeliveryError as error:
            self._failure, self._peer = error, None
            self._retry_at, self._pause = self._now() + self._pause, min(self._pause * 2, 60.0)
        return self.progress(size)

    def stop(self) -> None:
        """End the connection in order; what that confirms goes into the cursor."""
        if self._peer is not None:
            self._transport.close()
            self._settle()
            self._peer = None

    def progress(self, size: int) -> Progress:
        """State for metrics, alarms and the set-up page."""
        why = self._failure
        error, cause = (str(why), why.cause) if why else (None, None)
        return Progress(self._cursor.read(), self._next, size, error, self._peer, cause)

    def _settle(self) -> None:
        if self._transport.confirmed >= self._cursor.read():
            self._cursor.write(self._transport.confirmed + 1)

    def _item(self, index: int, leaf: bytes) -> Item:
        event = AuditEvent.from_leaf(self._log, index, leaf).under(self._settings.policy, self._name_of)
        return Item(index, render(self._settings.format, event, self._settings.sender, self._settings.limit))


def send_test(transport: Transport, event: AuditEvent, settings: SinkSettings) -> tuple[str, str]:
    """Deliver one event and return the rendered line and the peer (SIEM-8). Raises `DeliveryError`."""
    line = render(settings.format, event.under(settings.policy), settings.sender, settings.limit)
    peer = transport.open()
    try:
        transport.send([Item(event.index, line)])
    finally:
        transport.close()
    return line, peer


def missing(indexes: Sequence[int], first: int, last: int) -> list[int]:
    """Return the indexes that a receiver lacks between `first` and `last`; what the content pack's queries
    ask.
    """
    return sorted(set(range(first, last + 1)) - set(indexes))
