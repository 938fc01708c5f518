"""After a restore: bring the key table to the state of the newest escrow, and erase again what was erased (ENC-11).

The database may be as old as its backup; epochs under which it was made may be destroyed. The escrow has the keys
under a live epoch and the tombstones, the ledger has what was erased since the escrow was made.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg2.extras import execute_values

from compliance.datamap.text import _
from crm_server.domain.keys import escrow, events
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.kernel.keyledger import Erasure
from crm_server.kernel.keystore import COLUMNS
from security.crypto.keyring import EpochState
from security.crypto.providers.ring import check_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from crm_server.domain.keys.work import KeyWork

_BATCH = 1_000

_UPSERT = f"""
insert into keys.data_key as d ({", ".join(COLUMNS)}) values %s
on conflict (kid) do update set epoch = excluded.epoch, state = excluded.state, wrapped = excluded.wrapped
where d.state <> 'erased' and excluded.state <> 'erased' and d.wrapped <> excluded.wrapped
"""  # noqa: S608 - names of columns


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: keys taken from the escrow, keys erased again, live keys whose epoch is gone."""

    restored: int
    erased: int
    lost: int

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def replay(work: KeyWork, file: Path | None = None) -> Replayed:
    """Apply an escrow, if one is given, and the ledger; then lift the quarantine.

    Raises:
        KeyWorkRefused: "escrow_unreadable", or "keys_lost": live keys are under epochs that are gone, so that an escrow
            is needed. The quarantine stays.
    """
    with work.engine.begin() as connection:
        # However many they are: they were erased before (see `keys.tell_erased`).
        connection.exec_driver_sql("select set_config('kontor.erasures', 'replay', true)")
        restored = 0 if file is None else _apply(connection, work, file)
        _register(connection, work)
        alive = work.keys.ledger.alive(connection)
        _erase(connection, alive)
        usable = [info.number for info in work.keys.ring.list() if info.state is EpochState.LIVE]
        lost: int = connection.exec_driver_sql(
            "select count(*) from keys.data_key where state <> 'erased' and epoch <> all(%s)", (usable,)
        ).scalar_one()
        if lost:
            raise KeyWorkRefused(
                "keys_lost",
                _(
                    "${number} keys are under epochs that were destroyed after this backup. Name the newest escrow: "
                    "kontor keys replay --escrow FILE",
                    mapping={"number": lost},
                ),
            )
        work.keys.ledger.complete(connection)
        events.record(
            connection,
            work.actor,
            events.epoch("erasures_replayed", keys=restored, erased=len(alive)),
        )
    work.keys.ledger.lift()
    work.keys.forget_epochs()
    return Replayed(restored, len(alive), 0)


def _apply(connection: Connection, work: KeyWork, file: Path) -> int:
    """Take over the rows of an escrow. Returns how many it has."""
    raw: Any = connection.connection.dbapi_connection
    _header, rows = escrow.read(work, file)
    number, gone = 0, []
    with raw.cursor() as cursor:
        for some in batched(rows, _BATCH):
            execute_values(cursor, _UPSERT, [_typed(row) for row in some], page_size=_BATCH)
            number += len(some)
            gone += [row for row in some if row[7] is None]
    for some in batched(gone, _BATCH):
        entries = {row[0]: Erasure(row[0], row[10], row[11] and UUID(bytes=row[11])) for row in some}
        alive = connection.exec_driver_sql(
            "select kid from keys.data_key where kid = any(%s) and state <> 'erased'", (list(entries),)
        )
        _erase(connection, [entries[bytes(row[0])] for row in alive])
    return number


def batched(rows: Iterable[list[Any]], size: int) -> Iterator[list[list[Any]]]:
    """Lists of at most `size` rows (itertools has it from Python 3.12)."""
    source = iter(rows)
    while some := list(islice(source, size)):
        yield some


def _typed(row: list[Any]) -> tuple[Any, ...]:
    values = list(row)
    for place in (1, 2, 11):
        values[place] = None if row[place] is None else UUID(bytes=row[place])
    return tuple(values)


def _register(connection: Connection, work: KeyWork) -> None:
    """Let the table of epochs say what the ring knows: the newest live epoch is active, others aren't."""
    infos = work.keys.ring.list()
    newest = max(info.number for info in infos if info.state is EpochState.LIVE)
    connection.exec_driver_sql(
        "update keys.epoch set state = 'retired', retired_at = now() where state = 'active'"
    )
    for info in infos:
        if info.state is EpochState.LIVE:
            state = "active" if info.number == newest else "retired"
            fingerprint = check_of(work.keys.epoch_keys(info.number))
        else:
            state, fingerprint = "destroyed", ""
        connection.exec_driver_sql(
            "insert into keys.epoch (number, state, fingerprint, provider, created_at, retired_at, destroyed_at) "
            "values (%s, %s, %s, %s, %s, case when %s = 'retired' then now() end, %s) on conflict (number) do update "
            "set state = excluded.state, destroyed_at = excluded.destroyed_at",
            (
                info.number,
                state,
                fingerprint,
                work.keys.ring.capabilities.name,
                info.created_at,
                state,
                info.destroyed_at,
            ),
        )


def _erase(connection: Connection, alive: list[Erasure]) -> None:
    for entry in alive:
        # A hold of the old backup doesn't stand against an erasure that happened after it was released.
        connection.exec_driver_sql(
            "update keys.data_key set state = 'active' where kid = %s and state = 'held'", (entry.kid,)
        )
        connection.exec_driver_sql(
            "update keys.data_key set state = 'erased', wrapped = null, erased_at = %s, erase_event = %s "
            "where kid = %s",
            (entry.at, entry.event, entry.kid),
        )
