"""Tokens of records: made from their values, written beside them, and asked for.

A row of `search.token_index` is one index: field, epoch, generation, bits. The newest of a field gets the tokens that
are written; all that there are get asked, so that records are found while an index is built anew. Whoever writes holds
a shared advisory lock until its transaction ends, and whoever begins or ends a generation waits for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crm_server.kernel.blindindex.plan import Planned, indexable, plan
from crm_server.kernel.copying import copy_rows
from crm_server.kernel.models import Token
from security.crypto.blindindex import BlindIndex
from security.crypto.errors import NotNormal
from security.crypto.normalise import NORMALISERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from crm_server.kernel.keys import Keys

LOCK: Final = 0x746F6B65
"""First half of the advisory locks' key ("toke"); the second is the entity's number."""
_READ: Final = (
    "select pg_advisory_xact_lock_shared(%s, %s); "
    "select id, field_number, epoch, generation, transform, version, bits from search.token_index "
    "where entity = %s order by field_number, epoch, generation"
)
_BEGIN: Final = (
    "insert into search.token_index (entity, field_number, epoch, generation, transform, version, bits, created_at) "
    "values (%s, %s, %s, %s, %s, %s, %s, now()) "
    "on conflict (entity, field_number, epoch, generation) do nothing"
)
_WRITE: Final = (
    "insert into search.token (index_id, token, record_id) "
    "select * from unnest(%s::int[], %s::int[], %s::uuid[])"
)
_FEW: Final = 50
_HITS: Final = (
    "select distinct t.record_id from search.token t "
    "join unnest(%s::int[], %s::int[]) as asked (index_id, token) using (index_id, token)"
)
_STORED: Final = (
    "select encode(uuid_send(record_id), 'hex'), index_id, token from search.token "
    "where record_id = any(%s::uuid[]) and index_id = any(%s)"
)

Tokens = list[tuple[int, int]]
"""(id of the index, token)."""


@dataclass(frozen=True, slots=True)
class LiveIndex:
    """An index that is there: its id, its field, its generation, and what makes its tokens."""

    id: int
    field: int
    name: str
    generation: int
    index: BlindIndex

    @property
    def planned(self) -> Planned:
        """The same as a plan says it."""
        return Planned(self.field, self.index.spec.transform, self.index.spec.bits)


class EntityTokens:
    """The indexes of one mapped class, for one transaction.

    Args:
        expected: How many records there will be soon, for a class that has no index yet.
    """

    def __init__(self, keys: Keys, connection: Connection, model: type[Any], *, expected: int = 0) -> None:
        self.keys = keys
        self.live: list[LiveIndex] = []
        self._connection = connection
        self._model = model
        self._names = {item.number: item.name for item in indexable(model)}
        self._newest: dict[str, LiveIndex] = {}
        if not self._names:
            return
        self._read()
        epoch = keys.active_epoch(lambda: connection)
        if max((one.index.epoch for one in self.live), default=0) < epoch:
            self.begin(plan(model, max(expected, self.count())), epoch)

    def count(self) -> int:
        """Records of the class, those in the bin as well."""
        name = self._connection.dialect.identifier_preparer.format_table(self._model.__table__)
        found: int = self._connection.exec_driver_sql(f"select count(*) from {name}").scalar_one()  # noqa: S608
        return found

    def begin(self, planned: Iterable[Planned], epoch: int, generation: int = 0) -> None:
        """Begin indexes; what is written from now on goes into them."""
        number = self._model.__layout__.number
        for one in planned:
            version = NORMALISERS[one.transform].version
            values = (number, one.field, epoch, generation, one.transform, version, one.bits)
            self._connection.exec_driver_sql(_BEGIN, values)
        self._read()

    def of(self, values: Mapping[str, Any]) -> Tokens:
        """The tokens of a record from its values by name of field. A value without a normal form has none."""
        found = []
        for name, one in self._newest.items():
            value = values.get(name)
            if value is not None:
                normal = normal_form(one.index.spec.transform, value, stored=True)
                if normal is not None:
                    found.append((one.id, one.index.token_of_normal(normal)))
        return found

    def write(self, records: Iterable[tuple[bytes, Mapping[str, Any]]]) -> None:
        """Store the tokens of new records, given by their ids, 16 bytes each, with their values."""
        rows = [(index, token, record) for record, values in records for index, token in self.of(values)]
        if not rows:
            return
        if len(rows) > _FEW:
            columns = ("index_id", "token", "record_id")
            copy_rows(self._connection, Token.__table__, columns, rows)  # type: ignore[arg-type]
            return
        # One round trip; COPY pays from some dozens of rows on.
        indexes, tokens, ids = zip(*rows, strict=True)
        given = (list(indexes), list(tokens), [record.hex() for record in ids])
        self._connection.exec_driver_sql(_WRITE, given)

    def replace(self, records: Sequence[tuple[UUID, Mapping[str, Any]]]) -> None:
        """Renew the tokens of changed records, given with all their values."""
        if self.live and records:
            self.forget([record for record, _values in records])
            self.write((record.bytes, values) for record, values in records)

    def forget(self, records: Collection[UUID]) -> None:
        """Remove the tokens of records."""
        self._connection.exec_driver_sql(
            "delete from search.token where record_id = any(%s)", (list(records),)
        )

    def newest(self) -> list[LiveIndex]:
        """The indexes that are written to, one a field."""
        return list(self._newest.values())

    def indexed(self, name: str) -> bool:
        """Whether records can be found by the field."""
        return name in self._newest

    def hits(self, name: str, normals: Collection[str]) -> list[UUID]:
        """Records that may have one of the values in the field: open them and compare."""
        return self.having(self.asked(name, normals))

    def stored(self, name: str, records: Collection[str]) -> list[tuple[str, tuple[int, int]]]:
        """(record, (id of the index, token)) of records, given by their keys in hex, in all indexes of the field."""
        if not records:
            return []
        indexes = [one.id for one in self.live if one.name == name]
        rows = self._connection.exec_driver_sql(_STORED, (list(records), indexes))
        return [(record, (index, token)) for record, index, token in rows.all()]

    def asked(self, name: str, normals: Collection[str]) -> set[tuple[int, int]]:
        """(id of the index, token) of values in normal form, in all indexes that there are of the field."""
        return {
            (one.id, token)
            for one in self.live
            if one.name == name
            for token in map(one.index.token_of_normal, normals)
        }

    def having(self, tokens: Collection[tuple[int, int]]) -> list[UUID]:
        """Records that have one of the tokens."""
        if not tokens:
            return []
        indexes, numbers = zip(*tokens, strict=True)
        rows = self._connection.exec_driver_sql(_HITS, (list(indexes), list(numbers)))
        return [row[0] for row in rows.all()]

    def _read(self) -> None:
        number, tenant = self._model.__layout__.number, self.keys.tenant.bytes
        rows = self._connection.exec_driver_sql(_READ, (LOCK, number, number))
        self.live = []
        for key, field, epoch, generation, transform, version, bits in rows:
            if version != NORMALISERS[transform].version or field not in self._names:
                # Of other normal forms, or of a field that is no longer indexed: `upkeep.rebuild` removes it.
                continue
            spec = Planned(field, transform, bits).spec(number, generation)
            index = BlindIndex(self.keys.epoch_keys(epoch), tenant, spec)
            self.live.append(LiveIndex(key, field, self._names[field], generation, index))
        # The last one of a field is the newest.
        self._newest = {one.name: one for one in self.live}


def normal_form(transform: str, value: str, *, stored: bool = False) -> str | None:
    """The normal form of a value, or None if it has none.

    Args:
        stored: The value comes from a record, so a phone number is in E.164 already, perhaps with an extension.
    """
    if transform == "phone" and stored and value[:1] == "+":
        return value.partition(";")[0]
    try:
        return NORMALISERS[transform].apply(value)
    except NotNormal:
        return None
