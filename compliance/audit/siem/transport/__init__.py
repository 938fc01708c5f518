"""Transports to a sink. Each has `send` for a batch of rendered events and says how far delivery is certain.

`Transport.send` either returns, and then `confirmed` tells up to which index the sink is known to have the
events, or raises `DeliveryError`, and then the forwarder starts again from its cursor. So delivery is at
least once everywhere.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from security.network import Cause, cause_of, reason_of


class Refusal(StrEnum):
    """Why a sink takes no events although the network is fine. The rest is a `security.network.Cause`."""

    ANSWERED = "answered"
    """It answered, and not that it took the events."""
    UNACKNOWLEDGED = "unacknowledged"
    TOO_LONG = "too_long"
    DISK = "disk"
    LOG = "log"
    """What is to be sent can't be read here."""


class DeliveryError(Exception):
    """The sink did not take events.

    Attributes:
        cause: The kind of reason; pages have words for each in every language.

    The message is for the operator, in English: host, what the network said, and the way out.
    """

    def __init__(self, message: str, cause: Cause | Refusal = Cause.OTHER) -> None:
        super().__init__(message)
        self.cause = cause

    @classmethod
    def of(cls, where: str, what: str, error: Exception) -> DeliveryError:
        """The error of a sink, from one of the network.

        Args:
            where: Host, with the port if it isn't plain.
            what: What went wrong, such as "no connection".
        """
        if isinstance(error, ssl.SSLCertVerificationError):
            what = "the sink's certificate is not acceptable"
        return cls(f"{where}: {what}: {reason_of(error)}", cause_of(error))


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
        """Connect and prove that the sink accepts this sender; returns the peer: address, protocol, certificate.

        Raises:
            DeliveryError: it does not.
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
