"""Finding records by a text as a person types it: whole names first, then beginnings, parts, and typing mistakes."""

from __future__ import annotations

from itertools import chain, islice, product
from typing import TYPE_CHECKING

from crm_server.search.candidates import Candidates, Where, every
from crm_server.search.fields import Kind
from crm_server.search.folding import has_han, plain, plain_all, romanised, tidied
from crm_server.search.matching import digits
from crm_server.search.records import ASCII, BIN, LIVE, NONE, SEPARATOR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from crm_server.search.store import Store

WHOLE, START, WORD, INSIDE, SPREAD, MISTYPED = 0.0, 1.0, 2.0, 3.0, 4.0, 6.0
_ROMANISED, _NOT_TITLE, _LENGTH = 0.5, 0.3, 0.001
_LOOKED_AT, _WHOLLY = 100, 4
"""So many candidates are looked at, at least; and so many times as many where that spares naming others first."""
_STEPS = 20_000
_NAMED = 10
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
            (place, item.number == entity.title, item.kind is Kind.PHONE)
            for place, item in enumerate(entity.fields, 1)
            if item.number in fields and item.found
        ]
        self._needle = plain(text)
        self._words = self._needle.split()
        # Who types Chinese alone finds nothing of what it is in Latin letters.
        self._spelled = romanised if any(map(str.isascii, self._words)) else lambda _form: ()
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
        tiers = self._tiers(_WHOLLY * looked_at)
        if len(tiers) == 1:
            looked_at *= _WHOLLY
        judged: set[int] = set()
        for tier in tiers:
            number = 0
            for slot in self._candidates(tier, looked_at):
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

    def _tiers(self, looked_at: int) -> list[tuple[str, ...]]:
        """Pieces that stand all in a record, the most promising ones first; less where few are looked at anyway."""
        tiers: list[tuple[str, ...]] = [(f"\n {self._needle}",), (f" {self._needle}",)]
        if not _begins_words(self._needle):
            tiers.append((self._needle,))
        if len(self._words) > 1:
            tiers.append(tuple(f" {word}" if _begins_words(word) else word for word in self._words))
        total, size = len(self._store.records), None if self._pool is None else len(self._pool)
        if size is not None and size <= looked_at:
            return tiers[-1:] if self._digits is None else [()]
        # Each tier lies within the next one: what is before one that is looked at wholly can be left out. One or two
        # letters begin so much that the first one fills a page.
        most = looked_at if size is None else looked_at * total // max(size, 1)
        for at in range(len(tiers) - 1, 1, -1):
            where = self._where(tiers[at])
            if where is not None and where.most <= most:
                del tiers[:at]
                break
        return tiers if self._digits is None else [*tiers, (self._digits,)]

    def _where(self, tier: tuple[str, ...]) -> Candidates | None:
        few = self._pool is not None
        return every([self._store.candidates(self._connection, part, Where.ANY, few=few) for part in tier])

    def _candidates(self, tier: tuple[str, ...], count: int) -> Iterator[int]:
        """Records that may hold the pieces, at most so many."""
        store, pool = self._store, self._pool
        where = self._where(tier)
        slots: Iterable[int]
        if pool is not None:
            # So many are named until enough of the pool are among them.
            named = count * len(store.records) // max(len(pool), 1)
            if where is not None and min(where.most, named) <= _NAMED * len(pool):
                # A little more than half of them, so that two stretches should do.
                width = named * len(store.records) * 5 // max(where.most * 8, 1)
                found = store.stretches(self._connection, where.expression, width)
                slots = chain.from_iterable(sorted(pool.intersection(some)) for some in found)
            else:
                slots = filter(self._quick(tier), sorted(pool))
        elif where is None:
            slots = filter(self._quick(tier), islice(store.records.live(), _STEPS))
        else:
            most = 2 * count if self._state == LIVE else where.most * 2 + _STEPS
            slots = store.slots(self._connection, where.expression, most)
        states = store.records.states
        return islice((slot for slot in slots if states[slot] & self._state), count)

    def _quick(self, tier: tuple[str, ...]) -> Callable[[int], bool]:
        """Whether all pieces may stand somewhere in a record, told from its bytes where these are ASCII."""
        states, read = self._store.records.states, self._store.records.reader()
        frames = [_in_values(part) for part in tier]

        def test(slot: int) -> bool:
            if not states[slot] & ASCII:
                return True
            small = read(slot).lower()
            return all(any(form in small for form in forms_) for forms_ in frames)

        return test

    def _score(self, slot: int) -> float | None:
        forms_of, needle, number = self._forms(slot), self._needle, self._digits
        levels = [
            level
            + (_ROMANISED if at else 0.0)
            + (0.0 if title else _NOT_TITLE)
            + _LENGTH * min(len(form), 99)
            for place, title, phone in self._places
            for at, form in enumerate(forms_of(place))
            if (needle in form or (phone and number is not None))
            and (level := self._level(form, phone=phone)) is not None
        ]
        if levels:
            return min(levels)
        if len(self._words) > 1:
            known = [form for place, _title, _phone in self._places for form in forms_of(place)]
            if all(any(_stands(word, form) for form in known) for word in self._words):
                return SPREAD
        return None

    def _forms(self, slot: int) -> Callable[[int], Sequence[str]]:
        """The forms of each value of a record, by its place; none of an empty one."""
        records = self._store.records
        if records.states[slot] & ASCII:
            # Such values are their own plain form but for large letters. A letter is a byte.
            values = records.raw(slot).lower().decode("latin-1").split(_SEPARATOR)
            return lambda place: (values[place],) if place < len(values) and values[place] != _NONE else ()
        parts = records.parts(slot)
        there = [
            place for place, _title, _phone in self._places if place < len(parts) and parts[place] != NONE
        ]
        known = plain_all(tidied([parts[place].decode() for place in there]))
        found = {place: (form, *self._spelled(form)) for place, form in zip(there, known, strict=True)}
        return lambda place: found.get(place, ())

    def _level(self, form: str, *, phone: bool) -> float | None:
        needle = self._needle
        if phone and self._digits is not None and self._digits in form:
            return WHOLE if form.endswith(self._digits) else INSIDE
        place = form.find(needle)
        if place < 0:
            return None
        if place == 0:
            return WHOLE if len(form) == len(needle) else START
        if f" {needle}" in form:
            return WORD
        return None if _begins_words(needle) else INSIDE

    def _forgive(self, found: dict[int, float]) -> None:
        """Look again for the words that may have been meant."""
        choices = [[(word, 0), *self._store.words.similar(word)] for word in self._words]
        tried = 0
        fields = [self._store.entity.fields[place - 1].number for place, _title, _phone in self._places]
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


def _begins_words(text: str) -> bool:
    """Whether a text is found at the beginning of words alone.

    One or two Latin letters stand inside of nearly every name; in Chinese they are a whole one.
    """
    return len(text) <= 2 and not has_han(text)


def _stands(word: str, form: str) -> bool:
    return f" {word}" in f" {form}" if _begins_words(word) else word in form


def _in_values(piece: str) -> tuple[bytes, ...]:
    """How a piece of framed text may stand in values of ASCII; nowhere when it has other letters."""
    if not piece.isascii():
        return ()
    if piece.startswith("\n "):
        return (SEPARATOR + piece[2:].encode(),)
    if piece.startswith(" "):
        return (piece.encode(), SEPARATOR + piece[1:].encode())
    return (piece.encode(),)
