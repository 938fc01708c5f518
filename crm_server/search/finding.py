"""Finding records by a text as a person types it: whole names first, then beginnings, parts, and typing mistakes."""

from __future__ import annotations

from itertools import islice, product
from typing import TYPE_CHECKING

from crm_server.search.candidates import Candidates, Where, either, every
from crm_server.search.fields import Kind
from crm_server.search.folding import forms, has_han, plain
from crm_server.search.matching import digits
from crm_server.search.records import ASCII, BIN, LIVE, NONE, SEPARATOR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from crm_server.search.store import Store

WHOLE, START, WORD, INSIDE, SPREAD, MISTYPED = 0.0, 1.0, 2.0, 3.0, 4.0, 6.0
_ROMANISED, _NOT_TITLE, _LENGTH = 0.5, 0.3, 0.001
_LOOKED_AT = 200
_STEPS = 20_000
_NAMED = 4
"""Naming so many candidates costs what looking at one record of a pool costs."""
_SEPARATOR, _NONE = SEPARATOR.decode("latin-1"), NONE.decode("latin-1")
_ENOUGH = 8
_MOST_CORRECTIONS = 8


class Finder:
    """One search in one store. Fields that the person may not see are not looked into, not even for the order.

    `pool` are the only records that may be found.
    """

    def __init__(
        self,
        store: Store,
        connection: sqlite3.Connection,
        text: str,
        fields: Sequence[int],
        *,
        deleted: bool,
        pool: set[int] | frozenset[int] | None = None,
    ) -> None:
        self._store, self._connection, self._pool = store, connection, pool
        self._state = BIN if deleted else LIVE
        entity = store.entity
        self._places = [
            (place, item.number == entity.title)
            for place, item in enumerate(entity.fields, 1)
            if item.number in fields and item.found
        ]
        self._numbers = {place for place, item in enumerate(entity.fields, 1) if item.kind is Kind.PHONE}
        self._needle = plain(text)
        self._words = self._needle.split()
        self._digits = digits(text)

    def best(self, limit: int) -> tuple[list[tuple[float, int]], bool]:
        """(score, slot) of the records that fit best, and whether there may be more of them."""
        if not self._needle or not self._places:
            return [], False
        found: dict[int, float] = {}
        more = self._gather(found, limit)
        if len(found) < min(limit, _ENOUGH):
            self._forgive(found)
        ordered = sorted((score, slot) for slot, score in found.items())
        return ordered[:limit], more or len(ordered) > limit

    def _gather(self, found: dict[int, float], limit: int) -> bool:
        """Look at candidates from the most to the least promising until there are enough of them."""
        looked_at = max(_LOOKED_AT, limit + limit // 4)
        judged: set[int] = set()
        tiers = self._tiers()
        pool = self._pooled(tiers)
        if pool is not None and len(pool) <= looked_at:
            tiers = [()]
        for tier in tiers:
            number = 0
            for slot in self._candidates(tier, looked_at, pool):
                number += 1
                if slot in judged:
                    continue
                judged.add(slot)
                score = self._score(slot)
                if score is not None:
                    found[slot] = score
            if number >= looked_at or len(found) > limit:
                return True
        return False

    def _tiers(self) -> list[tuple[str, ...]]:
        """Pieces that stand all in a record, the most promising ones first."""
        tiers: list[tuple[str, ...]] = [(f"\n {self._needle}",), (f" {self._needle}",)]
        # One or two Latin letters stand inside of nearly every name; in Chinese they are a whole one.
        if len(self._needle) > 2 or has_han(self._needle):
            tiers.append((self._needle,))
        if len(self._words) > 1:
            tiers.append(tuple(word if len(word) > 2 else f" {word}" for word in self._words))
        if self._digits is not None:
            tiers.append((self._digits,))
        return tiers

    def _pooled(self, tiers: list[tuple[str, ...]]) -> list[int] | None:
        """What of the pool is in any tier; None without a pool."""
        pool, store = self._pool, self._store
        if pool is None:
            return None
        # A text of several words stands only where each of them does.
        words_alone = len(self._words) > 1 and len(self._words[0]) > 2
        widest = tiers[3:] if words_alone else tiers[2:] or tiers[1:]
        where = either([self._where(tier) for tier in widest])
        if where is not None and where.most <= _NAMED * len(pool):
            most = 2 * where.most + _STEPS
            slots = store.slots(self._connection, where.expression, most)
            if len(slots) < most:
                return [slot for slot in slots if slot in pool]
        if where is None and len(self._words) == 1:
            # One or two letters that stand nearly anywhere: enough of them come by before all are looked at.
            return sorted(pool)
        tests = [self._quick(tier) for tier in widest]
        return sorted({slot for test in tests for slot in filter(test, pool)})

    def _where(self, tier: tuple[str, ...]) -> Candidates | None:
        return every([self._store.candidates(self._connection, part, Where.ANY) for part in tier])

    def _candidates(self, tier: tuple[str, ...], count: int, pool: list[int] | None) -> Iterator[int]:
        """Records that may hold the pieces, at most so many."""
        store = self._store
        slots: Iterable[int]
        if pool is not None:
            slots = filter(self._quick(tier), pool) if tier else pool
        elif (where := self._where(tier)) is None:
            slots = filter(self._quick(tier), islice(store.records.live(), _STEPS))
        else:
            most = 2 * count if self._state == LIVE else where.most * 2 + _STEPS
            slots = store.slots(self._connection, where.expression, most)
        states = store.records.states
        return islice((slot for slot in slots if states[slot] & self._state), count)

    def _quick(self, tier: tuple[str, ...]) -> Callable[[int], bool]:
        """Whether all pieces stand somewhere in a record, told from its bytes."""
        states, read = self._store.records.states, self._store.records.reader()
        frames = [_in_values(part) for part in tier]
        texts = [part.encode() for part in tier]

        sure = [forms_[0] for forms_ in frames if len(forms_) == 1]
        others = [forms_ for forms_ in frames if len(forms_) != 1]

        def test(slot: int) -> bool:
            values = read(slot)
            if states[slot] & ASCII:
                small = values.lower()
                for form in sure:
                    if form not in small:
                        return False
                return not others or all(any(form in small for form in forms_) for forms_ in others)
            text = values[: values.find(SEPARATOR)].lower()
            return all(part in text for part in texts)

        return test

    def _score(self, slot: int) -> float | None:
        best: float | None = None
        known: list[str] = []
        values = self._forms(slot)
        for place, title in self._places:
            if place >= len(values):
                break
            for number, form in enumerate(values[place]):
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
            spread = all(any(word in form for form in known) for word in self._words)
            best = SPREAD if spread else None
        return best

    def _forms(self, slot: int) -> Sequence[Sequence[str]]:
        """The forms of all values of a record; none of an empty one."""
        records = self._store.records
        if records.states[slot] & ASCII:
            # Such values are their own plain form but for large letters. A letter is a byte.
            parts = records.raw(slot).lower().decode("latin-1").split(_SEPARATOR)
            return [() if part == _NONE else (part,) for part in parts]
        return [() if part == NONE else forms(part.decode()) for part in records.parts(slot)]

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

    def _forgive(self, found: dict[int, float]) -> None:
        """Look again for the words that may have been meant."""
        choices = [[(word, 0), *self._store.words.similar(word)] for word in self._words]
        tried = 0
        fields = [self._store.entity.fields[place - 1].number for place, _title in self._places]
        for chosen in sorted(product(*choices), key=lambda words: sum(distance for _word, distance in words)):
            distance = sum(number for _word, number in chosen)
            if distance == 0:
                continue
            tried += 1
            if tried > _MOST_CORRECTIONS or len(found) >= _LOOKED_AT:
                return
            meant = Finder(
                self._store, self._connection, " ".join(word for word, _number in chosen), fields,
                deleted=self._state == BIN, pool=self._pool,
            )  # fmt: skip
            more: dict[int, float] = {}
            meant._gather(more, _LOOKED_AT)
            for slot, score in more.items():
                found.setdefault(slot, MISTYPED * distance + score)


def _in_values(piece: str) -> tuple[bytes, ...]:
    """How a piece of framed text may stand in values of ASCII; nowhere when it has other letters."""
    if not piece.isascii():
        return ()
    if piece.startswith("\n "):
        return (SEPARATOR + piece[2:].encode(),)
    if piece.startswith(" "):
        return (piece.encode(), SEPARATOR + piece[1:].encode())
    return (piece.encode(),)
