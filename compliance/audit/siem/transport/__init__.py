"""Transports to a sink. Each has `send` for a batch of rendered events and says how far delivery is certain.

`Transport.send` either returns, and then `confirmed` tells up to which index the sink is known to have the
events, or raises `DeliveryError`, and then the forwarder starts again from its cursor. So delivery is at
least once everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class DeliveryError(Exception):
    """The sink did not take events; the message is for the operator and names host, reason and way out."""


@dataclass(frozen=True, slots=True)
class Item:
    """A rendered event and its index in the log."""

    index: int
    line: str


class Transport(Protocol):
    """A connection to one sink."""

    @property
    def confirmed(self) -> int:
        """Index up to which the sink is known to have everything; -1 if nothing."""
        ...

    @property
    def certificate_until(self) -> datetime | None:
        """When the certificate of the sink ends that the last `open` saw; None without TLS."""
        ...

    def open(self) -> str:
        """Connect and prove that the sink accepts this sender; returns the peer in words. Raises
        `DeliveryError`.
        """
        ...

    def send(self, items: Sequence[Item]) -> None:
        """Hand over events in the order of their index. Raises `DeliveryError`."""
        ...

    def close(self) -> None:
        """End the connection in the way that the protocol calls orderly."""
        ...


class Window:
    """What a stream without acknowledgement may still lose: the last `count` events and those of the last
    `seconds`.

    TCP and TLS tell that the kernel took bytes, not that the receiver did. After a break everything in the
    window is sent again (SIEM-2), and an event counts as confirmed when it has left the window on an
    unbroken connection.
    """

    def __init__(self, count: int = 1000, seconds: float = 30.0) -> None:
        self.count, self.seconds = count, seconds
        self._sent: list[tuple[float, int]] = []
        self.confirmed = -1

    def add(self, now: float, indexes: Sequence[int]) -> None:
        """Note events that were written to the connection at monotonic time `now`."""
        self._sent += [(now, index) for index in indexes]
        keep = max(0, len(self._sent) - self.count)
        old = 0
        while old < keep and self._sent[old][0] < now - self.seconds:
            old += 1
        if old:
            self.confirmed = max(self.confirmed, self._sent[old - 1][1])
            del self._sent[:old]

    def finish(self) -> None:
        """The connection ended in order, close_notify and all: what was sent has arrived."""
        if self._sent:
            self.confirmed = max(self.confirmed, self._sent[-1][1])
        self._sent.clear()

    def broken(self) -> None:
        """The connection broke: nothing in the window is certain."""
        self._sent.clear()
