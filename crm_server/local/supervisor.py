"""Keeps the processes of one machine running: starts them, writes their output to rotating logs, starts a
process again when it ends, and stops all of them gracefully.

`kontor up` is the caller. On a production site systemd does this work, one unit a process.
"""

import fcntl
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import IO, Any

LOG_BYTES = 10_000_000
LOG_FILES = 5
STOP_SECONDS = 30.0  # jobs of the worker get 25 to end

_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
# A process that lived this long was healthy: its next end is not part of an earlier row of failures.
_HEALTHY_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """One process to keep running: the name of its log, its command and what it has in its environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class _Child:
    process: Process
    log: RotatingFileHandler
    popen: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = _SHORTEST_PAUSE
    due: float = 0.0


class Supervisor:
    """Runs in the foreground until a SIGTERM or SIGINT arrives.

    `run_dir/up.lock` is locked for as long as it lives and `run_dir/up.json` describes it, so that other
    commands find it without guessing from process numbers.
    """

    def __init__(self, processes: Sequence[Process], log_dir: Path, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._children = [_Child(each, _rotating(log_dir / f"{each.name}.log")) for each in processes]
        self._stopping = threading.Event()

    def run(self, description: Mapping[str, Any], *, when_stopped: Callable[[], object]) -> None:
        """Keep the processes running; after the last has stopped call `when_stopped` and return.

        Raises:
            AlreadyRunningError: another supervisor holds the lock.
        """
        with _lock(self._run_dir):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._ask_to_stop)
            self._write({"pid": os.getpid(), **description})
            try:
                while not self._stopping.wait(0.2):
                    for child in self._children:
                        self._tend(child)
            finally:
                self._stop_all()
                when_stopped()
                (self._run_dir / "up.json").unlink(missing_ok=True)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _tend(self, child: _Child) -> None:
        """Start a child that is due; notice one that has ended and decide when it is due again."""
        now = time.monotonic()
        if child.popen is None:
            if now >= child.due:
                self._start(child)
            return
        code = child.popen.poll()
        if code is None:
            return
        if now - child.started >= _HEALTHY_SECONDS:
            child.pause = _SHORTEST_PAUSE
        _log.warning("%s ended with %d; starting it again in %.0f s", child.process.name, code, child.pause)
        child.popen = None
        child.due = now + child.pause
        child.pause = min(child.pause * 2, _LONGEST_PAUSE)

    def _start(self, child: _Child) -> None:
        # setpriv asks the kernel to end the child if the supervisor is killed, so that none is left behind.
        child.popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *child.process.command],
            env=dict(child.process.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.started = time.monotonic()
        threading.Thread(target=_pump, args=(child.popen.stdout, child.log), daemon=True).start()
        _log.info("%s started with pid %d", child.process.name, child.popen.pid)

    def _stop_all(self) -> None:
        """Ask each process to end, all at once; kill what has not ended in time."""
        living = [child.popen for child in self._children if child.popen and child.popen.poll() is None]
        for popen in living:
            popen.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for popen in living:
            try:
                popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.warning("pid %d did not end within %.0f s and is killed", popen.pid, STOP_SECONDS)
                os.killpg(popen.pid, signal.SIGKILL)
                popen.wait()

    def _write(self, description: Mapping[str, Any]) -> None:
        fresh = self._run_dir / "up.json.new"
        fresh.touch(mode=0o600)  # the addresses in it have passwords
        fresh.write_text(json.dumps(description), encoding="utf-8")
        fresh.rename(self._run_dir / "up.json")


class AlreadyRunningError(Exception):
    """A supervisor of this state folder runs already."""


def running(run_dir: Path) -> dict[str, Any] | None:
    """The description of the supervisor that holds the lock of `run_dir`, or None if there is none."""
    try:
        with _lock(run_dir):
            return None
    except FileNotFoundError:
        return None
    except AlreadyRunningError:
        try:
            description: dict[str, Any] = json.loads((run_dir / "up.json").read_text(encoding="utf-8"))
        except FileNotFoundError:  # it has the lock and is about to describe itself, or has just stopped
            return {}
        return description


def stop(run_dir: Path, *, seconds: float = STOP_SECONDS + 40) -> bool:
    """Ask the supervisor of `run_dir` to stop and wait for it. False if none runs.

    Raises:
        TimeoutError: it still runs after that time.
    """
    deadline = time.monotonic() + seconds
    asked = False
    while (description := running(run_dir)) is not None:
        if not asked and "pid" in description:
            os.kill(description["pid"], signal.SIGTERM)
            asked = True
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)
    return asked


@contextmanager
def _lock(run_dir: Path) -> Iterator[None]:
    """Hold `run_dir/up.lock`; the kernel lets go of it whenever the process ends."""
    with (run_dir / "up.lock").open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError from None
        yield


def _rotating(path: Path) -> RotatingFileHandler:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _pump(output: IO[bytes] | None, log: RotatingFileHandler) -> None:
    """Copy a process's output to its log, line by line, until it ends."""
    assert output is not None  # noqa: S101 - opened as a pipe
    for line in output:
        text = line.decode("utf-8", errors="replace").rstrip("\n")
        log.emit(logging.LogRecord("process", logging.INFO, "", 0, text, None, None))
