"""Records made ready for the index: their values packed, the text of which trigrams are cut, and their words.

This is the dear part of a first load, so it can be done by other processes than the one that holds the index.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from crm_server.search.folding import large, plain_all, romanised, tidied
from crm_server.search.records import ASCII, BIN, LIVE, letters, pack
from crm_server.search.words import mistypable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crm_server.search.fields import IndexedEntity


class Doc(msgspec.Struct, frozen=True, gc=False):
    """A record as it is read: id, whether in the bin, when it was made, and values in the order of the entity's fields.

    `created` counts microseconds since 1970.
    """

    id: bytes
    deleted: bool
    created: int
    values: tuple[str | None, ...]

    def __repr__(self) -> str:
        """Name the id only: the values are what must not get into a log."""
        return f"<Doc {self.id.hex()}>"


@dataclass(frozen=True, slots=True)
class Batch:
    """Records made ready for the index; see `Records.extend`. The first load has them in the order of ids."""

    ids: bytes
    states: bytes
    created: array[int]
    values: list[bytes]
    texts: list[str]
    words: dict[str, int]

    def __repr__(self) -> str:
        """Say how many there are and nothing of what is in them."""
        return f"<Batch of {len(self.states)}>"


def prepare(entity: IndexedEntity, docs: Iterable[Doc]) -> Batch:
    """Make records ready: column by column, since a text costs most where it is taken alone."""
    known = list(docs)
    if not known:
        return Batch(b"", b"", array("q"), [], [], {})
    columns = list(zip(*(doc.values for doc in known), strict=True))
    values = pack(columns)
    states = [(BIN if doc.deleted else LIVE) | sign for doc, sign in zip(known, letters(values), strict=True)]
    found: dict[int, list[str]] = {}
    for at in entity.found:
        found[at], untidy = _forms(columns[at])
        for place in untidy:
            states[place] &= ~ASCII
    words = Counter(" ".join(chain.from_iterable(found[at] for at in entity.found_words)).split())
    return Batch(
        b"".join([doc.id for doc in known]),
        bytes(states),
        array("q", [doc.created for doc in known]),
        values,
        written(entity, found, len(known)),
        {word: number for word, number in words.items() if mistypable(word)},
    )


def _forms(column: Sequence[str | None]) -> tuple[list[str], list[int]]:
    """The plain forms of the values of a field, empty where there is none; and where there was untidy white space."""
    there = [value for value in column if value]
    neat = tidied(there)
    forms = plain_all(neat)
    if len(forms) < len(column):
        left = iter(forms)
        forms = [next(left) if value else "" for value in column]
    if neat is there:
        return forms, []
    return forms, [place for place, value in enumerate(column) if value and tidied([value]) != [value]]


def written(entity: IndexedEntity, found: Mapping[int, Sequence[str]], count: int) -> list[str]:
    """The texts of records of which trigrams are cut.

    Each form stands between spaces and ends of line. So a trigram tells whether it begins a value (end of line, space,
    letter) or a word (space, two letters) or ends one, and the last letters of a value begin a trigram as well. The
    title is written in large letters, which tells its trigrams from those of all other forms. A form that stands word
    by word in the title is left out.

    Args:
        entity: What they are records of.
        found: The plain forms of their values, for each field that is looked into.
        count: How many records.
    """
    titles = found[entity.found_title] if entity.found_title is not None else [""] * count
    around = [f" {title} " for title in titles]
    parts = [[f"\n {title} \n" if title else "\n" for title in large("\n".join(titles)).split("\n")]]
    for at in entity.found_others:
        forms: Iterable[str] = found[at]
        if at in entity.found_words:
            forms = ("" if f" {form} " in title else form for form, title in zip(forms, around, strict=True))
        parts.append([f" {form} \n" if form else "" for form in forms])
    parts.append(_spelled([forms for forms in found.values() if not "".join(forms).isascii()], count))
    texts = map("".join, zip(*parts, strict=True))
    return [text if text != "\n" else "" for text in texts]


def _spelled(columns: Sequence[Sequence[str]], count: int) -> list[str]:
    """What Chinese values of records are in Latin letters, framed as all forms are."""
    known = _Spelled()
    spelled = [""] * count
    for place, forms in enumerate(zip(*columns, strict=True)):
        if not "".join(forms).isascii():
            others = dict.fromkeys(chain.from_iterable(map(known.__getitem__, forms)))
            spelled[place] = "".join([f" {form} \n" for form in others])
    return spelled


class _Spelled(dict[str, tuple[str, ...]]):
    """Texts in Latin letters, each spelled once: given names and surnames come again and again.

    It lives as long as a batch, so that no name of a person who was erased stays in it.
    """

    def __missing__(self, text: str) -> tuple[str, ...]:
        """Spell one more text."""
        self[text] = found = romanised(text)
        return found
