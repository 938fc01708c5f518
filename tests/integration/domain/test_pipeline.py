"""Opportunities stay in step with their stage, their lines and the board."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_server.domain.catalog.queries import price_at
from crm_server.domain.pipeline.models import StageChange
from crm_server.domain.pipeline.queries import board, default_pipeline, more_cards, stages_of
from crm_server.kernel.clock import now
from crm_server.kernel.errors import BadQuery, Conflict, ValidationFailed
from crm_server.models import datamap
from tests.integration.domain.conftest import Service, codes


@pytest.fixture
def stages(session: Session) -> dict[str, Any]:
    pipeline = default_pipeline(session)
    assert pipeline is not None
    return {stage.name: stage for stage in stages_of(session, pipeline.id)}


def steps(session: Session, deal: Any) -> list[tuple[Any, Any]]:
    rows = session.scalars(
        select(StageChange).where(StageChange.opportunity_id == deal.id).order_by(StageChange.id)
    )
    return [(row.from_stage_id, row.to_stage_id) for row in rows]


class TestStages:
    def test_a_new_opportunity_starts_in_the_first_stage_of_the_default_pipeline(
        self, session: Session, service: Service, stages: dict[str, Any]
    ) -> None:
        deal = service("opportunity").create({"name": "Deal"})
        first = stages["Prospecting"]
        assert (deal.stage_id, deal.pipeline_id) == (first.id, first.pipeline_id)
        assert (deal.probability, deal.status, deal.forecast, deal.currency) == (
            10,
            "open",
            "pipeline",
            "EUR",
        )
        assert deal.stage_since is not None
        assert steps(session, deal) == [(None, first.id)]

    def test_a_move_keeps_everything_in_step(
        self, session: Session, service: Service, stages: dict[str, Any]
    ) -> None:
        deal = service("opportunity").create({"name": "Deal"})
        service("opportunity").move(deal.id, stages["Negotiation"].id, version=1)
        assert (deal.probability, deal.forecast, deal.status, deal.closed_at) == (
            75,
            "best_case",
            "open",
            None,
        )
        service("opportunity").move(deal.id, stages["Won"].id, version=deal.version)
        assert (deal.probability, deal.forecast, deal.status) == (100, "closed", "won")
        assert deal.closed_at == deal.stage_since
        assert deal.close_date == now().date()
        assert [later for _before, later in steps(session, deal)] == [
            stages["Prospecting"].id,
            stages["Negotiation"].id,
            stages["Won"].id,
        ]

    def test_a_lost_one_needs_a_reason(self, service: Service, stages: dict[str, Any]) -> None:
        deal = service("opportunity").create({"name": "Deal"})
        with pytest.raises(ValidationFailed) as refused:
            service("opportunity").move(deal.id, stages["Lost"].id, version=1)
        assert codes(refused) == {"/lost_reason": "required"}
        service("opportunity").move(deal.id, stages["Lost"].id, version=1, lost_reason="price")
        assert (deal.status, deal.probability, deal.forecast, deal.lost_reason) == (
            "lost",
            0,
            "omitted",
            "price",
        )

    def test_it_can_be_opened_again(self, service: Service, stages: dict[str, Any]) -> None:
        deal = service("opportunity").create({"name": "Deal"})
        service("opportunity").move(deal.id, stages["Lost"].id, version=1, lost_reason="price")
        service("opportunity").move(deal.id, stages["Proposal"].id, version=deal.version)
        assert (deal.status, deal.closed_at, deal.lost_reason) == ("open", None, None)
        assert (deal.probability, deal.forecast) == (50, "best_case")

    def test_a_stage_of_another_pipeline_is_refused(self, service: Service) -> None:
        other = service("pipeline").create({"name": "Renewals"})
        stage = service("stage").create({"name": "First", "pipeline_id": str(other.id), "probability": 40})
        deal = service("opportunity").create({"name": "Deal"})
        with pytest.raises(ValidationFailed) as refused:
            service("opportunity").move(deal.id, stage.id, version=1)
        assert codes(refused) == {"/stage_id": "other_pipeline"}
        service("opportunity").update(deal.id, {"pipeline_id": str(other.id)}, version=1)
        assert (deal.stage_id, deal.probability) == (stage.id, 40)

    def test_a_probability_of_ones_own_is_kept_until_the_next_stage(
        self, service: Service, stages: dict[str, Any]
    ) -> None:
        deal = service("opportunity").create({"name": "Deal", "probability": 33})
        assert deal.probability == 33
        service("opportunity").move(deal.id, stages["Qualification"].id, version=1)
        assert deal.probability == 25

    def test_a_stage_in_use_is_not_deleted(self, service: Service, stages: dict[str, Any]) -> None:
        service("opportunity").create({"name": "Deal"})
        with pytest.raises(Conflict):
            service("stage").delete(stages["Prospecting"].id)

    def test_there_is_one_default_pipeline(self, session: Session, service: Service) -> None:
        before = default_pipeline(session)
        new = service("pipeline").create({"name": "New default", "is_default": True})
        session.expire_all()
        assert before is not None
        assert not before.is_default
        found = default_pipeline(session)
        assert found is not None
        assert found.id == new.id


class TestLines:
    def test_the_amount_follows_the_lines(self, session: Session, service: Service) -> None:
        deal = service("opportunity").create({"name": "Deal", "amount": 1})
        raw = {
            "opportunity_id": str(deal.id),
            "quantity_milli": 2500,
            "unit_price": 1999,
            "discount_percent": 10,
        }
        line = service("opportunity_line").create(raw)
        assert (line.total, line.currency) == (4498, "EUR")  # 4497.75
        other = service("opportunity_line").create({"opportunity_id": str(deal.id), "unit_price": 100})
        session.refresh(deal)
        assert deal.amount == 4598
        service("opportunity_line").update(line.id, {"quantity_milli": 1000}, version=1)
        service("opportunity_line").delete(other.id)
        session.refresh(deal)
        assert deal.amount == line.total == 1799

    def test_an_amount_with_lines_is_not_written_by_hand(self, session: Session, service: Service) -> None:
        deal = service("opportunity").create({"name": "Deal"})
        service("opportunity_line").create({"opportunity_id": str(deal.id), "unit_price": 100})
        session.refresh(deal)
        with pytest.raises(ValidationFailed) as refused:
            service("opportunity").update(deal.id, {"amount": 5, "currency": "USD"}, version=deal.version)
        assert codes(refused) == {"/amount": "follows_lines", "/currency": "follows_lines"}

    def test_a_total_that_no_column_holds_is_refused(self, service: Service) -> None:
        deal = service("opportunity").create({"name": "Deal"})
        raw = {"opportunity_id": str(deal.id), "quantity_milli": 10**12, "unit_price": 10**15}
        with pytest.raises(ValidationFailed) as refused:
            service("opportunity_line").create(raw)
        assert codes(refused) == {"/unit_price": "range"}

    def test_the_price_comes_from_the_list_that_is_valid(self, session: Session, service: Service) -> None:
        product = service("product").create({"name": "Pump"})
        today = now().date()
        for name, start, end, price in (
            ("Always", None, None, 1000),
            ("This season", today - timedelta(days=9), today + timedelta(days=9), 900),
            ("Next season", today + timedelta(days=10), None, 800),
        ):
            raw: dict[str, Any] = {"name": name, "currency": "EUR"}
            raw |= {"valid_from": str(start)} if start else {}
            raw |= {"valid_to": str(end)} if end else {}
            listed = service("price_list").create(raw)
            service("price").create(
                {"price_list_id": str(listed.id), "product_id": str(product.id), "unit_price": price}
            )

        def on(day: date) -> int | None:
            found = price_at(session, product.id, "EUR", day)
            return found.unit_price if found else None

        assert (on(today - timedelta(days=99)), on(today), on(today + timedelta(days=20))) == (1000, 900, 800)
        assert price_at(session, product.id, "USD", today) is None
        deal = service("opportunity").create({"name": "Deal"})
        line = service("opportunity_line").create(
            {"opportunity_id": str(deal.id), "product_id": str(product.id)}
        )
        assert line.unit_price == 900

    def test_a_price_list_does_not_end_before_it_begins(self, service: Service) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("price_list").create(
                {"name": "Odd", "currency": "EUR", "valid_from": "2026-02-01", "valid_to": "2026-01-01"}
            )
        assert codes(refused) == {"/valid_to": "order"}


class TestBoard:
    def test_it_counts_and_sums_by_stage_and_currency(
        self, session: Session, service: Service, stages: dict[str, Any]
    ) -> None:
        owner = None
        for amount, currency in ((1000, "EUR"), (500, "EUR"), (700, "CNY")):
            service("opportunity").create({"name": "Deal", "amount": amount, "currency": currency})
        shown = board(session, datamap(), owner_id=owner)
        column = shown.columns[0]
        assert [item.name for item in shown.columns] == list(stages)
        assert column.count == 3
        assert column.sums == {"EUR": 1500, "CNY": 700}
        assert column.weighted == {"EUR": 150, "CNY": 70}

    def test_its_cards_are_paged_without_gaps_or_repeats(
        self, session: Session, service: Service, stages: dict[str, Any]
    ) -> None:
        made = set()
        for day in (3, 1, 1, 2, None, None, None):
            raw = {"name": f"Due {day}"} | ({"close_date": f"2026-12-{day:02}"} if day else {})
            made.add(service("opportunity").create(raw).id)
        column = board(session, datamap(), cards=2).columns[0]
        seen, following = list(column.cards), column.next
        while following:
            page, following = more_cards(session, datamap(), column.stage_id, cards=2, after=following)
            seen += page
        assert len(seen) == len(made)
        assert {card["id"] for card in seen} == made
        dates = [card["close_date"] for card in seen]
        assert dates == sorted(day for day in dates if day) + [None] * 3

    def test_a_foreign_cursor_is_a_bad_query(self, session: Session, stages: dict[str, Any]) -> None:
        with pytest.raises(BadQuery):
            more_cards(session, datamap(), stages["Won"].id, after="nonsense")

    def test_who_may_not_see_amounts_sees_none(
        self, session: Session, service: Service, user: Callable[..., Any]
    ) -> None:
        service("opportunity").create({"name": "Deal", "amount": 1000})
        user("crm:opportunity:read", financial="hidden")
        column = board(session, datamap()).columns[0]
        assert column.sums is None
        assert column.weighted is None
        assert "amount" not in column.cards[0]
