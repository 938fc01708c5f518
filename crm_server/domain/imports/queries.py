"""Reading imports: the list, the state with its progress, a preview of the file, problem rows, the error
file.

Called by pages, API and command line. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from translationstring import TranslationString

from compliance.datamap import DataMap
from compliance.datamap.text import DOMAIN, _
from crm_server.domain.imports.custom import widened
from crm_server.domain.imports.models import Import, ImportRow, SavedMapping
from crm_server.domain.imports.storage import open_file
from crm_server.importing.detect import FileProfile
from crm_server.importing.mapping import (
    FULL_NAME,
    FieldProblem,
    ImportMapping,
    ReferenceText,
    compile_mapping,
)
from crm_server.importing.readers import open_rows
from crm_server.importing.texts import translate
from crm_server.importing.values.convert import Style
from crm_server.importing.values.numbers import Amount
from crm_server.importing.writers.csv_writer import write_csv
from crm_server.kernel.clock import now
from crm_server.kernel.errors import NotFound

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.kernel.actor import Actor

__all__ = ["ImportState", "PreviewRow", "ProblemRow", "error_file", "list_imports", "one_import", "preview",
           "problem_rows", "reasons", "saved_mappings"]  # fmt: skip

Translate = Callable[[object], str]

HEADER = (_("Line in the file"), _("Not accepted"), _("Reason"))
"""The first columns of an error file."""


@dataclass(frozen=True, slots=True)
class ImportState:
    """An import as people see it. ``rate`` is rows a second, ``left`` the seconds that it will still take."""

    id: UUID
    entity: str
    filename: str
    size: int
    state: str
    phase: str | None
    profile: FileProfile
    mapping: ImportMapping
    counts: Mapping[str, int]
    notes: tuple[tuple[str, str], ...]
    rows_total: int | None
    rows_done: int
    error: str | None
    error_line: int | None
    created_at: datetime
    finished_at: datetime | None
    has_file: bool
    rate: float | None
    left: float | None

    @property
    def running(self) -> bool:
        """Whether a page should ask again."""
        return self.state in {"queued", "working"}

    @property
    def percent(self) -> int:
        """Share of the rows that are done, 0 to 100."""
        return round(100 * self.rows_done / self.rows_total) if self.rows_total else 0

    def count(self, name: str) -> int:
        """How many rows ended so: created, updated, unchanged, merged, skipped, failed, referenced …."""
        return int(self.counts.get(name, 0))

    def to_json(self) -> dict[str, Any]:
        """Plain data for API and ``--json``."""
        outcomes = {name: number for name, number in self.counts.items() if ":" not in name}
        found = {
            kind: {
                key.partition(":")[2].strip(): number
                for key, number in self.counts.items()
                if key.startswith(f"{kind}:")
            }
            for kind in ("problem", "warning")
        }
        return {
            "id": str(self.id), "entity": self.entity, "filename": self.filename, "size": self.size,
            "state": self.state, "phase": self.phase, "profile": self.profile.to_json(),
            "mapping": self.mapping.to_json(), "counts": outcomes, "problems": found["problem"],
            "warnings": found["warning"], "notes": [list(note) for note in self.notes],
            "rows_total": self.rows_total, "rows_done": self.rows_done,
            "rows_per_second": round(self.rate, 1) if self.rate else None,
            "seconds_left": round(self.left, 1) if self.left is not None else None,
            "error": self.error, "error_line": self.error_line, "created_at": self.created_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None, "has_file": self.has_file,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row of the file beside what the mapping makes of it; ``problems`` are those of the cells alone."""

    line: int
    cells: tuple[str | None, ...]
    values: Mapping[str, str]
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """A row that was not simply taken, with its reasons in the reader's language."""

    line: int
    outcome: str
    record_id: UUID | None
    reasons: tuple[tuple[str, str], ...]


def list_imports(session: Session, actor: Actor, *, limit: int = 100) -> list[ImportState]:
    """The actor's imports, newest first."""
    query = select(Import).order_by(Import.created_at.desc(), Import.id.desc()).limit(limit)
    if not actor.all_permissions:
        query = query.where(Import.created_by == actor.id)
    return [_state(job) for job in session.scalars(query)]


def one_import(session: Session, actor: Actor, import_id: UUID) -> ImportState:
    """One import. Raises NotFound for others' as for none."""
    job = session.get(Import, import_id, populate_existing=True)
    if job is None or not (actor.all_permissions or job.created_by == actor.id):
        raise NotFound
    return _state(job)


def _state(job: Import) -> ImportState:
    rate = left = None
    if job.started_at is not None and job.rows_done and job.phase != "undo":
        seconds = ((job.finished_at or now()) - job.started_at).total_seconds()
        rate = job.rows_done / seconds if seconds > 0 else None
        if rate and job.state == "working" and job.rows_total:
            left = (job.rows_total - job.rows_done) / rate
    notes = tuple((name, note) for name, style in (job.styles or {}).items() for note in style["notes"])
    return ImportState(
        job.id, job.entity, job.filename, job.size, job.state, job.phase, FileProfile.from_json(job.profile),
        ImportMapping.from_json(job.mapping), job.counts, notes, job.rows_total, job.rows_done, job.error,
        job.error_line, job.created_at, job.finished_at, job.has_file, rate, left,
    )  # fmt: skip


def preview(session: Session, datamap: DataMap, state: ImportState, *, rows: int = 5) -> list[PreviewRow]:
    """The first rows of the file, and what the mapping makes of them."""
    if not state.has_file:
        return []
    file = open_file(session, state.id, state.size)
    styles = {name: Style(date_order=state.mapping.options.date_order) for name in state.profile.columns}
    entity = widened(session, datamap, datamap[state.entity])
    # The mapping may still name what there is not; the page says so above the preview.
    known = tuple(
        feed for feed in state.mapping.feeds if feed.field in entity.fields or feed.field == FULL_NAME
    )
    read = compile_mapping(replace(state.mapping, feeds=known), entity, styles, translate=translate)
    found = []
    for row in islice(open_rows(file, state.profile), rows):
        values, problems = read(row)
        cells = tuple(row.values.get(name) for name in state.profile.columns)
        shown = {name: _shown(value) for name, value in values.items() if value is not None}
        found.append(PreviewRow(row.number, cells, shown, tuple(problems)))
    return found


def _shown(value: Any) -> str:
    match value:
        case ReferenceText():
            return value.text
        case Amount():
            return f"{value.value} {value.currency or ''}".strip()
        case _:
            return str(value)


def problem_rows(
    session: Session,
    state: ImportState,
    translate: Translate,
    *,
    outcomes: tuple[str, ...] = ("failed",),
    limit: int = 50,
) -> list[ProblemRow]:
    """The first rows that ended so, with their reasons."""
    query = (
        select(ImportRow.line, ImportRow.outcome, ImportRow.record_id, ImportRow.problems)
        .where(ImportRow.import_id == state.id, ImportRow.outcome.in_(outcomes))
        .order_by(ImportRow.ordinal)
        .limit(limit)
    )
    return [
        ProblemRow(line, outcome, record_id, tuple(reasons(_told(outcome, problems), translate)))
        for line, outcome, record_id, problems in session.execute(query)
    ]


def _told(outcome: str, problems: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Of a row that failed, what failed it; of others all that was noted."""
    return [item for item in problems or [] if outcome != "failed" or not item.get("warning")]


def reasons(problems: list[dict[str, Any]], translate: Translate) -> Iterator[tuple[str, str]]:
    """(columns or field, sentence) of stored problems, in the language of ``translate``."""
    for problem in problems:
        text = TranslationString(problem["message"], domain=DOMAIN, mapping=problem.get("mapping"))
        yield ", ".join(problem.get("columns") or ()) or problem["field"], translate(text)


def error_file(session: Session, state: ImportState, translate: Translate) -> Iterator[bytes]:
    """The rows that were not imported, as CSV: line, field, reason, and the original cells, ready to be
    corrected.

    The file can be uploaded again as it is: its own three columns are not mapped to anything.
    """
    header = [translate(text) for text in HEADER]
    columns = state.profile.columns
    return write_csv([*header, *columns], _error_rows(session, state, translate))


def _error_rows(session: Session, state: ImportState, translate: Translate) -> Iterator[list[str | None]]:
    query = (
        select(ImportRow.ordinal, ImportRow.line, ImportRow.problems)
        .where(ImportRow.import_id == state.id, ImportRow.outcome == "failed")
        .order_by(ImportRow.ordinal)
        .execution_options(yield_per=1000)
    )
    rows = iter(enumerate(open_rows(open_file(session, state.id, state.size), state.profile)))
    for ordinal, line, problems in session.execute(query):
        told = list(reasons(_told("failed", problems), translate))
        cells: list[str | None] = []
        for place, row in rows:
            if place == ordinal:
                cells = [row.values.get(name) for name in state.profile.columns]
                break
        yield [
            str(line),
            "; ".join(field for field, _text in told),
            "; ".join(text for _field, text in told),
            *cells,
        ]


def saved_mappings(session: Session, entity: str) -> list[SavedMapping]:
    """Mappings that were kept for such records, by name."""
    return list(
        session.scalars(select(SavedMapping).where(SavedMapping.entity == entity).order_by(SavedMapping.name))
    )
