"""From a condition to the trigrams that its records must hold, so that few values need be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from crm_server.search.fields import Kind
from crm_server.search.folding import plain
from crm_server.search.matching import digits
from crm_server.search.protocol import Every, Some, Test, Tree, Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_server.search.fields import IndexedEntity

    Grams = Callable[[str, "Where"], "Candidates | None"]

COMMON = 8
"""A set that is so many times as large as the smallest one costs more to look into than it spares."""
_FRAMES = {"contains": ("", ""), "starts_with": (" ", ""), "eq": (" ", " "), "in": (" ", " ")}


class Where(Enum):
    """In which fields a piece of text is looked for: trigrams tell titles from all others."""

    TITLE = auto()
    REST = auto()
    ANY = auto()


@dataclass(frozen=True, slots=True)
class Candidates:
    """Records among which all are that fulfil a condition.

    Attributes:
        expression: What FTS5 is asked for; empty where there can be none.
        most: About how many they are at most.
    """

    expression: str
    most: int


def candidates(tree: Tree, entity: IndexedEntity, grams: Grams) -> Candidates | None:
    """Where to look for the records for which a tree holds, or None when trigrams don't help.

    Args:
        tree: The condition.
        entity: What is looked at.
        grams: The candidates for a piece of plain text.
    """
    if isinstance(tree, Test):
        return _of_test(tree, entity, grams)
    if isinstance(tree, Words):
        number = digits(tree.text)
        return either([every([piece(word, grams) for word in plain(tree.text).split()]),
                       *([] if number is None else [piece(number, grams, Where.REST)])])  # fmt: skip
    if isinstance(tree, Every):
        return every([candidates(item, entity, grams) for item in tree.items])
    if isinstance(tree, Some):
        return either([candidates(item, entity, grams) for item in tree.items])
    return None


def every(parts: list[Candidates | None]) -> Candidates | None:
    """What lies in all of some sets, as far as they are known and not too common."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if any(not part.expression for part in known):
        return Candidates("", 0)
    least = min(part.most for part in known)
    return Candidates(_joined("AND", [part for part in known if part.most <= COMMON * least]), least)


def either(parts: list[Candidates | None]) -> Candidates | None:
    """What lies in any of some sets; unknown as soon as one of them is."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not parts:
        return None
    there = [part for part in known if part.expression]
    return Candidates(_joined("OR", there), sum(part.most for part in there))


def _joined(word: str, parts: list[Candidates]) -> str:
    if len(parts) == 1:
        return parts[0].expression
    return f" {word} ".join(f"({part.expression})" for part in parts)


def piece(text: str, grams: Grams, where: Where = Where.ANY) -> Candidates | None:
    """Where a part of a text can be; None when nothing is left of it to look for."""
    return grams(text, where) if text.strip() else None


def _of_test(test: Test, entity: IndexedEntity, grams: Grams) -> Candidates | None:
    place = entity.place(test.field)
    frame = _FRAMES.get(test.op)
    if place is None or frame is None:
        return None
    item = entity.fields[place]
    if not item.found or item.kind is Kind.NUMBER:
        return None
    where = Where.TITLE if item.number == entity.title else Where.REST
    if where is Where.REST and item.kind is Kind.TEXT:
        where = Where.ANY  # A text that stands in the title is written there alone.
    found: list[Candidates | None] = []
    for value in test.value if test.op == "in" else [test.value]:
        bare = plain(value)
        # A space at an end stands in the text too, where a word ends.
        before, after = (sign if sign == " " else "" for sign in (value[:1], value[-1:]))
        found.append(piece(f"{frame[0] or before}{bare}{frame[1] or after}", grams, where) if bare else None)
    return either(found)
