"""One batch of rows: read, resolve, compare with what is there, write, and note what became of each.

Called by the runner inside one transaction. A dry run does all of it but the writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from compliance.audit.capture import plain
from compliance.datamap import EntityDef, Semantic
from crm_server.domain.imports.bulk import Bulk, Change
from crm_server.domain.imports.existing import Existing, Finder
from crm_server.domain.imports.models import ImportRow
from crm_server.domain.imports.plan import Counts, Plan, Work, problem_json
from crm_server.domain.imports.rules import check_currency
from crm_server.domain.imports.sealing import seal_notes
from crm_server.importing.errors import ValueProblem, _
from crm_server.importing.mapping import FieldProblem, ReferenceText
from crm_server.importing.rows import SourceRow
from crm_server.importing.values.numbers import Amount
from crm_server.kernel.reach import Place, may_make

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session


__all__ = ["OUTSIDE", "Batch"]

_ROW_PROBLEMS = {
    "row.too_many_cells": _(
        "The row has more cells than there are columns. Check its quotes and delimiters."
    ),
    "row.quotes": _("A quote is opened and never closed. Correct it in the file."),
    "row.card": _("The card is incomplete or has no name."),
}
_REQUIRED = _("This field must be filled in.")
_IN_FILE = _("The same record stands further up in the file.")
_EXISTS = _("The record exists already and was left as it was.")
OUTSIDE = _("Your roles don't let you make or move records outside your own, your teams and territories.")
"""Why a row is refused that lies outside the row rules of whoever imports; its code is `row.scope`."""
_UNREACHED = _(
    "Your roles let you see this record, but not do this with it. Its owner can share it with you."
)


_ELSEWHERE = FieldProblem(
    "", "row.changed", _("Somebody changed the record at the same moment. Import the row again.")
)


class Batch:
    """Does one batch after the other by one plan."""

    def __init__(self, plan: Plan) -> None:
        self._datamap = plan.datamap
        self._entity = plan.entity
        self._mapping = plan.mapping
        self._read = plan.read
        self._actor = plan.actor
        self._resolver = plan.resolver
        self._rules = plan.rules
        self._import_id = plan.import_id
        self._dry = plan.dry
        self._columns = {feed.field: feed.columns for feed in plan.mapping.feeds}
        self._seen: set[int] = set()
        self._fresh: list[int] = []
        self._makeable: set[Place] = set()
        self._required = [name for name, item in plan.entity.fields.items() if _must_be_given(item)]
        known = plan.entity.fields
        money = {known[name].policy.currency_field or "" for name in self._columns if name in known}
        fed = [known[name] for name in self._columns if name in known]
        self._references = [item.name for item in fed if item.semantic is Semantic.REFERENCE]
        self._sums = [item.name for item in fed if item.semantic is Semantic.MONEY]
        compared = {*plan.rules.written, *self._columns, *money}
        self._finder = Finder(plan.entity, plan.mapping.key, compared, plan.import_id)

    def parse(self, rows: Sequence[tuple[int, SourceRow]]) -> list[Work]:
        """What the rows say, without asking the database; may run in another thread."""
        return [self._parse(ordinal, row) for ordinal, row in rows]

    def run(self, session: Session, works: list[Work]) -> Counts:
        """Does the rows; the caller commits. Returns how many of each outcome, and ``field code`` of each
        problem.
        """
        self._fresh.clear()
        made = self._resolver.created
        self._resolve(session, works)
        for work in works:
            self._finish(work)
        keys = {work.key for work in works if work.key is not None and not work.failed}
        existing = self._finder.find(session, keys)
        places = {self._place(work.values) for work in works if not work.failed}
        self._makeable = may_make(session, self._entity, places)
        creates: list[tuple[Work, Existing | None]] = []
        changes: list[tuple[Work, Existing]] = []
        notes: list[dict[str, Any]] = []
        counts: Counts = Counter()
        for work in works:
            if not work.failed:
                self._decide(work, existing, creates, changes, notes, counts)
            if work.failed:
                counts["failed"] += 1
                notes.append(self._note(work, "failed"))
            for problem in work.problems:
                kind = "warning" if problem.warning else "problem"
                counts[f"{kind}:{problem.field} {problem.code}"] += 1
        if not self._dry:
            self._write(session, creates, changes, notes, counts)
        if notes:
            seal_notes(session, self._import_id, notes)
            session.execute(insert(ImportRow.__table__), notes)  # type: ignore[arg-type]
        counts["referenced"] = self._resolver.created - made
        return counts

    def forget(self) -> None:
        """Takes back what was remembered of a batch that was rolled back: its keys, and records that it
        made.
        """
        self._seen.difference_update(self._fresh)
        self._resolver.forget()
        self._finder.forget()

    def _parse(self, ordinal: int, row: SourceRow) -> Work:
        values, problems = self._read(row)
        if row.problem is not None:
            problems.append(FieldProblem("", row.problem, _ROW_PROBLEMS[row.problem]))
        return Work(ordinal, row.number, values, problems)

    def _resolve(self, session: Session, works: Sequence[Work]) -> None:
        self._resolver.use(session)
        wanted = []
        for work in works:
            if work.failed:
                # A row that fails anyway must not leave an account behind.
                continue
            for name in self._references:
                value = work.values.get(name)
                if isinstance(value, ReferenceText):
                    wanted.append((self._target(name), value))
        self._resolver.prepare(wanted)
        for work in works:
            for name in self._references:
                value = work.values.get(name)
                if not isinstance(value, ReferenceText):
                    continue
                if work.failed:
                    del work.values[name]
                    continue
                key, problem = self._resolver.resolve(
                    name, self._target(name), value, self._columns.get(name, ())
                )
                if problem is not None:
                    work.problems.append(problem)
                if key is None:
                    del work.values[name]
                else:
                    work.values[name] = key

    def _target(self, name: str) -> EntityDef:
        return self._datamap[self._entity.fields[name].policy.target or ""]

    def _finish(self, work: Work) -> None:
        """Money into minor units, the domain's own rules, and the key."""
        for name in self._sums:
            value = work.values.get(name)
            if isinstance(value, Amount):
                self._money(work, name, value)
        if not work.failed:
            work.problems += self._rules.complete(work.values)
        names = self._mapping.key
        given = [(name, value) for name in names if (value := work.values.get(name)) is not None]
        if given and len(given) == len(names):
            work.key = tuple([self._finder.normal(name, value) for name, value in given])

    def _money(self, work: Work, name: str, amount: Amount) -> None:
        policy = self._entity.fields[name].policy
        currency_field = policy.currency_field or ""
        named = work.values.get(currency_field) or amount.currency
        currency = named or self._mapping.options.currency
        columns = self._columns.get(name, ())
        try:
            check_currency(currency)
            minor = amount.minor(currency)
        except ValueProblem as problem:
            work.problems.append(FieldProblem(name, problem.code, problem.message, columns))
            return
        low, high = policy.minimum, policy.maximum
        if (low is not None and minor < low) or (high is not None and minor > high):
            work.problems.append(
                FieldProblem(name, "number.range", _("The amount is out of range."), columns)
            )
            return
        work.values[name] = minor
        if not named:
            work.assumed[name] = amount
        if currency_field in self._entity.fields:
            work.values.setdefault(currency_field, currency)

    def _keep_currency(self, work: Work, there: Existing) -> None:
        """A sum without a currency is in that of its record: to change it would change the other sums there."""
        for name, amount in work.assumed.items():
            currency_field = self._entity.fields[name].policy.currency_field or ""
            stored = there.values.get(currency_field)
            if stored is None or stored == work.values.get(currency_field):
                continue
            try:
                work.values[name] = amount.minor(stored)
            except ValueProblem as problem:
                work.problems.append(
                    FieldProblem(name, problem.code, problem.message, self._columns.get(name, ()))
                )
            del work.values[currency_field]

    def _decide(
        self,
        work: Work,
        existing: dict[tuple[str, ...], Existing],
        creates: list[tuple[Work, Existing | None]],
        changes: list[tuple[Work, Existing]],
        notes: list[dict[str, Any]],
        counts: Counts,
    ) -> None:
        """Whether the row is new, changes a record, repeats another row, or stays out."""
        policy = self._mapping.duplicates
        there = existing.get(work.key) if work.key is not None and policy != "create" else None
        seen = work.key is not None and hash(work.key) in self._seen
        repeated = policy != "create" and (
            seen or (there is not None and (there.ours or there.pending is not None))
        )
        if there is None and not repeated:
            self._create(work, existing, creates, counts)
            return
        self._remember(work)
        if repeated:
            work.problems.append(FieldProblem("", "row.repeated", _IN_FILE, warning=True))
        if policy == "skip":
            if not repeated:
                work.problems.append(FieldProblem("", "row.exists", _EXISTS, warning=True))
            counts["skipped"] += 1
            notes.append(self._note(work, "skipped", there.record_id if there is not None else None))
            return
        counts["merged"] += repeated
        if there is not None:
            # A dry run has made nothing, so a repeated row meets no record.
            self._merge(work, there, changes, counts, repeated=repeated)

    def _place(self, values: Mapping[str, Any]) -> Place:
        """Where a new record would stand; it belongs to whoever imports unless the row says otherwise."""
        importer = self._actor.id if self._actor.id.int else None
        return values.get("owner_id", importer), values.get("team_id"), values.get("territory_id")

    def _remember(self, work: Work) -> None:
        if work.key is not None and (mark := hash(work.key)) not in self._seen:
            self._seen.add(mark)
            self._fresh.append(mark)

    def _create(
        self,
        work: Work,
        existing: dict[tuple[str, ...], Existing],
        creates: list[tuple[Work, Existing | None]],
        counts: Counts,
    ) -> None:
        missing = [name for name in self._required if work.values.get(name) is None]
        if missing:
            work.problems += [
                FieldProblem(name, "required", _REQUIRED, self._columns.get(name, ())) for name in missing
            ]
            return
        if self._place(work.values) not in self._makeable:
            work.problems.append(FieldProblem("", "row.scope", OUTSIDE))
            return
        counts["created"] += 1
        fresh = None
        self._remember(work)
        if work.key is not None:
            fresh = Existing(None, 0, work.values, None, ours=True, pending=work.values)
            existing.setdefault(work.key, fresh)
        creates.append((work, fresh))

    def _merge(
        self,
        work: Work,
        there: Existing,
        changes: list[tuple[Work, Existing]],
        counts: Counts,
        *,
        repeated: bool,
    ) -> None:
        self._keep_currency(work, there)
        if work.failed:
            return
        if there.pending is not None:
            there.pending.update({name: value for name, value in work.values.items() if value is not None})
            return
        differing = {name: value for name, value in work.values.items() if there.values.get(name) != value}
        cleared = [name for name in self._required if name in differing and differing[name] is None]
        if cleared:
            work.problems += [
                FieldProblem(name, "required", _REQUIRED, self._columns.get(name, ())) for name in cleared
            ]
            return
        if not differing:
            counts["unchanged"] += not repeated
            return
        counts["updated"] += not repeated
        if there.change is None:
            there.change = Change(there.record_id, there.version, {}, {}, there.subject)  # type: ignore[arg-type]
            changes.append((work, there))
        for name, value in differing.items():
            there.change.before.setdefault(name, there.values.get(name))
            there.change.after[name] = value
        there.values.update(differing)

    def _write(
        self,
        session: Session,
        creates: Sequence[tuple[Work, Existing | None]],
        changes: Sequence[tuple[Work, Existing]],
        notes: list[dict[str, Any]],
        counts: Counts,
    ) -> None:
        connection = session.connection()
        bulk = Bulk(session, self._datamap, self._entity, self._actor)
        records = [work.values for work, _fresh in creates]
        for record in records:
            bulk.compose(record)
            if "owner_id" in self._entity.fields and self._actor.id.int:
                record.setdefault("owner_id", self._actor.id)
            self._rules.create(record)
        moved = [there.change for _work, there in changes if there.change is not None]
        self._rules.begin(connection, records, moved)
        bulk.insert(records, self._import_id)
        made = [(work.values["id"], work.key) for work, _fresh in creates if work.key is not None]
        self._finder.made(session, made)
        for _work, there in changes:
            change = there.change
            if change is None:
                continue
            bulk.compose(change.after, there.values)
            self._rules.change(change.after, there.values)
            change.before |= {
                name: there.values.get(name) for name in change.after if name not in change.before
            }
        done = set(bulk.update(moved))
        unchanged = self._finder.unchanged(
            session, {change.record_id: change.version for change in moved if change.record_id not in done}
        )
        for work, there in changes:
            change = there.change
            if change is None:
                continue
            if change.record_id not in done:
                problem = _ELSEWHERE
                if change.record_id in unchanged:
                    problem = FieldProblem("", "row.scope", _UNREACHED)
                work.problems.append(problem)
                counts["updated"] -= not there.ours
                counts["failed"] += 1
                counts[f"problem: {problem.code}"] += 1
                notes.append(self._note(work, "failed"))
                continue
            before = None if there.ours else {name: plain(value) for name, value in change.before.items()}
            note = self._note(work, "merged" if there.ours else "updated", change.record_id)
            notes.append(note | {"record_version": change.version + 1, "before": before})
        self._rules.saved(connection, records, moved)

    def _note(self, work: Work, outcome: str, record_id: UUID | None = None) -> dict[str, Any]:
        return {
            "import_id": self._import_id,
            "ordinal": work.ordinal,
            "line": work.line,
            "outcome": outcome,
            "record_id": record_id,
            "record_version": None,
            "problems": [problem_json(problem) for problem in work.problems] or None,
            "before": None,
        }


def _must_be_given(item: Any) -> bool:
    return item.policy.required and item.writable and not item.defaulted
