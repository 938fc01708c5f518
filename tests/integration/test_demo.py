"""Demo data: the same day gives the same rows, every change has its event, and nobody real is in it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from crm_server.demo import load
from crm_server.demo.world import Stage, Surroundings, World
from crm_server.migrations import manage
from tests.conftest import copy_database

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crm_server.local.postgres import Cluster
    from crm_server.settings import Settings

AROUND = Surroundings(
    today=date(2026, 6, 1),
    owners=["00000000-0000-7000-8000-000000000001"],
    teams=["00000000-0000-7000-8000-000000000002"],
    territories=dict.fromkeys(("DE", "GB", "US", "CN"), "00000000-0000-7000-8000-000000000003"),
    pipeline="00000000-0000-7000-8000-000000000004",
    stages=[
        Stage(f"00000000-0000-7000-8000-00000000001{number}", kind, probability)
        for number, (kind, probability) in enumerate([("open", 10), ("open", 60), ("won", 100), ("lost", 0)])
    ],
    products=[],
)


class TestWorld:
    def test_the_same_day_gives_the_same_rows(self) -> None:
        assert World(0, 200, AROUND, 1001).make().rows == World(0, 200, AROUND, 1001).make().rows

    def test_addresses_and_numbers_are_of_the_reserved_kinds(self) -> None:
        rows = World(1, 300, AROUND, 1001).make().rows["crm.contact"]
        for row in rows:
            mail, phone = row[15], row[16]
            assert re.search(r"@example\.(com|org|net)$", mail)
            assert re.match(
                r"\+49(3023125|6990009|4066969|2214710|8999998)|\+44(1632960|2079460|1614960|1174960|1314960)"
                r"|\+1\d{3}55501|\+86100|\+86210",
                phone,
            ), phone


def _settings(cluster: Cluster, name: str, settings: Settings) -> Settings:
    return replace(settings, values={**settings.values, "database_url": cluster.url_for(manage.APP, name)})


def _stop(_job: object) -> int:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def loaded(cluster: Cluster, template: str, settings: Settings) -> Connection:
    copy_database(cluster, template, "kontor_demo")
    load.load(_settings(cluster, "kontor_demo", settings), 1000, today=date(2026, 6, 1))
    engine = manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_demo"))
    with engine.connect() as connection:
        yield connection


class TestLoading:
    def test_a_thousand_contacts_arrive_with_all_that_belongs_to_them(self, loaded: Connection) -> None:
        counts = load.count(loaded.engine)
        assert counts["crm.contact"] == 1000
        assert counts["crm.account"] > 100
        assert counts["crm.opportunity"] > 100
        assert counts["crm.activity"] > 500
        assert counts["crm.case"] > 50

    def test_a_load_that_was_cut_off_is_continued_and_a_whole_one_is_not_doubled(
        self, cluster: Cluster, template: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy_database(cluster, template, "kontor_demo_again")
        own = _settings(cluster, "kontor_demo_again", settings)
        engine = manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_demo_again"))
        # After the users and before the first chunk.
        monkeypatch.setattr(load, "_load_chunk", _stop)
        with pytest.raises(KeyboardInterrupt):
            load.load(own, 300, today=date(2026, 6, 1))
        monkeypatch.undo()
        assert load.missing(engine, 300) == [0]
        load.load(own, 300, today=date(2026, 6, 1))
        assert load.count(engine)["crm.contact"] == 300
        assert load.missing(engine, 300) == []

    @pytest.mark.parametrize("table", ["account", "contact", "lead", "opportunity", "activity", '"case"'])
    def test_no_row_is_without_its_event(self, loaded: Connection, table: str) -> None:
        missing = f"""select count(*) from crm.{table} r
                       where not exists (select from audit.event e where e.event_id = r.event_id)"""
        assert loaded.execute(text(missing)).scalar_one() == 0

    def test_the_history_has_won_and_lost_deals_and_open_ones_that_close_later(
        self, loaded: Connection
    ) -> None:
        rows = dict(
            loaded.execute(text("select status, count(*) from crm.opportunity group by status")).all()
        )
        assert set(rows) == {"open", "won", "lost"}
        late = "select count(*) from crm.opportunity where status = 'open' and close_date < '2026-06-01'"
        assert loaded.execute(text(late)).scalar_one() == 0
