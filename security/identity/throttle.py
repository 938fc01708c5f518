"""Named limits on guessing, written as sentences: "10 per 5 minutes".

Called before each attempt that a stranger can repeat: log-in, second factor, reset, search over sealed
fields. Windows slide exactly: within any window of the stated length no more than the stated number of
attempts passes. The store decides atomically, so fifty parallel guesses get the same number of tries as fifty
in a row. If the store can't answer, the attempt is refused: limits fail closed (AUTH-18).
"""

from __future__ import annotations

import enum
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

_SENTENCE = re.compile(r"(\d{1,6}) per (?:(\d{1,4}) )?(second|minute|hour|day)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` attempts in any ``period``."""

    amount: int
    period: timedelta


def parse_limits(sentence: str) -> tuple[Limit, ...]:
    """Read "5 per 5 minutes, 100 per day".

    Raises ValueError that names the part which can't be read. Amounts and periods must be above zero.
    """
    limits = []
    for part in sentence.split(","):
        match = _SENTENCE.fullmatch(part.strip())
        if match is None or int(match[1]) == 0 or int(match[2] or 1) == 0:
            raise ValueError(f'limit "{part.strip()}": expected something like "10 per 5 minutes"')
        limits.append(Limit(int(match[1]), timedelta(seconds=int(match[2] or 1) * _SECONDS[match[3]])))
    return tuple(limits)


@dataclass(frozen=True, slots=True)
class Taken:
    """Answer of a store: whether the attempt was counted, and if not, when one is free again."""

    granted: bool
    free_at: datetime | None = None


class ThrottleStore(Protocol):
    """Counts attempts. Implementations must be atomic among all processes that share the limit."""

    def take(self, name: str, key: str, limit: Limit, now: datetime) -> Taken:
        """Count one attempt of ``key`` at ``now`` unless ``limit`` is used up.

        Refused attempts are not counted.
        """
        ...

    def forget(self, name: str, key: str) -> None:
        """Drop all attempts of ``key``, after it proved itself."""
        ...


class ThrottleState(enum.Enum):
    """Outcome of asking a throttle; the value is the reason code in audit events."""

    ALLOWED = "allowed"
    LIMITED = "rate_limited"
    UNAVAILABLE = "rate_limit_unavailable"


@dataclass(frozen=True, slots=True)
class ThrottleVerdict:
    """Decision of a throttle. ``retry_after`` is in whole seconds, at least 1 when refused."""

    state: ThrottleState
    retry_after: int = 0

    @property
    def allowed(self) -> bool:
        """True if the attempt may go on."""
        return self.state is ThrottleState.ALLOWED


class Throttle:
    """One named limit over one store. ``key`` says who is limited: an account, an address, a session.

    Keys should be pseudonymous (a keyed hash), because the store keeps them.
    """

    def __init__(
        self,
        name: str,
        sentence: str,
        store: ThrottleStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.limits = parse_limits(sentence)
        self._store = store
        self._clock = clock

    def hit(self, key: str) -> ThrottleVerdict:
        """Count one attempt; refuse it if any part of the limit is used up or the store fails."""
        now = self._clock()
        for index, limit in enumerate(self.limits):
            try:
                taken = self._store.take(self._part(index), key, limit, now)
            except Exception:  # noqa: BLE001 - whatever is wrong with the store, a stranger gets no free guesses.
                return ThrottleVerdict(ThrottleState.UNAVAILABLE, 30)
            if not taken.granted:
                wait = (
                    (taken.free_at - now).total_seconds() if taken.free_at else limit.period.total_seconds()
                )
                return ThrottleVerdict(ThrottleState.LIMITED, max(1, int(wait + 0.999)))
        return ThrottleVerdict(ThrottleState.ALLOWED)

    def forgive(self, key: str) -> None:
        """Forget the attempts of ``key`` after a success, so that a user's own typing errors don't add up."""
        for index in range(len(self.limits)):
            self._store.forget(self._part(index), key)

    def _part(self, index: int) -> str:
        return self.name if len(self.limits) == 1 else f"{self.name}/{index}"


class MemoryThrottleStore:
    """A store for one process: command-line tools and set-up, where no database is there yet."""

    def __init__(self) -> None:
        self._hits: dict[tuple[str, str], list[datetime]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, key: str, limit: Limit, now: datetime) -> Taken:
        """See ``ThrottleStore.take``."""
        with self._lock:
            recent = [hit for hit in self._hits.get((name, key), ()) if hit > now - limit.period]
            if len(recent) >= limit.amount:
                return Taken(False, recent[-limit.amount] + limit.period)
            self._hits[name, key] = [*recent, now]
            return Taken(True)

    def forget(self, name: str, key: str) -> None:
        """See ``ThrottleStore.forget``."""
        with self._lock:
            self._hits.pop((name, key), None)
