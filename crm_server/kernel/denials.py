"""Tells the audit log of what somebody who is known may not do: pages and API call this for every refusal.

The first refusals of a minute are written one by one. Whoever goes on asking is counted, and the number is written when
the minute ends, so that nobody fills the log at the pace of their requests.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field, replace
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from compliance.audit.events import Event, write
from crm_server.kernel.clock import now

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from pyramid.request import Request
    from sqlalchemy import Engine

    from crm_server.kernel.actor import Actor

log = structlog.get_logger("kontor.denials")

ALONE: Final = 20
"""So many refusals of one session for one reason are events of their own within a minute: as many as make the alarm
"many denials", so that a SIEM that counts events finds them too."""
SECONDS: Final = 60.0
"""After so long what was counted is written."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused, and why.

    Attributes:
        reason: A code: the permission that is missing, or the rule that forbids it.
        route: The address by its name.
        method: GET, POST and so on.
    """

    reason: str
    route: str | None
    method: str

    def event(self, **more: str | int) -> Event:
        """The event of the refusal."""
        meta = {"route": self.route, "method": self.method, **more}
        return Event(
            "authorization", "deny", outcome="denied", reason=self.reason[:200], severity=2, meta=meta
        )


@dataclass(slots=True)
class _Counted:
    """Refusals that are not written yet."""

    actor: Actor
    since: datetime
    until: datetime
    count: int = 1


_Key = tuple["UUID", "UUID | None", Refusal]


@dataclass(slots=True)
class _Minute:
    """What was refused since the first refusal of a minute."""

    told: dict[tuple[UUID, UUID | None, str], int] = field(default_factory=dict)
    counted: dict[_Key, _Counted] = field(default_factory=dict)


class Denials:
    """The refusals of one process on their way to the log.

    Args:
        engine: Where they are written, in transactions of their own.
        seconds: After so long what was counted is written; it is written too when the process ends.
    """

    def __init__(self, engine: Engine, *, seconds: float = SECONDS) -> None:
        self._engine, self._seconds = engine, seconds
        self._lock = threading.Lock()
        self._minute = _Minute()
        self._timer: threading.Timer | None = None
        end = weakref.WeakMethod(self.end)
        # Workers of the web server end without `atexit`, but not without this.
        Finalize(None, lambda: (found := end()) and found(), exitpriority=1)

    def tell(self, actor: Actor, refusal: Refusal) -> None:
        """Write the event of a refusal, or count it."""
        if not self._is_counted(actor, refusal):
            self._write([(actor, refusal.event())])

    def end(self) -> None:
        """Write what was counted. The minute is over."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, minute = None, self._minute
            self._minute = _Minute()
        told = [
            (
                found.actor,
                refusal.event(count=found.count, since=_told(found.since), until=_told(found.until)),
            )
            for (_person, _session, refusal), found in minute.counted.items()
        ]
        if told and not self._write(told):
            self._put_back(minute.counted)

    def _is_counted(self, actor: Actor, refusal: Refusal) -> bool:
        who = (actor.id, actor.session_ref)
        with self._lock:
            self._start()
            told = self._minute.told
            number = told[*who, refusal.reason] = told.get((*who, refusal.reason), 0) + 1
            if number <= ALONE:
                return False
            found = self._minute.counted.get((*who, refusal))
            if found is None:
                moment = now()
                # A number of requests is none of them.
                self._minute.counted[*who, refusal] = _Counted(
                    replace(actor, request_id=None), moment, moment
                )
            else:
                found.count, found.until = found.count + 1, now()
            return True

    def _start(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._seconds, self.end)
            self._timer.daemon = True
            self._timer.start()

    def _put_back(self, counted: dict[_Key, _Counted]) -> None:
        """Keep what could not be written for the end of the next minute."""
        with self._lock:
            self._start()
            for key, old in counted.items():
                new = self._minute.counted.setdefault(key, old)
                if new is not old:
                    new.count, new.since = new.count + old.count, old.since

    def _write(self, told: list[tuple[Actor, Event]]) -> bool:
        try:
            with self._engine.begin() as connection:
                for actor, event in told:
                    write(connection, actor, [event])
        except SQLAlchemyError as error:
            # It stays refused. Nothing was done that the log would have to know of.
            reasons = sorted({str(event.reason) for _actor, event in told})
            log.warning("refusals are not in the audit log", reasons=reasons, error=type(error).__name__)
            return False
        return True


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def tell(request: Request, reason: str) -> None:
    """Tell of a refusal in a transaction of its own, since that of the request is undone.

    Args:
        request: What was refused; without an actor nobody is known, and nothing is told.
        reason: Why, as a code: the permission that is missing, or the rule that forbids it.
    """
    if request.actor is None:
        return
    route = getattr(request, "matched_route", None)
    request.registry.denials.tell(
        request.actor, Refusal(reason, route.name if route else None, request.method)
    )
