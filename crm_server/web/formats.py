"""From stored values to what a person reads, and back: dates, numbers, money, names of countries and languages.

Pure functions over Babel (CLDR); the caller says the locale and the time zone. Called by `ui` and by the forms.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import (
    NumberFormatError,
    format_currency,
    format_decimal,
    format_percent,
    get_currency_precision,
    get_currency_symbol,
    parse_decimal,
)

LOCALES = {"en": "English", "zh_Hans": "中文"}
"""The languages of the product, each named in itself."""

_CLDR = {"en": "en_GB", "zh_Hans": "zh_Hans_CN"}
"""Whose customs of writing dates and numbers belong to a language. British English is read unambiguously elsewhere."""


_NUMBER = re.compile(r"[+-]?\d[\d.,'’]*")


@lru_cache(maxsize=16)
def cldr(locale: str) -> Locale:
    """The CLDR locale of a language of the product."""
    try:
        return Locale.parse(_CLDR.get(locale, locale))
    except (ValueError, UnknownLocaleError):
        return Locale.parse("en_GB")


def as_date(value: date | datetime, locale: str) -> str:
    """A day, such as "3 Mar 2026"."""
    return format_date(value, "medium", locale=cldr(locale))


def as_datetime(value: datetime, locale: str, zone: ZoneInfo) -> str:
    """A moment in the reader's time zone, such as "3 Mar 2026, 14:05"."""
    fitting = "d MMM y, HH:mm" if locale == "en" else "medium"
    if fitting == "medium":
        fitting = "y年M月d日 HH:mm"
    return format_datetime(value, fitting, tzinfo=zone, locale=cldr(locale))


def as_age(value: datetime, locale: str, now: datetime | None = None) -> str:
    """How long ago or ahead, such as "2 hours ago"."""
    passed = value - (now or datetime.now(UTC))
    return format_timedelta(passed, add_direction=True, locale=cldr(locale))


def as_number(value: float | Decimal, locale: str) -> str:
    """A number with the separators of the language."""
    return format_decimal(value, locale=cldr(locale))


def as_percent(value: int, locale: str) -> str:
    """Whole percent, such as "40%"."""
    return format_percent(value / 100, locale=cldr(locale))


def minor_digits(currency: str | None) -> int:
    """Decimal places of a currency (ISO 4217): 2 for EUR, 0 for JPY."""
    return get_currency_precision(currency) if currency else 2


def as_money(minor: int, currency: str | None, locale: str, *, whole: bool = False) -> str:
    """Minor units of a currency as an amount, such as "€1,250.00"; `whole` leaves the cents out."""
    amount = Decimal(minor).scaleb(-minor_digits(currency))
    if not currency:
        return format_decimal(amount, "#,##0.00", locale=cldr(locale))
    if whole:
        return format_currency(
            amount.quantize(Decimal(1)), currency, format="¤#,##0", locale=cldr(locale), currency_digits=False
        )
    return format_currency(amount, currency, locale=cldr(locale))


def money_input(minor: int, currency: str | None, locale: str) -> str:
    """Minor units as they stand in a form field: separators of the language, no symbol."""
    digits = minor_digits(currency)
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(Decimal(minor).scaleb(-digits), pattern, locale=cldr(locale))


def parse_money(text: str, currency: str | None, locale: str) -> int | None:
    """Minor units of what somebody typed, or None when it is no amount of that currency.

    "1,250.5", "1250.50" and "€ 1,250" are read in English; nothing is rounded: more decimal places than the currency
    has are refused.
    """
    for sign in {currency or "", get_currency_symbol(currency, cldr(locale)) if currency else ""} - {""}:
        text = text.replace(sign, "")
    amount = parse_number(text, locale)
    if amount is None:
        return None
    minor = amount.scaleb(minor_digits(currency))
    return int(minor) if minor == minor.to_integral_value() else None


def parse_number(text: str, locale: str) -> Decimal | None:
    """The number that somebody typed with the separators of the language, or None."""
    text = "".join(text.split()).replace("\u2212", "-")
    if not _NUMBER.fullmatch(text):  # Decimal also knows "1e5" and "Infinity"
        return None
    try:
        return parse_decimal(text, locale=cldr(locale), strict=True)
    except (NumberFormatError, InvalidOperation, ValueError):
        pass
    try:  # thousands without separators, or grouped otherwise
        return Decimal(text) if text.replace("-", "", 1).replace(".", "", 1).isdigit() else None
    except InvalidOperation:
        return None


def country_name(code: str, locale: str) -> str:
    """The name of a country in the reader's language."""
    return cldr(locale).territories.get(code, code)


def language_name(code: str, locale: str) -> str:
    """The name of a language in the reader's language."""
    try:
        return Locale.parse(code).get_display_name(cldr(locale)) or code
    except (ValueError, UnknownLocaleError):
        return code


def currency_name(code: str, locale: str) -> str:
    """The name of a currency in the reader's language."""
    return cldr(locale).currencies.get(code, code)


def as_phone(number: str) -> str:
    """A stored number (E.164) as people write it; a masked one as it is."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def file_size(count: int, locale: str) -> str:
    """Bytes, such as "1.4 MB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{format_decimal(round(amount, 1), locale=cldr(locale))} {unit}"
        amount /= 1000
    return f"{format_decimal(round(amount, 1), locale=cldr(locale))} GB"


def local_input(value: datetime, zone: ZoneInfo) -> str:
    """A moment as an input of type datetime-local takes it, in the reader's time zone."""
    try:
        return value.astimezone(zone).strftime("%Y-%m-%dT%H:%M")
    except OverflowError:
        return value.strftime("%Y-%m-%dT%H:%M")


def parse_local(text: str, zone: ZoneInfo) -> str | None:
    """What such an input sent, as an ISO moment with offset, or None when it is no moment."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return found.astimezone(UTC).isoformat().replace("+00:00", "Z")


def zone_of(name: str) -> ZoneInfo:
    """The time zone of a name; UTC when it is unknown here."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


__all__ = [
    "LOCALES",
    "as_age",
    "as_date",
    "as_datetime",
    "as_money",
    "as_number",
    "as_percent",
    "as_phone",
    "cldr",
    "country_name",
    "currency_name",
    "file_size",
    "language_name",
    "local_input",
    "minor_digits",
    "money_input",
    "parse_local",
    "parse_money",
    "parse_number",
    "zone_of",
]


_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
    ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def browser_name(user_agent: str | None) -> str:
    """Browser and system as people know them, "Firefox · Windows"; what isn't known is shown as it was sent."""
    text = user_agent or ""
    found = [next((name for mark, name in table if mark in text), None) for table in (_BROWSERS, _SYSTEMS)]
    return " · ".join(filter(None, found)) or text or "–"
