"""Prepared statements on pooled connections: one transaction each, the actor told, a lost connection survived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.hot import Hot, Prepared
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

    def test_a_site_may_answer_reads_before_their_event_is_on_the_disk(self, settings: Settings) -> None:
        prompt = Hot(replace(settings, values={**settings.values, "audit_reads_wait": False}))
        waits = Prepared("test_waits", "select current_setting('synchronous_commit')", ())
        actor = Actor(id=uuid4(), name="Anna", origin=Origin.API)
        # Throw-away clusters of tests don't wait at all; this connection does.
        prompt.run(Prepared("test_wait", "select set_config('synchronous_commit', 'on', false)", ()), ())
        assert prompt.run(waits, (), actor) == [("off",)]
        assert prompt.run(waits, ()) == [("on",)], "for that statement alone"
        prompt.dispose()

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

    def test_what_it_writes_is_committed_when_it_returns(self, hot: Hot, engine: Engine) -> None:
        key = uuid4()
        write = Prepared(
            "test_write",
            "with made as (insert into audit.event (event_id, occurred_at, event_class, action, outcome, "
            "actor_ref, origin) values ($1, now(), 'read', 'read', 'success', $1, 'api') returning event_id) "
            "select event_id from made",
            ("uuid",),
        )
        assert hot.run(write, (key,)) == [(key,)]
        with engine.connect() as connection:
            found = text("select count(*) from audit.event where event_id = :key")
            assert connection.execute(found, {"key": key}).scalar_one() == 1
