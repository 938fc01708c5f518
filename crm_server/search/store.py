# ruff: noqa: S608 - statements are put together from numbers of the data map; values go as parameters.
"""One kind of record in the SQLite database in memory: its values, the trigrams of its texts, and orders of fields.

Tables of entity 2: `d2` holds slot, id, whether in the bin, and the values; `t2` is an FTS5 index of trigrams without
positions and without content (what it finds is a superset, judged by the values); `k2_25` holds the order of field 25.

A slot is a small number that names a record within this process: lists of slots are short, lists of ids are not. The
first load gives slots in the order of ids, and records that come later have later ids as a rule; so slots break ties.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crm_server.search.fields import Kind
from crm_server.search.folding import framed, grams, plain, romanised, sort_key
from crm_server.search.words import Vocabulary, words_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from crm_server.search.fields import IndexedEntity

NO_VALUE = b"\xff"
"""Sorts after every key: UTF-8 has no such byte."""

_SAMPLED, _EACH, _EACH_LATER = 20_000, 16, 256
_MOST_GRAMS = 4
_CHUNK = 400


@dataclass(frozen=True, slots=True)
class Doc:
    """A record as the service holds it: id, whether in the bin, and values in the order of the entity's fields."""

    id: bytes
    deleted: bool
    values: tuple[Any, ...]

    def __repr__(self) -> str:
        """Name the id only: the values are what must not get into a log."""
        return f"<Doc {self.id.hex()}>"


def text_and_words(entity: IndexedEntity, values: Sequence[Any]) -> tuple[str, set[str]]:
    """The text of a record of which trigrams are cut, and its words that can be meant by a mistyped one.

    A value that stands in another one word by word is left out of the text.
    """
    known: list[tuple[str, str]] = []
    words: set[str] = set()
    for item, value in zip(entity.fields, values, strict=True):
        if item.found and value is not None:
            given = str(value)
            bare = plain(given)
            known.append((bare, given))
            if item.kind is Kind.TEXT:
                words.update(words_of(bare))
    known.sort(key=_length, reverse=True)
    chosen: list[str] = []
    written = ""
    for bare, given in known:
        for form in (bare,) if given.isascii() else (bare, *romanised(given)):
            if form and f" {form} " not in written:
                chosen.append(form)
                written += f" {form} \n"
    return framed(chosen), words


def _length(pair: tuple[str, str]) -> int:
    return len(pair[0])


def key_of(kind: Kind, value: Any) -> bytes:
    """The place of a value in the order of its field."""
    if value is None:
        return NO_VALUE
    if kind is Kind.NUMBER:
        return (int(value) + 2**63).to_bytes(8, "big")
    return sort_key(str(value))


class Store:
    """The tables of one entity. The caller sees to it that nobody reads while something is written."""

    def __init__(self, entity: IndexedEntity) -> None:
        self.entity = entity
        self.count = 0
        self.words = Vocabulary()
        self.orders: dict[int, int] = {}
        """Fields whose order exists, and up to which slot."""
        self._last = 0
        self._grams: Counter[str] = Counter()
        self._sampled = 0
        number = entity.number
        self.table, self.trigrams = f"d{number}", f"t{number}"
        self.columns = ", ".join(f"d.f{item.number}" for item in entity.fields)

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the tables."""
        kinds = {Kind.NUMBER: "integer"}
        columns = ", ".join(f"f{item.number} {kinds.get(item.kind, 'text')}" for item in self.entity.fields)
        connection.execute(
            f"create table {self.table} (slot integer primary key, id blob not null unique, "
            f"deleted integer not null, {columns})"
        )
        connection.execute(
            f"create virtual table {self.trigrams} using fts5(t, tokenize='trigram case_sensitive 1', "
            "content='', detail=none, columnsize=0)"
        )

    def order_table(self, field: int) -> str:
        """The table of the order of a field."""
        return f"k{self.entity.number}_{field}"

    # Writing

    def load(
        self,
        connection: sqlite3.Connection,
        rows: Sequence[Sequence[Any]],
        texts: Sequence[str],
        words: Counter[str],
    ) -> None:
        """Add records that are not there yet: rows of (id, deleted, values …) with the texts of their trigrams."""
        first = self._last + 1
        places = ", ".join("?" * (len(self.entity.fields) + 3))
        connection.executemany(
            f"insert into {self.table} values ({places})",
            ((slot, *row) for slot, row in enumerate(rows, first)),
        )
        connection.executemany(
            f"insert into {self.trigrams} (rowid, t) values (?, ?)",
            ((slot, text) for slot, text in enumerate(texts, first) if text),
        )
        self.words.add_counted(words)
        for slot, text in enumerate(texts, first):
            self._sample(slot, text)
        self._last += len(rows)
        self.count += len(rows)

    def put(self, connection: sqlite3.Connection, doc: Doc) -> None:
        """Add a record or take its new values."""
        known = self._row(connection, doc.id)
        if known is None:
            self._last += 1
            slot = self._last
            self.count += 1
        else:
            slot, deleted, old = known
            if old == doc.values and deleted == doc.deleted:
                return
            self._unlink(connection, slot, old)
        places = ", ".join("?" * (len(self.entity.fields) + 3))
        connection.execute(
            f"insert or replace into {self.table} values ({places})",
            (slot, doc.id, int(doc.deleted), *doc.values),
        )
        text, words = text_and_words(self.entity, doc.values)
        if text:
            connection.execute(f"insert into {self.trigrams} (rowid, t) values (?, ?)", (slot, text))
            self._sample(slot, text)
        self.words.add(words)
        for field, upto in list(self.orders.items()):
            # An order that is still being made gets new records when it comes to them.
            if slot <= upto or (known is None and upto == slot - 1):
                connection.execute(
                    f"insert into {self.order_table(field)} values (?, ?)",
                    (self._key(field, doc.values), slot),
                )
                self.orders[field] = max(upto, slot)

    def drop(self, connection: sqlite3.Connection, key: bytes) -> bool:
        """Forget a record; says whether it was there."""
        known = self._row(connection, key)
        if known is None:
            return False
        slot, _deleted, old = known
        self._unlink(connection, slot, old)
        connection.execute(f"delete from {self.table} where slot = ?", (slot,))
        self.count -= 1
        return True

    def _row(self, connection: sqlite3.Connection, key: bytes) -> tuple[int, bool, tuple[Any, ...]] | None:
        row = connection.execute(
            f"select d.slot, d.deleted, {self.columns} from {self.table} d where d.id = ?", (key,)
        ).fetchone()
        return None if row is None else (row[0], bool(row[1]), tuple(row[2:]))

    def _unlink(self, connection: sqlite3.Connection, slot: int, values: tuple[Any, ...]) -> None:
        text, words = text_and_words(self.entity, values)
        if text:
            connection.execute(
                f"insert into {self.trigrams} ({self.trigrams}, rowid, t) values ('delete', ?, ?)",
                (slot, text),
            )
        self.words.remove(words)
        for field in self.orders:
            connection.execute(
                f"delete from {self.order_table(field)} where key = ? and slot = ?",
                (self._key(field, values), slot),
            )

    def _key(self, field: int, values: Sequence[Any]) -> bytes:
        place = self.entity.place(field)
        assert place is not None  # noqa: S101 - orders are made for held fields alone
        return key_of(self.entity.fields[place].kind, values[place])

    def _sample(self, slot: int, text: str) -> None:
        """Learn which trigrams are rare from a part of the records."""
        if slot % (_EACH if self._sampled < _SAMPLED else _EACH_LATER) == 0 or self._sampled < 100:
            self._sampled += 1
            self._grams.update(set(grams(text)))

    # Orders

    def begin_order(self, connection: sqlite3.Connection, field: int) -> None:
        """Make the empty order of a field; `extend_order` fills it."""
        connection.execute(
            f"create table if not exists {self.order_table(field)} "
            "(key blob not null, slot integer not null, primary key (key, slot)) without rowid"
        )
        self.orders.setdefault(field, 0)

    def extend_order(self, connection: sqlite3.Connection, field: int, count: int) -> bool:
        """Take up to `count` more records into an order; says whether it is whole."""
        upto = self.orders[field]
        place = self.entity.place(field)
        assert place is not None  # noqa: S101 - asked for held fields alone
        kind = self.entity.fields[place].kind
        rows = connection.execute(
            f"select slot, f{field} from {self.table} where slot > ? order by slot limit ?", (upto, count)
        ).fetchall()
        connection.executemany(
            f"insert or ignore into {self.order_table(field)} values (?, ?)",
            sorted((key_of(kind, value), slot) for slot, value in rows),
        )
        self.orders[field] = rows[-1][0] if len(rows) == count else self._last
        return self.ordered(field)

    def ordered(self, field: int) -> bool:
        """Whether the order of a field is whole."""
        return self.orders.get(field, -1) >= self._last

    # Reading

    def rows(
        self, connection: sqlite3.Connection, keys: Iterable[bytes]
    ) -> Iterator[tuple[bytes, int, tuple[Any, ...]]]:
        """Id, slot and values of the given records, in any order; those that are not held are missing."""
        wanted = list(keys)
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            places = ", ".join("?" * len(part))
            for row in connection.execute(
                f"select d.id, d.slot, {self.columns} from {self.table} d where d.id in ({places})", part
            ):
                yield row[0], row[1], row[2:]

    def match_expression(self, piece: str) -> str | None:
        """An FTS5 expression for the records whose text may hold a piece: its rarest trigrams. None for short ones."""
        known = list(dict.fromkeys(grams(piece)))
        if not known:
            return None
        known.sort(key=self._grams.__getitem__)
        return " AND ".join(f'"{quoted(gram)}"' for gram in known[:_MOST_GRAMS])

    def short_expression(self, connection: sqlite3.Connection, piece: str) -> str | None:
        """The same for a piece of one or two letters: all trigrams that begin with it. None when there is none."""
        name = f"v{self.entity.number}"
        connection.execute(
            f"create virtual table if not exists temp.{name} using fts5vocab(main, {self.trigrams}, row)"
        )
        terms = connection.execute(
            f"select term from temp.{name} where term >= ? and term < ?", (piece, piece + "\U0010ffff")
        ).fetchall()
        return " OR ".join(f'"{quoted(term)}"' for (term,) in terms) or None


def quoted(text: str) -> str:
    """The inside of a string of FTS5."""
    return text.replace('"', '""')
