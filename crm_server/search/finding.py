# ruff: noqa: S608 - statements are put together from numbers of the data map; values go as parameters.
"""Finding records by a text as a person types it: whole names first, then beginnings, parts, and typing mistakes."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from typing import TYPE_CHECKING, Any

from crm_server.search.candidates import piece
from crm_server.search.fields import Kind
from crm_server.search.folding import forms, has_han, plain
from crm_server.search.matching import digits

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from crm_server.search.store import Store

WHOLE, START, WORD, INSIDE, SPREAD, MISTYPED = 0.0, 1.0, 2.0, 3.0, 4.0, 6.0
_ROMANISED, _NOT_TITLE, _LENGTH = 0.5, 0.3, 0.001
_LOOKED_AT = 400
_ENOUGH = 8
_MOST_CORRECTIONS = 8

Scored = "tuple[float, int, bytes]"


class Finder:
    """One search in one store. Fields that the person may not see are not looked into, not even for the order."""

    def __init__(
        self, store: Store, connection: sqlite3.Connection, text: str, fields: Sequence[int], *, deleted: bool
    ) -> None:
        self._store, self._connection, self._deleted = store, connection, deleted
        entity = store.entity
        self._places = [
            (place, item.number == entity.title)
            for place, item in enumerate(entity.fields)
            if item.number in fields and item.found
        ]
        self._numbers = {place for place, item in enumerate(entity.fields) if item.kind is Kind.PHONE}
        self._needle = plain(text)
        self._words = self._needle.split()
        self._digits = digits(text)

    def best(
        self, limit: int, within: Sequence[bytes] | None = None
    ) -> tuple[list[tuple[float, int, bytes]], bool]:
        """(score, slot, id) of the records that fit best, and whether there may be more of them."""
        if not self._needle or not self._places:
            return [], False
        found: dict[int, tuple[float, int, bytes]] = {}
        more = False
        if within is not None:
            self._judge(
                found,
                ((key, slot, values) for key, slot, values in self._store.rows(self._connection, within)),
            )
        else:
            more = self._gather(found, limit)
        if len(found) < min(limit, _ENOUGH):
            self._forgive(found, within)
        ordered = sorted(found.values())
        return ordered[:limit], more or len(ordered) > limit

    def _gather(self, found: dict[int, tuple[float, int, bytes]], limit: int) -> bool:
        """Look at candidates from the most to the least promising until there are enough of them."""
        looked_at = max(_LOOKED_AT, limit + limit // 4)
        for expression in self._expressions():
            number = 0
            for row in self._candidates(expression, looked_at):
                number += 1
                self._judge(found, (row,))
            if number >= looked_at or len(found) > limit:
                return True
        return False

    def _expressions(self) -> Iterator[str]:
        tiers = [f"\n {self._needle}", f" {self._needle}"]
        # One or two Latin letters stand inside of nearly every name; in Chinese they are a whole one.
        if len(self._needle) > 2 or has_han(self._needle):
            tiers.append(self._needle)
        for tier in tiers:
            expression = piece(tier, self._store, self._connection)
            if expression is not None:
                yield expression
        if len(self._words) > 1:
            parts = [
                piece(word if len(word) > 2 else f" {word}", self._store, self._connection)
                for word in self._words
            ]
            yield " AND ".join(f"({part})" for part in parts if part is not None)
        if self._digits is not None:
            expression = piece(self._digits, self._store, self._connection)
            if expression is not None:
                yield expression

    def _candidates(self, expression: str, count: int) -> Iterator[tuple[bytes, int, tuple[Any, ...]]]:
        store = self._store
        sql = (
            f"select d.id, d.slot, {store.columns} from {store.trigrams} t cross join {store.table} d "
            f"on d.slot = t.rowid where t.{store.trigrams} match ? and d.deleted = ? limit ?"
        )
        with closing(self._connection.execute(sql, (expression, int(self._deleted), count))) as cursor:
            for row in cursor:
                yield row[0], row[1], row[2:]

    def _judge(
        self,
        found: dict[int, tuple[float, int, bytes]],
        rows: Iterable[tuple[bytes, int, tuple[Any, ...]]],
    ) -> None:
        for key, slot, values in rows:
            if slot not in found:
                score = self._score(values)
                if score is not None:
                    found[slot] = (score, slot, key)

    def _score(self, values: Sequence[Any]) -> float | None:
        best: float | None = None
        known: list[str] = []
        for place, title in self._places:
            value = values[place]
            if value is None:
                continue
            for number, form in enumerate(forms(str(value))):
                known.append(form)
                level = self._level(form, phone=place in self._numbers)
                if level is None:
                    continue
                level += (
                    (_ROMANISED if number else 0.0)
                    + (0.0 if title else _NOT_TITLE)
                    + _LENGTH * min(len(form), 99)
                )
                if best is None or level < best:
                    best = level
        if best is None and len(self._words) > 1:
            every = all(any(word in form for form in known) for word in self._words)
            best = SPREAD if every else None
        return best

    def _level(self, form: str, *, phone: bool) -> float | None:
        needle = self._needle
        if phone and self._digits is not None and self._digits in form:
            return WHOLE if form.endswith(self._digits) else INSIDE
        place = form.find(needle)
        if place < 0:
            return None
        if place == 0:
            return WHOLE if len(form) == len(needle) else START
        return WORD if f" {needle}" in form else INSIDE

    def _forgive(self, found: dict[int, tuple[float, int, bytes]], within: Sequence[bytes] | None) -> None:
        """Look again for the words that may have been meant."""
        choices = [[(word, 0), *self._store.words.similar(word)] for word in self._words]
        tried = 0
        for chosen in sorted(product(*choices), key=lambda words: sum(distance for _word, distance in words)):
            distance = sum(number for _word, number in chosen)
            if distance == 0:
                continue
            tried += 1
            if tried > _MOST_CORRECTIONS or len(found) >= _LOOKED_AT:
                return
            meant = Finder(
                self._store, self._connection, " ".join(word for word, _number in chosen),
                [self._store.entity.fields[place].number for place, _title in self._places], deleted=self._deleted,
            )  # fmt: skip
            more: dict[int, tuple[float, int, bytes]] = {}
            if within is not None:
                meant._judge(more, self._store.rows(self._connection, within))
            else:
                meant._gather(more, _LOOKED_AT)
            for slot, (score, _slot, key) in more.items():
                found.setdefault(slot, (MISTYPED * distance + score, slot, key))
