"""A worker process that dies in the middle of an import, for real: another one finishes it, each row once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from compliance.audit.models import AuditEvent
from crm_server.domain.contacts.models import Contact
from crm_server.domain.imports.jobs import enqueue
from crm_server.domain.imports.models import Import
from crm_server.domain.imports.run import BATCH
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.models import datamap
from crm_server.settings import Settings
from tests.conftest import ring_of_tests
from tests.integration.jobs import worker_child

ROWS = 8_000

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def worker(import_settings: Settings) -> Iterator[Start]:
    """Starts a worker process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []
    child = worker_child.__file__

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **ring_of_tests(),
            "KONTOR_DATABASE_URL": import_settings.database_url,
        }
        started.append(subprocess.Popen([sys.executable, child, *arguments], env=environ))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def progress(sessions: sessionmaker[Session]) -> Callable[[UUID], tuple[str, int]]:
    def read(import_id: UUID) -> tuple[str, int]:
        with sessions() as session:
            row = session.execute(select(Import.state, Import.rows_done).where(Import.id == import_id)).one()
        return row.state, row.rows_done

    return read


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_another_worker_finishes_the_import_of_a_killed_one_with_every_row_once(
    upload: Callable[..., UUID],
    worker: Start,
    progress: Callable[[UUID], tuple[str, int]],
    sessions: sessionmaker[Session],
    actor: Actor,
) -> None:
    rows = "".join(f"{n},P{n},p{n}@example.com,Firm {n % 50}\n" for n in range(ROWS))
    import_id = upload(f"External id,Last name,E-mail,Company\n{rows}")
    with db.open_session(sessions, actor) as session:
        session.execute(text("delete from jobs.procrastinate_jobs"))
        enqueue(session, import_id)
        db.commit(session)
    first = worker()
    wait_for(lambda: progress(import_id)[1] >= 2 * BATCH)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    # It died with a batch half-way: nothing of that batch is there.
    state, done = progress(import_id)
    assert state == "working"
    assert 2 * BATCH <= done < ROWS
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Contact)) == done

    second = worker()
    wait_for(lambda: progress(import_id)[0] == "done")
    second.send_signal(signal.SIGTERM)
    assert second.wait(90) == 0
    with sessions() as session:
        job = session.get_one(Import, import_id)
        assert (job.rows_done, job.counts["created"], job.counts["referenced"]) == (ROWS, ROWS, 50)
        assert not job.counts.get("merged")
        stored = session.execute(
            select(func.count(), func.count(func.distinct(Contact.external_id)), func.max(Contact.version))
        ).one()
        assert tuple(stored) == (ROWS, ROWS, 1)
        # AUD-1: each record has exactly one event, which it names.
        told = session.execute(
            select(func.count(), func.count(func.distinct(AuditEvent.object_ref))).where(
                AuditEvent.object_type == datamap()["contact"].number,
                AuditEvent.object_ref.in_(select(Contact.id)),
            )
        ).one()
        assert tuple(told) == (ROWS, ROWS)
        jobs = session.execute(text("select status::text, attempts from jobs.procrastinate_jobs")).all()
        assert [tuple(job) for job in jobs] == [("succeeded", 2)]
