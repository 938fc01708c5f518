"""A cache for unwrapped data keys: bounded in entries and in time, and able to forget at once (ENC-15).

Time counts from when an entry was put in, not from its last use, so a key is fetched anew at least every ten minutes,
however busy it is. :meth:`BoundedCache.mark` closes a race: a reader that fetched a key just before it was erased
can't put it back after the drop, because the drop has moved the mark.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, NoReturn, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_SECONDS: Final = 600.0


class BoundedCache(Generic[K, V]):
    """At most ``entries`` values, each for at most ``seconds`` (never over 600); the least recently used goes first.

    One object serves all threads of a process. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self, entries: int = 4096, seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if entries < 1 or not 0 < seconds <= MAX_SECONDS:
            raise ValueError("The key cache holds at least one entry, each for at most 600 seconds (ENC-15).")
        self._entries = entries
        self._seconds = seconds
        self._clock = clock
        self._items: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()
        self._drops = 0
        self._suspended = False

    def get(self, key: K) -> V | None:
        """Return the value, or None if it isn't here or is too old."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return None
            if item[0] <= self._clock():
                del self._items[key]
                return None
            self._items.move_to_end(key)
            return item[1]

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return those that are here and not too old, for readers of many rows: one lock for all."""
        found: dict[K, V] = {}
        with self._lock:
            now, items = self._clock(), self._items
            for key in keys:
                item = items.get(key)
                if item is not None and item[0] > now:
                    items.move_to_end(key)
                    found[key] = item[1]
        return found

    def mark(self) -> int:
        """Return a mark to be taken before a value is fetched and handed to :meth:`put`."""
        with self._lock:
            return self._drops

    def put(self, key: K, value: V, mark: int) -> None:
        """Keep a value that was fetched after ``mark``, unless something was dropped since."""
        self.put_many({key: value}, mark)

    def put_many(self, values: Mapping[K, V], mark: int) -> None:
        """Keep values that were fetched after ``mark``, unless something was dropped since."""
        with self._lock:
            if mark != self._drops or self._suspended:
                return
            until = self._clock() + self._seconds
            for key, value in values.items():
                self._items[key] = (until, value)
                self._items.move_to_end(key)
            while len(self._items) > self._entries:
                self._items.popitem(last=False)

    def drop(self, *keys: K) -> None:
        """Forget these keys now, also those that are being fetched at this moment."""
        with self._lock:
            self._drops += 1
            for key in keys:
                self._items.pop(key, None)

    def clear(self) -> None:
        """Forget everything now."""
        with self._lock:
            self._drops += 1
            self._items.clear()

    def suspend(self) -> None:
        """Forget everything and keep nothing until :meth:`resume`: whoever tells of erasures can't be heard."""
        with self._lock:
            self._drops += 1
            self._suspended = True
            self._items.clear()

    def resume(self) -> None:
        """Keep values again."""
        with self._lock:
            self._drops += 1
            self._suspended = False

    def purge(self) -> int:
        """Forget what is too old and return how many entries that were; a timer calls it, so that nothing lingers."""
        with self._lock:
            now = self._clock()
            old = [key for key, item in self._items.items() if item[0] <= now]
            for key in old:
                del self._items[key]
            return len(old)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"BoundedCache({len(self._items)} of {self._entries} entries)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")
