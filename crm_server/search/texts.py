"""Records made ready for the index: their values packed, the text of which trigrams are cut, and their words.

This is the dear part of a first load, so it can be done by other processes than the one that holds the index.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from crm_server.search.folding import forms, large, plain
from crm_server.search.records import BIN, LIVE, pack
from crm_server.search.words import mistypable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crm_server.search.fields import IndexedEntity


class Doc(msgspec.Struct, frozen=True, gc=False):
    """A record as it is read: id, whether in the bin, when it was made, and values in the order of the entity's fields.

    `created` counts microseconds since 1970.
    """

    id: bytes
    deleted: bool
    created: int
    values: tuple[str | None, ...]

    @property
    def state(self) -> int:
        """Where the record is."""
        return BIN if self.deleted else LIVE

    def __repr__(self) -> str:
        """Name the id only: the values are what must not get into a log."""
        return f"<Doc {self.id.hex()}>"


@dataclass(frozen=True, slots=True)
class Batch:
    """Records made ready for `Store.load`, in the order of ids; see `Records.extend`."""

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
    """Make records ready for the first load."""
    ids, states, created, values, texts, words = [], bytearray(), array("q"), [], [], list[str]()
    folded = Folded()
    for doc in docs:
        text, known, tidy = written(entity, doc.values, folded)
        packed, letters = pack(doc.values, tidy=tidy)
        ids.append(doc.id)
        states.append((BIN if doc.deleted else LIVE) | letters)
        created.append(doc.created)
        values.append(packed)
        texts.append(text)
        words += known
    counts = {word: number for word, number in Counter(words).items() if mistypable(word)}
    return Batch(b"".join(ids), bytes(states), created, values, texts, counts)


class Folded(dict[str, tuple[str, ...]]):
    """The forms of texts (`folding.forms`), each folded once: given names and surnames come again and again.

    It lives as long as a batch, so that no name of a person who was erased stays in it.
    """

    def __missing__(self, text: str) -> tuple[str, ...]:
        """Fold one more text."""
        self[text] = found = forms(text)
        return found

    def forms(self, text: str) -> tuple[str, ...]:
        """All forms of a text. Those of ASCII, most of which come once, are made faster than looked up."""
        return (plain(text),) if text.isascii() else self[text]

    def plain(self, text: str) -> str:
        """The first of the forms."""
        return plain(text) if text.isascii() else self[text][0]


class Written(NamedTuple):
    """What finding needs of a record.

    Attributes:
        text: Of which trigrams are cut; see `written`.
        words: Those of its values of which some may be meant by a mistyped one.
        tidy: Whether small letters of the values are what stands in the text.
    """

    text: str
    words: set[str]
    tidy: bool


def written(entity: IndexedEntity, values: Sequence[str | None], folded: Folded) -> Written:
    """The text of a record of which trigrams are cut, and its words.

    Each form stands between spaces and ends of line. So a trigram tells whether it begins a value (end of line, space,
    letter) or a word (space, two letters) or ends one, and the last letters of a value begin a trigram as well. The
    title is written in large letters, which tells its trigrams from those of all other forms. A form that stands word
    by word in the title or in another one is left out.
    """
    title = values[entity.found_title] if entity.found_title is not None else None
    known: list[str] = [value for at in entity.found_others if (value := values[at])]
    spoken = [value for at in entity.found_words if (value := values[at])]
    if title:
        known.append(title)
    whole = "\n".join(known)
    tidy = _tidy(whole, len(known))
    if tidy:
        words = set(" ".join(spoken).lower().split())
        known = whole.lower().split("\n") if known else known
        title = known.pop() if title else ""
    else:
        words = set(" ".join(map(folded.plain, spoken)).split())
        title = folded.plain(title) if title else ""
        known = [form for text in known for form in folded.forms(text)]
        known.sort(key=len, reverse=True)
    text = f" {title} \n" if title else ""
    end, seen = len(text), {"", *title.split()}
    for form in known:
        if form not in seen and (" " not in form or f" {form} " not in text):
            text += f" {form} \n"
            seen.update(form.split() if " " in form else (form,))
    return Written(f"\n{large(text[:end])}{text[end:]}" if text else "", words, tidy)


def _tidy(whole: str, count: int) -> bool:
    """Whether the plain form of `count` texts is that in small letters: ASCII, with single spaces inside and no others.

    Args:
        whole: The texts, joined by ends of line.
    """
    # Text that was split at white space and joined again has single spaces alone; the ends of line became some.
    return (
        whole.isascii()
        and whole.count("\n") == max(0, count - 1)
        and " ".join(whole.split()) == whole.replace("\n", " ")
    )
