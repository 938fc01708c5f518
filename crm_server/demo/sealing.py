"""Seals the made-up persons: their personal fields go into documents, with keys and search tokens beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from crm_server.kernel.blindindex.plan import indexable
from crm_server.kernel.blindindex.tokens import EntityTokens
from crm_server.kernel.sealing import Sealer, new_keys
from security.crypto.datakeys import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.keys import Keys
    from security.crypto.document import DocumentKey

Row = tuple[Any, ...]


class ChunkSealer:
    """Seals the rows of one chunk, in its transaction. A chunk is whole in itself, so it knows all its persons' keys.

    Args:
        expected: How many contacts the whole load has, for the plan of the blind indexes.
    """

    def __init__(self, keys: Keys, connection: Connection, datamap: DataMap, expected: int) -> None:
        self._keys = keys
        self._connection = connection
        self._entities = {entity.table.fullname: entity for entity in datamap}
        self._expected = expected
        self._made: dict[tuple[str | None, str], DocumentKey] = {}

    def rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Row]
    ) -> tuple[Sequence[str], Sequence[Row]]:
        """The columns and rows to copy, for COPY's text format. Tables without personal fields stay as they are."""
        entity = self._entities.get(table)
        if entity is None or not entity.documents or not rows:
            return columns, rows
        sealer = Sealer(entity)
        clear = [place for place, name in enumerate(columns) if name not in sealer.places]
        subjects = columns.index(entity.policy.subject or "")
        key = columns.index("id")
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        documents = self._documents(
            sealer, [(row[key], row[subjects], given) for row, given in zip(rows, values, strict=True)]
        )
        names = [*(columns[place] for place in clear), *sealer.columns.values(), str(entity.version_column)]
        found = [
            (*(row[place] for place in clear), *sealed, 1)
            for row, sealed in zip(rows, documents, strict=True)
        ]
        return names, found

    def index(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Write the tokens of rows that have been copied."""
        entity = self._entities.get(table)
        if entity is None or not indexable(entity.model):
            return
        key = columns.index("id")
        tokens = EntityTokens(self._keys, self._connection, entity.model, expected=self._expected)
        tokens.write((UUID(row[key]).bytes, dict(zip(columns, row, strict=True))) for row in rows)

    def _documents(
        self, sealer: Sealer, records: Sequence[tuple[str, str | None, dict[str, Any]]]
    ) -> list[list[str | None]]:
        contents = [sealer.contents(values) for _record, _subject, values in records]
        found: list[list[str | None]] = [[] for _record in records]
        for key_class in sealer.columns:
            held = [place for place, fields in enumerate(contents) if fields[key_class]]
            self._provide([records[place][1] for place in held], key_class)
            seal = self._keys.column(sealer.entity.number, key_class).seal
            for place, (record, subject, _values) in enumerate(records):
                cell = None
                if contents[place][key_class]:
                    key = self._made[subject, key_class]
                    body = seal(key, contents[place][key_class], UUID(record).bytes, key.subject, 1)
                    # As COPY's text format wants bytes.
                    cell = f"\\\\x{body.hex()}"
                found[place].append(cell)
        return found

    def _provide(self, subjects: Sequence[str | None], key_class: str) -> None:
        """Have the keys at hand: those of new persons are made, that of nobody is the tenant's own."""
        missing = [who for who in dict.fromkeys(subjects) if (who, key_class) not in self._made]
        persons = [who for who in missing if who is not None]
        made = new_keys(self._keys, self._connection, {key_class: [UUID(who).bytes for who in persons]})[
            key_class
        ]
        self._made.update(((who, key_class), key) for who, key in zip(persons, made, strict=True))
        if None in missing:
            self._made[None, key_class] = tenant_key(self._keys, self._connection, key_class)


def tenant_key(keys: Keys, connection: Connection, key_class: str) -> DocumentKey:
    """The key under which rows of nobody are sealed."""
    owner = KeyOwner(keys.tenant, keys.tenant, key_class)
    return keys.on(lambda: connection).for_sealing(owner)


def classes_of(entities: Sequence[EntityDef]) -> list[str]:
    """The key classes of all documents."""
    return sorted({str(key_class) for entity in entities for key_class in entity.documents})
