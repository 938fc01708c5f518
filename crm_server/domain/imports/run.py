"""Runs an import: survey, dry run, the import itself. A killed run goes on where its last batch was
committed.

Called by the job and by ``kontor import``. Each batch is one transaction that writes the records, their
events, the notes and the cursor together, so that no row is done twice and none is lost.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from compliance.audit.events import Event, write
from compliance.datamap import DataMap
from crm_server.domain.imports.batch import OUTSIDE, Batch
from crm_server.domain.imports.custom import widened
from crm_server.domain.imports.models import Import, ImportRow
from crm_server.domain.imports.plan import Counts, Plan, Work, problem_json
from crm_server.domain.imports.references import Resolver
from crm_server.domain.imports.rules import RefusedError, rules_for
from crm_server.domain.imports.sealing import forget_made
from crm_server.domain.imports.storage import open_file
from crm_server.importing.detect import FileProfile
from crm_server.importing.errors import ImportFileError, _
from crm_server.importing.mapping import FULL_NAME, FieldProblem, ImportMapping, compile_mapping, surveyed
from crm_server.importing.readers import open_rows
from crm_server.importing.rows import SourceRow
from crm_server.importing.values.convert import Style, survey
from crm_server.kernel import db
from crm_server.kernel.blindindex import upkeep
from crm_server.kernel.clock import now
from crm_server.kernel.errors import ValidationFailed
from crm_server.kernel.integrity import explain

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.kernel.actor import Actor

__all__ = ["BATCH", "Runner"]

BATCH = 2_000
"""Rows in one transaction: enough to make the commit cheap, few enough to show progress and to repeat
quickly."""
_ATTEMPTS = 5
_COLLECTIONS = gc.get_threshold()
_OBJECTS = 200_000
"""So many new objects bring a collection while an import runs; a batch has about half as many."""

Report = Callable[[int, int], None]
Numbered = tuple[int, SourceRow]
Translate = Callable[[object, str], str]


class StoppedError(Exception):
    """The import is no longer ours to run: somebody stopped it, or another worker has it."""


@contextmanager
def _few_collections() -> Iterator[None]:
    """A batch holds more objects than the collector lets pass before it looks at all of them, and few are in cycles.

    What the process holds already need not be looked at by any collection of these minutes.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS, *_COLLECTIONS[1:])
    try:
        yield
    finally:
        gc.set_threshold(*_COLLECTIONS)
        gc.unfreeze()


class Runner:
    """Runs imports in one process, as one actor."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        datamap: DataMap,
        actor: Actor,
        *,
        translate: Translate | None = None,
        batch: int = BATCH,
    ) -> None:
        self._sessions = sessions
        self._datamap = datamap
        self._actor = actor
        self._translate = translate
        self._size = batch

    def run(self, import_id: UUID, report: Report | None = None) -> Counts:
        """Does what the import's phase says ("check" or "run"); returns its counts.

        ``report`` hears (rows done, rows in all) after each batch. A file that can't be read leaves the
        import in state "failed" with the code and line of the error, and raises ImportFileError.
        """
        try:
            job = self._begin(import_id)
        except ImportFileError as error:
            self._fail(import_id, error)
            raise
        if job is None:
            return Counter()
        try:
            with _few_collections():
                return self._rows(job, report)
        except StoppedError:
            return Counter()
        except ImportFileError as error:
            self._fail(import_id, error)
            raise

    def _begin(self, import_id: UUID) -> Import | None:
        """Takes the import; surveys the file the first time. None when there is nothing to do."""
        with db.open_session(self._sessions, self._actor) as session:
            job = session.get(Import, import_id, with_for_update=True)
            if job is None or job.state not in {"queued", "working"} or job.phase not in {"check", "run"}:
                return None
            entity = widened(session, self._datamap, self._datamap[job.entity])
            mapping = ImportMapping.from_json(job.mapping)
            if any(feed.field not in entity.fields and feed.field != FULL_NAME for feed in mapping.feeds):
                # A custom field was taken out of use after the mapping had been checked.
                raise ImportFileError("mapping.unknown_field", _("There is no such field to import into."))
            resumed = job.state == "working" and job.phase == "run" and job.rows_done > 0
            if not resumed:
                job.rows_done, job.counts, job.styles = 0, {}, None
                job.started_at, job.finished_at, job.error, job.error_line = now(), None, None, None
                session.execute(delete(ImportRow).where(ImportRow.import_id == import_id))
                forget_made(session, import_id)
            if job.styles is None:
                file = open_file(session, import_id, job.size)
                total = 0

                def counted() -> Iterator[SourceRow]:
                    nonlocal total
                    for total, row in enumerate(open_rows(file, FileProfile.from_json(job.profile)), start=1):  # noqa: B007 - counted
                        yield row

                styles = survey(counted(), surveyed(mapping, entity), mapping.options)
                job.styles = {name: dataclasses.asdict(style) for name, style in styles.items()}
                job.rows_total = total
            job.state = "working"
            db.commit(session)
            session.expunge(job)
            return job

    def _rows(self, job: Import, report: Report | None) -> Counts:
        mapping = ImportMapping.from_json(job.mapping)
        styles = {
            name: Style(**{**data, "notes": tuple(data["notes"])})
            for name, data in (job.styles or {}).items()
        }
        dry = job.phase == "check"
        total = job.rows_total or 0
        if not dry:
            upkeep.prepare(self._sessions, self._actor, self._datamap[job.entity], total - job.rows_done)
        with self._sessions() as reading:
            # Chunks are read outside the transactions that write.
            connection = reading.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            entity = widened(reading, self._datamap, self._datamap[job.entity])
            read = compile_mapping(mapping, entity, styles, translate=self._translate)
            resolver = Resolver(reading, self._datamap, self._actor, job.id, dry=dry)
            rules = rules_for(entity, connection, self._datamap, self._actor)
            plan = Plan(self._datamap, entity, mapping, read, self._actor, resolver, rules, job.id, dry)
            batch = Batch(plan)
            file: BinaryIO = open_file(reading, job.id, job.size)
            rows = enumerate(
                open_rows(file, FileProfile.from_json(job.profile), skip=job.rows_done), start=job.rows_done
            )
            done = job.rows_done
            # While the database writes one batch, another thread reads and parses the next.
            with ThreadPoolExecutor(1, "import-ahead") as ahead:
                following = ahead.submit(self._ahead, rows, batch)
                while (current := following.result())[0]:
                    chunk, works = current
                    following = ahead.submit(self._ahead, rows, batch)
                    self._commit(job.id, batch, chunk, works)
                    done += len(chunk)
                    if report is not None:
                        report(done, total)
        return self._end(job.id, dry=dry)

    def _ahead(self, rows: Iterator[Numbered], batch: Batch) -> tuple[list[Numbered], list[Work]]:
        """The next rows and what they say."""
        chunk = list(islice(rows, self._size))
        return chunk, batch.parse(chunk)

    def _commit(self, import_id: UUID, batch: Batch, rows: Sequence[Numbered], works: list[Work]) -> None:
        """One batch in one transaction. Rows that the database refuses are found by halving."""
        for attempt in range(_ATTEMPTS):
            try:
                self._once(import_id, batch, rows, works)
            except (IntegrityError, DataError, RefusedError, ProgrammingError) as error:
                batch.forget()
                if isinstance(error, ProgrammingError) and not _outside(error):
                    raise
                if len(rows) == 1:
                    self._refuse(import_id, rows[0], error)
                    return
                middle = len(rows) // 2
                for part in (rows[:middle], rows[middle:]):
                    self._commit(import_id, batch, part, batch.parse(part))
                return
            except DBAPIError as error:
                batch.forget()
                if not db.is_retryable(error) or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
                works = batch.parse(rows)
            else:
                return

    def _once(self, import_id: UUID, batch: Batch, rows: Sequence[Numbered], works: list[Work]) -> None:
        with db.open_session(self._sessions, self._actor) as session:
            job = self._own(session, import_id, rows[0][0])
            counts = batch.run(session, works)
            job.counts = dict(Counter(job.counts) + counts)
            job.rows_done = rows[-1][0] + 1
            db.commit(session)

    def _refuse(
        self,
        import_id: UUID,
        row: tuple[int, SourceRow],
        error: IntegrityError | DataError | RefusedError | ProgrammingError,
    ) -> None:
        """Notes a row that PostgreSQL refused, with the field that its constraint is about."""
        with db.open_session(self._sessions, self._actor) as session:
            job = self._own(session, import_id, row[0])
            problem = FieldProblem("", "row.refused", _("The database refused the row."))
            if isinstance(error, RefusedError):
                problem = error.problem
            elif isinstance(error, ProgrammingError):
                problem = FieldProblem("", "row.scope", OUTSIDE)
            elif isinstance(error, IntegrityError):
                told = explain(error, self._datamap[job.entity])
                if isinstance(told, ValidationFailed):
                    first = told.errors[0]
                    problem = FieldProblem(first.pointer.lstrip("/"), first.code, first.message)
            session.add(
                ImportRow(
                    import_id=import_id, ordinal=row[0], line=row[1].number, outcome="failed",
                    problems=[problem_json(problem)],
                )
            )  # fmt: skip
            job.counts = dict(
                Counter(job.counts) + Counter({"failed": 1, f"problem:{problem.field} {problem.code}": 1})
            )
            job.rows_done = row[0] + 1
            db.commit(session)

    def _own(self, session: Session, import_id: UUID, cursor: int) -> Import:
        """The import, locked; another worker or a stop shows in its cursor or state."""
        job = session.get(Import, import_id, with_for_update=True)
        if job is None or job.state != "working" or job.rows_done != cursor:
            raise StoppedError
        return job

    def _end(self, import_id: UUID, *, dry: bool) -> Counts:
        with db.open_session(self._sessions, self._actor) as session:
            job = session.get(Import, import_id, with_for_update=True)
            if job is None or job.state != "working":
                raise StoppedError
            job.state = "checked" if dry else "done"
            job.finished_at = now()
            forget_made(session, import_id)
            counts: Counts = Counter(job.counts)
            if not dry:
                write(session.connection(), self._actor, [finished(job, counts)])
            db.commit(session)
            return counts

    def _fail(self, import_id: UUID, error: ImportFileError) -> None:
        with db.open_session(self._sessions, self._actor) as session:
            session.execute(
                update(Import)
                .where(Import.id == import_id)
                .values(state="failed", error=error.code, error_line=error.line, finished_at=now())
            )
            forget_made(session, import_id)
            db.commit(session)


def _outside(error: ProgrammingError) -> bool:
    """Whether a row rule refused a change: 42501, insufficient privilege."""
    return getattr(error.orig, "pgcode", None) == "42501"


def finished(job: Import, counts: Counts) -> Event:
    """The audit event of a finished import: counts, and the hash of the file that came in."""
    told: dict[str, Any] = {
        name: counts[name] for name in ("created", "updated", "merged", "skipped", "failed", "referenced")
    }
    return Event(
        "job",
        "import",
        object_type=25,
        object_ref=job.id,
        meta={"entity": job.entity, "sha256": job.sha256.hex(), "rows": job.rows_done, **told},
    )


def running(session: Session) -> list[UUID]:
    """Imports that say they are at work; after a crash the job starts them again."""
    return list(session.scalars(select(Import.id).where(Import.state == "working")))
