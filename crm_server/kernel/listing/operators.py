"""The operators of filters: which a type has, how a client's value is read, and the SQL that compares.

Logic is two-valued: an empty field is simply not equal to anything, so `ne` and `not` find it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing.periods import Period, parse_period
from crm_server.kernel.listing.query import MAX_VALUES, Scalar
from crm_server.kernel.values import Rejected, decode

if TYPE_CHECKING:
    from compliance.datamap import FieldPolicy
    from crm_server.kernel.actor import Actor

_TEXTS = frozenset({Semantic.TEXT, Semantic.LONG_TEXT, Semantic.EMAIL, Semantic.PHONE, Semantic.URL})
_WORDS = frozenset(
    {
        Semantic.ID, Semantic.REFERENCE, Semantic.CHOICE, Semantic.COUNTRY, Semantic.LANGUAGE, Semantic.CURRENCY,
        Semantic.TIMEZONE,
    }
)  # fmt: skip
_NUMBERS = frozenset({Semantic.INTEGER, Semantic.SMALL_INTEGER, Semantic.MONEY, Semantic.PERCENT})
_TIMES = frozenset({Semantic.DATE, Semantic.DATETIME})
_COMPARE = ("lt", "le", "gt", "ge", "between")
_EQUAL = ("eq", "ne", "in", "not_in", "is_null")

OPERATORS: dict[Semantic, tuple[str, ...]] = {
    **dict.fromkeys(_TEXTS, (*_EQUAL, "contains", "starts_with", *_COMPARE)),
    **dict.fromkeys(_WORDS, _EQUAL),
    **dict.fromkeys(_NUMBERS, (*_EQUAL, *_COMPARE)),
    **dict.fromkeys(_TIMES, ("eq", "ne", "is_null", *_COMPARE)),
    Semantic.BOOLEAN: ("eq", "ne", "is_null"),
    Semantic.JSON: ("is_null",),
    Semantic.BYTES: (),
    Semantic.UUID_LIST: ("is_null",),
}
"""Operators by type of field."""

SORTABLE = frozenset(_WORDS | _NUMBERS | _TIMES | _TEXTS | {Semantic.BOOLEAN}) - {Semantic.LONG_TEXT}
_SYMBOLS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_BIGINT = 2**63
_WHOLE = re.compile(r"-?[0-9]{1,19}")
ME = "me"


def parameter_type(semantic: Semantic) -> str:
    """The SQL type in which values are compared with a field."""
    if semantic in _NUMBERS:
        return "bigint"
    return {
        Semantic.ID: "uuid",
        Semantic.REFERENCE: "uuid",
        Semantic.BOOLEAN: "boolean",
        Semantic.DATE: "date",
        Semantic.DATETIME: "timestamptz",
    }.get(semantic, "text")


@dataclass(slots=True)
class Values:
    """The parameters of a statement, in order, with their SQL types."""

    types: list[str] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    def add(self, kind: str, value: Any) -> str:
        """Add one; returns its place, such as "$3"."""
        self.types.append(kind)
        self.items.append(value)
        return f"${len(self.items)}"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who filters, and when: what "me" and "today" mean."""

    actor: Actor
    now: datetime

    @property
    def zone(self) -> ZoneInfo:
        """The reader's time zone."""
        return ZoneInfo(self.actor.timezone)

    @property
    def today(self) -> date:
        """The reader's day."""
        return self.now.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Writes the comparisons of one field.

    Attributes:
        expression: The column.
        policy: Its declaration.
        values: Gets the parameters.
        reader: What relative values refer to.
        where: Names the place in the client's query, for errors.
    """

    expression: str
    policy: FieldPolicy
    values: Values
    reader: Reader
    where: str

    def sql(self, operator: str, value: Any) -> str:
        """The SQL of a comparison with a value as the client sent it.

        Raises:
            BadQuery: unknown operator or a value that does not fit.
        """
        check_operator(self.policy, operator, self.where)
        if operator == "is_null":
            return self._emptiness(value)
        if value is None and operator in {"eq", "ne"}:
            return f"{self.expression} is {'' if operator == 'eq' else 'not '}null"
        if operator in {"in", "not_in"}:
            return self._membership(operator, value)
        if operator == "between":
            if not isinstance(value, list) or len(value) != 2:
                raise BadQuery(self.where, _("between expects a list of two values."))
            return f"({self._single('ge', value[0])} and {self._single('le', value[1])})"
        if operator in {"contains", "starts_with"}:
            place = self.values.add("text", _pattern(plain_text(value, self.where), operator))
            return f"{self.expression} ilike {place}"
        return self._single(operator, value)

    def _emptiness(self, value: Any) -> str:
        return f"{self.expression} is {'' if empty_flag(value, self.where) else 'not '}null"

    def _single(self, operator: str, value: Any) -> str:
        decoded = read_value(self.policy, value, self.reader, self.where)
        if isinstance(decoded, Period):
            return self._within(operator, decoded)
        expression, place = self.expression, self.values.add(parameter_type(self.policy.semantic), decoded)
        if self.policy.semantic is Semantic.EMAIL:
            # Addresses are compared without regard to case; the index is on lower().
            expression, place = f"lower({expression})", f"lower({place})"
        if operator == "eq":
            return f"{expression} = {place}"
        if operator == "ne":
            return f"{expression} is distinct from {place}"
        return f"{expression} {_SYMBOLS[operator]} {place}"

    def _within(self, operator: str, period: Period) -> str:
        """Compare with a period: equal means inside, less means before its start, and so on."""
        times = self.policy.semantic is Semantic.DATETIME
        start, end = period.instants(self.reader.zone) if times else (period.start, period.end)
        column, kind, add = self.expression, parameter_type(self.policy.semantic), self.values.add
        if operator in {"eq", "ne"}:
            inside = f"({column} >= {add(kind, start)} and {column} < {add(kind, end)})"
            return inside if operator == "eq" else f"({inside}) is not true"
        if operator in {"lt", "ge"}:
            return f"{column} {_SYMBOLS[operator]} {add(kind, start)}"
        return f"{column} {'<' if operator == 'le' else '>='} {add(kind, end)}"

    def _membership(self, operator: str, value: Any) -> str:
        kind, expression = parameter_type(self.policy.semantic), self.expression
        decoded = [
            read_value(self.policy, item, self.reader, self.where) for item in several(value, self.where)
        ]
        if self.policy.semantic is Semantic.EMAIL:
            expression, decoded = f"lower({expression})", [item.lower() for item in decoded]
        inside = f"{expression} = any({self.values.add(f'{kind}[]', _array(decoded))})"
        return inside if operator == "in" else f"({inside}) is not true"


def check_operator(policy: FieldPolicy, operator: str, where: str) -> None:
    """Refuse an operator that the type of a field does not have."""
    known = OPERATORS[policy.semantic]
    if operator not in known:
        raise BadQuery(
            where, _("This field knows the operators ${words}.", mapping={"words": ", ".join(known)})
        )


def empty_flag(value: Any, where: str) -> bool:
    """The value of is_null."""
    empty = _flag(value)
    if not isinstance(empty, bool):
        raise BadQuery(where, _("is_null expects true or false."))
    return empty


def several(value: Any, where: str) -> list[Any]:
    """The values of in and not_in."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise BadQuery(
            where, _("in and not_in expect a list of 1 to ${n} values.", mapping={"n": MAX_VALUES})
        )
    return value


def _array(items: list[Any]) -> str:
    """An array as PostgreSQL writes it, so that it takes the type of its parameter."""
    quoted = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in quoted) + "}"


def _pattern(text: str, operator: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%" if operator == "starts_with" else f"%{escaped}%"


def like_pattern(text: str) -> str:
    """The pattern of `ilike` that finds a text anywhere."""
    return _pattern(text, "contains")


def plain_text(value: Any, where: str) -> str:
    """A text to compare with, in normal form C."""
    if not isinstance(value, str) or not 1 <= len(value) <= 500:
        raise BadQuery(where, _("A text of 1 to 500 characters is expected here."))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadQuery(where, _("The text holds a broken character.")) from None
    if any(unicodedata.category(character) == "Cc" and character not in "\t\n\r" for character in value):
        raise BadQuery(where, _("Control characters are not allowed here."))
    return unicodedata.normalize("NFC", value)


def read_value(policy: FieldPolicy, value: Any, reader: Reader, where: str) -> Any:
    """Decode a value to compare with a field.

    Text is taken as it is: who looks for half an address must be able to. Everything else is decoded strictly.

    Raises:
        BadQuery: with the reason, never with the value.
    """
    semantic = policy.semantic
    if isinstance(value, UUID | date):
        # Programs may give the value itself.
        value = value.isoformat() if isinstance(value, date) else str(value)
    if semantic in _TEXTS:
        return _text_value(policy, value, where)
    if semantic in _NUMBERS:
        return _whole_number(value, where)
    relative = _relative(policy, value, reader)
    if relative is not None:
        return relative
    try:
        decoded = decode(policy, _flag(value) if semantic is Semantic.BOOLEAN else value)
    except Rejected as problem:
        raise BadQuery(where, problem.message) from None
    if decoded is None:
        raise BadQuery(where, _("A value is expected here; use is_null to find empty fields."))
    return str(decoded) if isinstance(decoded, UUID) else decoded


def _text_value(policy: FieldPolicy, value: Any, where: str) -> str:
    text = plain_text(value, where)
    if policy.semantic is not Semantic.PHONE:
        return text
    try:
        return decode(policy, text) or text
    except Rejected:
        return text


def _whole_number(value: Any, where: str) -> int:
    number = int(value) if isinstance(value, Scalar) and _WHOLE.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not -_BIGINT <= number < _BIGINT:
        raise BadQuery(where, _("A whole number is expected here."))
    return number


def _relative(policy: FieldPolicy, value: Any, reader: Reader) -> Period | str | None:
    """What a word such as "today" or "me" stands for, or None for other values."""
    if not isinstance(value, str):
        return None
    if policy.semantic in _TIMES and not value[:1].isdigit():
        return parse_period(value, reader.today)
    if policy.semantic is Semantic.DATETIME and len(value) == 10:
        return _day(value)
    if policy.semantic is Semantic.REFERENCE and policy.target == "user" and value == ME:
        return str(reader.actor.id)
    return None


def _flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, Scalar) else value


def _day(value: str) -> Period | None:
    try:
        day = date.fromisoformat(value)
        return Period(day, date.fromordinal(day.toordinal() + 1))
    except ValueError:
        return None


def utc_now() -> datetime:
    """The moment that relative dates refer to."""
    return datetime.now(UTC)
