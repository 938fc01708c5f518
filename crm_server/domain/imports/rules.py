"""What a domain adds to the values of a row before they are written in bulk.

The record services say these rules for one record; here they are said for many. An entity without rules of
its own gets ``Rules``, which only keeps hierarchies free of cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, any_, bindparam, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from compliance.datamap import DataMap, EntityDef
from crm_server.domain.accounts.queries import MAX_DEPTH
from crm_server.domain.accounts.services import lock_hierarchy
from crm_server.domain.pipeline.services import forecast_of
from crm_server.importing.errors import ValueProblem, _
from crm_server.importing.mapping import FieldProblem
from crm_server.kernel.clock import now
from crm_server.kernel.ids import new_id
from crm_server.kernel.values import currencies

if TYPE_CHECKING:
    from uuid import UUID

    from crm_server.domain.imports.bulk import Change
    from crm_server.kernel.actor import Actor

__all__ = [
    "AccountRules",
    "LeadRules",
    "OpportunityRules",
    "RefusedError",
    "Rules",
    "check_currency",
    "rules_for",
]

_DEPTH = 50


class RefusedError(Exception):
    """A rule refuses some row of the batch; the runner finds it by halving and reports ``problem``."""

    def __init__(self, problem: FieldProblem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class Rules:
    """No rules of its own: what the row says is what is stored."""

    written: frozenset[str] = frozenset()
    """Fields that the rules may write; they are compared and restored by an undo like mapped ones."""

    def __init__(self, datamap: DataMap, entity: EntityDef, actor: Actor) -> None:
        self._datamap = datamap
        self._entity = entity
        self._actor = actor
        self._loops = [name for name, item in entity.fields.items() if item.policy.target == entity.name]

    def complete(self, _values: dict[str, Any]) -> list[FieldProblem]:
        """Derives values that the row leaves out, before records are looked up."""
        return []

    def create(self, _record: dict[str, Any]) -> None:
        """Completes a new record."""

    def change(self, _after: dict[str, Any], _old: dict[str, Any]) -> None:
        """Completes a change; ``old`` are the stored values. Raises RefusedError."""

    def begin(
        self, _connection: Connection, _records: Sequence[dict[str, Any]], _changes: Sequence[Change]
    ) -> None:
        """What must be done before the batch is written."""

    def saved(
        self, connection: Connection, records: Sequence[dict[str, Any]], changes: Sequence[Change]
    ) -> None:
        """Checks what was written, and writes what follows from it."""
        self.check(connection, records, changes)

    def check(
        self, connection: Connection, _records: Sequence[dict[str, Any]], changes: Sequence[Change]
    ) -> None:
        """A change that closes a circle of superiors raises RefusedError."""
        for name in self._loops:
            moved = [change.record_id for change in changes if change.after.get(name) is not None]
            if moved and self._circle(connection, name, moved):
                told = _("A record can't stand above itself, nor above those that it reports to.")
                raise RefusedError(FieldProblem(name, "cycle", told))

    def _circle(self, connection: Connection, name: str, keys: Sequence[Any]) -> bool:
        table = self._entity.table
        start = (
            select(table.c.id.label("start"), table.c[name].label("above"), literal(1).label("depth"))
            .where(table.c.id == any_(bindparam("keys", list(keys), type_=ARRAY(Uuid))))
            .cte("up", recursive=True)
        )
        step = (
            select(start.c.start, table.c[name], start.c.depth + 1)
            .join(table, table.c.id == start.c.above)
            .where(start.c.depth < _DEPTH, start.c.above != start.c.start)
        )
        up = start.union_all(step)
        return (
            connection.execute(select(up.c.start).where(up.c.above == up.c.start).limit(1)).first()
            is not None
        )


# Levels from the topmost account down to each moved one, and from there to its lowest; deleted ones don't count.
_TOO_DEEP = text("""
with recursive up as (
  select id as start, parent_id, 1 as levels, 1 as hops from crm.account where id = any(:keys)
  union all
  select up.start, a.parent_id, up.levels + (a.deleted_at is null or up.hops = 1)::int, up.hops + 1
    from up join crm.account a on a.id = up.parent_id where up.hops <= :depth),
down as (
  select id as start, id, 0 as levels from crm.account where id = any(:keys)
  union all
  select down.start, a.id, down.levels + 1
    from down join crm.account a on a.parent_id = down.id
   where a.deleted_at is null and down.levels <= :depth)
select 1 from (select start, max(levels) as levels from up group by start) above
  join (select start, max(levels) as levels from down group by start) below using (start)
 where above.levels + below.levels > :depth limit 1
""").bindparams(bindparam("keys", type_=ARRAY(Uuid)))


class AccountRules(Rules):
    """A hierarchy without circles, and of no more levels than the account service allows."""

    def begin(
        self, connection: Connection, records: Sequence[dict[str, Any]], changes: Sequence[Change]
    ) -> None:
        """Whoever moves accounts waits for others who do, as in the service."""
        if self._moved(records, changes):
            lock_hierarchy(connection)

    def check(
        self, connection: Connection, records: Sequence[dict[str, Any]], changes: Sequence[Change]
    ) -> None:
        """A row that makes the hierarchy too deep raises RefusedError."""
        super().check(connection, records, changes)
        moved = self._moved(records, changes)
        if moved and connection.execute(_TOO_DEEP, {"keys": moved, "depth": MAX_DEPTH}).first() is not None:
            told = _("The hierarchy would have more than ${n} levels.", mapping={"n": MAX_DEPTH})
            raise RefusedError(FieldProblem("parent_id", "too_deep", told))

    @staticmethod
    def _moved(records: Sequence[dict[str, Any]], changes: Sequence[Change]) -> list[UUID]:
        """Keys of accounts that get another parent; new ones get their key here if they have none yet."""
        keys = [
            record.setdefault("id", new_id()) for record in records if record.get("parent_id") is not None
        ]
        return keys + [change.record_id for change in changes if change.after.get("parent_id") is not None]


class LeadRules(Rules):
    """Leads are converted by an act of their own, and a converted one is history."""

    written = frozenset({"status"})

    def complete(self, values: dict[str, Any]) -> list[FieldProblem]:
        """Nobody becomes a customer by a list."""
        if values.get("status") == "converted":
            return [
                FieldProblem("status", "lead.converted", _("A lead is converted with the action for it."))
            ]
        return []

    def change(self, _after: dict[str, Any], old: dict[str, Any]) -> None:
        """A converted lead can't be changed."""
        if old.get("status") == "converted":
            told = _("This lead has been converted. Import the contact that was made from it.")
            raise RefusedError(FieldProblem("", "lead.converted", told))


class OpportunityRules(Rules):
    """Stage, pipeline, probability, status and dates are kept in step, and each step goes into the
    history.
    """

    written = frozenset(
        {
            "pipeline_id",
            "stage_id",
            "probability",
            "status",
            "closed_at",
            "close_date",
            "stage_since",
            "forecast",
            "lost_reason",
        }
    )

    def __init__(self, connection: Connection, datamap: DataMap, entity: EntityDef, actor: Actor) -> None:
        super().__init__(datamap, entity, actor)
        stage, pipeline = datamap["stage"].table, datamap["pipeline"].table
        query = (
            select(stage.c.id, stage.c.pipeline_id, stage.c.name, stage.c.kind, stage.c.probability)
            .join(pipeline, pipeline.c.id == stage.c.pipeline_id)
            .where(stage.c.deleted_at.is_(None), pipeline.c.deleted_at.is_(None))
            .order_by(pipeline.c.is_default.desc(), stage.c.position)
        )
        self._stages = {row.id: row for row in connection.execute(query)}

    def complete(self, values: dict[str, Any]) -> list[FieldProblem]:
        """The pipeline follows from the stage, or the stage is looked for in the pipeline that the row
        names.
        """
        stage = self._stages.get(values.get("stage_id"))
        if stage is None:
            if not self._stages:
                return [
                    FieldProblem("stage_id", "stage.none", _("There is no pipeline yet. Make one first."))
                ]
            return []
        pipeline = values.get("pipeline_id") or stage.pipeline_id
        if pipeline != stage.pipeline_id:
            # Stages of several pipelines share names; the one of the named pipeline is meant.
            name = stage.name.casefold()
            twins = [item for item in self._stages.values() if item.pipeline_id == pipeline]
            stage = next((item for item in twins if item.name.casefold() == name), None)
            if stage is None:
                return [FieldProblem("stage_id", "stage.pipeline", _("The pipeline has no such stage."))]
        values["stage_id"], values["pipeline_id"] = stage.id, stage.pipeline_id
        return []

    def create(self, record: dict[str, Any]) -> None:
        """The first open stage where none is given."""
        stage = self._stages.get(record.get("stage_id"))
        if stage is None:
            wanted = {None, record.get("pipeline_id")}
            stage = next(
                item
                for item in self._stages.values()
                if item.kind == "open" and (record.get("pipeline_id") is None or item.pipeline_id in wanted)
            )
        record["stage_id"], record["pipeline_id"] = stage.id, stage.pipeline_id
        self._enter(record, {}, stage)

    def change(self, after: dict[str, Any], old: dict[str, Any]) -> None:
        """A new stage brings its probability and status along."""
        stage = self._stages.get(after.get("stage_id"))
        if stage is not None:
            after["pipeline_id"] = stage.pipeline_id
            self._enter(after, old, stage)

    @staticmethod
    def _enter(record: dict[str, Any], old: dict[str, Any], stage: Any) -> None:
        moment = now()
        closed = stage.kind != "open"
        if record.get("probability") is None or closed:
            record["probability"] = stage.probability
        record["status"] = stage.kind
        record["stage_since"] = moment
        record["closed_at"] = moment if closed else None
        if closed:
            record["forecast"] = "closed" if stage.kind == "won" else "omitted"
            if not (record.get("close_date") or old.get("close_date")):
                record["close_date"] = moment.date()
        else:
            record["forecast"] = forecast_of(record["probability"])
        if stage.kind == "lost":
            # Other systems seldom say why; a person can say it later.
            record["lost_reason"] = record.get("lost_reason") or old.get("lost_reason") or "other"

    def saved(
        self, connection: Connection, records: Sequence[dict[str, Any]], changes: Sequence[Change]
    ) -> None:
        """The history of stages."""
        super().saved(connection, records, changes)
        author = self._actor.id if self._actor.id.int else None
        steps = [(record["id"], None, record) for record in records]
        steps += [
            (change.record_id, change.before.get("stage_id"), change.after)
            for change in changes
            if "stage_id" in change.after
        ]
        rows = [
            {
                "id": new_id(), "opportunity_id": key, "from_stage_id": before, "to_stage_id": after["stage_id"],
                "amount": after.get("amount"), "currency": after.get("currency"), "changed_at": after["stage_since"],
                "changed_by": author,
            }
            for key, before, after in steps
        ]  # fmt: skip
        if rows:
            connection.execute(insert(self._datamap["stage_change"].table), rows)


def check_currency(code: str) -> None:
    """Raises ValueProblem ``currency.unknown`` for what is no code of ISO 4217."""
    if code not in currencies():
        raise ValueProblem("currency.unknown", _("Unknown currency. Write its three-letter code, like EUR."))


def rules_for(entity: EntityDef, connection: Connection, datamap: DataMap, actor: Actor) -> Rules:
    """The rules of an entity."""
    match entity.name:
        case "account":
            return AccountRules(datamap, entity, actor)
        case "opportunity":
            return OpportunityRules(connection, datamap, entity, actor)
        case "lead":
            return LeadRules(datamap, entity, actor)
        case _:
            return Rules(datamap, entity, actor)
