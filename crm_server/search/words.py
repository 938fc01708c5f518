"""The words that there are, to find the one that somebody meant to type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rapidfuzz import process
from rapidfuzz.distance import OSA

from crm_server.search.folding import has_han

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST = 4
_LONG = 8
_DIGIT = re.compile("[0-9]")


def mistypable(word: str) -> bool:
    """Whether a word of a plain text is one that may be mistyped: not too short, without digits, and not Chinese."""
    return len(word) >= SHORTEST and not _DIGIT.search(word) and not has_han(word)


class Vocabulary:
    """How often each word stands in the values of records, by length."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, int]] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Count words so many times more."""
        for word, count in counts.items():
            bucket = self._known.setdefault(len(word), {})
            bucket[word] = bucket.get(word, 0) + count

    def remove(self, counts: Mapping[str, int]) -> None:
        """Count words so many times less; one that stands nowhere any more is forgotten."""
        for word, count in counts.items():
            bucket = self._known.get(len(word), {})
            left = bucket.get(word, 0) - count
            if left > 0:
                bucket[word] = left
            else:
                bucket.pop(word, None)

    def similar(self, word: str, most: int = 6) -> list[tuple[str, int]]:
        """Known words that differ from `word` by a typing mistake or two, with the number of mistakes, nearest first.

        A mistake is a letter too many, too few, wrong, or swapped with its neighbour (optimal string alignment). One
        is allowed from four letters on, two from eight.
        """
        if len(word) < SHORTEST:
            return []
        allowed = 2 if len(word) >= _LONG else 1
        found: list[tuple[str, int]] = []
        for length in range(len(word) - allowed, len(word) + allowed + 1):
            bucket = self._known.get(length)
            if bucket:
                hits = process.extract(
                    word, bucket.keys(), scorer=OSA.distance, score_cutoff=allowed, limit=most
                )
                found += [(str(known), int(distance)) for known, distance, _key in hits if distance]
        found.sort(key=lambda pair: (pair[1], -self._known[len(pair[0])][pair[0]], pair[0]))
        return found[:most]
