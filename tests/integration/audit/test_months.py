"""Events go into the tables of their month, and never nowhere. # AUD-1"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, pool
from sqlalchemy.exc import OperationalError

from compliance.audit import months
from compliance.audit.events import Event, write
from compliance.audit.months import ALL, tables_of
from tests.integration.audit.conftest import Cluster, as_role


class Somebody:
    """Whoever acts."""

    id = uuid.uuid4()
    origin = "web"
    auth_method = "password"
    session_ref = request_id = None
    purpose = "operation"


NOW = datetime.now(UTC)
THIS_MONTH = f"{NOW:%Y_%m}"
MIDNIGHT = (NOW.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
"""When the next month begins."""


def key_at(moment: datetime) -> uuid.UUID:
    """A UUIDv7 of a moment."""
    milliseconds = round(moment.timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | secrets.randbits(62))


@pytest.fixture
def engine(cluster: Cluster, guarded: str) -> Iterator[Engine]:
    """The database as the application sees it."""
    made = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: as_role(cluster, guarded, "kontor_app"),
        poolclass=pool.NullPool,
    )
    yield made
    made.dispose()


def lies_in(cluster: Cluster, database: str, event_id: uuid.UUID) -> str:
    """The table in which an event is, by the owner's word."""
    with cluster.connect(database) as connection, connection.cursor() as sql:
        sql.execute("select tableoid::regclass::text from audit.event where event_id = %s", (str(event_id),))
        (found,) = sql.fetchall()
    return str(found[0])


def run(cluster: Cluster, database: str, statement: str) -> None:
    """Run a statement as the owner."""
    with cluster.connect(database) as connection, connection.cursor() as sql:
        sql.execute(statement)


def told(engine: Engine, *moments: datetime) -> list[uuid.UUID]:
    """Write events with the keys of these moments in one transaction; returns the keys."""
    events = [Event("read", "list", event_id=key_at(moment)) for moment in moments]
    with engine.begin() as connection:
        write(connection, Somebody(), events)
    return [event.event_id for event in events]


class TestTables:
    def test_an_event_goes_into_the_tables_of_its_month(
        self, cluster: Cluster, guarded: str, engine: Engine
    ) -> None:
        assert tables_of([key_at(NOW)], engine).event == f"audit_part.event_{THIS_MONTH}"
        (event,) = told(engine, NOW)
        assert lies_in(cluster, guarded, event) == f"audit_part.event_{THIS_MONTH}"

    def test_the_month_is_that_of_the_key_in_utc(
        self, cluster: Cluster, guarded: str, engine: Engine
    ) -> None:
        before, after = told(engine, MIDNIGHT - timedelta(milliseconds=1)), told(engine, MIDNIGHT)
        assert tables_of(before, engine).event == f"audit_part.event_{THIS_MONTH}"
        assert tables_of(after, engine).payload == f"audit_part.event_payload_{MIDNIGHT:%Y_%m}"
        assert lies_in(cluster, guarded, before[0]) == f"audit_part.event_{THIS_MONTH}"
        assert lies_in(cluster, guarded, after[0]) == f"audit_part.event_{MIDNIGHT:%Y_%m}"

    def test_events_of_two_months_at_once_are_placed_by_postgresql(
        self, cluster: Cluster, guarded: str, engine: Engine
    ) -> None:
        now, later = told(engine, NOW, MIDNIGHT)
        assert lies_in(cluster, guarded, now) == f"audit_part.event_{THIS_MONTH}"
        assert lies_in(cluster, guarded, later) == f"audit_part.event_{MIDNIGHT:%Y_%m}"

    def test_an_event_of_a_wrong_clock_is_kept(self, cluster: Cluster, guarded: str, engine: Engine) -> None:
        (event,) = told(engine, NOW + timedelta(days=900))
        assert lies_in(cluster, guarded, event) == "audit_part.event_other"

    def test_a_month_that_is_made_later_is_found(
        self, cluster: Cluster, guarded: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(months, "_AGAIN", 0.0)
        later = NOW + timedelta(days=300)
        assert tables_of([key_at(later)], engine) is ALL
        run(cluster, guarded, "select audit.make_partitions(12)")
        assert tables_of([key_at(later)], engine).event == f"audit_part.event_{later:%Y_%m}"
        (event,) = told(engine, later)
        assert lies_in(cluster, guarded, event) == f"audit_part.event_{later:%Y_%m}"

    def test_without_the_right_to_it_a_month_isnt_named(
        self, cluster: Cluster, guarded: str, engine: Engine
    ) -> None:
        run(cluster, guarded, "revoke usage on schema audit_part from kontor_app")
        assert tables_of([key_at(NOW)], engine) is ALL
        (event,) = told(engine, NOW)
        assert lies_in(cluster, guarded, event) == f"audit_part.event_{THIS_MONTH}"

    def test_a_key_that_tells_no_time_is_placed_by_postgresql(self, engine: Engine) -> None:
        assert tables_of([uuid.UUID(int=2**128 - 1)], engine) is ALL

    def test_a_database_that_doesnt_answer_is_no_reason_to_fail_here(self) -> None:
        def away() -> None:
            raise OperationalError("connect", {}, Exception("refused"))

        engine = create_engine("postgresql+psycopg2://", creator=away)
        assert tables_of([key_at(NOW)], engine) is ALL
