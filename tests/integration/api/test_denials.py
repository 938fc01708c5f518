"""Refusals are events; whoever goes on asking for the same is counted. # AUD-10"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from crm_server.domain.audit import alerts
from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.denials import ALONE, Denials, Refusal
from crm_server.kernel.ids import new_id
from crm_server.migrations import manage
from crm_server.settings import Settings
from tests.conftest import ring_of_tests
from tests.integration.api.conftest import Client, open_db
from tests.integration.api.test_refused_events import fault

REFUSAL = Refusal("crm:account:create", "api.records", "POST")


def told(engine: Engine, person: UUID) -> list[dict[str, Any]]:
    """The facts of all refusals of somebody, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select reason, session_ref, request_id, meta from audit.event "
                "where actor_ref = :person and action = 'deny' order by event_id"
            ),
            {"person": person},
        )
        return [
            row.meta | {"reason": row.reason, "session": row.session_ref, "request": row.request_id}
            for row in rows
        ]


def number(events: list[dict[str, Any]]) -> int:
    """How many refusals events tell of."""
    return sum(event.get("count", 1) for event in events)


def somebody() -> Actor:
    return Actor(new_id(), "Somebody", Origin.API, session_ref=new_id(), request_id=new_id(), purpose="sales")


@pytest.fixture
def denials(api_engine: Engine) -> Iterator[Denials]:
    """One whose minute ends when a test says so."""
    made = Denials(api_engine, seconds=600)
    yield made
    made.end()


def test_the_first_are_told_one_by_one_and_the_rest_by_their_number(
    login: Callable[..., Client], wsgi: Any, api_engine: Engine
) -> None:
    reader = login("Reader")
    for _ in range(ALONE + 5):
        reader.post("/accounts", {"name": "X"}, status=403)
    reader.post("/contacts", {"family_name": "X"}, status=403)
    alone = told(api_engine, reader.user_id)
    assert [event["reason"] for event in alone] == ["crm:account:create"] * ALONE + ["crm:contact:create"]
    assert not any("count" in event for event in alone)
    wsgi.registry.denials.end()
    *_, last = events = told(api_engine, reader.user_id)
    assert len(events) == len(alone) + 1
    assert {name: last[name] for name in ("reason", "route", "method", "session")} == {
        name: alone[0][name] for name in ("reason", "route", "method", "session")
    }
    assert (last["count"], last["request"]) == (5, None)
    assert last["since"] <= last["until"]


def test_the_alarm_and_the_figures_count_refusals_and_not_events(
    denials: Denials, api_engine: Engine
) -> None:
    with open_db(api_engine) as session:
        before = alerts.figures(session).denials[-1]
    guilty = somebody()
    for _ in range(ALONE + 30):
        denials.tell(guilty, REFUSAL)
    denials.end()
    assert len(told(api_engine, guilty.id)) == ALONE + 1
    with open_db(api_engine) as session:
        found = [one for one in alerts.examine(session) if one.actor == guilty.id]
        assert [(one.rule, one.count) for one in found] == [("denials", ALONE + 30)]
        assert alerts.figures(session).denials[-1] == before + ALONE + 30


def test_each_session_and_each_reason_has_a_number_of_its_own(denials: Denials, api_engine: Engine) -> None:
    one, other = somebody(), somebody()
    reading = Refusal("crm:account:read", "api.records", "GET")
    for _ in range(ALONE):
        denials.tell(one, REFUSAL)
    denials.tell(one, reading)
    denials.tell(other, REFUSAL)
    assert (len(told(api_engine, one.id)), len(told(api_engine, other.id))) == (ALONE + 1, 1)
    # Other addresses don't bring new numbers for the same reason, and each is told of.
    for route in ("a", "b", "b"):
        denials.tell(one, Refusal(REFUSAL.reason, route, "POST"))
    denials.end()
    counted = {event["route"]: event["count"] for event in told(api_engine, one.id) if "count" in event}
    assert counted == {"a": 1, "b": 2}


def test_nothing_is_lost_where_many_ask_at_once(denials: Denials, api_engine: Engine) -> None:
    busy = somebody()
    with ThreadPoolExecutor(max_workers=4) as pool:
        for _ in pool.map(lambda _: denials.tell(busy, REFUSAL), range(400)):
            pass
    denials.end()
    assert number(told(api_engine, busy.id)) == 400
    assert len(told(api_engine, busy.id)) == ALONE + 1


def test_the_number_is_written_when_the_minute_ends(api_engine: Engine) -> None:
    short, guilty = Denials(api_engine, seconds=0.1), somebody()
    asked = 0
    while not any("count" in event for event in told(api_engine, guilty.id)):
        for _ in range(ALONE + 2):
            short.tell(guilty, REFUSAL)
        asked += ALONE + 2
        time.sleep(0.05)
    short.end()
    assert number(told(api_engine, guilty.id)) == asked


def test_a_number_that_can_not_be_written_is_kept(
    denials: Denials, api_engine: Engine, api_settings: Settings
) -> None:
    guilty, owner = somebody(), manage.owner_engine(api_settings.owner_database_url)
    for _ in range(ALONE + 2):
        denials.tell(guilty, REFUSAL)
    with fault(owner, "no privilege"):
        denials.end()
    owner.dispose()
    for _ in range(ALONE + 1):
        denials.tell(guilty, REFUSAL)
    denials.end()
    *_, last = events = told(api_engine, guilty.id)
    assert (number(events), last["count"]) == (2 * ALONE + 3, 3)


WORKER = """
import signal, sys, threading
from multiprocessing import Process
from uuid import UUID
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.denials import ALONE, Denials, Refusal
from crm_server.settings import load

def work():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    denials = Denials(db.create_app_engine(load()))
    for _ in range(ALONE + 7):
        denials.tell(Actor(UUID(sys.argv[1]), "Somebody"), Refusal("crm:account:create", None, "POST"))
    print("asked", flush=True)
    stop.wait(60)

worker = Process(target=work)
worker.start()
signal.signal(signal.SIGTERM, lambda *_: worker.terminate())
worker.join()
"""


def test_the_number_is_written_when_a_worker_of_the_server_ends(
    api_engine: Engine, api_settings: Settings
) -> None:
    guilty = new_id()
    environment = {**os.environ, **ring_of_tests(), "KONTOR_DATABASE_URL": api_settings.database_url}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(guilty)], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "asked\n"
        assert number(told(api_engine, guilty)) == ALONE
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert number(told(api_engine, guilty)) == ALONE + 7
