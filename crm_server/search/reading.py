# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""From rows of PostgreSQL to what the service holds of them: plain columns as they are, sealed documents opened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crm_server.search.fields import IndexedEntity, Kind, indexed_entities
from crm_server.search.store import Doc, record_words, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from compliance.datamap import DataMap, EntityDef

Cursor = Any
"""A cursor of psycopg2."""

_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Records made ready for `Store.load`."""

    rows: list[tuple[Any, ...]]
    texts: list[str]
    words: Counter[str]

    def __repr__(self) -> str:
        """Say how many there are and nothing of what is in them."""
        return f"<Batch of {len(self.rows)}>"


class RowReader:
    """Reads the records of one entity."""

    def __init__(self, entity: EntityDef, held: IndexedEntity) -> None:
        self.entity, self.held = entity, held
        self.table = f'"{entity.table.schema}"."{entity.table.name}"'
        columns = [_column(item.name, item.kind) for item in held.fields]
        self._select = (
            f"select uuid_send(t.id), t.deleted_at is not null, {', '.join(columns)} from {self.table} t"
        )

    def by_ids(self, cursor: Cursor, keys: Iterable[bytes]) -> Iterator[Doc]:
        """The records of the given ids that there are."""
        cursor.execute(
            f"{self._select} where t.id = any(%s::uuid[])", ("{" + ",".join(key.hex() for key in keys) + "}",)
        )
        yield from self._docs(cursor)

    def between(self, cursor: Cursor, low: str | None, high: str | None) -> Iterator[Doc]:
        """The records with ids above `low` up to `high`, in the order of ids."""
        tests, values = [], []
        for symbol, edge in ((">", low), ("<=", high)):
            if edge is not None:
                tests.append(f"t.id {symbol} %s::uuid")
                values.append(edge)
        where = f" where {' and '.join(tests)}" if tests else ""
        cursor.execute(f"{self._select}{where} order by t.id", values)
        yield from self._docs(cursor)

    def ids_of_subjects(self, cursor: Cursor, subjects: Iterable[bytes]) -> list[bytes]:
        """The records about the given persons."""
        if self.held.subject is None:
            return []
        cursor.execute(
            f'select uuid_send(t.id) from {self.table} t where t."{self.held.subject}" = any(%s::uuid[])',
            ("{" + ",".join(subject.hex() for subject in subjects) + "}",),
        )
        return [bytes(row[0]) for row in cursor.fetchall()]

    def edges(self, cursor: Cursor, size: int) -> list[str]:
        """Ids that divide the table into parts of about `size` records."""
        cursor.execute(
            f"select id::text from (select id, row_number() over (order by id) as place from {self.table}) numbered "
            "where place %% %s = 0 order by id",
            (size,),
        )
        return [row[0] for row in cursor.fetchall()]

    def count(self, cursor: Cursor) -> int:
        """How many records there are."""
        cursor.execute(f"select count(*) from {self.table}")
        found: int = cursor.fetchone()[0]
        return found

    def _docs(self, cursor: Cursor) -> Iterator[Doc]:
        while rows := cursor.fetchmany(_AT_ONCE):
            for row in rows:
                yield Doc(bytes(row[0]), row[1], self.values(row[2:]))

    def values(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of a row in the order of the held fields."""
        return row


def _column(name: str, kind: Kind) -> str:
    return f't."{name}"' if kind is Kind.NUMBER else f't."{name}"::text'


def readers(datamap: DataMap) -> dict[int, RowReader]:
    """A reader for every kind of record that the service holds."""
    return {held.number: RowReader(datamap[held.name], held) for held in indexed_entities(datamap)}


def prepare(held: IndexedEntity, docs: Iterable[Doc]) -> Batch:
    """Make records ready for the first load."""
    rows, texts, words = [], [], Counter[str]()
    for doc in docs:
        rows.append((doc.id, int(doc.deleted), *doc.values))
        texts.append(text_of(held, doc.values))
        words.update(record_words(held, doc.values))
    return Batch(rows, texts, words)
