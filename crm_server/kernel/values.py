"""From what a client sent to what is stored: one strict decoder for each semantic type.

The API, forms and imports all end here, so a value that is refused in one place is refused in all. A decoder gets a
JSON value and returns the Python value, or raises `Rejected` with a code and a sentence. Sentences never quote the
value.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

import phonenumbers
from babel import Locale
from email_validator import EmailNotValidError, validate_email

from compliance.datamap import Semantic
from compliance.datamap.text import _

if TYPE_CHECKING:
    from collections.abc import Callable

    from compliance.datamap import FieldPolicy
    from compliance.datamap.text import Text


class Rejected(Exception):
    """A value that does not fit its field."""

    def __init__(self, code: str, message: Text) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# What turns the direction of all text behind it: a name could pretend to be another (UAX 9, 2.1 to 2.3).
_TURNING = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_UNSEEN = frozenset({"Cf", "Zs", "Mn", "Me"})
_PLAIN_MAIL = re.compile(
    r"[A-Za-z0-9_+%-]+(?:\.[A-Za-z0-9_+%-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
# Earlier and later years are typing errors, and in another time zone the last ones would not exist.
_FIRST_YEAR, _LAST_YEAR = 1800, 2999


def decode(policy: FieldPolicy, value: Any, *, country: str = "DE") -> Any:
    """Decode one JSON value for a field.

    Args:
        policy: The field's declaration.
        value: A JSON value. None and, for text, only white space mean "no value".
        country: ISO 3166 code for phone numbers without a prefix.

    Returns:
        The value to store, or None.

    Raises:
        Rejected: with a stable code and a sentence that says what would fit.
    """
    if value is None:
        return _none(policy)
    decoder = _DECODERS[policy.semantic]
    decoded = decoder(policy, value, country)
    return _none(policy) if decoded is None else decoded


def _none(policy: FieldPolicy) -> None:
    if policy.required:
        raise Rejected("required", _("This field must be filled in."))


def _text_value(policy: FieldPolicy, value: Any, *, lines: bool = False) -> str | None:
    if not isinstance(value, str):
        raise Rejected("type", _("Text is expected here."))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Rejected("encoding", _("The text holds a broken character.")) from None
    value = unicodedata.normalize("NFC", value).strip()
    if (_CONTROL_BUT_LINES if lines else _CONTROL).search(value) or _TURNING.search(value):
        raise Rejected("control_character", _("Control characters are not allowed here."))
    if not value.isascii() and unseen(value):
        return None
    if policy.max_length is not None and len(value) > policy.max_length:
        raise Rejected("too_long", _("At most ${n} characters fit here.", mapping={"n": policy.max_length}))
    return value or None


def unseen(value: str) -> bool:
    """Whether nothing of a text can be seen: zero-width spaces, joiners and the like alone are no name."""
    return all(unicodedata.category(char) in _UNSEEN or char == "\u3164" for char in value)


def _text(policy: FieldPolicy, value: Any, _country: str) -> str | None:
    return _text_value(policy, value)


def _long_text(policy: FieldPolicy, value: Any, _country: str) -> str | None:
    return _text_value(policy, value, lines=True)


def _email(policy: FieldPolicy, value: Any, _country: str) -> str | None:
    text = _text_value(policy, value)
    if text is None:
        return None
    if _PLAIN_MAIL.fullmatch(text):
        local, _at, domain = text.rpartition("@")
        if len(local) <= 64:
            return f"{local}@{domain.lower()}"
    try:
        # Company networks use names such as .local, so special-use domains are fine.
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise Rejected("email", _("This is not an e-mail address, such as name@example.com.")) from None
    return found.normalized


def _phone(policy: FieldPolicy, value: Any, country: str) -> str | None:
    text = _text_value(policy, value)
    if text is None:
        return None
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise Rejected("phone", _("This is not a phone number, such as +49 30 1234567."))
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{written};ext={number.extension}" if number.extension else written


def _url(policy: FieldPolicy, value: Any, _country: str) -> str | None:
    text = _text_value(policy, value)
    if text is None:
        return None
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        # Reading the port checks it.
        fits = parts.scheme.lower() in {"http", "https"} and "." in (parts.hostname or "") and parts.port != 0
    except ValueError:
        fits = False
    if not fits or " " in text:
        raise Rejected("url", _("This is not a web address, such as https://example.com."))
    return text


def _whole_number(policy: FieldPolicy, value: Any, _country: str) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Rejected("type", _("A whole number is expected here."))
    low, high = policy.minimum, policy.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise Rejected(
            "range", _("The number must lie between ${low} and ${high}.", mapping={"low": low, "high": high})
        )
    return value


def _boolean(_policy: FieldPolicy, value: Any, _country: str) -> bool:
    if not isinstance(value, bool):
        raise Rejected("type", _("Yes or no (true or false) is expected here."))
    return value


def _date(_policy: FieldPolicy, value: Any, _country: str) -> date:
    problem = Rejected("date", _("A date such as 2026-01-31 is expected here."))
    if not isinstance(value, str) or len(value) != 10:
        raise problem
    try:
        found = date.fromisoformat(value)
    except ValueError:
        raise problem from None
    _check_year(found)
    return found


def _datetime(_policy: FieldPolicy, value: Any, _country: str) -> datetime:
    problem = Rejected(
        "datetime", _("A time with its offset, such as 2026-01-31T09:00:00Z, is expected here.")
    )
    if not isinstance(value, str) or len(value) < 16:
        raise problem
    try:
        found = datetime.fromisoformat(value)
        in_utc = found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None
    if found.tzinfo is None:
        raise problem
    _check_year(in_utc)
    return in_utc


def _check_year(found: date) -> None:
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise Rejected(
            "range",
            _(
                "The year must lie between ${low} and ${high}.",
                mapping={"low": _FIRST_YEAR, "high": _LAST_YEAR},
            ),
        )


def _uuid(policy: FieldPolicy, value: Any, _country: str) -> UUID:
    # A person picks a record by its name; only programs know ids.
    wanted = (
        _("Choose a record from the list, or give its id (UUID).")
        if policy.semantic is Semantic.REFERENCE
        else _("An id (UUID) is expected here.")
    )
    problem = Rejected("id", wanted)
    if not isinstance(value, str) or len(value) != 36:
        raise problem
    try:
        return UUID(value)
    except ValueError:
        raise problem from None


def _choice(policy: FieldPolicy, value: Any, _country: str) -> str | None:
    if value == "":
        return None
    if not isinstance(value, str) or value not in policy.choices:
        raise Rejected(
            "choice", _("One of these is expected: ${keys}.", mapping={"keys": ", ".join(policy.choices)})
        )
    return value


def _code(known: Callable[[], frozenset[str]], name: str, sentence: Text, *, upper: bool = False) -> Any:
    def decoder(_policy: FieldPolicy, value: Any, _country: str) -> str | None:
        if value == "":
            return None
        text = value.upper() if upper and isinstance(value, str) else value
        if not isinstance(text, str) or text not in known():
            raise Rejected(name, sentence)
        return text

    return decoder


@lru_cache(maxsize=1)
def countries() -> frozenset[str]:
    """ISO 3166-1 alpha-2 codes."""
    return frozenset(
        code for code in map(str, Locale("en").territories) if len(code) == 2 and code.isalpha()
    ) - {
        "EU",
        "EZ",
        "UN",
        "QO",
        "XA",
        "XB",
        "ZZ",
    }


@lru_cache(maxsize=1)
def currencies() -> frozenset[str]:
    """ISO 4217 codes."""
    return frozenset(map(str, Locale("en").currencies))


@lru_cache(maxsize=1)
def languages() -> frozenset[str]:
    """Language tags, written as Babel writes them: "de", "zh_Hans"."""
    return frozenset(code for code in map(str, Locale("en").languages) if len(code) <= 20)


@lru_cache(maxsize=1)
def timezones() -> frozenset[str]:
    """IANA names of time zones."""
    return frozenset(available_timezones())


def _json(_policy: FieldPolicy, value: Any, _country: str) -> Any:
    return value


def _never(_policy: FieldPolicy, _value: Any, _country: str) -> Any:
    raise Rejected("type", _("This field can't be set."))


_DECODERS: dict[Semantic, Callable[[FieldPolicy, Any, str], Any]] = {
    Semantic.ID: _uuid,
    Semantic.REFERENCE: _uuid,
    Semantic.TEXT: _text,
    Semantic.LONG_TEXT: _long_text,
    Semantic.EMAIL: _email,
    Semantic.PHONE: _phone,
    Semantic.URL: _url,
    Semantic.INTEGER: _whole_number,
    Semantic.SMALL_INTEGER: _whole_number,
    Semantic.MONEY: _whole_number,
    Semantic.PERCENT: _whole_number,
    Semantic.BOOLEAN: _boolean,
    Semantic.DATE: _date,
    Semantic.DATETIME: _datetime,
    Semantic.CHOICE: _choice,
    Semantic.COUNTRY: _code(
        countries, "country", _("A country code (ISO 3166), such as DE, is expected here."), upper=True
    ),
    Semantic.LANGUAGE: _code(languages, "language", _("A language such as de or zh_Hans is expected here.")),
    Semantic.CURRENCY: _code(
        currencies, "currency", _("A currency code (ISO 4217), such as EUR, is expected here."), upper=True
    ),
    Semantic.TIMEZONE: _code(timezones, "timezone", _("A time zone such as Europe/Berlin is expected here.")),
    Semantic.JSON: _json,
    Semantic.BYTES: _never,
    Semantic.UUID_LIST: _never,
}
