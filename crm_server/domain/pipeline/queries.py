"""What other domains and pages read of the pipeline: the default, and the board."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select

from crm_server.domain import cursors
from crm_server.domain.pipeline.models import Opportunity, Pipeline, Stage
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import NotFound
from crm_server.kernel.presenter import Presentation, presentation

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap

CLOSED_DAYS = 90
"""How far back the columns of won and lost deals reach: a board shows what is going on, not ten years of history."""
CARD_FIELDS = (
    "id",
    "version",
    "name",
    "account_id",
    "contact_id",
    "amount",
    "currency",
    "probability",
    "close_date",
    "owner_id",
    "stage_id",
    "stage_since",
    "status",
    "forecast",
    "next_step",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One stage. `sums` and `weighted` hold minor units by currency; None where the actor may not see amounts.

    `next` is the cursor of the further cards, None when all are here.
    """

    stage_id: UUID
    name: str
    kind: str
    probability: int
    count: int
    sums: dict[str, int] | None
    weighted: dict[str, int] | None
    cards: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class Board:
    """A pipeline with its stages in order."""

    pipeline_id: UUID
    name: str
    columns: list[Column]


def default_pipeline(session: Session) -> Pipeline | None:
    """The default pipeline, else the oldest active one."""
    return session.scalar(
        select(Pipeline)
        .where(Pipeline.deleted_at.is_(None), Pipeline.active)
        .order_by(Pipeline.is_default.desc(), Pipeline.created_at, Pipeline.id)
        .limit(1)
    )


def stages_of(session: Session, pipeline_id: UUID) -> list[Stage]:
    """The stages of a pipeline in order."""
    return list(
        session.scalars(
            select(Stage)
            .where(Stage.pipeline_id == pipeline_id, Stage.deleted_at.is_(None))
            .order_by(Stage.position, Stage.id)
        )
    )


def board(
    session: Session,
    datamap: DataMap,
    pipeline_id: UUID | None = None,
    *,
    owner_id: UUID | None = None,
    cards: int = 20,
) -> Board:
    """The board of a pipeline: per stage the count, the sums and the first cards, if any are wanted.

    Raises:
        NotFound: no such pipeline.
    """
    pipeline = session.get(Pipeline, pipeline_id) if pipeline_id else default_pipeline(session)
    if pipeline is None or pipeline.deleted_at is not None:
        raise NotFound
    stages = stages_of(session, pipeline.id)
    shown = presentation(datamap["opportunity"], actor_of(session))
    figures = _figures(session, stages, owner_id)
    columns = []
    for stage in stages:
        counted = figures.get(stage.id, [])
        found, following = _cards(session, shown, stage, owner_id, cards, None) if cards else ([], None)
        sees = "amount" in shown.readable
        columns.append(
            Column(
                stage.id,
                stage.name,
                stage.kind,
                stage.probability,
                count=sum(row.number for row in counted),
                sums={row.currency: int(row.total or 0) for row in counted} if sees else None,
                weighted={row.currency: int(row.weighted or 0) for row in counted} if sees else None,
                cards=found,
                next=following,
            )
        )
    return Board(pipeline.id, pipeline.name, columns)


def more_cards(
    session: Session,
    datamap: DataMap,
    stage_id: UUID,
    *,
    owner_id: UUID | None = None,
    cards: int = 20,
    after: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """The cards of one stage from a cursor on, and the next cursor."""
    stage = session.get(Stage, stage_id)
    if stage is None or stage.deleted_at is not None:
        raise NotFound
    shown = presentation(datamap["opportunity"], actor_of(session))
    return _cards(session, shown, stage, owner_id, cards, after)


def _live(kind: str, owner_id: UUID | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [Opportunity.deleted_at.is_(None)]
    if owner_id is not None:
        wanted.append(Opportunity.owner_id == owner_id)
    if kind != "open":
        wanted.append(Opportunity.closed_at >= now() - timedelta(days=CLOSED_DAYS))
    return wanted


def _figures(session: Session, stages: list[Stage], owner_id: UUID | None) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for kinds in (("open",), ("won", "lost")):
        ids = [stage.id for stage in stages if stage.kind in kinds]
        if not ids:
            continue
        rows = session.execute(
            select(
                Opportunity.stage_id,
                Opportunity.currency,
                func.count().label("number"),
                func.sum(Opportunity.amount).label("total"),
                func.round(func.sum(Opportunity.amount * Opportunity.probability) / 100).label("weighted"),
            )
            .where(Opportunity.stage_id.in_(ids), *_live(kinds[0], owner_id))
            .group_by(Opportunity.stage_id, Opportunity.currency)
        )
        for row in rows:
            found.setdefault(row.stage_id, []).append(row)
    return found


def _cards(
    session: Session, shown: Presentation, stage: Stage, owner_id: UUID | None, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    names = [name for name in CARD_FIELDS if name in shown.fields]
    columns = [shown.fields[name].stored for name in names]
    query = (
        select(*columns, Opportunity.close_date.label("_close"), Opportunity.id.label("_id"))
        .where(Opportunity.stage_id == stage.id, *_live(stage.kind, owner_id))
        .order_by(Opportunity.close_date.asc().nulls_last(), Opportunity.id)
        .limit(limit + 1)
    )
    if after is not None:
        close, key = cursors.unpack(after, _date_or_none, UUID)
        later_id = Opportunity.id > key
        query = query.where(
            and_(Opportunity.close_date.is_(None), later_id)
            if close is None
            else or_(
                Opportunity.close_date > close,
                Opportunity.close_date.is_(None),
                and_(Opportunity.close_date == close, later_id),
            )
        )
    rows = session.execute(query).all()
    page = [shown.masked(dict(zip(names, row, strict=False))) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    following = cursors.pack(last[-2] or "", last[-1]) if last is not None else None
    return page, following


def _date_or_none(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
