"""Takes an import back: what it made goes to the bin, what it changed gets its old values again.

Called by the job. A record that somebody has changed since is left as it is, and the import says so. A
killed undo is simply started again: what is done is no longer found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, exists, or_, select, update
from sqlalchemy.exc import IntegrityError

from compliance.audit.events import Event, write
from compliance.datamap import DataMap, EntityDef, Semantic
from crm_server.domain.imports.bulk import Bulk, Change
from crm_server.domain.imports.custom import load_values, widened
from crm_server.domain.imports.models import Import, ImportRow
from crm_server.domain.imports.plan import Counts, problem_json
from crm_server.domain.imports.rules import RefusedError, rules_for
from crm_server.domain.imports.sealing import old_values
from crm_server.importing.errors import _
from crm_server.importing.mapping import FieldProblem, ImportMapping
from crm_server.kernel import db
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.opening import read_rows

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from compliance.datamap.text import Text
    from crm_server.kernel.actor import Actor

__all__ = ["Undo"]

_SIZE = 500
_CHANGED = _("Somebody has changed the record since the import; it was left as it is.")
_GONE = _("The record is no longer there.")
_REFUSED = _("The old values no longer fit: another record has taken their place.")


class Undo:
    """Undoes imports in one process, as one actor."""

    def __init__(self, sessions: sessionmaker[Session], datamap: DataMap, actor: Actor) -> None:
        self._sessions = sessions
        self._datamap = datamap
        self._actor = actor

    def run(self, import_id: UUID) -> Counts:
        """Undoes the import; returns how many records were deleted, restored and kept."""
        with db.open_session(self._sessions, self._actor) as session:
            job = session.get(Import, import_id, with_for_update=True)
            if job is None or job.phase != "undo" or job.state not in {"queued", "working"}:
                return Counter()
            job.state = "working"
            entity = self._datamap[job.entity]
            mapping = ImportMapping.from_json(job.mapping)
            db.commit(session)
        counts: Counts = Counter()
        size = _SIZE
        while True:
            try:
                step = self._restore(import_id, entity, size)
            except (IntegrityError, RefusedError) as error:
                # Some record's old values no longer fit in; it is found by halving and left as it is.
                if size == 1:
                    counts += self._leave(import_id, error)
                size = max(1, size // 2)
                continue
            if not step:
                break
            counts += step
            size = min(_SIZE, size * 2)
        for target in self._made(entity, mapping):
            counts += self._delete(import_id, target)
        with db.open_session(self._sessions, self._actor) as session:
            job = session.get_one(Import, import_id)
            total = (
                Counter(
                    {name: job.counts.get(name, 0) for name in ("undo_deleted", "undo_restored", "undo_kept")}
                )
                + counts
            )
            job.counts = job.counts | dict(total)
            job.state, job.finished_at = "undone", now()
            meta = {"entity": job.entity, **{name: int(total[name]) for name in total}}
            write(
                session.connection(),
                self._actor,
                [Event("job", "import_undo", object_type=25, object_ref=import_id, meta=meta)],
            )
            db.commit(session)
        return counts

    def _made(self, entity: EntityDef, mapping: ImportMapping) -> list[EntityDef]:
        """The entities of which the import may have made records: its own, then those that it referred to."""
        found = [entity]
        for feed in mapping.feeds:
            target = entity.fields[feed.field].policy.target if feed.field in entity.fields else None
            if feed.missing == "create" and target is not None and self._datamap[target] not in found:
                found.append(self._datamap[target])
        return [item for item in found if "import_id" in item.fields]

    @staticmethod
    def _notes(session: Session, import_id: UUID, size: int) -> list[ImportRow]:
        """The notes of the last ``size`` records that the import changed and that wait to be restored."""
        updated = (ImportRow.import_id == import_id, ImportRow.outcome == "updated")
        last = select(ImportRow.record_id).where(*updated).order_by(ImportRow.ordinal.desc()).limit(size)
        query = select(ImportRow).where(*updated, ImportRow.record_id.in_(last))
        return list(session.scalars(query.order_by(ImportRow.ordinal.desc()).with_for_update()))

    def _leave(self, import_id: UUID, error: IntegrityError | RefusedError) -> Counts:
        """Notes of one record why it keeps what the import wrote."""
        with db.open_session(self._sessions, self._actor) as session:
            notes = self._notes(session, import_id, 1)
            text = error.problem.message if isinstance(error, RefusedError) else _REFUSED
            for note in notes:
                self._keep(note, text)
            db.commit(session)
            return Counter({"undo_kept": len(notes)})

    def _restore(self, import_id: UUID, entity: EntityDef, size: int) -> Counts:
        """One batch of updated records; empty when none is left."""
        with db.open_session(self._sessions, self._actor) as session:
            notes = self._notes(session, import_id, size)
            if not notes:
                return Counter()
            connection = session.connection()
            entity = widened(session, self._datamap, entity)
            present = self._present(connection, entity, [note.record_id for note in notes if note.record_id])
            before = {note.ordinal: old_values(session, note) for note in notes}
            used = {name for old in before.values() for name in old if name in entity.fields}
            sealed = [name for name in used if entity.fields[name].sealed]
            for key, stored in read_rows(session, entity, sealed, list(present)).items():
                present[key] |= stored
            for key, stored in load_values(session, entity, list(present), used).items():
                present[key] |= stored
            # A record that several rows of the file changed is taken back step by step, the last row first.
            changes: dict[UUID, Change] = {}
            counts: Counts = Counter()
            for note in notes:
                row = present.get(note.record_id) if note.record_id else None
                if note.record_id in changes or (row is not None and row["version"] == note.record_version):
                    self._take_back(changes, note, row or {}, entity, before[note.ordinal])
                    note.outcome, note.before = "merged", None
                    counts["undo_restored"] += 1
                else:
                    self._keep(note, _GONE if row is None else _CHANGED)
                    counts["undo_kept"] += 1
            rules = rules_for(entity, connection, self._datamap, self._actor)
            moved = list(changes.values())
            rules.begin(connection, (), moved)
            Bulk(session, self._datamap, entity, self._actor).update(moved)
            rules.check(connection, (), moved)
            db.commit(session)
            return counts

    @staticmethod
    def _take_back(
        changes: dict[UUID, Change],
        note: ImportRow,
        row: Mapping[str, Any],
        entity: EntityDef,
        before: Mapping[str, Any],
    ) -> None:
        record_id = note.record_id
        if record_id is None:
            return
        old = {name: typed(entity, name, value) for name, value in before.items() if name in entity.fields}
        subject = row.get(entity.policy.subject or "")
        change = changes.setdefault(
            record_id, Change(record_id, int(row.get("version") or 0), {}, {}, subject)
        )
        change.after |= old
        change.before |= {name: row.get(name) for name in old if name not in change.before}

    @staticmethod
    def _keep(note: ImportRow, text: Text) -> None:
        note.outcome, note.before = "kept", None
        note.problems = [*(note.problems or ()), problem_json(FieldProblem("", "undo.kept", text))]

    def _present(
        self, connection: Connection, entity: EntityDef, keys: Iterable[UUID]
    ) -> dict[UUID, dict[str, Any]]:
        table = entity.table
        query = select(table).where(table.c.id.in_(list(keys)))
        if "deleted_at" in entity.fields:
            query = query.where(table.c.deleted_at.is_(None))
        return {row["id"]: dict(row) for row in connection.execute(query).mappings()}

    def _delete(self, import_id: UUID, entity: EntityDef) -> Counts:
        """Puts what the import made into the bin, in batches; changed or used records stay."""
        counts: Counts = Counter()
        table = entity.table
        with db.open_session(self._sessions, self._actor) as session:
            query = select(table.c.id).where(table.c.import_id == import_id, table.c.deleted_at.is_(None))
            keys = list(session.execute(query.order_by(table.c.id)).scalars())
            merged = self._versions(session, import_id)
        for start in range(0, len(keys), _SIZE):
            counts += self._delete_some(import_id, entity, keys[start : start + _SIZE], merged)
        return counts

    @staticmethod
    def _versions(session: Session, import_id: UUID) -> dict[UUID, int]:
        """Versions that the import itself left on records which it made and then met again."""
        query = select(ImportRow.record_id, ImportRow.record_version).where(
            ImportRow.import_id == import_id,
            ImportRow.outcome == "merged",
            ImportRow.record_version.is_not(None),
        )
        found: dict[UUID, int] = {}
        for key, version in session.execute(query):
            if key is not None:
                found[key] = max(version or 0, found.get(key, 0))
        return found

    def _delete_some(
        self, import_id: UUID, entity: EntityDef, keys: Sequence[UUID], merged: Mapping[UUID, int]
    ) -> Counts:
        counts: Counts = Counter()
        moment = now()
        author = None if self._actor.id == SYSTEM_ID else self._actor.id
        with db.open_session(self._sessions, self._actor) as session:
            connection = session.connection()
            present = self._present(connection, entity, keys)
            used = self._used(connection, entity, list(present), import_id)
            subject = entity.policy.subject or ""
            changes = [
                Change(
                    key,
                    row["version"],
                    {"deleted_at": moment, "deleted_by": author},
                    {},
                    row.get(subject),
                    "delete",
                )
                for key, row in present.items()
                if row["version"] == merged.get(key, 1) and key not in used
            ]
            done = Bulk(session, self._datamap, entity, self._actor).update(changes)
            counts["undo_deleted"] += len(done)
            counts["undo_kept"] += len(present) - len(done)
            # A record that stays belongs to whoever changed it, and a second undo must not look at it again.
            kept = [key for key in present if key not in set(done)]
            if kept:
                table = entity.table
                connection.execute(
                    update(table)
                    .where(table.c.id.in_(kept))
                    .values(import_id=None, event_id=table.c.event_id)
                )
            db.commit(session)
        return counts

    def _used(
        self, connection: Connection, entity: EntityDef, keys: Sequence[UUID], import_id: UUID
    ) -> set[UUID]:
        """Records among ``keys`` that live records from elsewhere refer to."""
        found: set[UUID] = set()
        for other in self._datamap:
            if "deleted_at" not in other.fields or not keys:
                continue
            columns = [item.stored for item in other.fields.values() if item.policy.target == entity.name]
            for column in columns:
                table = other.table
                foreign = or_(table.c.import_id.is_(None), table.c.import_id != import_id)
                query = select(entity.table.c.id).where(
                    entity.table.c.id.in_(keys),
                    exists().where(column == entity.table.c.id, table.c.deleted_at.is_(None), foreign),
                )
                found |= set(connection.execute(query).scalars())
        return found


def typed(entity: EntityDef, name: str, value: Any) -> Any:
    """A value that was stored as JSON, as the column takes it."""
    if not isinstance(value, str):
        return value
    match entity.fields[name].semantic:
        case Semantic.DATE:
            return date.fromisoformat(value)
        case Semantic.DATETIME:
            return datetime.fromisoformat(value)
        case Semantic.REFERENCE | Semantic.ID:
            return UUID(value)
        case _:
            return value
