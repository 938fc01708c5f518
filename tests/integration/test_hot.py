"""Prepared statements on pooled connections: one transaction each, the actor told, a lost connection survived."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import psycopg2.errors
import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.errors import Unavailable
from crm_server.kernel.hot import Hot, Prepared
from crm_server.kernel.ids import new_id
from crm_server.kernel.listing import Reading
from crm_server.migrations import manage
from crm_server.settings import Settings

WHO = Prepared(
    "test_who", "select current_setting('kontor.actor', true), $1 || '!', pg_backend_pid()", ("text",)
)


@pytest.fixture
def hot(settings: Settings) -> Iterator[Hot]:
    made = Hot(settings)
    yield made
    made.dispose()


class TestHot:
    def test_a_statement_runs_with_its_values_and_knows_who_acts(self, hot: Hot) -> None:
        actor = Actor(id=uuid4(), name="Anna", origin=Origin.API)
        assert hot.run(WHO, ("it's %s",), actor)[0][:2] == (str(actor.id), "it's %s!")

    def test_the_actor_of_one_request_is_not_the_actor_of_the_next(self, hot: Hot) -> None:
        hot.run(WHO, ("a",), Actor(id=uuid4(), name="Anna"))
        assert hot.run(WHO, ("b",))[0][0] in {None, ""}

    def test_a_lost_connection_is_opened_again_and_the_statement_prepared_anew(
        self, hot: Hot, cluster, settings: Settings
    ) -> None:
        first = hot.run(WHO, ("a",))[0][2]
        superuser: Engine = manage.owner_engine(cluster.superuser_url)
        with superuser.connect() as connection:
            connection.execute(text("select pg_terminate_backend(:pid)"), {"pid": first})
        assert hot.run(WHO, ("b",))[0][2] != first

    def test_who_finds_all_connections_in_use_waits_for_one_and_no_longer_than_told(
        self, settings: Settings
    ) -> None:
        made = Hot(replace(settings, values={**settings.values, "pool_size": 1, "pool_timeout": 1}))
        first = made.run(WHO, ("a",))[0][2]
        held = made._take()
        with pytest.raises(PoolTimeout):
            made.run(WHO, ("b",))
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(made.run, WHO, ("c",))
            made._stack.put(held)
            assert waiting.result()[0][2] == first
        made.dispose()
        assert made.run(WHO, ("d",))[0][2] != first, "what is disposed of opens anew when it is used again"
        made.dispose()

    def test_a_connection_that_broke_without_a_word_meets_no_request(self, hot: Hot) -> None:
        first = hot.run(WHO, ("a",))[0][2]
        held: Any = hot._take()
        held.dbapi_connection.close()
        hot._stack.put(held)
        assert hot.run(WHO, ("b",))[0][2] != first

    def test_a_connection_that_has_served_for_long_is_opened_anew(
        self, hot: Hot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = hot.run(WHO, ("a",))[0][2]
        assert hot.run(WHO, ("b",))[0][2] == first
        monkeypatch.setattr("crm_server.kernel.hot._RENEWED", 0)
        assert hot.run(WHO, ("c",))[0][2] != first


class TestEventsOfReads:
    """# AUD-10"""

    def test_an_event_is_committed_when_the_read_goes_on(self, hot: Hot, engine: Engine) -> None:
        reading, subject = Reading(Actor(id=new_id(), name="Anna", origin=Origin.API), "read"), new_id()
        reading.tell(hot, {"from": "ü\\"}, object_type=2, subjects=[str(subject)])
        assert written(engine, reading.event_id) == [(reading.actor.id, [subject], {"from": "ü\\"}, None)]

    def test_what_was_searched_for_is_written_with_it(self, hot: Hot, engine: Engine) -> None:
        reading = Reading(system_actor(), "list", payload=(bytes(range(32)), b"sealed"))
        reading.tell(hot, {})
        ((*_rest, body),) = written(engine, reading.event_id)
        assert bytes(body) == b"sealed"

    def test_a_read_whose_event_cannot_be_written_is_refused(self, hot: Hot) -> None:
        reading = Reading(system_actor(), "read")
        reading.tell(hot, {})
        with pytest.raises(psycopg2.errors.UniqueViolation):
            reading.tell(hot, {})

    def test_a_database_that_takes_no_events_refuses_the_read_until_one_does(
        self, settings: Settings
    ) -> None:
        made = Hot(replace(settings, values={**settings.values, "pool_size": 1}))
        made.run_once("set default_transaction_read_only = on", {}, system_actor())
        Reading(system_actor(), "read").tell(made, {})  # through another connection
        made.run_once("set default_transaction_read_only = on", {}, system_actor())
        write = Prepared("test_refused", "delete from identity.session where false", ())
        with pytest.raises(Unavailable):
            made.run(write, (), system_actor(), deadline=0)
        made.dispose()

    def test_a_connection_lost_after_the_commit_refuses_the_read_and_tells_of_it_once(
        self, hot: Hot, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        once, lost = hot._once, [psycopg2.OperationalError("lost")]

        def losing(*values: Any) -> Any:
            found = once(*values)
            if lost:
                raise lost.pop()
            return found

        monkeypatch.setattr(hot, "_once", losing)
        reading = Reading(system_actor(), "read")
        with pytest.raises(Unavailable):
            reading.tell(hot, {})
        assert len(written(engine, reading.event_id)) == 1

    @pytest.mark.parametrize("waits, mode", [(False, "off"), (True, "on")])
    def test_a_site_says_whether_it_must_be_on_the_disk(
        self, settings: Settings, *, waits: bool, mode: str
    ) -> None:
        made = Hot(replace(settings, values={**settings.values, "pool_size": 1, "audit_reads_wait": waits}))
        asked = Prepared("test_waits", "select current_setting('synchronous_commit')", ())
        # Throw-away clusters of tests don't wait at all; this connection does.
        made.run_once("set synchronous_commit = on", {}, system_actor())
        assert made.run(asked, (), system_actor()) == [(mode,)]
        assert made.run(asked, ()) == [("on",)], "for that statement alone"
        made.dispose()


def written(engine: Engine, key: UUID) -> list[tuple[Any, ...]]:
    """Who acted, data subjects, facts and sealed payload of an event."""
    found = text(
        "select actor_ref, subject_ref, meta, body from audit.event left join audit.event_payload using (event_id) "
        "where event_id = :key"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(found, {"key": key})]
