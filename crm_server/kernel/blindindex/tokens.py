"""Tokens of records: made from their values, written beside them, and asked for.

A row of `search.token_index` is one index: field, epoch, generation, bits. The newest of a field gets the tokens that
are written; all that there are get asked, so that records are found while an index is built anew. Whoever writes holds
a shared advisory lock until its transaction ends, and whoever begins or ends a generation waits for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg2.extras import execute_values

from crm_server.kernel.blindindex.plan import Planned, index_field, indexable, plan
from security.crypto.blindindex import BlindIndex, IndexSpec
from security.crypto.errors import NotNormal
from security.crypto.normalise import NORMALISERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from compliance.datamap import EntityDef
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
    "values %s on conflict (entity, field_number, epoch, generation) do nothing"
)
_ADD: Final = "insert into search.token (index_id, token, record_id) values %s on conflict do nothing"
_HITS: Final = (
    "select distinct t.record_id from search.token t "
    "join unnest(%s::int[], %s::int[]) as asked (index_id, token) using (index_id, token)"
)

Token = tuple[int, int]
"""(id of the index, token)."""


@dataclass(frozen=True, slots=True)
class LiveIndex:
    """An index that is there: its id, its field, and what makes its tokens."""

    id: int
    field: int
    generation: int
    index: BlindIndex

    @property
    def planned(self) -> Planned:
        """The same as a plan says it."""
        return Planned(self.field, self.index.spec.transform, self.index.spec.bits)


class EntityTokens:
    """The indexes of one entity, for one transaction.

    Args:
        expected: How many records there will be soon, for an entity that has no index yet.
    """

    def __init__(
        self, keys: Keys, connection: Connection, entity: EntityDef, *, expected: int | None = None
    ) -> None:
        self.keys = keys
        self.entity = entity
        self._connection = connection
        self.live: list[LiveIndex] = []
        self._newest: dict[int, LiveIndex] = {}
        if not indexable(entity):
            return
        self._read()
        epoch = keys.active_epoch(lambda: connection)
        if max((one.index.epoch for one in self.live), default=0) < epoch:
            rows = self.count() if expected is None else expected
            self.begin(plan(entity, rows), epoch)

    def count(self) -> int:
        """Records of the entity, those in the bin as well."""
        name = self.entity.table.fullname.replace(".", '."') + '"'
        found: int = self._connection.exec_driver_sql(f"select count(*) from {name}").scalar_one()  # noqa: S608
        return found

    def begin(self, planned: Iterable[Planned], epoch: int, generation: int = 0) -> None:
        """Begin indexes; what is written from now on goes into them."""
        versions = {name: normaliser.version for name, normaliser in NORMALISERS.items()}
        rows = [
            (
                self.entity.number,
                one.field,
                epoch,
                generation,
                one.transform,
                versions[one.transform],
                one.bits,
            )
            for one in planned
        ]
        if not rows:
            return
        driver: Any = self._connection.connection.dbapi_connection
        with driver.cursor() as cursor:
            execute_values(cursor, _BEGIN, rows, template="(%s, %s, %s, %s, %s, %s, %s, now())")
        self._read()

    def of(self, values: Mapping[int, Any]) -> list[Token]:
        """The tokens of a record from its values by field number. A value without a normal form has none."""
        found = []
        for number, one in self._newest.items():
            value = values.get(number)
            if value is not None:
                normal = normal_form(one.index.spec.transform, value, stored=True)
                if normal is not None:
                    found.append((one.id, one.index.token_of_normal(normal)))
        return found

    def write(self, rows: Sequence[tuple[UUID, Sequence[Token]]]) -> None:
        """Store the tokens of new records: (record, tokens)."""
        flat = [(index, token, record) for record, tokens in rows for index, token in tokens]
        if flat:
            driver: Any = self._connection.connection.dbapi_connection
            with driver.cursor() as cursor:
                execute_values(cursor, _ADD, flat, page_size=1000)

    def replace(self, rows: Sequence[tuple[UUID, Mapping[int, Any]]]) -> None:
        """Renew the tokens of changed records: (record, all its values by number)."""
        if not self.live or not rows:
            return
        self.forget([record for record, _values in rows])
        self.write([(record, self.of(values)) for record, values in rows])

    def forget(self, records: Collection[UUID]) -> None:
        """Remove the tokens of records."""
        self._connection.exec_driver_sql(
            "delete from search.token where record_id = any(%s)", (list(records),)
        )

    def newest(self) -> list[LiveIndex]:
        """The indexes that are written to, one a field."""
        return list(self._newest.values())

    def indexed(self, number: int) -> bool:
        """Whether records can be found by the field."""
        return number in self._newest

    def hits(self, number: int, normals: Collection[str]) -> list[UUID]:
        """Records that may have one of the values in the field: open them and compare."""
        asked = [
            (one.id, one.index.token_of_normal(normal))
            for one in self.live
            if one.field == number
            for normal in normals
        ]
        if not asked:
            return []
        indexes, tokens = zip(*dict.fromkeys(asked), strict=True)
        rows = self._connection.exec_driver_sql(_HITS, (list(indexes), list(tokens)))
        return [row[0] for row in rows]

    def _read(self) -> None:
        number = self.entity.number
        tenant = self.keys.tenant.bytes
        found = []
        for key, field, epoch, generation, transform, version, bits in self._connection.exec_driver_sql(
            _READ, (LOCK, number, number)
        ):
            if version != NORMALISERS[transform].version:
                # Its tokens are of other normal forms; `upkeep.rebuild` makes them anew.
                continue
            spec = IndexSpec(index_field(number, field), transform, bits, generation)
            index = BlindIndex(self.keys.epoch_keys(epoch), tenant, spec)
            found.append(LiveIndex(key, field, generation, index))
        self.live = found
        # The last one of a field is the newest.
        self._newest = {one.field: one for one in found}


def tokens_for(
    keys: Keys, connection: Connection, entity: EntityDef, records: Iterable[tuple[UUID, Mapping[int, Any]]]
) -> list[tuple[UUID, list[Token]]]:
    """(record, tokens) of records given as (key, values by field number)."""
    tokens = EntityTokens(keys, connection, entity)
    return [(record, tokens.of(values)) for record, values in records]


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
