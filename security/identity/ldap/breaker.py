"""A circuit breaker for each directory server: who failed twice in a row rests before it is asked again.

So one dead server costs its time-out twice and not at every log-in (AUTH-9).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row. After ``threshold`` of them ``ready`` is False for ``rest_seconds``.

    Then one caller at a time may try: a success closes the circuit, a failure starts the rest anew.
    Thread-safe.
    """

    def __init__(
        self, threshold: int, rest_seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._rest = rest_seconds
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._lock = threading.Lock()

    @property
    def resting(self) -> bool:
        """True while the server is left alone; asking doesn't use up the one trial."""
        with self._lock:
            return self._failures >= self._threshold and self._clock() < self._open_until

    def ready(self) -> bool:
        """Say whether the caller may try now. Reserves the one trial after a rest."""
        with self._lock:
            if self._failures < self._threshold:
                return True
            if self._clock() < self._open_until:
                return False
            self._open_until = self._clock() + self._rest
            return True

    def succeeded(self) -> None:
        """Close the circuit."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """Count a failure; open the circuit at the threshold."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._threshold:
                self._open_until = self._clock() + self._rest
