"""Conditions on the values of one record: what they mean, and what narrows the search for records that fulfil them.

Logic is two-valued as in all filters: an empty field is simply not equal to anything, so "ne" and "not" find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crm_server.search.fields import IndexedEntity, Kind
from crm_server.search.folding import fold, forms, plain, sort_key
from crm_server.search.protocol import Every, Never, Some, Test, Tree, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = "Sequence[Any]"
Matcher = "Callable[[Sequence[Any]], bool]"

_PHONE_SIGNS = frozenset("0123456789+-()/. ")
_SHORTEST_PHONE = 4


class UnknownCondition(ValueError):
    """A condition that this service can't judge: a field that it does not hold, or an operator that there is not."""


def digits(text: str) -> str | None:
    """The digits of what is typed for a phone number, without zeros in front, or None if it is none."""
    if not set(text) <= _PHONE_SIGNS:
        return None
    found = "".join(sign for sign in text if sign.isdigit()).lstrip("0")
    return found if len(found) >= _SHORTEST_PHONE else None


def matcher(tree: Tree, entity: IndexedEntity) -> Callable[[Sequence[Any]], bool]:
    """A function that tells for a row of values, in the order of `entity.fields`, whether a tree holds.

    Raises:
        UnknownCondition: it names a field that is not held, or an operator that does not exist.
    """
    if isinstance(tree, Test):
        return _test(tree, entity)
    if isinstance(tree, Words):
        return _words(tree, entity)
    if isinstance(tree, Never):
        inner = matcher(tree.item, entity)
        return lambda row: not inner(row)
    parts = [matcher(item, entity) for item in tree.items]
    if isinstance(tree, Every):
        return lambda row: all(part(row) for part in parts)
    return lambda row: any(part(row) for part in parts)


def _place(number: int, entity: IndexedEntity) -> int:
    place = entity.place(number)
    if place is None:
        raise UnknownCondition(f"field {number} of {entity.name} is not held")
    return place


def _comparable(kind: Kind) -> Callable[[Any], Any]:
    if kind in {Kind.DATE, Kind.NUMBER}:
        return lambda value: value
    return lambda value: sort_key(str(value))


def _test(test: Test, entity: IndexedEntity) -> Callable[[Sequence[Any]], bool]:
    place = _place(test.field, entity)
    kind, value = entity.fields[place].kind, test.value
    same: Callable[[Any], Any] = str.lower if kind is Kind.EMAIL else (lambda one: one)
    match test.op:
        case "is_null":
            return lambda row: (row[place] is None) is bool(value)
        case "eq" | "ne":
            wanted, equal = same(value), test.op == "eq"
            return lambda row: (row[place] is not None and same(row[place]) == wanted) is equal
        case "in" | "not_in":
            many, inside = frozenset(same(one) for one in value), test.op == "in"
            return lambda row: (row[place] is not None and same(row[place]) in many) is inside
        case "contains":
            part = fold(value)
            return lambda row: row[place] is not None and part in fold(str(row[place]))
        case "starts_with":
            start = fold(value)
            return lambda row: row[place] is not None and fold(str(row[place])).startswith(start)
        case "lt" | "le" | "gt" | "ge":
            compared = _comparable(kind)
            edge, how = compared(value), _SYMBOLS[test.op]
            return lambda row: row[place] is not None and how(compared(row[place]), edge)
    raise UnknownCondition(f"there is no operator {test.op[:20]}")


_SYMBOLS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
}


def _words(words: Words, entity: IndexedEntity) -> Callable[[Sequence[Any]], bool]:
    places = [_place(number, entity) for number in words.fields]
    parts, number = plain(words.text).split(), digits(words.text)

    def holds(row: Sequence[Any]) -> bool:
        known = [form for place in places if row[place] is not None for form in forms(str(row[place]))]
        if number is not None and any(number in form for form in known):
            return True
        return bool(parts) and all(any(part in form for form in known) for part in parts)

    return holds


@dataclass(frozen=True, slots=True)
class Narrowing:
    """SQL over the columns of a store that holds for every record for which the tree holds, and maybe for more.

    Attributes:
        sql: With "?" for the values.
        values: In the order of their places.
        exact: It holds for those records alone, so that nobody need look at the values again.
    """

    sql: str
    values: tuple[Any, ...] = ()
    exact: bool = False


_SQL_SYMBOLS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def narrowing(tree: Tree, entity: IndexedEntity) -> Narrowing | None:  # noqa: PLR0911 - one a kind of condition
    """What SQLite can judge of a tree by itself; None when that is nothing."""
    if isinstance(tree, Test):
        return _narrow_test(tree, entity)
    if isinstance(tree, Words):
        return None
    if isinstance(tree, Never):
        inner = narrowing(tree.item, entity)
        if inner is None or not inner.exact:
            return None
        return Narrowing(f"(({inner.sql}) is not true)", inner.values, exact=True)
    parts = [narrowing(item, entity) for item in tree.items]
    known = [part for part in parts if part is not None]
    if isinstance(tree, Some) and len(known) < len(parts):
        return None
    if not known:
        return None if parts else Narrowing("1" if isinstance(tree, Every) else "0", exact=True)
    word = " and " if isinstance(tree, Every) else " or "
    return Narrowing(
        f"({word.join(part.sql for part in known)})",
        tuple(value for part in known for value in part.values),
        exact=len(known) == len(parts) and all(part.exact for part in known),
    )


def _narrow_test(test: Test, entity: IndexedEntity) -> Narrowing | None:
    place = _place(test.field, entity)
    kind, column = entity.fields[place].kind, f"d.f{test.field}"
    if test.op == "is_null":
        return Narrowing(f"{column} is {'' if test.value else 'not '}null", exact=True)
    if kind is not Kind.EMAIL:
        if test.op in {"eq", "ne"}:
            return Narrowing(f"{column} is {'' if test.op == 'eq' else 'not '}?", (test.value,), exact=True)
        if test.op in {"in", "not_in"}:
            inside = f"ifnull({column} in ({', '.join('?' * len(test.value))}), 0)"
            return Narrowing(inside if test.op == "in" else f"not {inside}", tuple(test.value), exact=True)
        if test.op in _SQL_SYMBOLS and kind in {Kind.DATE, Kind.NUMBER}:
            return Narrowing(f"ifnull({column} {_SQL_SYMBOLS[test.op]} ?, 0)", (test.value,), exact=True)
    if test.op in {"ne", "not_in"}:
        return None
    return Narrowing(f"{column} is not null")
