"""Events of reads: many in one commit, and nothing leaves before its event is written. # AUD-10, AUD-13"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.errors import Unavailable
from crm_server.kernel.hot import Hot
from crm_server.kernel.ids import new_id
from crm_server.kernel.listing import Reading
from crm_server.kernel.recorder import Recorder, Row
from crm_server.settings import Settings

PATIENCE = 30
FOUND = text(
    "select event_id, xid::text, actor_ref, subject_ref, meta from audit.event where event_id = any(:keys)"
)


@pytest.fixture
def hot(settings: Settings) -> Iterator[Hot]:
    made = Hot(settings)
    yield made
    made.dispose()


def written(engine: Engine, *keys: UUID) -> list[tuple[Any, ...]]:
    """Key, transaction, actor, data subjects and facts of events."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(FOUND, {"keys": list(keys)})]


class TestInTheDatabase:
    def test_an_event_is_committed_when_the_read_goes_on(self, hot: Hot, engine: Engine) -> None:
        reading, subject = Reading(Actor(id=new_id(), name="Anna", origin=Origin.API), "read"), new_id()
        reading.tell(hot, {"from": "ü\\"}, object_type=2, record=str(new_id()), subjects=[str(subject)] * 2)
        ((_key, _xid, actor, subjects, meta),) = written(engine, reading.event_id)
        assert (actor, subjects, meta) == (reading.actor.id, [subject], {"from": "ü\\"})

    @pytest.mark.parametrize("waits, mode", [(False, "off"), (True, "on")])
    def test_a_site_says_whether_it_must_be_on_the_disk(
        self, settings: Settings, *, waits: bool, mode: str
    ) -> None:
        made = Hot(replace(settings, values={**settings.values, "pool_size": 1, "audit_reads_wait": waits}))
        seen: list[Any] = []
        # Throw-away clusters of tests don't wait at all; this connection does.
        with made.engine.connect() as connection:
            connection.exec_driver_sql("set synchronous_commit = on")
            probe = replace(
                made._record_plain, name="probe", sql="select current_setting('synchronous_commit'), $1"
            )
        seen += made.run(probe, ("",))
        assert seen[0][0] == mode
        assert made.run(replace(probe, name="after", before=""), ("",))[0][0] == "on", (
            "for that statement alone"
        )
        made.dispose()

    def test_an_event_with_what_was_searched_for_is_written_with_it(self, hot: Hot, engine: Engine) -> None:
        reading = Reading(system_actor(), "list", payload=(bytes(range(32)), b"sealed"))
        reading.tell(hot, {})
        query = text("select p.body, e.payload_commit from audit.event_payload p join audit.event e using (event_id)"
                     " where event_id = :key")  # fmt: skip
        with engine.connect() as connection:
            (row,) = connection.execute(query, {"key": reading.event_id})
        assert (bytes(row[0]), bytes(row[1])) == (b"sealed", bytes(range(32)))

    def test_a_repeat_after_a_lost_connection_writes_nothing_twice(self, hot: Hot, engine: Engine) -> None:
        plain, searched = (
            Reading(system_actor(), "read", payload=one) for one in (None, (bytes(32), b"sealed"))
        )
        for reading in (plain, searched, plain, searched):
            reading.tell(hot, {})
        assert len(written(engine, plain.event_id, searched.event_id)) == 2

    def test_a_database_that_takes_no_events_refuses_the_read(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Hot(settings)
        monkeypatch.setattr(made, "run", lost)
        with pytest.raises(Unavailable):
            Reading(system_actor(), "read").tell(made, {})
        made.dispose()


class TestTogether:
    """What threads share, with a writer that the test holds."""

    def test_events_that_come_while_one_is_written_share_the_next_commit(self) -> None:
        began, go_on, batches = threading.Event(), threading.Event(), []

        def write(rows: Sequence[Row]) -> None:
            batches.append([row["n"] for row in rows])
            began.set()
            assert go_on.wait(PATIENCE)

        made = Recorder(write, PATIENCE)
        with ThreadPoolExecutor(30) as pool:
            first = pool.submit(made.record, {"n": 0})
            assert began.wait(PATIENCE)
            others = [pool.submit(made.record, {"n": n}) for n in range(1, 30)]
            while len(made._waiting) < 29:
                time.sleep(0.001)
            go_on.set()
            for one in (first, *others):
                one.result(PATIENCE)
        assert batches[0] == [0]
        assert sorted(batches[1]) == list(range(1, 30))
        assert len(batches) == 2

    def test_many_threads_write_each_event_once(self) -> None:
        taken: list[int] = []
        made = Recorder(lambda rows: taken.extend(row["n"] for row in rows), PATIENCE)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: made.record({"n": n}), range(5000)))
        assert sorted(taken) == list(range(5000))
        assert not made._busy

    def test_an_event_that_cannot_be_written_refuses_its_own_read_alone(self) -> None:
        began, go_on = threading.Event(), threading.Event()
        taken: list[int] = []

        def write(rows: Sequence[Row]) -> None:
            began.set()
            assert go_on.wait(PATIENCE)
            if any(row["n"] == 2 for row in rows):
                raise ValueError
            taken.extend(row["n"] for row in rows)

        made = Recorder(write, PATIENCE)
        with ThreadPoolExecutor(4) as pool:
            told = [pool.submit(made.record, {"n": 0})]
            assert began.wait(PATIENCE)
            told += [pool.submit(made.record, {"n": n}) for n in (1, 2, 3)]
            while len(made._waiting) < 3:
                time.sleep(0.001)
            go_on.set()
            errors = [one.exception(PATIENCE) for one in told]
        assert [type(error) for error in errors] == [type(None), type(None), ValueError, type(None)]
        assert sorted(taken) == [0, 1, 3]

    def test_a_read_that_waits_too_long_for_others_is_refused_and_the_next_goes_on(self) -> None:
        began, go_on, taken = threading.Event(), threading.Event(), []

        def write(rows: Sequence[Row]) -> None:
            taken.extend(row["n"] for row in rows)
            began.set()
            assert go_on.wait(PATIENCE)

        made = Recorder(write, 0.01)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(made.record, {"n": 0})
            assert began.wait(PATIENCE)
            with pytest.raises(Unavailable):
                made.record({"n": 1})
            go_on.set()
            first.result(PATIENCE)
            made.record({"n": 2})
        assert taken == [0, 2]


def lost(*_arguments: Any) -> Any:
    raise Unavailable
