"""One function per field that turns a cell's text into the value that the field stores.

The import engine builds the converters once per run, after ``survey`` has looked at the whole file, and
calls them for each row. What a field means comes from the data map alone (``FieldPolicy``).
"""

from __future__ import annotations

import datetime as dt
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from compliance.datamap import FieldPolicy, Semantic
from crm_server.importing.errors import ImportFileError, ValueProblem, _
from crm_server.importing.rows import SourceRow
from crm_server.importing.values import choices, dates, numbers, people, places
from crm_server.kernel.values import countries, currencies

__all__ = ["CONTROL", "Converter", "Options", "Style", "build_converter", "survey"]

Converter = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Style:
    """How one column writes its values. ``notes`` are stable codes of what a person should check."""

    date_order: dates.DateOrder = "dmy"
    separator: numbers.Separator = "."
    shares: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """What the file itself can't say.

    ``country`` completes phone numbers, ``currency`` sums without a sign, ``zone`` times without an offset;
    ``date_order`` and ``separator`` decide where the column leaves it open; ``unknown_choice`` is what
    becomes of words that a choice doesn't have: ``error``, ``blank``, or ``other`` (blank where the field
    has no "other").
    """

    country: str | None = None
    currency: str = "EUR"
    zone: str = "UTC"
    date_order: dates.DateOrder = "dmy"
    separator: numbers.Separator = "."
    unknown_choice: str = "error"

    def check(self) -> None:
        """Raises ImportFileError for a country or a currency that there is not."""
        if self.country is not None and self.country not in countries():
            raise ImportFileError(
                "mapping.country", _("There is no such country. Write its two-letter code, like DE.")
            )
        if self.currency not in currencies():
            raise ImportFileError(
                "mapping.currency", _("There is no such currency. Write its three-letter code, like EUR.")
            )

    @property
    def tzinfo(self) -> dt.tzinfo:
        """The zone as an object. Raises zoneinfo.ZoneInfoNotFoundError for an unknown name."""
        return ZoneInfo(self.zone)


@dataclass(slots=True)
class _Column:
    dates: dates.DateEvidence = field(default_factory=dates.DateEvidence)
    numbers: numbers.NumberEvidence = field(default_factory=numbers.NumberEvidence)


def survey(rows: Iterable[SourceRow], columns: Mapping[str, Semantic], options: Options) -> dict[str, Style]:
    """Style of each column in ``columns`` (those that feed dates, times or numbers), from all rows of the
    file.
    """
    wanted = {name: _Column() for name, semantic in columns.items() if semantic in _DATES | _NUMBERS}
    dated = [(name, wanted[name].dates) for name in wanted if columns[name] in _DATES]
    counted = [(name, wanted[name].numbers) for name in wanted if columns[name] in _NUMBERS]
    for row in rows:
        values = row.values
        for name, evidence in dated:
            if text := values.get(name):
                evidence.add(text)
        for name, figures in counted:
            if text := values.get(name):
                figures.add(text)
    return {name: _style(column, options, columns[name]) for name, column in wanted.items()}


_REMEMBERED = 1_000
_FORMULA = frozenset("=+-@")
# Control characters, and what turns the direction of the text behind it.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_DATES = frozenset({Semantic.DATE, Semantic.DATETIME})
_NUMBERS = frozenset({Semantic.INTEGER, Semantic.SMALL_INTEGER, Semantic.MONEY, Semantic.PERCENT})


def _style(column: _Column, options: Options, semantic: Semantic) -> Style:
    style = Style(
        date_order=column.dates.order(options.date_order),
        separator=column.numbers.separator(options.separator),
        shares=column.numbers.shares,
    )
    notes = []
    if semantic in _DATES and column.dates.ambiguous:
        notes.append("date.ambiguous")
    if semantic in _DATES and column.dates.contradictory:
        notes.append("date.contradictory")
    if semantic in _NUMBERS and column.numbers.ambiguous:
        notes.append("number.ambiguous")
    return replace(style, notes=tuple(notes))


def build_converter(  # noqa: PLR0911 - one answer a meaning
    policy: FieldPolicy,
    style: Style,
    options: Options,
    *,
    translate: Callable[[object, str], str] | None = None,
) -> Converter:
    """The function that reads a cell for the field; it raises ValueProblem, and nothing else, on bad text.

    Money becomes ``numbers.Amount`` (the engine knows the row's currency); references stay text, for the
    engine resolves them in batches.
    """
    semantic = policy.semantic
    if semantic in _SIMPLE:
        return _short_enough(_SIMPLE[semantic], policy.max_length)
    match semantic:
        case Semantic.TEXT | Semantic.LONG_TEXT | Semantic.TIMEZONE:
            return _text_converter(policy.max_length, single_line=semantic is not Semantic.LONG_TEXT)
        case Semantic.PHONE:
            country = options.country
            return lambda text: people.parse_phone(text, country)
        case Semantic.DATE:
            order = style.date_order
            return lambda text: dates.parse_date(text, order)
        case Semantic.DATETIME:
            order, zone = style.date_order, options.tzinfo
            return lambda text: dates.parse_datetime(text, order, zone)
        case Semantic.MONEY:
            separator = style.separator
            return lambda text: numbers.parse_money(text, separator)
        case Semantic.INTEGER | Semantic.SMALL_INTEGER:
            return _integer_converter(policy, style)
        case Semantic.PERCENT:
            return _within(
                policy, lambda text: round(numbers.parse_percent(text, style.separator, shares=style.shares))
            )
        case Semantic.CHOICE:
            return _choice_converter(policy, options, translate)
        case _:
            raise TypeError(semantic)


def _text_converter(limit: int | None, *, single_line: bool) -> Converter:
    def convert(text: str) -> str:
        if text[:1] == "'" and text[1:2] in _FORMULA:
            # Our own export puts an apostrophe before what a spreadsheet would take for a formula.
            text = text[1:]
        if not (text.isascii() and text.isprintable()):
            # Few cells have anything to be put right.
            text = unicodedata.normalize("NFC", CONTROL.sub(" ", text))
            if single_line and ("\n" in text or "\r" in text):
                # Addresses come with line breaks; the field has one line.
                text = ", ".join(part.strip() for part in text.splitlines() if part.strip())
        if limit is not None and len(text) > limit:
            raise _too_long(limit)
        return text

    return convert


def _integer_converter(policy: FieldPolicy, style: Style) -> Converter:
    def convert(text: str) -> int:
        value = numbers.parse_number(text, style.separator)
        if value != value.to_integral_value():
            raise ValueProblem("number.not_whole", _("A whole number is needed."))
        return int(value)

    return _within(policy, convert)


def _within(policy: FieldPolicy, convert: Callable[[str], int]) -> Converter:
    """The same, refusing numbers outside the bounds of the field."""
    low, high = policy.minimum, policy.maximum

    def bounded(text: str) -> int:
        number = convert(text)
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueProblem(
                "number.range",
                _("The number is not between ${low} and ${high}.", mapping={"low": low, "high": high}),
            )
        return number

    return bounded


def _short_enough(convert: Converter, limit: int | None) -> Converter:
    """The same, refusing text that is longer than the field takes."""
    if limit is None:
        return convert

    def limited(text: str) -> Any:
        value = convert(text)
        if isinstance(value, str) and len(value) > limit:
            raise _too_long(limit)
        return value

    return limited


def _too_long(limit: int) -> ValueProblem:
    return ValueProblem(
        "text.too_long",
        _("The text is longer than ${limit} characters. Shorten it.", mapping={"limit": limit}),
    )


def _choice_converter(
    policy: FieldPolicy, options: Options, translate: Callable[[object, str], str] | None
) -> Converter:
    words = choices.choice_words(policy.choices, translate)
    known: dict[str, str] = {}
    otherwise = options.unknown_choice
    fallback = "other" if otherwise == "other" and "other" in policy.choices else None

    def convert(text: str) -> str | None:
        if (key := known.get(text)) is not None:
            return key
        try:
            key = choices.parse_choice(text, words)
        except ValueProblem:
            if otherwise == "error":
                raise
            return fallback
        if len(known) < _REMEMBERED:
            known[text] = key
        return key

    return convert


def _identifier(text: str) -> UUID:
    try:
        return UUID(text.strip())
    except ValueError as error:
        raise ValueProblem("id.invalid", _("Not an id of this system.")) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueProblem("json.invalid", _("Not valid JSON.")) from error


def _reference(text: str) -> str:
    return " ".join(text.split())


_SIMPLE: dict[Semantic, Converter] = {
    Semantic.EMAIL: people.parse_email,
    Semantic.URL: people.parse_url,
    Semantic.COUNTRY: places.parse_country,
    Semantic.LANGUAGE: places.parse_language,
    Semantic.CURRENCY: places.parse_currency,
    Semantic.BOOLEAN: numbers.parse_boolean,
    Semantic.ID: _identifier,
    Semantic.JSON: _json,
    Semantic.REFERENCE: _reference,
}
