"""Rules over the log that raise an alarm: odd hours, mass reads, many denials, honey records; and figures.

A job asks them every five minutes. An alert is an event of class `detection`, so it goes to the SIEM, is sealed like
all others, and is told once for each person and window.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select, text

from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalRequired
from crm_server.domain.audit import events
from crm_server.domain.audit.models import AlertRule
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text

MOST_HONEY = 200
SOFTEN = "audit.rule"
"""Kind of two-person release: a rule that is to find less."""
_KEY = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is in force: so many within so many minutes, by one person."""

    code: str
    label: Text
    help: Text
    threshold: int
    minutes: int
    values: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    version: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """What a rule found: by whom and how many."""

    rule: str
    actor: UUID
    count: int
    record: UUID | None = None


RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule(
            "hours",
            _("Work at odd hours"),
            _("Reads and exports of one person outside the hours of work, by the clock of that person."),
            20,
            60,
            {"from": 6, "to": 22},
        ),
        Rule(
            "mass_reads",
            _("Mass reads"),
            _("Records that one person read or exported; each record of a list counts."),
            2000,
            60,
        ),
        Rule(
            "denials",
            _("Many denials"),
            _("Refusals to one person, as when somebody tries what works."),
            20,
            10,
        ),
        Rule(
            "honey",
            _("Honey records"),
            _("Made-up records that nobody has a reason to open. Whoever touches one is looked at."),
            1,
            60,
            {"records": []},
        ),
    )
}

_SINCE = "e.event_id >= audit.key_at(:since) and e.occurred_at >= :since and e.actor_ref <> :system"
_TOLD = """
and not exists (select from audit.event a where a.event_class = 'detection' and a.action = 'alert_' || :rule
  and a.event_id >= audit.key_at(:since) and a.object_ref = e.actor_ref)
group by e.actor_ref
"""
_COUNTED = """sum(greatest(1, case when jsonb_typeof(e.meta -> 'count') = 'number'
                          then (e.meta ->> 'count')::bigint end))"""
# Whoever goes on is counted (`kernel/denials.py`): an event tells of several refusals then.
_REFUSED = """sum(case when e.action = 'deny' and jsonb_typeof(e.meta -> 'count') = 'number'
                     then (e.meta ->> 'count')::bigint else 1 end)"""
# Constants of this module are put together; values go as parameters.
_QUERIES = {
    "hours": text(
        f'select e.actor_ref, count(*) as found from audit.event e join identity."user" u on u.id = e.actor_ref '  # noqa: S608
        f"where {_SINCE} and e.event_class in ('read', 'export') and e.origin = 'web' and not (extract(hour from "
        f"e.occurred_at at time zone u.timezone) >= :from_hour and extract(hour from e.occurred_at at time zone "
        f"u.timezone) < :to_hour) {_TOLD} having count(*) >= :threshold"
    ),
    "mass_reads": text(
        f"select e.actor_ref, {_COUNTED} as found from audit.event e where {_SINCE} "  # noqa: S608
        f"and e.event_class in ('read', 'export') and e.outcome = 'success' {_TOLD} having {_COUNTED} >= :threshold"
    ),
    "denials": text(
        f"select e.actor_ref, {_REFUSED} as found from audit.event e where {_SINCE} and e.outcome = 'denied' {_TOLD} "  # noqa: S608
        f"having {_REFUSED} >= :threshold"
    ),
    "honey": text(
        f"select e.actor_ref, count(*) as found from audit.event e where {_SINCE} "  # noqa: S608
        f"and e.object_ref = any(cast(:records as uuid[])) {_TOLD} having count(*) >= :threshold"
    ),
}


def rules(session: Session) -> list[Rule]:
    """All rules as they are in force."""
    found = {row.code: row for row in session.scalars(select(AlertRule))}
    return [
        rule
        if row is None
        else replace(
            rule,
            threshold=row.threshold,
            minutes=row.minutes,
            values={**rule.values, **row.values},
            enabled=row.enabled,
            version=row.version,
        )
        for rule in RULES.values()
        for row in (found.get(rule.code),)
    ]


def examine(session: Session) -> list[Alert]:
    """Ask every enabled rule, and write an event for each alert."""
    found: list[Alert] = []
    for rule in rules(session):
        if rule.enabled and (rule.code != "honey" or rule.values["records"]):
            found += _ask(session, rule)
    events.record(
        session,
        *(events.alerted(one.rule, one.actor, {"count": one.count, "rule": one.rule}) for one in found),
    )
    return found


def _ask(session: Session, rule: Rule) -> list[Alert]:
    values = {
        "since": now() - timedelta(minutes=rule.minutes),
        "threshold": rule.threshold,
        "rule": rule.code,
        "system": SYSTEM_ID,
    }
    if rule.code == "hours":
        values |= {"from_hour": rule.values["from"], "to_hour": rule.values["to"]}
    if rule.code == "honey":
        values["records"] = [str(key) for key in rule.values["records"]]
    rows = session.execute(_QUERIES[rule.code], values)
    return [Alert(rule.code, row.actor_ref, int(row.found)) for row in rows]


def given_of(rule: Rule) -> dict[str, str]:
    """A rule in force as a form gives it."""
    found = {"enabled": "true" if rule.enabled else "", "threshold": str(rule.threshold)}
    found["minutes"] = str(rule.minutes)
    for name, value in rule.values.items():
        found[name] = "\n".join(sorted(value)) if name == "records" else str(value)
    return found


def change(session: Session, code: str, given: Mapping[str, str], *, released: bool = False) -> None:
    """Set a rule: `enabled`, `threshold`, `minutes`, and `from`, `to` or `records` where the rule has them.

    Args:
        released: A second person has agreed.

    Raises:
        ValidationFailed: every problem at its field.
        ApprovalRequired: an enabled rule would find less than it does, and nobody else has agreed.
    """
    present = next(rule for rule in rules(session) if rule.code == code)
    errors = Errors()
    threshold = _whole(given.get("threshold", ""), 1, 1_000_000, "threshold", errors)
    minutes = _whole(given.get("minutes", ""), 1, 1440, "minutes", errors)
    values: dict[str, Any] = {}
    if "from" in present.values:
        values["from"] = _whole(given.get("from", ""), 0, 23, "from", errors)
        values["to"] = _whole(given.get("to", ""), 1, 24, "to", errors)
    if "records" in present.values:
        values["records"] = sorted(set(given.get("records", "").lower().split()))
        if len(values["records"]) > MOST_HONEY or not all(_KEY.fullmatch(key) for key in values["records"]):
            errors.add("/records", "format", _("Give the ids of at most 200 records, one a line."))
    errors.raise_if_any()
    wanted = replace(
        present, threshold=threshold, minutes=minutes, values=values, enabled=given.get("enabled") == "true"
    )
    if _milder(present, wanted) and not released:
        raise ApprovalRequired(SOFTEN, {"rule": code, "values": given_of(wanted)})
    row = session.scalars(select(AlertRule).where(AlertRule.code == code)).first() or AlertRule(code=code)
    row.enabled, row.threshold, row.minutes, row.values = wanted.enabled, threshold, minutes, values
    session.add(row)
    session.flush()


def _milder(present: Rule, wanted: Rule) -> bool:
    """Whether there are acts that the rule finds now and would not find then."""
    if not present.enabled:
        return False
    old, new = present.values, wanted.values
    return (
        not wanted.enabled
        or wanted.threshold > present.threshold
        or wanted.minutes < present.minutes
        or ("from" in old and (new["from"] < old["from"] or new["to"] > old["to"]))
        or not set(old.get("records", ())) <= set(new.get("records", ()))
    )


def _whole(value: str, low: int, high: int, name: str, errors: Errors) -> int:
    if re.fullmatch(r"[0-9]{1,7}", value.strip(), re.ASCII) and low <= int(value) <= high:
        return int(value)
    errors.add(
        f"/{name}",
        "range",
        _("A whole number from ${low} to ${high} is expected here.", mapping={"low": low, "high": high}),
    )
    return low


@dataclass(frozen=True, slots=True)
class Figures:
    """Security figures of the last seven days, by day, oldest first."""

    days: tuple[str, ...]
    failed_logins: tuple[int, ...]
    denials: tuple[int, ...]
    exports: tuple[int, ...]
    alerts: tuple[int, ...]


# Classes that happen rarely have an index of their own; reads and changes are not counted here.
_FIGURES = text(f"""
select (e.occurred_at at time zone 'UTC')::date as day,
       count(*) filter (where e.event_class = 'authentication' and e.outcome = 'failure') as failed_logins,
       {_REFUSED} filter (where e.event_class = 'authorization' and e.outcome = 'denied') as denials,
       count(*) filter (where e.event_class = 'export') as exports,
       count(*) filter (where e.event_class = 'detection') as alerts
  from audit.event e
 where e.event_class in ('authentication', 'authorization', 'export', 'detection')
   and e.event_class not in ('change', 'read') and e.event_id >= audit.key_at(:since)
 group by 1
""")  # noqa: S608 - constants of this module
_DAYS = 7


def figures(session: Session) -> Figures:
    """The figures of the page for alerts."""
    today = now().date()
    days = [today - timedelta(days=back) for back in reversed(range(_DAYS))]
    since = now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS - 1)
    found = {row.day: row for row in session.execute(_FIGURES, {"since": since})}

    def by_day(name: str) -> tuple[int, ...]:
        return tuple(int(getattr(found[day], name) or 0) if day in found else 0 for day in days)

    return Figures(
        tuple(day.isoformat() for day in days),
        by_day("failed_logins"),
        by_day("denials"),
        by_day("exports"),
        by_day("alerts"),
    )
