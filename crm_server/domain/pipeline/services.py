"""The rules of pipelines, stages, opportunities and their product lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from compliance.datamap.text import _
from crm_server.domain.base import DomainService
from crm_server.domain.catalog.queries import price_at
from crm_server.domain.pipeline.models import Opportunity, OpportunityLine, Pipeline, Stage, StageChange
from crm_server.domain.pipeline.queries import default_pipeline, stages_of
from crm_server.kernel.clock import now
from crm_server.kernel.db import as_system, setting
from crm_server.kernel.errors import Conflict, FieldError, ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from crm_server.kernel.errors import Errors

LARGEST = 10**15
_FIXED = {"won": 100, "lost": 0}


class PipelineService(DomainService):
    """Pipelines. One is the default."""

    entity_name = "pipeline"

    def saved(self, record: Any, before: Mapping[str, Any] | None) -> None:
        """A new default takes the place of the old."""
        if record.is_default and (before is None or "is_default" in before):
            others = select(Pipeline).where(Pipeline.is_default, Pipeline.id != record.id)
            for other in self.session.scalars(others):
                other.is_default = False
            self._flush()

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Refuse while there are opportunities in it."""
        used = select(Opportunity.id).where(
            Opportunity.pipeline_id == record_id, Opportunity.deleted_at.is_(None)
        )
        with as_system(self.session):
            there = self.session.scalar(used.limit(1)) is not None
        if there:
            raise Conflict(_("There are opportunities in this pipeline. Move them first."))
        return super().delete(record_id, version=version)


class StageService(DomainService):
    """Stages of a pipeline."""

    entity_name = "stage"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Won means 100 % and lost 0 %; a stage in use keeps its pipeline and its kind."""
        kind = self.later(values, record, "kind") or "open"
        if kind in _FIXED:
            values["probability"] = _FIXED[kind]
        if record is None:
            if "position" not in values:
                last = select(func.max(Stage.position)).where(Stage.pipeline_id == values.get("pipeline_id"))
                values["position"] = min((self.session.scalar(last) or 0) + 1, 999)
            return
        for name in ("kind", "pipeline_id"):
            if name in values and values[name] != getattr(record, name) and self._used(record.id):
                errors.add(f"/{name}", "in_use", _("There are opportunities in this stage. Move them first."))

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Refuse while there are opportunities in it."""
        if self._used(record_id):
            raise Conflict(_("There are opportunities in this stage. Move them first."))
        return super().delete(record_id, version=version)

    def _used(self, stage_id: UUID) -> bool:
        query = select(Opportunity.id).where(
            Opportunity.stage_id == stage_id, Opportunity.deleted_at.is_(None)
        )
        with as_system(self.session):
            return self.session.scalar(query.limit(1)) is not None


class OpportunityService(DomainService):
    """Opportunities. Stage, probability, status, forecast and the times of closing are kept in step."""

    entity_name = "opportunity"

    def move(
        self, opportunity_id: UUID, stage_id: UUID, *, version: int | None, lost_reason: str | None = None
    ) -> Any:
        """Bring an opportunity to another stage. A lost one needs a reason; an open stage opens it again.

        Raises:
            LostUpdate: somebody changed it meanwhile.
            ValidationFailed: the stage is of another pipeline, or the reason is missing.
        """
        raw: dict[str, Any] = {"stage_id": str(stage_id)}
        if lost_reason is not None:
            raw["lost_reason"] = lost_reason
        return self.update(opportunity_id, raw, version=version)

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Complete what a stage implies."""
        if record is None:
            values.setdefault("currency", setting(self.session, "default_currency"))
        stage = self._stage(values, record, errors)
        if stage is None:
            return
        if record is None or stage.id != record.stage_id:
            self._enter(values, stage)
        elif record.status in _FIXED and "probability" in values:
            values["probability"] = record.probability
        self._close(values, record, stage, errors)
        if record is not None:
            self._keep_lines_true(values, record, errors)

    def saved(self, record: Any, before: Mapping[str, Any] | None) -> None:
        """Write the step into the history of stages."""
        if before is None or "stage_id" in before:
            self.session.add(
                StageChange(
                    opportunity_id=record.id,
                    from_stage_id=before["stage_id"] if before else None,
                    to_stage_id=record.stage_id,
                    amount=record.amount,
                    currency=record.currency,
                    changed_at=record.stage_since,
                    changed_by=self._author(),
                )
            )
            self._flush()

    def _stage(self, values: dict[str, Any], record: Any | None, errors: Errors) -> Stage | None:
        """The stage that the opportunity will be in; completes pipeline and stage from each other."""
        pipeline_id, stage_id = values.get("pipeline_id"), values.get("stage_id")
        if record is not None:
            moved = pipeline_id not in {None, record.pipeline_id}
            values["pipeline_id"] = pipeline_id = pipeline_id or record.pipeline_id
            stage_id = stage_id or (None if moved else record.stage_id)
        stage = self.session.get(Stage, stage_id) if stage_id else None
        if stage_id and (stage is None or stage.deleted_at is not None):
            values.setdefault("pipeline_id", pipeline_id)
            errors.add("/stage_id", "unknown", _("There is no such record."))
            values.pop("stage_id", None)
            return None
        if pipeline_id is None and stage is not None:
            pipeline_id = stage.pipeline_id
        if pipeline_id is None:
            pipeline = default_pipeline(self.session)
            if pipeline is None:
                errors.add("/pipeline_id", "required", _("There is no pipeline yet. Make one first."))
                return None
            pipeline_id = pipeline.id
        if stage is None:
            stage = next((item for item in stages_of(self.session, pipeline_id) if item.kind == "open"), None)
        if stage is None or stage.pipeline_id != pipeline_id:
            errors.add("/stage_id", "other_pipeline", _("This stage does not belong to the pipeline."))
            return None
        values["pipeline_id"], values["stage_id"] = pipeline_id, stage.id
        return stage

    @staticmethod
    def _enter(values: dict[str, Any], stage: Stage) -> None:
        if stage.kind in _FIXED or values.get("probability") is None:
            values["probability"] = stage.probability
        if stage.kind in _FIXED:
            values["forecast"] = "closed" if stage.kind == "won" else "omitted"
        elif values.get("forecast") in {None, "closed"}:
            values["forecast"] = forecast_of(values["probability"])
        values["status"] = stage.kind
        values["stage_since"] = now()

    def _close(self, values: dict[str, Any], record: Any | None, stage: Stage, errors: Errors) -> None:
        was = record.status if record is not None else None
        if stage.kind == "lost":
            if not self.later(values, record, "lost_reason"):
                errors.add("/lost_reason", "required", _("Say why the opportunity was lost."))
        elif self.later(values, record, "lost_reason"):
            values["lost_reason"] = None
        if stage.kind != was:
            values["closed_at"] = None if stage.kind == "open" else values.get("stage_since", now())
            if stage.kind != "open" and self.later(values, record, "close_date") is None:
                values["close_date"] = now().date()

    def _keep_lines_true(self, values: dict[str, Any], record: Any, errors: Errors) -> None:
        touched = [
            name
            for name in ("amount", "currency")
            if name in values and values[name] != getattr(record, name)
        ]
        if not touched:
            return
        lines = select(OpportunityLine.id).where(OpportunityLine.opportunity_id == record.id).limit(1)
        if self.session.scalar(lines) is None:
            return
        for name in touched:
            errors.add(f"/{name}", "follows_lines", _("It follows from the product lines. Change those."))


def forecast_of(probability: int) -> str:
    """The forecast category that fits a probability in percent, until somebody says otherwise."""
    if probability >= 80:
        return "commit"
    return "best_case" if probability >= 50 else "pipeline"


def line_total(quantity_milli: int, unit_price: int, discount_percent: int) -> int:
    """The total of a line in minor units, rounded half to even once, at the end.

    Args:
        quantity_milli: Thousandths of the product's unit.
        unit_price: Minor units of the currency.
        discount_percent: 0 to 100.
    """
    whole, rest = divmod(quantity_milli * unit_price * (100 - discount_percent), 100_000)
    return whole + (rest > 50_000 or (rest == 50_000 and whole % 2 == 1))


class OpportunityLineService(DomainService):
    """Product lines. The amount of an opportunity with lines is their sum."""

    entity_name = "opportunity_line"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Take currency and price from where they are, and compute the total."""
        opportunity = self.session.get(
            Opportunity, self.later(values, record, "opportunity_id"), with_for_update=True
        )
        if opportunity is None:
            return
        if (
            record is not None
            and values.get("opportunity_id", record.opportunity_id) != record.opportunity_id
        ):
            errors.add(
                "/opportunity_id", "fixed", _("A line stays where it was made. Delete it and add a new one.")
            )
            return
        values["currency"] = opportunity.currency
        product_id = values.get("product_id")
        if product_id is not None and values.get("unit_price") is None and "unit_price" not in values:
            price = price_at(self.session, product_id, opportunity.currency, now().date())
            if price is not None:
                values["unit_price"] = price.unit_price
        numbers = (
            self._number(values, record, name, fallback)
            for name, fallback in (("quantity_milli", 1000), ("unit_price", 0), ("discount_percent", 0))
        )
        values["total"] = line_total(*numbers)
        if abs(values["total"]) > LARGEST:
            errors.add("/unit_price", "range", _("The total of the line is too large."))

    def _number(self, values: dict[str, Any], record: Any | None, name: str, fallback: int) -> int:
        found = self.later(values, record, name)
        return fallback if found is None else found

    def saved(self, record: Any, before: Mapping[str, Any] | None) -> None:
        """Let the amount follow."""
        self._follow(record.opportunity_id)

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Remove a line; without any line the amount stays as it was and can be written again."""
        record = super().delete(record_id, version=version)
        self._follow(record.opportunity_id)
        return record

    def _follow(self, opportunity_id: UUID) -> None:
        lines = select(func.count(), func.sum(OpportunityLine.total)).where(
            OpportunityLine.opportunity_id == opportunity_id
        )
        count, total = self.session.execute(lines).one()
        opportunity = self.session.get(Opportunity, opportunity_id)
        if opportunity is None or not count:
            return
        if int(total) > LARGEST:
            raise ValidationFailed(
                [FieldError("/unit_price", "range", _("The sum of the lines is too large."))]
            )
        if opportunity.amount != int(total):
            opportunity.amount, opportunity.updated_by = int(total), self._author()
            self._flush()


__all__ = ["OpportunityLineService", "OpportunityService", "PipelineService", "StageService", "line_total"]
