"""One transaction a request, against a real PostgreSQL that fails on purpose."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPConflict
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import text
from sqlalchemy.engine import Engine
from webtest import TestApp

from crm_server.domain.accounts.models import Account
from crm_server.kernel.actor import system_actor
from crm_server.kernel.errors import OutcomeUnknown, TooSlow, Unavailable
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.settings import Settings
from tests.conftest import copy_database, settings_of

SERIALIZATION = text("do $$ begin raise exception 'again' using errcode = '40001'; end $$")


@pytest.fixture(scope="module")
def own_settings(cluster: Cluster, template: str) -> Settings:
    copy_database(cluster, template, "kontor_transactions")
    return settings_of(cluster, "kontor_transactions", KONTOR_REQUEST_DEADLINE="2")


@pytest.fixture(scope="module")
def owner(cluster: Cluster, own_settings: Settings) -> Engine:
    return manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_transactions"))


def serve(settings: Settings, view: Any) -> tuple[TestApp, Any]:
    """An application with one view, and its registry."""
    config = Configurator(settings={"kontor": settings})
    config.add_request_method(lambda _request: system_actor(), "actor", reify=True)
    config.include("crm_server.kernel.transaction")
    config.add_route("it", "/it")
    config.add_view(view, route_name="it")
    return TestApp(config.make_wsgi_app()), config.registry


def names(owner: Engine, prefix: str) -> list[str]:
    with owner.connect() as connection:
        query = text("select name from crm.account where name like :prefix order by name")
        return list(connection.execute(query, {"prefix": f"{prefix}%"}).scalars())


class TestTransaction:
    def test_what_a_view_wrote_is_committed_when_it_returns(
        self, own_settings: Settings, owner: Engine
    ) -> None:
        def view(request: Request) -> Response:
            request.db.add(Account(name="returned"))
            return Response("ok")

        serve(own_settings, view)[0].get("/it")
        assert names(owner, "returned") == ["returned"]

    def test_returning_an_error_commits_and_raising_one_rolls_back(
        self, own_settings: Settings, owner: Engine
    ) -> None:
        def view(request: Request) -> Response:
            request.db.add(Account(name=f"error {request.params['how']}"))
            request.db.flush()
            if request.params["how"] == "raised":
                raise HTTPConflict
            return HTTPConflict()

        app = serve(own_settings, view)[0]
        app.get("/it?how=returned", status=409)
        app.get("/it?how=raised", status=409)
        assert names(owner, "error") == ["error returned"]

    @pytest.mark.parametrize(
        "failure",
        [
            pytest.param(SERIALIZATION, id="serialization failure"),
            pytest.param(text("select pg_terminate_backend(pg_backend_pid())"), id="lost connection"),
        ],
    )
    def test_a_passing_failure_runs_the_view_again_with_the_same_body(
        self, own_settings: Settings, owner: Engine, failure: Any
    ) -> None:
        bodies: list[bytes] = []
        label = f"retried {failure}"[:60]

        def view(request: Request) -> Response:
            bodies.append(request.body)
            request.db.add(Account(name=label))
            request.db.flush()
            if len(bodies) < 3:
                request.db.execute(failure)
            return Response("ok")

        serve(own_settings, view)[0].post("/it", b"the body")
        assert bodies == [b"the body"] * 3
        assert names(owner, label.split("(", maxsplit=1)[0]) == [label]

    def test_after_the_deadline_the_client_is_told_to_come_back(self, own_settings: Settings) -> None:
        def view(request: Request) -> Response:
            request.db.execute(SERIALIZATION)
            return Response("never")

        started = time.monotonic()
        with pytest.raises(Unavailable):
            serve(own_settings, view)[0].get("/it")
        assert time.monotonic() - started < 10

    def test_a_statement_that_takes_too_long_is_told_as_such_and_not_repeated(
        self, own_settings: Settings
    ) -> None:
        seen = []

        def view(request: Request) -> Response:
            seen.append(1)
            request.db.execute(text("set local statement_timeout = 50"))
            request.db.execute(text("select pg_sleep(5)"))
            return Response("never")

        with pytest.raises(TooSlow):
            serve(own_settings, view)[0].get("/it")
        assert len(seen) == 1

    def test_a_connection_lost_while_committing_is_an_unknown_outcome(
        self, own_settings: Settings, owner: Engine
    ) -> None:
        with owner.begin() as connection:
            connection.execute(text("create table crm.fuse (id int)"))
            connection.execute(text("grant insert on crm.fuse to kontor_app"))
            connection.execute(
                text(
                    "create function crm.blow() returns trigger language plpgsql as "
                    "$$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$"
                )
            )
            connection.execute(
                text(
                    "create constraint trigger blow after insert on crm.fuse "
                    "deferrable initially deferred for each row execute function crm.blow()"
                )
            )
        runs = []

        def view(request: Request) -> Response:
            runs.append(1)
            request.db.execute(text("insert into crm.fuse values (1)"))
            return Response("ok")

        with pytest.raises(OutcomeUnknown):
            serve(own_settings, view)[0].get("/it")
        assert len(runs) == 1, "what may have been done must not be done again"

    def test_a_commit_whose_wait_for_the_standby_was_cancelled_is_no_success(
        self, own_settings: Settings, owner: Engine, cluster: Cluster
    ) -> None:
        pids: list[int] = []

        def view(request: Request) -> Response:
            request.db.execute(text("set local synchronous_commit = on"))
            request.db.add(Account(name="unsynced"))
            pids.append(request.db.execute(text("select pg_backend_pid()")).scalar_one())
            return Response("ok")

        superuser = manage.owner_engine(cluster.superuser_url).execution_options(isolation_level="AUTOCOMMIT")

        def cancel() -> None:
            with superuser.connect() as connection:
                for _ in range(100):
                    time.sleep(0.05)
                    waiting = connection.execute(
                        text("select pid from pg_stat_activity where wait_event = 'SyncRep'")
                    ).scalar()
                    if waiting:
                        connection.execute(text("select pg_cancel_backend(:pid)"), {"pid": waiting})
                        return

        with superuser.connect() as connection:
            connection.execute(text("alter system set synchronous_standby_names = 'ghost'"))
            connection.execute(text("select pg_reload_conf()"))
            time.sleep(0.3)
            helper = threading.Thread(target=cancel)
            helper.start()
            try:
                with pytest.raises(OutcomeUnknown):
                    serve(own_settings, view)[0].get("/it")
            finally:
                connection.execute(text("alter system reset synchronous_standby_names"))
                connection.execute(text("select pg_reload_conf()"))
                helper.join()
        assert pids
