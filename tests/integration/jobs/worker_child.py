"""A worker in a process of its own, with tasks that tests watch: started by test_jobs.py and killed by it."""

from __future__ import annotations

import sys
import time

from sqlalchemy import text

from crm_server import tasks
from crm_server.kernel.jobs import Job, task
from crm_server.kernel.worker import Pace
from crm_server.settings import load
from monitoring import logs


@task("test_note", attempts=2, backoff=0)
def note(job: Job, *, word: str) -> None:
    """Leave a mark that says who ran."""
    with job.session() as session:
        session.execute(
            text("insert into crm.mark (word, actor, attempt) values (:word, :actor, :attempt)"),
            {"word": word, "actor": job.actor.id, "attempt": job.attempt},
        )


@task("test_slow")
def slow(job: Job, *, seconds: float) -> None:
    """Say that it runs, take a while, say that it is done."""
    note(job, word="begun")
    time.sleep(seconds if job.attempt == 1 else 0)
    note(job, word="done")


@task("test_fails", attempts=2, backoff=0)
def fails(job: Job, *, word: str) -> None:
    """Fail each time, after a mark in a transaction that holds."""
    note(job, word=word)
    raise ValueError("a message with a secret: anna@example.com")


if __name__ == "__main__":
    settings = load()
    logs.configure("info", "json")
    pace = Pace(heartbeat=0.2, stalled=1.0, polling=0.2, graceful=5)
    made = tasks.worker(settings, concurrency=2, pace=pace)
    made.periodic = False
    made.run(until_empty="--until-empty" in sys.argv)
