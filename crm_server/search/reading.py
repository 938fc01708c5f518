# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""From rows of PostgreSQL to what the service holds of them: plain columns as they are, sealed documents opened."""

from __future__ import annotations

import io
from datetime import date
from struct import Struct
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.datamap import KeyClass, Search, Semantic
from crm_server.kernel.actor import system_actor
from crm_server.kernel.db import create_app_engine
from crm_server.kernel.keys import Keys
from crm_server.kernel.opening import Opener, packed
from crm_server.search.fields import IndexedEntity, Kind, custom_field, indexed_entities
from crm_server.search.texts import Doc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Engine

    from compliance.datamap import DataMap, EntityDef
    from crm_server.settings import Settings

Cursor = Any
"""A cursor of psycopg2."""

_HEAD, _TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_ROW, _SIZE = Struct(">h i16s i? iq"), Struct(">i")
"""In PostgreSQL's binary COPY format: how many columns, then each behind its length; below 0 for an empty one."""
_TEXTS = {Kind.TEXT, Kind.EMAIL, Kind.PHONE}
_CUSTOM = """
select number, name, semantic, policy #>> '{handling,key_class}', coalesce(policy ->> 'search', 'none')
  from crm.custom_field
 where entity = %s and policy #>> '{handling,key_class}' <> 'none'
 order by number
"""


class Vault:
    """Opens sealed documents as the system, with keys that are fetched when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._keys: Keys | None = None

    def opener(self) -> Opener:
        """What opens the documents of one statement; make it before the statement runs.

        Raises:
            KeysRefused: the key ring can't be opened.
        """
        if self._keys is None:
            self._engine = create_app_engine(self._settings, pool_size=1)
            self._keys = Keys.open(self._settings, self._engine)
        return Opener(self._keys)

    def report(self, opener: Opener) -> None:
        """Raise the alarm about documents that did not open."""
        if self._engine is not None and opener.troubles:
            with self._engine.connect() as connection:
                opener.raise_alarms(connection, system_actor())

    def close(self) -> None:
        """Forget all keys."""
        if self._keys is not None and self._engine is not None:
            self._keys.close()
            self._engine.dispose()
            self._keys = None


class RowReader:
    """Reads the records of one entity."""

    def __init__(self, entity: EntityDef, held: IndexedEntity, vault: Vault) -> None:
        self.entity, self._vault = entity, vault
        self.table = f'"{entity.table.schema}"."{entity.table.name}"'
        self._hold(held, {})

    def _hold(self, held: IndexedEntity, custom: Mapping[int, KeyClass]) -> None:
        """Read these fields from now on; `custom` tells in which documents custom ones lie."""
        entity, self.held = self.entity, held
        classes = dict(custom)
        for item in held.fields:
            if item.number not in custom and entity.fields[item.name].sealed:
                classes[item.number] = entity.fields[item.name].policy.handling.key_class
        self._sealed: dict[KeyClass, list[int]] = {}
        for number, key_class in classes.items():
            self._sealed.setdefault(key_class, []).append(number)
        self._documents = [entity.documents[key_class] for key_class in self._sealed]
        plain = [item for item in held.fields if item.number not in classes]
        columns = [f't."{item.name}"::text' for item in plain]
        columns += [packed(entity, document, "t") for document in self._documents]
        self._plain = tuple(item.number for item in plain)
        self._numbers = tuple(item.number for item in held.fields)
        self._odd = tuple(
            item.number for item in held.fields if item.number in classes and item.kind not in _TEXTS
        )
        self._select = (
            "select t.id, t.deleted_at is not null, (extract(epoch from t.created_at) * 1000000)::bigint, "
            f"{', '.join(columns)} from {self.table} t"
        )

    def learn(self, cursor: Cursor) -> None:
        """Take notice of the sealed custom fields that there are.

        Retired ones keep their place, so that records read before and after mean the same by it.
        """
        cursor.execute(_CUSTOM, (self.entity.number,))
        fields, classes = [], {}
        for number, name, semantic, key_class, search in cursor.fetchall():
            fields.append(custom_field(number, f"custom.{name}", Semantic(semantic), Search(search)))
            classes[number] = KeyClass(key_class)
        if tuple(fields) != self.held.custom:
            self._hold(self.held.with_custom(tuple(fields)), classes)

    @property
    def sealed(self) -> bool:
        """Whether it opens documents."""
        return bool(self._documents)

    def by_ids(self, cursor: Cursor, keys: Iterable[bytes]) -> list[Doc]:
        """The records of the given ids that there are."""
        return self._docs(cursor, f"where t.id = any('{{{','.join(key.hex() for key in keys)}}}'::uuid[])")

    def between(self, cursor: Cursor, low: UUID | None, high: UUID | None) -> list[Doc]:
        """The records with ids above `low` up to `high`, in the order of ids."""
        tests = [
            f"t.id {symbol} '{edge}'::uuid" for symbol, edge in ((">", low), ("<=", high)) if edge is not None
        ]
        where = f"where {' and '.join(tests)} " if tests else ""
        return self._docs(cursor, f"{where}order by t.id")

    def ids_of_subjects(self, cursor: Cursor, subjects: Iterable[bytes]) -> list[bytes]:
        """The records about the given persons."""
        if self.held.subject is None:
            return []
        cursor.execute(
            f'select uuid_send(t.id) from {self.table} t where t."{self.held.subject}" = any(%s::uuid[])',
            ("{" + ",".join(subject.hex() for subject in subjects) + "}",),
        )
        return [bytes(row[0]) for row in cursor.fetchall()]

    def edges(self, cursor: Cursor, size: int) -> list[UUID]:
        """Ids that divide the table into parts of about `size` records."""
        cursor.execute(
            f"select id::text from (select id, row_number() over (order by id) as place from {self.table}) numbered "
            "where place %% %s = 0 order by id",
            (size,),
        )
        return [UUID(row[0]) for row in cursor.fetchall()]

    def count(self, cursor: Cursor) -> int:
        """How many records there are."""
        cursor.execute(f"select count(*) from {self.table}")
        found: int = cursor.fetchone()[0]
        return found

    def _docs(self, cursor: Cursor, where: str) -> list[Doc]:
        opener = self._vault.opener() if self._documents else None
        stream = io.BytesIO()
        # As ordinary rows they would cost six times as much: documents as hexadecimal digits, then read from those.
        cursor.copy_expert(f"copy ({self._select} {where}) to stdout with (format binary)", stream)
        heads, cells = _parsed(stream.getvalue(), len(self._plain) + len(self._documents))
        columns = {
            number: [None if cell is None else cell.decode() for cell in column]
            for number, column in zip(self._plain, cells, strict=False)
        }
        if opener is not None:
            for document, blobs in zip(self._documents, cells[len(self._plain) :], strict=True):
                # One whose key was erased has no fields, nor has one that does not open.
                opened = [
                    {} if isinstance(fields, str) else fields
                    for fields in opener.open_each(self.entity, document, blobs)
                ]
                for number in self._sealed[document.key_class]:
                    columns[number] = [fields.get(number) for fields in opened]
            for number in self._odd:
                columns[number] = list(map(_text, columns[number]))
            self._vault.report(opener)
        values = zip(*map(columns.__getitem__, self._numbers), strict=True)
        return [
            Doc(key, deleted, created, row)
            for (key, deleted, created), row in zip(heads, values, strict=True)
        ]


def _text(value: Any) -> str | None:
    """A value of a document as text, as the index holds it."""
    if value is None or value.__class__ is str:
        return value
    if isinstance(value, bool):
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)


def _parsed(data: bytes, width: int) -> tuple[list[tuple[bytes, bool, int]], list[list[bytes | None]]]:
    """What PostgreSQL copied: (id, whether in the bin, when made) of each record, and its other columns, by column."""
    heads: list[tuple[bytes, bool, int]] = []
    columns: list[list[bytes | None]] = [[] for _column in range(width)]
    takers = [column.append for column in columns]
    place, end, head, size = len(_HEAD), len(data) - len(_TAIL), _ROW.unpack_from, _SIZE.unpack_from
    while place < end:
        _columns, _n, key, _n, deleted, _n, created = head(data, place)
        heads.append((key, deleted, created))
        place += _ROW.size
        for take in takers:
            (length,) = size(data, place)
            place += _SIZE.size
            if length < 0:
                take(None)
            else:
                take(data[place : place + length])
                place += length
    return heads, columns


def readers(datamap: DataMap, vault: Vault) -> dict[int, RowReader]:
    """A reader for every kind of record that the service holds."""
    return {held.number: RowReader(datamap[held.name], held, vault) for held in indexed_entities(datamap)}
