"""Dates that move with the calendar: "today", "last_30_days", "this_quarter". Resolved in the reader's time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_COUNTED = re.compile(r"(last|next)_([1-9][0-9]{0,3})_(days|weeks|months)")
_UNITS = ("week", "month", "quarter", "year")
NAMES = (
    "today",
    "yesterday",
    "tomorrow",
    *(f"{which}_{unit}" for unit in _UNITS for which in ("this", "last", "next")),
    "last_<n>_days",
    "next_<n>_days",
    "last_<n>_weeks",
    "next_<n>_weeks",
    "last_<n>_months",
    "next_<n>_months",
)
"""The words, for documentation and forms; <n> stands for a number from 1 to 9999."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `start` up to, but not including, `end`."""

    start: date
    end: date

    def instants(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The same as moments: midnight to midnight in a time zone, in UTC."""
        return _midnight(self.start, zone), _midnight(self.end, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError:
        return datetime.combine(day, time(), UTC)


def parse_period(word: str, today: date) -> Period | None:
    """The period that a word means, or None when it is no such word.

    Args:
        word: As in `NAMES`. "last_n_days" are the n days up to and including today, "next_n_days" those after today.
        today: The current day of the reader.
    """
    day = timedelta(days=1)
    single = {"today": today, "yesterday": today - day, "tomorrow": today + day}.get(word)
    if single is not None:
        return Period(single, single + day)
    counted = _COUNTED.fullmatch(word)
    try:
        if counted:
            return _counted(counted[1], int(counted[2]), counted[3], today)
        which, _underscore, unit = word.partition("_")
        step = {"last": -1, "this": 0, "next": 1}.get(which)
        if step is None or unit not in _UNITS:
            return None
        return Period(_start(unit, today, step), _start(unit, today, step + 1))
    except (OverflowError, ValueError):
        return None


def _counted(which: str, number: int, unit: str, today: date) -> Period:
    tomorrow = today + timedelta(days=1)
    sign = -1 if which == "last" else 1
    if unit == "months":
        far = _add_months(tomorrow, sign * number)
    else:
        far = tomorrow + sign * timedelta(days=number * (7 if unit == "weeks" else 1))
    return Period(min(far, tomorrow), max(far, tomorrow))


def _start(unit: str, today: date, step: int) -> date:
    """First day of the week (Monday), month, quarter or year that lies `step` units away."""
    if unit == "week":
        return today - timedelta(days=today.weekday()) + timedelta(weeks=step)
    first = today.replace(day=1)
    if unit == "month":
        return _add_months(first, step)
    if unit == "quarter":
        return _add_months(first.replace(month=(today.month - 1) // 3 * 3 + 1), 3 * step)
    return first.replace(year=today.year + step, month=1)


def _add_months(day: date, months: int) -> date:
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last))
