"""Writes the audit events of reads: those of all threads of a process, many in one statement and one commit.

A read changes nothing, so its own transaction has nothing to flush; what it costs is the event that tells of it. While
one thread writes, the events of others gather; then one of those writes them all. So the round trip, the statement and
the wait for the disk are shared, and nothing has to be tuned: the slower the disk, the more events share a commit. A
thread that comes alone writes at once, and no other has to wake.

`Hot` owns one. What was read leaves after `record`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from crm_server.kernel.errors import Unavailable
from monitoring import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Recorder", "Row"]

Row = dict[str, Any]


class _Told:
    """An event that waits, and its thread."""

    __slots__ = ("error", "leads", "row", "turn")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.error: BaseException | None = None
        self.leads = False
        # Held until the event is written, or its thread has to write: one wake-up by the system's own lock.
        self.turn = threading.Lock()
        self.turn.acquire()


class Recorder:
    """Takes events from any thread.

    Args:
        write: Writes rows in one transaction that is committed when it returns.
        patience: Seconds after which a read that waits for others is refused.
    """

    def __init__(self, write: Callable[[Sequence[Row]], object], patience: float) -> None:
        self._write, self._patience = write, patience
        self._lock = threading.Lock()
        self._waiting: list[_Told] = []
        self._busy = False

    def record(self, row: Row) -> None:
        """Return when the event is committed. Anything raised means that what was read must not leave.

        Raises:
            Unavailable: it could not be written in time.
        """
        try:
            error = self._written(_Told(row))
            if error is None:
                return
        except Unavailable as late:
            error = late
        metrics.READS_REFUSED.inc()
        raise error

    def _written(self, told: _Told) -> BaseException | None:
        with self._lock:
            self._waiting.append(told)
            first, self._busy = not self._busy, True
        if first:
            self._lead()
        else:
            if not told.turn.acquire(timeout=self._patience):
                self._give_up(told)
            if told.leads:
                self._lead()
        return told.error

    def _give_up(self, told: _Told) -> None:
        with self._lock:
            if not told.leads and told in self._waiting:
                self._waiting.remove(told)
                raise Unavailable
        # Somebody has it in hand: it is being written, or it is this thread's turn.
        if not told.turn.acquire(timeout=self._patience):
            raise Unavailable

    def _lead(self) -> None:
        """Write all that wait, this thread's own among them; then hand over to one of those that came meanwhile."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        try:
            self._write_all(taken)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                if following is None:
                    self._busy = False
                else:
                    following.leads = True
            for told in taken:
                told.turn.release()
            if following is not None:
                following.turn.release()

    def _write_all(self, taken: list[_Told]) -> None:
        for told in taken:
            # Should this thread be torn away, nobody believes that it was written.
            told.error = Unavailable()
        try:
            self._write([told.row for told in taken])
        except Unavailable:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the reads that wait must know
            if len(taken) == 1:
                taken[0].error = error
                return
            # One that can't be written must not keep the others back.
            for told in taken:
                self._write_all([told])
            return
        for told in taken:
            told.error = None
