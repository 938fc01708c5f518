"""Jobs: enqueued in the request's transaction, run by a real worker process, and finished after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from crm_server import tasks
from crm_server.cli.jobs import jobs
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.ids import new_id
from crm_server.kernel.jobs import TASKS, Job, defer
from crm_server.kernel.keys import Keys
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.services import records
from crm_server.settings import Settings
from tests.conftest import copy_database, ring_of_tests, see_everything, settings_of
from tests.integration.jobs import worker_child

CHILD = Path(worker_child.__file__)


@pytest.fixture(scope="module")
def jobs_settings(cluster: Cluster, template: str) -> Settings:
    """A database of its own: workers commit."""
    copy_database(cluster, template, "kontor_jobs")
    owner = manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_jobs"))
    with owner.begin() as connection:
        connection.execute(text("create table crm.mark (word text, actor uuid, attempt int, seq bigserial)"))
        connection.execute(text("grant all on crm.mark to kontor_app"))
        connection.execute(text("grant usage on sequence crm.mark_seq_seq to kontor_app"))
    return settings_of(cluster, "kontor_jobs")


@pytest.fixture(scope="module")
def jobs_engine(jobs_settings: Settings) -> Iterator[Engine]:
    made = see_everything(db.create_app_engine(jobs_settings))
    yield made
    made.dispose()


@pytest.fixture
def factory(jobs_engine: Engine, jobs_settings: Settings) -> Iterator[sessionmaker[Session]]:
    made = db.session_factory(jobs_engine, jobs_settings, Keys.open(jobs_settings, jobs_engine, listen=False))
    yield made
    with jobs_engine.begin() as connection:
        connection.execute(text("delete from crm.mark"))
        connection.execute(text("delete from jobs.procrastinate_jobs"))


@pytest.fixture
def worker(jobs_settings: Settings) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a worker process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(CHILD), *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(CHILD.parents[3]),
                **ring_of_tests(),
                "KONTOR_DATABASE_URL": jobs_settings.database_url,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def marks(factory: sessionmaker[Session]) -> list[tuple[Any, ...]]:
    with factory() as session:
        return [
            tuple(row) for row in session.execute(text("select word, attempt from crm.mark order by seq"))
        ]


def states(factory: sessionmaker[Session]) -> list[str]:
    with factory() as session:
        return list(session.scalars(text("select status::text from jobs.procrastinate_jobs order by id")))


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class TestEnqueueing:
    def test_a_request_that_is_rolled_back_leaves_no_job(self, factory: sessionmaker[Session]) -> None:
        with db.open_session(factory, system_actor()) as session:
            defer(session, "test_note", word="never")
            session.rollback()
        assert states(factory) == []

    def test_a_request_that_commits_leaves_one_and_a_worker_runs_it_as_the_same_actor(
        self, factory: sessionmaker[Session], worker: Callable[..., subprocess.Popen[str]]
    ) -> None:
        with db.open_session(factory, system_actor()) as session:
            defer(session, "test_note", word="once")
            db.commit(session)
        assert worker("--until-empty").wait(90) == 0
        assert marks(factory) == [("once", 1)]
        assert states(factory) == ["succeeded"]

    def test_a_word_keeps_a_second_job_from_waiting(self, factory: sessionmaker[Session]) -> None:
        with db.open_session(factory, system_actor()) as session:
            assert defer(session, "test_note", once="reindex", word="a") is not None
            assert defer(session, "test_note", once="reindex", word="b") is None
            db.commit(session)
        assert states(factory) == ["todo"]

    def test_a_job_with_an_unknown_name_is_refused_at_once(self, factory: sessionmaker[Session]) -> None:
        with db.open_session(factory, system_actor()) as session, pytest.raises(KeyError):
            defer(session, "no_such_task")

    def test_a_job_of_a_user_runs_with_the_rights_of_now_or_not_at_all(
        self, factory: sessionmaker[Session], worker: Callable[..., subprocess.Popen[str]]
    ) -> None:
        keys = {"active": new_id(), "disabled": new_id()}
        with db.open_session(factory, system_actor()) as session:
            for state, key in keys.items():
                session.execute(
                    text(
                        """insert into identity."user" (id, login, name, state) values (:id, :id, 'Job', :state)"""
                    ),
                    {"id": str(key), "state": state},
                )
            session.commit()
        for key in keys.values():
            actor = system_actor()
            object.__setattr__(actor, "id", key)
            with db.open_session(factory, actor) as session:
                defer(session, "test_note", word="mine")
                db.commit(session)
        assert worker("--until-empty").wait(90) == 0
        with factory() as session:
            assert session.scalars(text("select actor from crm.mark")).all() == [keys["active"]]
        assert states(factory) == ["succeeded", "failed"]


class TestFailure:
    def test_it_is_tried_again_and_then_visible_without_its_message(
        self, factory: sessionmaker[Session], worker: Callable[..., subprocess.Popen[str]]
    ) -> None:
        with db.open_session(factory, system_actor()) as session:
            defer(session, "test_fails", word="try")
            db.commit(session)
        process = worker("--until-empty")
        _out, written = process.communicate(timeout=90)
        if states(factory) == ["todo"]:  # the second try was due a moment after the queue was empty
            _out, more = worker("--until-empty").communicate(timeout=90)
            written += more
        assert marks(factory) == [("try", 1), ("try", 2)]
        assert states(factory) == ["failed"]
        assert '"error": "ValueError"' in written
        assert "example.com" not in written

    def test_a_killed_worker_loses_no_job(
        self, factory: sessionmaker[Session], worker: Callable[..., subprocess.Popen[str]]
    ) -> None:
        with db.open_session(factory, system_actor()) as session:
            defer(session, "test_slow", seconds=60)
            db.commit(session)
        first = worker()
        wait_for(lambda: marks(factory) == [("begun", 1)])
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert states(factory) == ["doing"]
        second = worker()
        wait_for(lambda: states(factory) == ["succeeded"])
        assert marks(factory) == [("begun", 1), ("begun", 2), ("done", 2)]
        second.send_signal(signal.SIGTERM)
        assert second.wait(90) == 0

    def test_a_worker_that_is_asked_to_stop_ends_its_job_first(
        self, factory: sessionmaker[Session], worker: Callable[..., subprocess.Popen[str]]
    ) -> None:
        with db.open_session(factory, system_actor()) as session:
            defer(session, "test_slow", seconds=1.5)
            db.commit(session)
        process = worker()
        wait_for(lambda: marks(factory) == [("begun", 1)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
        assert marks(factory) == [("begun", 1), ("done", 1)]
        assert states(factory) == ["succeeded"]


class TestCommand:
    def test_a_failed_job_is_listed_and_runs_again(
        self, factory: sessionmaker[Session], jobs_settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KONTOR_DATABASE_URL", jobs_settings.database_url)
        with db.open_session(factory, system_actor()) as session:
            key = defer(session, "test_fails", word="listed")
            session.execute(text("update jobs.procrastinate_jobs set status = 'failed'"))
            db.commit(session)
        listed = json.loads(CliRunner().invoke(jobs, ["list", "--json"]).output)
        assert [(row["id"], row["task"], row["state"]) for row in listed] == [(key, "test_fails", "failed")]
        assert "listed" not in CliRunner().invoke(jobs, ["list"]).output
        assert CliRunner().invoke(jobs, ["retry", str(key + 1)]).exit_code == 1  # type: ignore[operator]
        assert CliRunner().invoke(jobs, ["retry"]).exit_code == 2
        assert CliRunner().invoke(jobs, ["retry", "--all-failed"]).exit_code == 0
        assert states(factory) == ["todo"]


class TestTasksThatRunByThemselves:
    def job(self, factory: sessionmaker[Session], settings: Settings) -> Job:
        return Job(1, 1, system_actor(), factory, settings)

    def test_the_bin_is_emptied_after_its_days_and_not_before(
        self, factory: sessionmaker[Session], jobs_settings: Settings
    ) -> None:
        with db.open_session(factory, system_actor()) as session:
            old = records(session, "contact").create({"family_name": "Old"})
            new = records(session, "contact").create({"family_name": "New"})
            for contact in (old, new):
                records(session, "contact").delete(contact.id)
            old.deleted_at = now() - timedelta(days=31)
            db.commit(session)
        tasks.bin_purge(self.job(factory, jobs_settings))
        with factory() as session:
            left = session.scalars(text("select id from crm.contact")).all()
            assert left == [new.id]
            assert session.scalar(text("select count(*) from crm.data_subject")) == 1

    def test_old_rows_of_the_change_feed_and_of_repeated_requests_go(
        self, factory: sessionmaker[Session], jobs_settings: Settings, cluster: Cluster
    ) -> None:
        owner = manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_jobs"))
        with owner.begin() as connection:
            connection.execute(text("delete from crm.change"))
            connection.execute(
                text(
                    "insert into crm.change (entity, record_id, operation, version, changed_at) "
                    "select 1, gen_random_uuid(), 'update', 1, now() - n * interval '20 days' "
                    "from generate_series(0, 3) n order by n desc"
                )
            )
            connection.execute(
                text(
                    "insert into kontor.idempotency_key (actor_id, key, request_hash, status, created_at) "
                    "select gen_random_uuid(), n::text, '', 201, now() - n * interval '20 hours' "
                    "from generate_series(0, 2) n"
                )
            )
        tasks.change_feed_purge(self.job(factory, jobs_settings))
        tasks.idempotency_purge(self.job(factory, jobs_settings))
        tasks.job_purge(self.job(factory, jobs_settings))
        with factory() as session:
            assert session.scalar(text("select count(*) from crm.change")) == 2
            assert session.scalar(text("select count(*) from kontor.idempotency_key")) == 2

    def test_each_of_them_says_when(self) -> None:
        assert {name for name, item in TASKS.items() if item.cron} >= {
            "bin_purge",
            "change_feed_purge",
            "idempotency_purge",
            "job_purge",
        }
