"""Conditions on the values of one record: what they mean, and a quick look that spares most records the whole one.

Logic is two-valued as in all filters: an empty field is simply not equal to anything, so "ne" and "not" find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_server.search.fields import IndexedEntity, Kind
from crm_server.search.folding import fold, forms, plain, small, sort_key
from crm_server.search.protocol import Every, Never, Test, Tree, Words
from crm_server.search.records import ASCII, NONE, SIMPLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Parts = Sequence[bytes | bytearray]
    Matcher = Callable[[Parts], bool]

_PHONE_SIGNS = frozenset("0123456789+-()/. ")
_SHORTEST_PHONE = 4
_NOWHERE = b"\xff"


class UnknownCondition(ValueError):
    """A condition that this service can't judge: a field that it does not hold, or an operator that there is not."""


def digits(text: str) -> str | None:
    """The digits of what is typed for a phone number, without zeros in front, or None if it is none."""
    if not set(text) <= _PHONE_SIGNS:
        return None
    found = "".join(sign for sign in text if sign.isdigit()).lstrip("0")
    return found if len(found) >= _SHORTEST_PHONE else None


def matcher(tree: Tree, entity: IndexedEntity) -> Matcher:
    """A function that tells for the parts of a record (`records`) whether a tree holds.

    Raises:
        UnknownCondition: it names a field that is not held, or an operator that does not exist.
    """
    if isinstance(tree, Test):
        return _test(tree, entity)
    if isinstance(tree, Words):
        return _words(tree, entity)
    if isinstance(tree, Never):
        inner = matcher(tree.item, entity)
        return lambda parts: not inner(parts)
    every = [matcher(item, entity) for item in tree.items]
    if isinstance(tree, Every):
        return lambda parts: all(one(parts) for one in every)
    return lambda parts: any(one(parts) for one in every)


def last_part(tree: Tree, entity: IndexedEntity) -> int:
    """The last of the parts of a record that a tree looks at."""
    if isinstance(tree, Test):
        return _place(tree.field, entity)
    if isinstance(tree, Words):
        return max((_place(number, entity) for number in tree.fields), default=0)
    items = (tree.item,) if isinstance(tree, Never) else tree.items
    return max((last_part(item, entity) for item in items), default=0)


def needle(tree: Tree, entity: IndexedEntity) -> tuple[bytes, int] | None:
    """Letters that stand, by `folding.SMALL`, in every record of a state for which a tree holds; None if unknown."""
    if isinstance(tree, Every):
        known = [found for item in tree.items if (found := needle(item, entity)) is not None]
        return max(known, key=lambda found: len(found[0]), default=None)
    letters = None
    if isinstance(tree, Words):
        words = plain(tree.text).split()
        letters = small(max(words, key=len)) if words and digits(tree.text) is None else None
    elif isinstance(tree, Test) and tree.op in {"contains", "starts_with", "eq"}:
        place = entity.place(tree.field)
        if place is not None and entity.fields[place].kind not in {Kind.NUMBER, Kind.DATE}:
            letters = small(fold(str(tree.value)))
    # A word is found without its accents and in pinyin as well, so it tells nothing of other records.
    return None if letters is None else (letters, ASCII if isinstance(tree, Words) else SIMPLE)


def _place(number: int, entity: IndexedEntity) -> int:
    """Where the values of a field stand among the parts of a record."""
    place = entity.place(number)
    if place is None:
        raise UnknownCondition(f"field {number} of {entity.name} is not held")
    return place + 1


def _on_text(at: int, holds: Callable[[str], bool]) -> Matcher:
    """Whether the value of a field is there and something holds for it."""

    def test(parts: Parts) -> bool:
        return at < len(parts) and parts[at] != NONE and holds(parts[at].decode())

    return test


def _comparable(kind: Kind) -> Callable[[Any], Any]:
    if kind is Kind.NUMBER:
        return int
    return str if kind is Kind.DATE else lambda value: sort_key(str(value))


def _test(test: Test, entity: IndexedEntity) -> Matcher:
    at = _place(test.field, entity)
    kind, value = entity.fields[at - 1].kind, test.value
    same: Callable[[str], str] = str.lower if kind is Kind.EMAIL else str
    match test.op:
        case "is_null":
            return lambda parts: (at >= len(parts) or parts[at] == NONE) is bool(value)
        case "eq" | "ne" | "in" | "not_in":
            given = value if test.op in {"in", "not_in"} else [value]
            many = frozenset(same(str(int(one) if isinstance(one, bool) else one)) for one in given)
            among = _on_text(at, lambda text: same(text) in many)
            return among if test.op in {"eq", "in"} else lambda parts: not among(parts)
        case "contains":
            return _on_folded(at, fold(value), start=False)
        case "starts_with":
            return _on_folded(at, fold(value), start=True)
        case "lt" | "le" | "gt" | "ge":
            compared = _comparable(kind)
            edge, how = compared(value), _SYMBOLS[test.op]
            return _on_text(at, lambda text: how(compared(text), edge))
    raise UnknownCondition(f"there is no operator {test.op[:20]}")


def _on_folded(at: int, wanted: str, *, start: bool) -> Matcher:
    bare = wanted.encode() if wanted.isascii() else _NOWHERE

    def test(parts: Parts) -> bool:
        part = parts[at] if at < len(parts) else NONE
        if part.isascii():
            return part.lower().startswith(bare) if start else bare in part.lower()
        if part == NONE:
            return False
        folded = fold(part.decode())
        return folded.startswith(wanted) if start else wanted in folded

    return test


_SYMBOLS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
}


def _words(words: Words, entity: IndexedEntity) -> Matcher:
    places = [_place(number, entity) for number in words.fields]
    wanted, number = plain(words.text).split(), digits(words.text)

    def holds(parts: Parts) -> bool:
        known = [
            form
            for at in places
            if at < len(parts) and parts[at] != NONE
            for form in forms(parts[at].decode())
        ]
        if number is not None and any(number in form for form in known):
            return True
        return bool(wanted) and all(any(word in form for form in known) for word in wanted)

    return holds
