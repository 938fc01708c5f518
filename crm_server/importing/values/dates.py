"""Dates and times as people and other systems write them.

``03/04/2026`` alone can't be read; a column can, as soon as one of its dates has a day above twelve. So
evidence is collected over the whole file (``DateEvidence``) and one order holds for the column.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from crm_server.importing.errors import ValueProblem, _

__all__ = ["DateEvidence", "DateOrder", "parse_date", "parse_datetime"]

DateOrder = Literal["dmy", "mdy", "ymd"]

_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_CHINESE = re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日?")
_COMPACT = re.compile(r"(19|20)(\d{2})(\d{2})(\d{2})")
_SHORT = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})")
_DAY_MONTH_NAME = re.compile(r"(\d{1,2})\.?[\s-]+([A-Za-zäÄ]{3,9})\.?[\s,-]+(\d{4})")
_MONTH_NAME_DAY = re.compile(r"([A-Za-zäÄ]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})")
_SERIAL = re.compile(r"\d{5}(?:\.\d+)?")
_TIME = re.compile(
    r"[T\s]*(上午|下午|晚上|am|pm)?\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*(am|pm|a\.m\.|p\.m\.|uhr)?"
    r"\s*(z|utc|gmt|[+-]\d{2}:?\d{2})?\s*",
    re.IGNORECASE,
)
_NAMES = (
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "jan feb mär apr mai jun jul aug sep okt nov dez",
)
_MONTHS = {name: index for names in _NAMES for index, name in enumerate(names.split(), start=1)} | {
    "mrz": 3,
    "maerz": 3,
}
_EXCEL_EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - a serial is a wall-clock time
_SERIAL_RANGE = (10_000, 80_000)
"""Serials from 1927 to 2119; anything else in a date column is more likely an error."""
_PIVOT = 69
"""Two-digit years below are 20xx, as in POSIX strptime."""


@dataclass(slots=True)
class DateEvidence:
    """What a column's dates say about their order. Feed it every cell, then ask ``order``."""

    day_first: int = 0
    month_first: int = 0
    either: int = 0
    other: int = 0

    def add(self, text: str) -> None:
        """Counts one cell; what isn't a short date says nothing."""
        match = _SHORT.match(text)
        if match is None:
            self.other += 1
            return
        first, second = int(match[1]), int(match[3])
        if match[2] == "." or (first > 12 >= second):
            self.day_first += 1
        elif second > 12 >= first:
            self.month_first += 1
        elif first != second:
            self.either += 1

    def order(self, default: DateOrder = "dmy") -> DateOrder:
        """The order with more evidence, else ``default``."""
        if self.day_first == self.month_first:
            return default
        return "dmy" if self.day_first > self.month_first else "mdy"

    @property
    def ambiguous(self) -> bool:
        """Whether there are dates that could be read both ways and none that decides."""
        return bool(self.either) and not self.day_first and not self.month_first

    @property
    def contradictory(self) -> bool:
        """Whether some dates only make sense one way and some only the other."""
        return bool(self.day_first and self.month_first)


def parse_date(text: str, order: DateOrder = "dmy") -> dt.date:
    """The date in ``text``; a time behind it is ignored.

    Reads ISO 8601, 2026年3月4日, 20260304, d.m.Y, d/m/Y or m/d/Y by ``order``, month names in English and
    German, and Excel's day numbers. Raises ValueProblem ``date.unreadable`` or ``date.impossible``.
    """
    date, _rest = _split_date(_clean(text), order)
    return date


def parse_datetime(text: str, order: DateOrder = "dmy", zone: ZoneInfo | dt.tzinfo = dt.UTC) -> dt.datetime:
    """The moment in ``text``, aware; a text without an offset means the wall clock of ``zone``.

    Raises ValueProblem as ``parse_date`` does, and ``time.unreadable``.
    """
    clean = _clean(text)
    if _SERIAL.fullmatch(clean):
        return _serial(clean).replace(tzinfo=zone)
    date, rest = _split_date(clean, order)
    if not rest.strip():
        return dt.datetime.combine(date, dt.time(), tzinfo=zone)
    match = _TIME.fullmatch(rest)
    if match is None:
        raise ValueProblem("time.unreadable", _("The time can't be read. Write it as 2026-03-31 14:05."))
    before, hour, minute, second, after, offset = match.groups()
    hours = _clock(int(hour), (before or after or "").lower().replace(".", ""))
    try:
        time = dt.time(hours, int(minute), int(second or 0))
    except ValueError as error:
        raise ValueProblem("time.impossible", _("There is no such time of day.")) from error
    moment = dt.datetime.combine(date, time, tzinfo=_offset(offset) or zone)
    return moment.astimezone(dt.UTC)


def _clean(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().lstrip("'")


def _clock(hour: int, half: str) -> int:
    if half in {"pm", "下午", "晚上"} and hour < 12:
        return hour + 12
    if half in {"am", "上午"} and hour == 12:
        return 0
    return hour


def _offset(text: str | None) -> dt.tzinfo | None:
    if not text:
        return None
    if text.lower() in {"z", "utc", "gmt"}:
        return dt.UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return dt.timezone(sign * dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _split_date(text: str, order: DateOrder) -> tuple[dt.date, str]:
    if match := _ISO.match(text) or _CHINESE.match(text):
        return _date(int(match[1]), int(match[2]), int(match[3])), text[match.end() :]
    if match := _SHORT.match(text):
        month_first = order == "mdy" and match[2] != "."
        month, day = (match[1], match[3]) if month_first else (match[3], match[1])
        return _date(_year(match[4]), int(month), int(day)), text[match.end() :]
    if match := _COMPACT.fullmatch(text):
        return _date(int(match[1] + match[2]), int(match[3]), int(match[4])), ""
    if _SERIAL.fullmatch(text):
        return _serial(text).date(), ""
    if (match := _DAY_MONTH_NAME.match(text)) and (named := _month(match[2])):
        return _date(int(match[3]), named, int(match[1])), text[match.end() :]
    if (match := _MONTH_NAME_DAY.match(text)) and (named := _month(match[1])):
        return _date(int(match[3]), named, int(match[2])), text[match.end() :]
    raise ValueProblem("date.unreadable", _("The date can't be read. Write it as 2026-03-31."))


def _month(name: str) -> int | None:
    return _MONTHS.get(name.lower()[:3])


def _year(text: str) -> int:
    if len(text) == 4:
        return int(text)
    return int(text) + (2000 if int(text) < _PIVOT else 1900)


def _date(year: int, month: int, day: int) -> dt.date:
    try:
        found = dt.date(year, month, day)
    except ValueError as error:
        raise ValueProblem("date.impossible", _("There is no such day in the calendar.")) from error
    if not 1800 <= year <= 2200:
        raise ValueProblem("date.range", _("The year is not between 1800 and 2200."))
    return found


def _serial(text: str) -> dt.datetime:
    days = float(text)
    if not _SERIAL_RANGE[0] <= days <= _SERIAL_RANGE[1]:
        raise ValueProblem("date.unreadable", _("The date can't be read. Write it as 2026-03-31."))
    return _EXCEL_EPOCH + dt.timedelta(seconds=round(days * 86_400))
