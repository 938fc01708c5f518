"""The PostgreSQL side of the sealer: which events are committed and unindexed, without waiting for open
transactions.

Each row of `audit.event` carries the transaction that wrote it (`xid`, set by a default that the application
role can't override). The log's row in `audit.log` holds a cursor made from the snapshot of the last round:
the transactions that were *open* then, and the first that had not begun. The rows to index next are exactly
those of transactions in these two sets that are visible now, so

* nothing waits: a transaction that stays open for ten minutes is one more entry in the cursor;
* nothing is missed or taken twice: two snapshots partition all transactions;
* nothing is deleted: no queue table, whose dead rows a long transaction would keep from being vacuumed.

The cursor is committed together with the leaves, so after a failover or a restore it is as old as they are
and still exact. Only a logical dump into another cluster makes transaction numbers meaningless: then
`system_id` differs and the first round looks for every event without a leaf.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import psycopg2
import psycopg2.extensions

from compliance.audit.log.leaf import is_pruned, pruned_event_id
from compliance.audit.log.rows import COLUMNS, NAMES, event_of, stored_leaves
from compliance.audit.log.source import Head, SourceError, StoredLeaf
from compliance.audit.log.tree import EMPTY_ROOT

ADVISORY_LOCK = 0x4B_4F_4E_54_4F_52  # "KONTOR"
NIL = "00000000-0000-0000-0000-000000000000"
_SWEEPING = "sweeping"

_UNINDEXED = "not exists (select from audit.leaf l where l.event_id = e.event_id)"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which transactions are still to be looked at.

    Attributes:
        next_xid: All rows of this transaction and later ones …
        after: … that come after this event id, if they are of `next_xid` itself.
        open: Earlier transactions that were open, each with the event id up to which it was taken.
        system_id: Identity of the database cluster whose transaction numbers these are.
    """

    next_xid: int
    after: str
    open: tuple[tuple[int, str], ...]
    system_id: str

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Cursor:
        """Read the JSON of `audit.log.cursor`."""
        pending = tuple((int(xid), str(after)) for xid, after in value["open"])
        return cls(int(value["next_xid"]), str(value["after"]), pending, str(value["system_id"]))

    def encode(self) -> str:
        """JSON for `audit.log.cursor`."""
        return json.dumps(
            {"next_xid": self.next_xid, "after": self.after, "open": self.open, "system_id": self.system_id}
        )


class PostgresBatch:
    """Events of one repeatable-read transaction; see `source.Batch`."""

    def __init__(
        self, owner: PostgresSource, head: Head, rows: list[dict[str, object]], cursor: Cursor
    ) -> None:
        self._owner, self._head, self.events, self._cursor = owner, head, rows, cursor

    def assign(self, hashes: Sequence[bytes], root: bytes) -> None:
        """Write leaves, head and cursor, and commit; raises `SourceError`."""
        identifiers = [str(event["event_id"]) for event in self.events]
        with self._owner.translated(), self._owner.connection.cursor() as sql:
            self._owner.copy_leaves(sql, self._head.size, zip(identifiers, hashes, strict=True))
            self._owner.move_head(sql, self._head.size + len(hashes), root, self._cursor)
            self._owner.connection.commit()

    def abandon(self) -> None:
        """Roll back what is open; raises `SourceError`."""
        if not self._owner.connection.closed:
            with self._owner.translated():
                self._owner.connection.rollback()


class _Translated:
    """Turns database errors into `SourceError`, whose text holds no values of rows."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, psycopg2.Error):
            state = getattr(error, "pgcode", None) or "connection"
            raise SourceError(f"the database refused a step of the sealer ({state})") from error


class PostgresSource:
    """The event source of the product, on one connection that belongs to it alone.

    Args:
        connect: Opens a connection as the sealer's role.
        tenant: Value of `tenant` in each leaf.
        standbys: How many synchronous standbys must have flushed before anything is signed; 0 declares a
            single-node site.
        confirm_timeout: Seconds to wait for them.
    """

    translated = _Translated

    def __init__(
        self,
        connect: Callable[[], psycopg2.extensions.connection],
        tenant: str,
        *,
        standbys: int = 0,
        confirm_timeout: float = 10.0,
    ) -> None:
        self._tenant, self._standbys, self._confirm_timeout = tenant, standbys, confirm_timeout
        with self.translated():
            self.connection = connect()
            self.connection.set_session(isolation_level="REPEATABLE READ")
            with self.connection.cursor() as sql:
                sql.execute("set synchronous_commit = on")
                sql.execute("set idle_in_transaction_session_timeout = '60s'")
                # A round touches the newest rows of large tables whose statistics are always behind them. Indexes give
                # them in the order of the log: nothing is sorted, on disk or by workers that take other processors.
                sql.execute("set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off")
                sql.execute("set enable_bitmapscan = off; set max_parallel_workers_per_gather = 0")
                sql.execute("select pg_is_in_recovery(), pg_try_advisory_lock(%s)", (ADVISORY_LOCK,))
                in_recovery, locked = sql.fetchone() or (True, False)
                sql.execute("select system_identifier::text from pg_control_system()")
                self._system_id = str((sql.fetchone() or ("",))[0])
            self.connection.commit()
        if in_recovery or not locked:
            self.connection.close()
            raise SourceError("this database is a standby" if in_recovery else "another sealer is at work")

    def close(self) -> None:
        """Give up the lock and the connection: whoever opens the log next finds it free at once."""
        with suppress(psycopg2.Error), self.connection.cursor() as sql:
            # The server ends a connection some time after its client, and would keep the lock until then.
            self.connection.rollback()
            sql.execute("select pg_advisory_unlock(%s)", (ADVISORY_LOCK,))
            self.connection.commit()
        self.connection.close()

    def head(self) -> Head:
        """Return the head of the open log; raises `SourceError` if no log was opened."""
        with self.translated(), self.connection.cursor() as sql:
            head, _ = self._head(sql, lock=False)
            self.connection.commit()
        return head

    def _head(self, sql: psycopg2.extensions.cursor, *, lock: bool) -> tuple[Head, Cursor | None]:
        sql.execute(
            "select number, origin, size, root, cursor from audit.log where closed_at is null"  # noqa: S608 - constants
            " order by number desc" + (" for update" if lock else "")
        )
        row = sql.fetchone()
        if row is None:
            raise SourceError("no log is open; run the migration or `kontor audit log-open`")
        self._number = int(row[0])
        cursor = None if row[4] is None else Cursor.parse(row[4])
        return Head(row[1], int(row[2]), bytes(row[3])), cursor

    def read(self, limit: int) -> PostgresBatch:
        """Open a batch; see `source.EventSource.read`."""
        with self.translated(), self.connection.cursor() as sql:
            head, cursor = self._head(sql, lock=True)
            sql.execute("select pg_current_snapshot()::text")
            (text,) = sql.fetchone() or ("1:1:",)
            _, first, listed = text.split(":")
            running = [int(xid) for xid in listed.split(",") if xid]
            if cursor is None or cursor.system_id != self._system_id:
                begin = cursor.after if cursor is not None and cursor.system_id == _SWEEPING else NIL
                rows, after = self._sweep(sql, limit, int(first), running, begin)
            else:
                rows, after = self._delta(sql, limit, int(first), running, cursor)
        return PostgresBatch(self, head, rows, after)

    def _sweep(
        self, sql: psycopg2.extensions.cursor, limit: int, first: int, running: list[int], begin: str
    ) -> tuple[list[dict[str, object]], Cursor]:
        """Every event without a leaf, oldest first; the cursor is valid once one snapshot has shown all of them."""
        rows = self._fetch(
            sql, f"e.event_id > %s::uuid and {_UNINDEXED} order by e.event_id limit %s", (begin, limit)
        )
        last = str(rows[-1][1]["event_id"]) if rows else begin
        if len(rows) < limit and begin != NIL:
            # Whether something came in behind, since the rounds before looked there.
            rows += self._fetch(
                sql,
                f"e.event_id <= %s::uuid and {_UNINDEXED} order by e.event_id limit %s",
                (begin, limit - len(rows)),
            )
        complete = len(rows) < limit
        state = Cursor(
            first,
            NIL if complete else last,
            tuple((xid, NIL) for xid in running),
            self._system_id if complete else _SWEEPING,
        )
        return [event for _, event in rows], state

    def _delta(
        self, sql: psycopg2.extensions.cursor, limit: int, first: int, running: list[int], cursor: Cursor
    ) -> tuple[list[dict[str, object]], Cursor]:
        """The events of transactions that ended since the cursor's snapshot."""
        still, pending = set(running), []
        rows: list[tuple[int, dict[str, object]]] = []
        for xid, after in cursor.open:
            room = limit - len(rows)
            if xid in still or not room:
                pending.append((xid, after))
                continue
            found = self._fetch(
                sql,
                f"e.xid = %s::text::xid8 and e.event_id > %s::uuid and {_UNINDEXED} "
                "order by e.event_id limit %s",
                (xid, after, room),
            )
            rows += found
            if len(found) == room:
                pending.append((xid, str(found[-1][1]["event_id"])))
        room, next_xid, after = limit - len(rows), cursor.next_xid, cursor.after
        if room:
            found = self._fetch(
                sql,
                f"(e.xid, e.event_id) > (%s::text::xid8, %s::uuid) and {_UNINDEXED} "
                "order by e.xid, e.event_id limit %s",
                (next_xid, after, room),
            )
            rows += found
            full = len(found) == room
            next_xid, after = (found[-1][0], str(found[-1][1]["event_id"])) if full else (first, NIL)
            pending += [(xid, NIL) for xid in running if cursor.next_xid <= xid < next_xid]
        return [event for _, event in rows], Cursor(next_xid, after, tuple(pending), self._system_id)

    def _fetch(
        self, sql: psycopg2.extensions.cursor, where: str, values: tuple[object, ...]
    ) -> list[tuple[int, dict[str, object]]]:
        # Only constants of this file are put together here; values go in as parameters.
        sql.execute(f"select {COLUMNS}, e.xid::text from audit.event e where {where}", values)  # noqa: S608
        return [(int(row[-1]), event_of(row, self._tenant)) for row in sql.fetchall()]

    def copy_leaves(
        self, sql: psycopg2.extensions.cursor, start: int, items: Iterable[tuple[str, bytes]]
    ) -> None:
        """Insert leaf rows from `start` on, inside the open transaction."""
        number = self._number
        rows = "".join(
            f"{number}\t{index}\t{event_id}\t\\\\x{digest.hex()}\n"
            for index, (event_id, digest) in enumerate(items, start)
        )
        sql.copy_expert("copy audit.leaf (log, index, event_id, leaf_hash) from stdin", io.StringIO(rows))

    def move_head(
        self, sql: psycopg2.extensions.cursor, size: int, root: bytes, cursor: Cursor | None
    ) -> None:
        """Record the new head and cursor, inside the open transaction."""
        sql.execute(
            "update audit.log set size = %s, root = %s, cursor = coalesce(%s::jsonb, cursor) "
            "where number = %s",
            (size, root, None if cursor is None else cursor.encode(), self._number),
        )

    def leaves(self, start: int, stop: int) -> Iterator[StoredLeaf]:
        """Yield leaves recomputed from rows; an event row that is gone has an empty leaf."""
        with self.translated(), self.connection.cursor() as sql:
            self._head(sql, lock=False)
            found = list(
                stored_leaves(
                    sql, self._tenant, self._number, "l.index >= %s and l.index < %s", (start, stop)
                )
            )
            self.connection.commit()
        yield from found

    def restore(self, start: int, leaves: Iterable[tuple[bytes, bytes]], root: bytes) -> None:
        """Bring back leaves that a restore of the database lost; see `source.EventSource.restore`."""
        with self.translated(), self.connection.cursor() as sql:
            head, _ = self._head(sql, lock=True)
            if head.size != start:
                raise SourceError("the head moved while leaves were given back")
            iterator, size = iter(leaves), start
            while chunk := list(islice(iterator, 2_000)):
                pairs = []
                for leaf, digest in chunk:
                    if is_pruned(leaf):
                        pairs.append((pruned_event_id(leaf), digest))
                        continue
                    document = orjson.loads(leaf[1:])
                    self._bring_back(sql, document)
                    pairs.append((document["event_id"], digest))
                self.copy_leaves(sql, size, pairs)
                size += len(chunk)
            self.move_head(sql, size, root, None)
            self.connection.commit()

    @staticmethod
    def _bring_back(sql: psycopg2.extensions.cursor, event: Mapping[str, Any]) -> None:
        if event.get("action") == "unsealable_event" and "row_sha256" in event:
            return
        commit = event["payload_commit"]
        sql.execute(
            "insert into audit.event (event_id, occurred_at, event_class, action, outcome, reason, severity,"
            " actor_ref, auth_method, session_ref, request_id, origin, object_type, object_ref, subject_ref,"
            " purpose, policy_version, meta, payload_commit) values"
            " (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::uuid[], %s, %s, %s::jsonb, %s)"
            " on conflict do nothing",
            (
                *(event[name] for name in NAMES[:14]),
                event["subject_ref"] or None,
                *(event["purpose"], event["policy_version"], orjson.dumps(event["meta"]).decode()),
                None if commit is None else bytes.fromhex(commit),
            ),
        )

    def confirm(self) -> None:
        """Wait for the synchronous standbys; see `source.EventSource.confirm`.

        The commit itself already waited for them. This looks again, because a cancelled wait reports success.
        """
        if not self._standbys:
            return
        deadline = time.monotonic() + self._confirm_timeout
        with self.translated(), self.connection.cursor() as sql:
            sql.execute("select pg_current_wal_flush_lsn()")
            (position,) = sql.fetchone() or (None,)
            while True:
                self.connection.commit()
                sql.execute(
                    "select count(*) from pg_stat_replication "
                    "where sync_state in ('sync', 'quorum') and flush_lsn >= %s::pg_lsn",
                    (position,),
                )
                (flushed,) = sql.fetchone() or (0,)
                self.connection.commit()
                if int(flushed) >= self._standbys:
                    return
                if time.monotonic() > deadline:
                    raise SourceError(
                        "no synchronous standby has flushed the newest leaves; nothing is signed"
                    )
                time.sleep(0.005)

    def file_subjects(self) -> None:
        """File what reads have noted for the index of whom events are about, so that no request has to; raises
        `SourceError`.
        """
        with self.translated(), self.connection.cursor() as sql:
            sql.execute("select audit.file_subjects()")
            self.connection.commit()

    def publish(self, size: int, checkpoint: bytes) -> None:
        """Record a checkpoint in `audit.checkpoint`."""
        with self.translated(), self.connection.cursor() as sql:
            sql.execute(
                "insert into audit.checkpoint (log, size, note) values (%s, %s, %s) on conflict do nothing",
                (self._number, size, checkpoint.decode()),
            )
            self.connection.commit()

    def published(self) -> bytes | None:
        """Return the newest checkpoint of the open log."""
        with self.translated(), self.connection.cursor() as sql:
            self._head(sql, lock=False)
            sql.execute(
                "select note from audit.checkpoint where log = %s order by size desc limit 1", (self._number,)
            )
            row = sql.fetchone()
            self.connection.commit()
        return None if row is None else str(row[0]).encode()

    def pruned(self, after: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """See `source.EventSource.pruned`; stops before one whose rows are not deleted yet."""
        found: list[tuple[int, list[tuple[int, int]]]] = []
        with self.translated(), self.connection.cursor() as sql:
            self._head(sql, lock=False)
            sql.execute(
                "select l.index, e.meta -> 'ranges' from audit.event e join audit.leaf l on l.event_id = e.event_id "
                "where e.event_class = 'audit' and e.action = 'prune' and l.log = %s and l.index > %s "
                "order by l.index limit 100",
                (self._number, after),
            )
            for index, ranges in sql.fetchall():
                spans = [(int(first), int(last)) for first, last in ranges]
                sql.execute(
                    "select exists (select from unnest(%s::bigint[], %s::bigint[]) s(low, high) join audit.leaf l "
                    "on l.log = %s and l.index between s.low and s.high join audit.event e on e.event_id = l.event_id)",
                    ([low for low, _ in spans], [high for _, high in spans], self._number),
                )
                (there,) = sql.fetchone() or (True,)
                if there:
                    break
                found.append((int(index), spans))
            self.connection.commit()
        return found

    def wait(self, seconds: float) -> None:
        """Sleep; polling costs two index probes a round."""
        time.sleep(seconds)


def open_log(connection: psycopg2.extensions.connection, origin: str) -> None:
    """Create the first log of an installation, of no leaves; does nothing if one is open. Commits."""
    with connection.cursor() as sql:
        sql.execute(
            "insert into audit.log (number, origin, size, root) select 1, %s, 0, %s "
            "where not exists (select from audit.log)",
            (origin, EMPTY_ROOT),
        )
    connection.commit()
