"""The key table as the door of `security.crypto.datakeys`: each step in the transaction of the caller (ENC-7)."""

# ruff: noqa: S608 - statements are put together from names of columns; values go as parameters.
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg2.errors import UniqueViolation
from psycopg2.extras import execute_values
from sqlalchemy.exc import IntegrityError

from crm_server.kernel.loading import driver_cursor
from security.crypto.datakeys import DataKeyRecord, KeyOwner, KeyState
from security.crypto.errors import KeyIdReused, KeyMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

COLUMNS: Final = (
    "kid",
    "tenant",
    "subject",
    "class",
    "generation",
    "epoch",
    "state",
    "wrapped",
    "kcv",
    "created_at",
    "erased_at",
    "erase_event",
)
KEY_COLUMNS: Final = ", ".join(COLUMNS)
"""Columns of `keys.data_key` in the order that `Keys.unwrap` reads."""
_NEWEST: Final = (
    f"select distinct on (subject) {KEY_COLUMNS} from keys.data_key where tenant = %s and class = %s and "
)


def record_of(row: Sequence[Any]) -> DataKeyRecord:
    """A row of the table (`COLUMNS` in order) as a record."""
    kid, tenant, subject, key_class, generation, epoch, state, wrapped, kcv, created, erased, event = row
    return DataKeyRecord(
        kid=bytes(kid),
        owner=KeyOwner(tenant, subject, key_class),
        generation=generation,
        epoch=epoch,
        state=KeyState(state),
        wrapped=None if wrapped is None else bytes(wrapped),
        kcv=bytes(kcv),
        created_at=created,
        erased_at=erased,
        erase_event=event,
    )


def _values(record: DataKeyRecord) -> tuple[Any, ...]:
    owner = record.owner
    return (
        record.kid,
        owner.tenant,
        owner.subject,
        owner.key_class,
        record.generation,
        record.epoch,
        record.state.value,
        record.wrapped,
        record.kcv,
        record.created_at,
        record.erased_at,
        record.erase_event,
    )


class SqlKeyStore:
    """The key table, read and written through `connection()`, which is the caller's transaction at that moment."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection

    def get(self, kid: bytes) -> DataKeyRecord | None:
        """Return the record, tombstones included; see KeyStore."""
        rows = self.many((kid,))
        return rows[0] if rows else None

    def many(self, kids: Iterable[bytes]) -> list[DataKeyRecord]:
        """Return the records of several ids, those that exist."""
        found = self._run(f"select {KEY_COLUMNS} from keys.data_key where kid = any(%s)", (list(kids),))
        return [record_of(row) for row in found]

    def current(self, owner: KeyOwner) -> DataKeyRecord | None:
        """Return the record of the highest generation of an owner, tombstones included."""
        rows = self._run(
            f"select {KEY_COLUMNS} from keys.data_key where tenant = %s and subject = %s and class = %s "
            "order by generation desc limit 1",
            (owner.tenant, owner.subject, owner.key_class),
        )
        return record_of(rows[0]) if rows else None

    def newest(self, tenant: UUID, key_class: str, subjects: Iterable[UUID]) -> dict[UUID, DataKeyRecord]:
        """Return the records of the highest generation of many subjects, tombstones included."""
        rows = self._run(
            _NEWEST + "subject = any(%s) order by subject, generation desc",
            (tenant, key_class, list(subjects)),
        )
        return {record.owner.subject: record for record in map(record_of, rows)}

    def of_subject(self, tenant: UUID, subject: UUID, *, lock: bool = False) -> list[DataKeyRecord]:
        """Return all keys of a subject, tombstones included; `lock` holds them for a change."""
        rows = self._run(
            f"select {KEY_COLUMNS} from keys.data_key where tenant = %s and subject = %s order by class, generation"
            + (" for update" if lock else ""),
            (tenant, subject),
        )
        return [record_of(row) for row in rows]

    def add(self, record: DataKeyRecord) -> DataKeyRecord:
        """Store a new key and return what now stands for owner and generation; see KeyStore."""
        reused = False
        rows: list[Any] = []
        try:
            rows = self._run(
                f"insert into keys.data_key ({KEY_COLUMNS}) values ({', '.join(['%s'] * len(COLUMNS))}) "
                "on conflict (tenant, subject, class, generation) do nothing returning 1",
                _values(record),
            )
        except IntegrityError as error:
            if not isinstance(error.orig, UniqueViolation):
                raise
            reused = True
        if reused:
            raise KeyIdReused(record.kid)
        if rows:
            return record
        first = self.current(record.owner)
        if first is None:
            raise KeyMissing(record.kid)
        return first

    def add_many(self, records: Sequence[DataKeyRecord]) -> list[KeyOwner]:
        """Store new keys of distinct owners; return those who had one already, or got it from a quicker transaction."""
        if not records:
            return []
        with driver_cursor(self._connection(), "insert into keys.data_key") as cursor:
            stored = execute_values(
                cursor,
                f"insert into keys.data_key ({KEY_COLUMNS}) values %s "
                "on conflict (tenant, subject, class, generation) do nothing returning subject, class",
                [_values(record) for record in records],
                page_size=500,
                fetch=True,
            )
        if len(stored) == len(records):
            return []
        ours = set(stored)
        return [
            record.owner for record in records if (record.owner.subject, record.owner.key_class) not in ours
        ]

    def put(self, record: DataKeyRecord) -> None:
        """Replace the record of the same id. Raises KeyMissing if there is none."""
        done = self._connection().exec_driver_sql(
            "update keys.data_key set epoch = %s, state = %s, wrapped = %s, erased_at = %s, erase_event = %s "
            "where kid = %s",
            (
                record.epoch,
                record.state.value,
                record.wrapped,
                record.erased_at,
                record.erase_event,
                record.kid,
            ),
        )
        if done.rowcount != 1:
            raise KeyMissing(record.kid)

    def _run(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        return list(self._connection().exec_driver_sql(statement, values).all())
