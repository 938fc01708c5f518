"""Recognises records by a sealed field in a run of many batches, by their tokens and by opening what these leave open.

A token says only which records *may* have a value, so a large import meets most of a table sooner or later. What was
opened is remembered for the run; what other transactions change meanwhile is learnt from the change feed and waits
until a row of the file has its token, and what the run makes itself is told to it. So each record is opened once at
most, and a batch of new rows opens none.

Imports into one table that run at the same time tell each other what they make, a sealed list for each batch: opening
one takes the place of opening some thousand records. A list that is missing costs time and nothing else.

Called by `existing`, inside the transaction of each batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import select

from crm_server.domain.imports.sealing import open_made, seal_made
from crm_server.kernel.blindindex.plan import indexable
from crm_server.kernel.blindindex.tokens import EntityTokens, normal_form
from crm_server.kernel.keys import keys_of
from crm_server.kernel.opening import read_rows
from security.crypto.errors import KeyErased

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef

_CHUNK: Final = 5_000
# What has happened is asked from here on the next time; whose batch this is; and whether somebody wants to know of it.
_BEGIN: Final = """
select pg_current_snapshot()::text, pg_current_xact_id()::text::bigint,
       exists (select from crm.import_job where entity = %s and state = 'working' and phase = 'run' and id <> %s)
"""
_LISTS: Final = """
select xid::text::bigint, import_id, body from crm.import_made
 where entity = %s and field_number = %s and import_id <> %s and not pg_visible_in_snapshot(xid, %s::text::pg_snapshot)
   and xid <> all (%s::text[]::xid8[])
"""
_TELL: Final = """
insert into crm.import_made (import_id, xid, entity, field_number, body) values (%s, %s::text::xid8, %s, %s, %s)
"""
# A run meets what it changes itself again, by record and version.
_CHANGED: Final = (
    "select encode(uuid_send(record_id), 'hex'), version "
    "from kontor.changed_since(%s::smallint, %s::text::pg_snapshot, %s::text[]::xid8[])"
)


class SealedKeys:
    """The values that records have in one sealed field, as far as a run has asked for them.

    Records are known by their keys in hex: the driver gives a text many times faster than a UUID, and it hashes so.

    Args:
        entity: The kind of record.
        name: The sealed field by which records are recognised.
        import_id: Whose run it is.
    """

    def __init__(self, entity: EntityDef, name: str, import_id: UUID) -> None:
        self._entity, self._name, self._import_id = entity, name, import_id
        self._field = entity.fields[name].number
        self._asked: set[tuple[int, int]] = set()
        self._read_all = False
        # Changed by others and not opened yet, by token.
        self._waiting: dict[tuple[int, int], set[str]] = {}
        # Record → its version and its value in normal form; the other way round by value.
        self._known: dict[str, tuple[int, str | None]] = {}
        self._having: dict[str, set[str]] = {}
        self._made: list[str] = []
        # What was visible when the run looked last.
        self._seen: str | None = None
        self._xid, self._heard = 0, False
        # Transactions whose new records are known: those of the run, and those whose lists it has read.
        self._told: set[int] = set()

    def find(self, session: Session, wanted: Collection[str]) -> list[UUID]:
        """Live records that have one of the values (in normal form) in the field, as it is at this moment."""
        self._made.clear()
        begin = session.connection().exec_driver_sql(_BEGIN, (self._entity.name, self._import_id))
        seen, self._xid, self._heard = begin.one()
        changed = self._changed(session)
        tokens = EntityTokens(keys_of(session).keys, session.connection(), self._entity.model)
        if tokens.indexed(self._name):
            for record, token in tokens.stored(self._name, changed):
                self._waiting.setdefault(token, set()).add(record)
            asked = tokens.asked(self._name, wanted)
            candidates = {record.hex for record in tokens.having(asked - self._asked)}
            candidates.update(*(self._waiting.get(token, ()) for token in asked))
            self._open(session, candidates - self._known.keys())
            self._asked |= asked
            for token in asked:
                self._waiting.pop(token, None)
        elif self._read_all:
            self._open(session, changed)
        else:
            everything = session.execute(select(self._entity.table.c.id)).scalars()
            self._open(session, [record.hex for record in everything])
            self._read_all = True
        # Last, so that a search that is broken off is done again as a whole.
        self._seen = seen
        having = self._having
        return [UUID(record) for value in wanted for record in having.get(value, ())]

    def made(self, session: Session, records: Iterable[tuple[UUID, str]]) -> None:
        """Note new records, given with their value in normal form, and tell other imports of them."""
        made = {key.hex: value for key, value in records}
        for record, value in made.items():
            self._note(record, 1, value)
        self._made.extend(made)
        self._told.add(self._xid)
        if made and self._heard:
            body = seal_made(session, self._import_id, self._xid, made)
            values = (self._import_id, self._xid, self._entity.number, self._field, body)
            session.connection().exec_driver_sql(_TELL, values)

    def forget(self) -> None:
        """Take back what was noted since the last search: its transaction was rolled back."""
        for record in self._made:
            self._drop(record)
        self._made.clear()

    def _changed(self, session: Session) -> list[str]:
        """Learn what other transactions have done since the last look; returns records that must be opened."""
        if self._seen is None:
            return []
        connection = session.connection()
        # What the last look saw is over: no transaction before the oldest one that ran then is asked for again.
        oldest = int(self._seen.partition(":")[0])
        self._told = {xid for xid in self._told if xid >= oldest}
        place = (self._entity.number, self._field, self._import_id, self._seen, list(map(str, self._told)))
        for xid, import_id, body in connection.exec_driver_sql(_LISTS, place).all():
            try:
                made = open_made(session, import_id, xid, bytes(body))
            except KeyErased:
                # The import was removed at this moment; its records are looked for like any others.
                continue
            for record, value in made.items():
                if record not in self._known:
                    self._note(record, 1, value)
            self._told.add(xid)
        since = (self._entity.number, self._seen, list(map(str, self._told)))
        rows = connection.exec_driver_sql(_CHANGED, since)
        changed = [
            record
            for record, version in rows.all()
            if (known := self._known.get(record)) is None or known[0] < version
        ]
        for record in changed:
            self._drop(record)
        return changed

    def _open(self, session: Session, records: Iterable[str]) -> None:
        unknown = list(map(UUID, records))
        live = ("deleted_at",) if "deleted_at" in self._entity.fields else ()
        for start in range(0, len(unknown), _CHUNK):
            part = unknown[start : start + _CHUNK]
            names = ("version", self._name, *live)
            for record, row in read_rows(session, self._entity, names, part, once=True).items():
                value = None if row.get("deleted_at") else row[self._name]
                self._note(record.hex, row["version"], normal_of(self._entity, self._name, value))

    def _note(self, record: str, version: int, value: str | None) -> None:
        self._known[record] = (version, value)
        if value is not None:
            self._having.setdefault(value, set()).add(record)

    def _drop(self, record: str) -> None:
        _version, value = self._known.pop(record, (0, None))
        if value is not None:
            self._having[value].discard(record)


def normal_of(entity: EntityDef, name: str, value: Any) -> str | None:
    """The normal form of a value of a sealed field, by which it is compared; None where it has none."""
    if value is None:
        return None
    for item in indexable(entity.model):
        if item.name == name:
            return normal_form(item.transform, value, stored=True)
    return str(value)
