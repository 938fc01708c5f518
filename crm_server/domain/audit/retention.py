"""Retention of audit events: after its months a class of events leaves its hashes and nothing else (AUD-11).

First the log is told which indexes go (`audit/prune` with ranges), then, once that is sealed, the rows are deleted by a
function of the database that looks at the sealed event and at the age of each row. A run that ends in the middle is
carried on by the next one, and the verifier accepts a hash without an event only where a sealed event names it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from compliance.audit.events import Event, write
from compliance.audit.models import AuditLog
from compliance.audit.vocabulary import EVENT_TYPES
from compliance.datamap.text import _
from crm_server.domain.audit.models import RetentionRule
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from sqlalchemy.orm import Session

CLASSES = tuple(sorted(set(EVENT_TYPES) - {"audit"}))
"""Classes that retention may prune. What the log tells of itself stays: proofs need it."""
LEAST_MONTHS, USUAL_MONTHS = 6, 72
CHOICES = (6, 12, 24, 36, 60, 72, 84, 120)
"""Months that the page offers; six years are the usual choice (HIPAA 45 CFR 164.316(b)(2)), six months the least
(Cybersecurity Law of the PRC, Art. 21)."""

_AT_ONCE = 20_000
_MOST_RANGES = 2_000
_CARRIED_ON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Due:
    """What a class of events would lose now."""

    event_class: str
    months: int
    before: datetime
    count: int

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        before = self.before.isoformat().replace("+00:00", "Z")
        return {"class": self.event_class, "months": self.months, "before": before, "events": self.count}


def months_of(session: Session) -> dict[str, int]:
    """How long each class is kept, in months."""
    found = {rule.event_class: rule.months for rule in session.scalars(select(RetentionRule))}
    return {name: found.get(name, USUAL_MONTHS) for name in CLASSES}


def check(event_class: str, months: int, errors: Errors) -> None:
    """Note what is wrong with keeping a class for so many months."""
    if event_class not in CLASSES:
        errors.add("/class", "choice", _("There is no such choice."))
    if not LEAST_MONTHS <= months <= 1200:
        errors.add("/months", "range", _("Audit events are kept for at least six months."))


def keep(session: Session, event_class: str, months: int) -> None:
    """Say how long a class is kept.

    Raises:
        ValidationFailed: no such class, or less than six months.
    """
    errors = Errors()
    check(event_class, months, errors)
    errors.raise_if_any()
    rule = session.scalars(select(RetentionRule).where(RetentionRule.event_class == event_class)).first()
    if rule is None:
        session.add(RetentionRule(event_class=event_class, months=months))
    else:
        rule.months = months
    session.flush()


def due(session: Session) -> list[Due]:
    """What would be pruned now, by class; nothing is changed."""
    return [
        Due(name, months, before, int(session.execute(_COUNT, _values(name, before)).scalar_one()))
        for name, months in months_of(session).items()
        for before in (_before(months),)
    ]


def prune(
    open_session: Callable[[], AbstractContextManager[Session]],
    *,
    patience: float = 60.0,
    progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Prune what is due; returns how many events went.

    Args:
        open_session: Gives a transaction that commits at its end.
        patience: Seconds to wait for the seal of what is about to go. Without it the rest goes at the next run.
        progress: Called with the number of events so far.
    """
    told: list[UUID] = []
    with open_session() as session:
        rules = months_of(session)
        logs = list(session.execute(select(AuditLog.number, AuditLog.closed_at.is_not(None))))
        told += _unfinished(session)
    for (log, closed), (name, months) in product(logs, rules.items()):
        before = _before(months)
        last = -1
        while True:
            with open_session() as session:
                more = {"after": last, "most": _AT_ONCE, "log": log}
                indexes = list(session.scalars(_INDEXES, _values(name, before) | more))
                events = list(_told(name, before, indexes, log if closed else None))
                write(session.connection(), actor_of(session), events)
            told += [event.event_id for event in events]
            if len(indexes) < _AT_ONCE:
                break
            last = indexes[-1]
    removed = 0
    for key in _sealed(open_session, told, patience):
        with open_session() as session:
            removed += int(session.execute(_DELETE, {"key": key}).scalar_one())
        progress(removed)
    return removed


def ranges_of(indexes: Sequence[int]) -> list[list[int]]:
    """Rising indexes as [first, last] of each run without a gap."""
    found: list[list[int]] = []
    for index in indexes:
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return found


def _told(event_class: str, before: datetime, indexes: Sequence[int], closed: int | None) -> list[Event]:
    """What the open log says of events that go: of its own, or of the `closed` log with this number."""
    ranges = ranges_of(indexes)
    day = before.isoformat().replace("+00:00", "Z")
    return [
        Event(
            "audit",
            "prune" if closed is None else "prune_closed",
            severity=2,
            meta=({} if closed is None else {"log": closed})
            | {
                "class": event_class,
                "before": day,
                "events": sum(last - first + 1 for first, last in part),
                "ranges": part,
            },
        )
        for start in range(0, len(ranges), _MOST_RANGES)
        for part in (ranges[start : start + _MOST_RANGES],)
    ]


def _sealed(
    open_session: Callable[[], AbstractContextManager[Session]], told: list[UUID], patience: float
) -> list[UUID]:
    """Those of the events that are under a checkpoint, waiting for it as long as `patience` says."""
    deadline = time.monotonic() + patience
    while told:
        with open_session() as session:
            found = set(session.scalars(_SEALED, {"keys": told}))
        if len(found) == len(set(told)) or time.monotonic() > deadline:
            return [key for key in told if key in found]
        time.sleep(0.2)
    return []


def _unfinished(session: Session) -> list[UUID]:
    """Events of earlier runs whose rows are still there."""
    return list(session.scalars(_STILL_THERE, {"since": now() - _CARRIED_ON}))


def _before(months: int) -> datetime:
    """The first of the month that many months ago: events of whole months go, each a little later than it may."""
    today = datetime.now(UTC)
    year, month = divmod(today.year * 12 + today.month - 1 - months, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def _values(event_class: str, before: datetime) -> dict[str, Any]:
    return {"class": event_class, "before": before}


_DUE = """
  from audit.event e join audit.leaf l on l.event_id = e.event_id
 where e.event_class = :class and e.occurred_at < :before and e.event_id < audit.key_at(:before)
   and l.index < (select coalesce(max(c.size), 0) from audit.checkpoint c where c.log = l.log)
"""
_COUNT = text(f"select count(*) {_DUE}")
_INDEXES = text(f"select l.index {_DUE} and l.log = :log and l.index > :after order by l.index limit :most")
_SEALED = text("""
select l.event_id from audit.leaf l where l.event_id = any(:keys)
   and l.index < (select coalesce(max(c.size), 0) from audit.checkpoint c where c.log = l.log)
""")
_STILL_THERE = text("""
select e.event_id from audit.event e join audit.leaf l on l.event_id = e.event_id
 where e.event_class = 'audit' and e.action in ('prune', 'prune_closed')
   and e.event_id >= audit.key_at(:since)
   and exists (select from jsonb_array_elements(e.meta -> 'ranges') s(span) join audit.leaf i
                 on i.log = coalesce((e.meta ->> 'log')::int, l.log)
                and i.index between (s.span ->> 0)::bigint and (s.span ->> 1)::bigint
               join audit.event there on there.event_id = i.event_id)
""")
_DELETE = text("select audit.delete_pruned(:key)")
