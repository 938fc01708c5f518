"""Background jobs on PostgreSQL (procrastinate): enqueued in the request's own transaction, run by `kernel/worker.py`.

`defer` writes the job with the session's own connection, so a request that is rolled back leaves no job and one that is
committed leaves exactly one. A worker that dies in the middle is noticed by its missing heartbeat and the job runs
again: every task must stand being run twice. Arguments are keys and small facts, never personal data: they are stored
in clear.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.serialization import dumps_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.settings import Settings

QUEUE = "default"


@dataclass(frozen=True, slots=True)
class Job:
    """What a task is given beside its arguments.

    Attributes:
        id: Key of the job.
        attempt: 1 for the first run.
        actor: On whose authority it runs, with the rights that they have now.
    """

    id: int
    attempt: int
    actor: Actor
    factory: sessionmaker[Session]
    settings: Settings

    @contextmanager
    def session(self, actor: Actor | None = None) -> Iterator[Session]:
        """A transaction as the job's actor (or another): committed at the end, rolled back when something is raised."""
        with db.open_session(self.factory, actor or self.actor) as session:
            yield session
            db.commit(session)
        for callback in session.info.pop(db.AFTER_COMMIT, ()):
            callback()


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of job.

    Attributes:
        attempts: How often it is tried before it counts as failed.
        backoff: Seconds before the second try; each further pause is four times as long, at most an hour.
        cron: When it runs by itself, as the system.
    """

    name: str
    run: Callable[..., None]
    attempts: int
    backoff: float
    cron: str | None


TASKS: dict[str, Task] = {}
"""All kinds of jobs by name. `crm_server.tasks` imports every module that adds some."""


def task(
    name: str, *, attempts: int = 5, backoff: float = 10, cron: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a task: `run(job, **arguments)`, an ordinary function that runs in a thread."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        if name in TASKS and TASKS[name].run is not run:
            raise ValueError(f"two tasks are named {name!r}")
        TASKS[name] = Task(name, run, attempts, backoff, cron)
        return run

    return register


_DEFER = text("""
select jobs.procrastinate_defer_jobs_v1(array[row(
    :queue, :task, cast(:priority as integer), cast(:lock as text), cast(:once as text),
    cast(:args as jsonb), cast(:run_at as timestamptz))::jobs.procrastinate_job_to_defer_v1])
""")


def defer(
    session: Session,
    name: str,
    *,
    lock: str | None = None,
    once: str | None = None,
    run_at: datetime | None = None,
    priority: int = 0,
    **arguments: Any,
) -> int | None:
    """Enqueue a job in the session's transaction.

    Args:
        session: Carries the actor; the job runs as them, with the rights that they have when it runs.
        name: A registered task.
        lock: Jobs with the same lock run one after the other.
        once: While a job with the same word waits, no second one is enqueued.
        run_at: Not before.
        priority: Higher ones run first.
        arguments: JSON values and UUIDs; no personal data.

    Returns:
        The key of the job, or None when `once` found one waiting.

    Raises:
        KeyError: no such task.
    """
    if name not in TASKS:
        raise KeyError(name)
    actor = db.actor_of(session)
    who = {"actor": str(actor.id), "request": str(actor.request_id) if actor.request_id else None}
    values = {
        "queue": QUEUE,
        "task": name,
        "priority": priority,
        "lock": lock,
        "once": once,
        "args": dumps_text({"arguments": arguments, **who}),
        "run_at": run_at,
    }
    if once is None:
        return int(session.execute(_DEFER, values).scalar_one()[0])
    session.flush()
    savepoint = session.begin_nested()
    try:
        key = int(session.execute(_DEFER, values).scalar_one()[0])
    except IntegrityError:
        savepoint.rollback()
        return None
    savepoint.commit()
    return key


__all__ = ["QUEUE", "TASKS", "Job", "Task", "defer", "task"]
