"""Privileged acts need a log that works: while events wait for their seal for more than 30 seconds, or less than 5 % of
the space for the log is left, they are refused (AUD-12).

One guard for a process, at `registry.audit_guard`. Views with `step_up=True` ask it; whatever else is privileged calls
`require`. Work with records goes on: its events wait safely in the database and get their seal later.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg2
from sqlalchemy.exc import SQLAlchemyError

from compliance.audit.log.service import sealing_lag
from compliance.datamap.text import _
from crm_server.domain.audit.places import places
from crm_server.kernel.errors import AppError
from monitoring import metrics

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from crm_server.settings import Settings

LONGEST_LAG = 30.0
"""Seconds that an event may wait for its seal."""
LEAST_SPACE = 0.05
"""Part of the file system of the log that must be free."""
_REMEMBERED = 2.0


class AuditStopped(AppError):
    """The log can't prove what would be done now, so what needs proof is not done."""

    status: ClassVar[int] = 503
    code: ClassVar[str] = "audit_stopped"
    title = _("This is closed for now, because the audit log can't seal what is done.")


@dataclass(frozen=True, slots=True)
class AuditState:
    """What the guard saw.

    Attributes:
        lag: Age in seconds of the oldest event that waits for its seal; None if it can't be measured.
        space: Free part of the file system of the log's files; None where they lie on another machine.
        sealed: Whether this installation's log was ever opened. Before its first start nothing is closed.
    """

    lag: float | None
    space: float | None
    sealed: bool = True

    @property
    def reason(self) -> str | None:
        """Why privileged acts are closed: `lag`, `space` or `unknown`; None while they are open."""
        if not self.sealed:
            return None
        if self.lag is None:
            return "unknown"
        if self.lag > LONGEST_LAG:
            return "lag"
        if self.space is not None and self.space < LEAST_SPACE:
            return "space"
        return None


class AuditGuard:
    """Says whether privileged acts are open. Safe for several threads; looks at the log at most every two seconds.

    Args:
        engine: Whose connections look; the state is that of the committed log, whatever a request is about to do.
        settings: Say where the log's files are.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine, self._mirror = engine, places(settings).mirror
        self._lock = threading.Lock()
        self._seen: tuple[float, AuditState] | None = None

    def state(self) -> AuditState:
        """How the log is. What can't be measured counts as stopped."""
        with self._lock:
            if self._seen is not None and time.monotonic() - self._seen[0] < _REMEMBERED:
                return self._seen[1]
            found = measure(self._engine, self._mirror)
            self._seen = (time.monotonic(), found)
        metrics.AUDIT_OPEN.set(0 if found.reason else 1)
        return found

    def require(self) -> None:
        """Let a privileged act go on.

        Raises:
            AuditStopped: the log can't prove it; the detail says why.
        """
        reason = self.state().reason
        if reason is not None:
            raise AuditStopped(REASONS[reason])

    def forget(self) -> None:
        """Look anew at the next question."""
        self._seen = None


REASONS = {
    "lag": _("Events have waited for their seal for more than 30 seconds. Is the sealer running?"),
    "space": _("Less than 5 per cent of the space for the audit log is left. Make room."),
    "unknown": _("The state of the audit log can't be read."),
}


def measure(engine: Engine, mirror: Path) -> AuditState:
    """Look at the log now."""
    try:
        connection = engine.raw_connection()
    except (SQLAlchemyError, psycopg2.Error):
        return AuditState(None, None)
    try:
        raw: Any = connection.dbapi_connection
        with raw.cursor() as sql:
            sql.execute("select exists (select from audit.log)")
            if not sql.fetchone()[0]:
                return AuditState(0.0, None, sealed=False)
        return AuditState(sealing_lag(raw), free_part(mirror))
    except psycopg2.Error:
        return AuditState(None, None)
    finally:
        connection.close()


def free_part(folder: Path) -> float | None:
    """Free part of the file system of a folder, as its users may use it; None if it isn't on this machine."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free / (usage.used + usage.free)
