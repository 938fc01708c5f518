"""From a condition to the trigrams that its records must hold, so that few values need be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.search.fields import Kind
from crm_server.search.folding import plain
from crm_server.search.matching import digits
from crm_server.search.protocol import Every, Some, Test, Tree, Words

if TYPE_CHECKING:
    import sqlite3

    from crm_server.search.store import Store

# A control character begins no word of a record.
NOTHING = '"\x01\x01\x01"'
_FRAMES = {"contains": ("", ""), "starts_with": (" ", ""), "eq": (" ", " "), "in": (" ", " ")}


def expression(tree: Tree, store: Store, connection: sqlite3.Connection) -> str | None:
    """An FTS5 expression that holds for all records for which a tree holds, or None when trigrams don't help."""
    if isinstance(tree, Test):
        return _of_test(tree, store, connection)
    if isinstance(tree, Words):
        return _of_words(tree, store, connection)
    if isinstance(tree, Every | Some):
        parts = [expression(item, store, connection) for item in tree.items]
        known = [part for part in parts if part is not None]
        if not known or (isinstance(tree, Some) and len(known) < len(parts)):
            return None
        return f" {'AND' if isinstance(tree, Every) else 'OR'} ".join(f"({part})" for part in known)
    return None


def piece(text: str, store: Store, connection: sqlite3.Connection) -> str | None:
    """The expression for a part of a text; None when nothing is left of it to look for."""
    if not text.strip():
        return None
    if len(text) < 3:
        return store.short_expression(connection, text) or NOTHING
    return store.match_expression(text)


def _of_test(test: Test, store: Store, connection: sqlite3.Connection) -> str | None:
    place = store.entity.place(test.field)
    frame = _FRAMES.get(test.op)
    if place is None or frame is None:
        return None
    item = store.entity.fields[place]
    if not item.found or item.kind is Kind.NUMBER:
        return None
    values = test.value if test.op == "in" else [test.value]
    parts = []
    for value in values:
        bare = plain(value)
        part = piece(f"{frame[0]}{bare}{frame[1]}", store, connection) if bare else None
        if part is None:
            return None
        parts.append(part)
    return " OR ".join(f"({part})" for part in parts)


def _of_words(words: Words, store: Store, connection: sqlite3.Connection) -> str | None:
    parts = [piece(word, store, connection) for word in plain(words.text).split()]
    known = [f"({part})" for part in parts if part is not None]
    if not known:
        return None
    every = " AND ".join(known)
    number = digits(words.text)
    if number is None:
        return every
    return f"({every}) OR ({store.match_expression(number)})"
