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


def compare(
    expression: str,
    policy: FieldPolicy,
    operator: str,
    value: Any,
    values: Values,
    reader: Reader,
    where: str,
) -> str:
    """The SQL of one comparison.

    Args:
        expression: The column.
        policy: Its declaration.
        operator: A word that may be unknown.
        value: As the client sent it.
        values: Gets the parameters.
        reader: What relative values refer to.
        where: Names the place in the client's query, for errors.

    Raises:
        BadQuery: unknown operator or a value that does not fit.
    """
    if operator not in OPERATORS[policy.semantic]:
        raise BadQuery(
            where,
            _(
                "This field knows the operators ${operators}.",
                mapping={"operators": ", ".join(OPERATORS[policy.semantic])},
            ),
        )
    if operator == "is_null":
        value = _flag(value)
        if not isinstance(value, bool):
            raise BadQuery(where, _("is_null expects true or false."))
        return f"{expression} is {'' if value else 'not '}null"
    if value is None and operator in {"eq", "ne"}:
        return f"{expression} is {'' if operator == 'eq' else 'not '}null"
    if operator in {"in", "not_in"}:
        return _membership(expression, policy, operator, value, values, reader, where)
    if operator == "between":
        if not isinstance(value, list) or len(value) != 2:
            raise BadQuery(where, _("between expects a list of two values."))
        low = compare(expression, policy, "ge", value[0], values, reader, where)
        return f"({low} and {compare(expression, policy, 'le', value[1], values, reader, where)})"
    if operator in {"contains", "starts_with"}:
        place = values.add("text", _pattern(_plain_text(value, where), operator))
        return f"{expression} ilike {place}"
    return _single(expression, policy, operator, value, values, reader, where)


def _single(
    expression: str,
    policy: FieldPolicy,
    operator: str,
    value: Any,
    values: Values,
    reader: Reader,
    where: str,
) -> str:
    decoded = read_value(policy, value, reader, where)
    if isinstance(decoded, Period):
        return _within(expression, policy, operator, decoded, values, reader)
    place = values.add(parameter_type(policy.semantic), decoded)
    if policy.semantic is Semantic.EMAIL:
        # Addresses are compared without regard to case; the index is on lower().
        expression, place = f"lower({expression})", f"lower({place})"
    if operator == "eq":
        return f"{expression} = {place}"
    if operator == "ne":
        return f"{expression} is distinct from {place}"
    return f"{expression} {_SYMBOLS[operator]} {place}"


def _within(
    expression: str, policy: FieldPolicy, operator: str, period: Period, values: Values, reader: Reader
) -> str:
    """Compare with a period: equal means inside, less means before its start, and so on."""
    start, end = (
        period.instants(reader.zone) if policy.semantic is Semantic.DATETIME else (period.start, period.end)
    )
    kind = parameter_type(policy.semantic)
    if operator in {"eq", "ne"}:
        inside = f"({expression} >= {values.add(kind, start)} and {expression} < {values.add(kind, end)})"
        return inside if operator == "eq" else f"({inside}) is not true"
    if operator in {"lt", "ge"}:
        return f"{expression} {_SYMBOLS[operator]} {values.add(kind, start)}"
    return f"{expression} {'<' if operator == 'le' else '>='} {values.add(kind, end)}"


def _membership(
    expression: str,
    policy: FieldPolicy,
    operator: str,
    value: Any,
    values: Values,
    reader: Reader,
    where: str,
) -> str:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise BadQuery(
            where, _("in and not_in expect a list of 1 to ${n} values.", mapping={"n": MAX_VALUES})
        )
    kind = parameter_type(policy.semantic)
    decoded = [read_value(policy, item, reader, where) for item in value]
    if policy.semantic is Semantic.EMAIL:
        expression, decoded = f"lower({expression})", [item.lower() for item in decoded]
    inside = f"{expression} = any({values.add(f'{kind}[]', _array(decoded))})"
    return inside if operator == "in" else f"({inside}) is not true"


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


def _plain_text(value: Any, where: str) -> str:
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
    if semantic in _TEXTS:
        text = _plain_text(value, where)
        if semantic is Semantic.PHONE:
            try:
                return decode(policy, text) or text
            except Rejected:
                return text
        return text
    if semantic is Semantic.BOOLEAN:
        value = _flag(value)
    if semantic in _NUMBERS:
        value = _number(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -_BIGINT <= value < _BIGINT:
            raise BadQuery(where, _("A whole number is expected here."))
        return value
    if semantic in _TIMES and isinstance(value, str):
        period = parse_period(value, reader.today) if not value[:1].isdigit() else None
        if period is None and semantic is Semantic.DATETIME and len(value) == 10:
            period = _day(value)
        if period is not None:
            return period
    if semantic is Semantic.REFERENCE and policy.target == "user" and value == ME:
        return str(reader.actor.id)
    try:
        decoded = decode(policy, value)
    except Rejected as problem:
        raise BadQuery(where, problem.message) from None
    if decoded is None:
        raise BadQuery(where, _("A value is expected here; use is_null to find empty fields."))
    return str(decoded) if isinstance(decoded, UUID) else decoded


def _flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, Scalar) else value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, Scalar) and _WHOLE.fullmatch(value) else value


def _day(value: str) -> Period | None:
    try:
        day = date.fromisoformat(value)
        return Period(day, date.fromordinal(day.toordinal() + 1))
    except ValueError:
        return None


def utc_now() -> datetime:
    """The moment that relative dates refer to."""
    return datetime.now(UTC)
