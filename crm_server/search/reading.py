# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""From rows of PostgreSQL to what the service holds of them: plain columns as they are, sealed documents opened."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from compliance.datamap import KeyClass, Search, Semantic
from crm_server.kernel.actor import system_actor
from crm_server.kernel.db import create_app_engine
from crm_server.kernel.keys import Keys
from crm_server.kernel.opening import Opener, as_bytes, packed
from crm_server.search.fields import IndexedEntity, Kind, custom_field, indexed_entities
from crm_server.search.store import Doc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Engine

    from compliance.datamap import DataMap, EntityDef
    from crm_server.settings import Settings

Cursor = Any
"""A cursor of psycopg2."""

_AT_ONCE = 2_000
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
        return Opener(self._keys, once=True)

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
        self._documents = [entity.documents[key_class] for key_class in dict.fromkeys(classes.values())]
        plain = [item for item in held.fields if item.number not in classes]
        columns = [_column(item.name, item.kind) for item in plain]
        columns += [packed(entity, document, "t") for document in self._documents]
        by_class = {document.key_class: place for place, document in enumerate(self._documents, len(plain))}
        at = {item.name: place for place, item in enumerate(plain)}
        # For each held field: where it stands in a row of the result, and its number if that is a document.
        self._places = [
            (at[item.name], None) if item.name in at else (by_class[classes[item.number]], item.number)
            for item in held.fields
        ]
        self._select = (
            "select uuid_send(t.id), t.deleted_at is not null, (extract(epoch from t.created_at) * 1000000)::bigint, "
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

    def by_ids(self, cursor: Cursor, keys: Iterable[bytes]) -> Iterator[Doc]:
        """The records of the given ids that there are."""
        opener = self._opener()
        cursor.execute(
            f"{self._select} where t.id = any(%s::uuid[])", ("{" + ",".join(key.hex() for key in keys) + "}",)
        )
        yield from self._docs(cursor, opener)

    def between(self, cursor: Cursor, low: str | None, high: str | None) -> Iterator[Doc]:
        """The records with ids above `low` up to `high`, in the order of ids."""
        opener = self._opener()
        tests, values = [], []
        for symbol, edge in ((">", low), ("<=", high)):
            if edge is not None:
                tests.append(f"t.id {symbol} %s::uuid")
                values.append(edge)
        where = f" where {' and '.join(tests)}" if tests else ""
        cursor.execute(f"{self._select}{where} order by t.id", values)
        yield from self._docs(cursor, opener)

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

    def _opener(self) -> Opener | None:
        return self._vault.opener() if self._documents else None

    def _docs(self, cursor: Cursor, opener: Opener | None) -> Iterator[Doc]:
        while rows := cursor.fetchmany(_AT_ONCE):
            if opener is not None:
                first = len(rows[0]) - len(self._documents)
                rows = [(*row[:first], *as_bytes(row[first:])) for row in rows]
                opener.prefetch(blob for row in rows for blob in row[first:] if blob is not None)
            for row in rows:
                yield Doc(bytes(row[0]), row[1], row[2], self.values(row[3:], opener))
        if opener is not None:
            self._vault.report(opener)

    def values(self, row: tuple[Any, ...], opener: Opener | None = None) -> tuple[Any, ...]:
        """The values of a row in the order of the held fields: of columns, or out of the row's documents.

        A document whose key was erased has none, and neither has one that does not open.
        """
        if opener is None:
            return row
        first = len(row) - len(self._documents)
        found: list[Any] = list(row[:first])
        for document, blob in zip(self._documents, row[first:], strict=True):
            fields = opener.open(self.entity, document, blob)
            found.append({} if isinstance(fields, str) else fields)
        return tuple(
            [
                found[place] if number is None else _plain(found[place].get(number))
                for place, number in self._places
            ]
        )


def _plain(value: Any) -> Any:
    if value is None or value.__class__ is str:
        return value
    if isinstance(value, bool):
        return int(value)
    return value.isoformat() if isinstance(value, date) else value


def _column(name: str, kind: Kind) -> str:
    return f't."{name}"' if kind is Kind.NUMBER else f't."{name}"::text'


def readers(datamap: DataMap, vault: Vault) -> dict[int, RowReader]:
    """A reader for every kind of record that the service holds."""
    return {held.number: RowReader(datamap[held.name], held, vault) for held in indexed_entities(datamap)}
