"""Prepared statements on pooled connections: one transaction each, the actor told, a lost connection survived."""

from __future__ import annotations

from collections.abc import Iterator
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
