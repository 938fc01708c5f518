"""The worker: runs what `kernel/jobs.py` enqueued. Only `kontor worker` needs it and the queue's library."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import procrastinate
import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from sqlalchemy import make_url

from crm_server.kernel import db
from crm_server.kernel.actor import SYSTEM_ID, Actor, Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import AppError
from crm_server.kernel.jobs import QUEUE, TASKS, Job, Task
from crm_server.kernel.keys import Keys
from monitoring import metrics

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.settings import Settings

log = structlog.get_logger("kontor.jobs")

_PATH = "-c search_path=jobs,pg_catalog -c timezone=UTC"
_LONGEST_PAUSE = 3600


class _Retry(BaseRetryStrategy):
    """Try again later, unless the task said that the input is at fault."""

    def __init__(self, described: Task) -> None:
        self._task = described

    def get_retry_decision(
        self, *, exception: BaseException, job: procrastinate.jobs.Job
    ) -> RetryDecision | None:
        """When to run again; None makes the job failed."""
        if job.attempts + 1 >= self._task.attempts or is_final(exception):
            return None
        pause = min(self._task.backoff * 4**job.attempts, _LONGEST_PAUSE)
        return RetryDecision(retry_in={"seconds": max(int(pause), 0)})


def is_final(error: BaseException) -> bool:
    """Whether running again can't help: the application refused the input."""
    return isinstance(error, AppError) and error.status < 500


ActorLoader = Callable[["Session", UUID], "Actor | None"]
"""Finds a user with the rights that they have now; None when they may no longer act."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a worker, in seconds. A worker without heartbeat for `stalled` counts as dead."""

    heartbeat: float = 10
    stalled: float = 30
    polling: float = 5
    graceful: float = 25


@dataclass(slots=True)
class Worker:
    """Runs jobs until it is told to stop."""

    settings: Settings
    load_actor: ActorLoader
    concurrency: int = 2
    pace: Pace = field(default_factory=Pace)
    periodic: bool = True

    def run(self, *, until_empty: bool = False) -> None:
        """Run jobs; returns after SIGTERM or SIGINT, when the jobs that run have ended, or when none waits.

        Raises:
            ConnectorException: the database can't be reached; the supervisor starts the worker again.
            KeysRefused: the key ring can't be opened.
        """
        # Its own lines hold arguments and messages of exceptions; ours say the same without values.
        logging.getLogger("procrastinate.worker").setLevel(logging.CRITICAL)
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        engine = db.create_app_engine(self.settings, pool_size=self.concurrency + 1)
        try:
            keys = Keys.open(self.settings, engine)
            keys.announce()
            factory = db.session_factory(engine, self.settings, keys)
            asyncio.run(self._run(factory, until_empty=until_empty))
            keys.close()
        finally:
            engine.dispose()

    async def _run(self, factory: sessionmaker[Session], *, until_empty: bool) -> None:
        app = self.app(factory)
        async with app.open_async():
            await self._requeue(app)
            watch = asyncio.create_task(self._watch(app))
            try:
                await app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=self.concurrency,
                    wait=not until_empty,
                    fetch_job_polling_interval=self.pace.polling,
                    shutdown_graceful_timeout=self.pace.graceful,
                    update_heartbeat_interval=self.pace.heartbeat,
                    stalled_worker_timeout=self.pace.stalled,
                    delete_jobs="never",
                )
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    def app(self, factory: sessionmaker[Session]) -> procrastinate.App:
        """The queue with all registered tasks."""
        url = make_url(self.settings.database_url).set(drivername="postgresql")
        connector = procrastinate.PsycopgConnector(
            conninfo=url.render_as_string(hide_password=False),
            kwargs={"options": _PATH, "application_name": "kontor-worker"},
            min_size=1,
            max_size=self.concurrency + 2,
        )
        app = procrastinate.App(connector=connector)
        for described in TASKS.values():
            run = app.task(name=described.name, queue=QUEUE, pass_context=True, retry=_Retry(described))(
                self._runner(described, factory)
            )
            if described.cron and self.periodic:
                app.periodic(cron=described.cron)(run)
        return app

    def _runner(self, described: Task, factory: sessionmaker[Session]) -> Callable[..., None]:
        def run(
            context: procrastinate.JobContext,
            timestamp: int | None = None,
            arguments: dict[str, Any] | None = None,
            actor: str | None = None,
            request: str | None = None,
        ) -> None:
            del timestamp
            attempt, key = context.job.attempts + 1, context.job.id or 0
            started = time.monotonic()
            told = log.bind(job=described.name, job_id=key, attempt=attempt)
            try:
                who = self._actor(factory, actor, request)
                described.run(Job(key, attempt, who, factory, self.settings), **(arguments or {}))
            except Exception as error:
                again = attempt < described.attempts and not is_final(error)
                metrics.JOBS.labels(described.name, "retried" if again else "failed").inc()
                told.error("job failed", again=again, **_place(error))
                raise
            metrics.JOBS.labels(described.name, "succeeded").inc()
            told.info("job done", ms=round((time.monotonic() - started) * 1000))

        run.__name__ = described.name
        return run

    def _actor(self, factory: sessionmaker[Session], key: str | None, request: str | None) -> Actor:
        request_id = UUID(request) if request else None
        if key is None or UUID(key) == SYSTEM_ID:
            return system_actor(Origin.JOB, request_id)
        with db.open_session(factory, system_actor(Origin.JOB, request_id)) as session:
            found = self.load_actor(session, UUID(key))
        if found is None:
            raise ActorGone
        return found

    async def _watch(self, app: procrastinate.App) -> None:
        """Bring back jobs of dead workers, and tell how long the queue is."""
        while True:
            await asyncio.sleep(max(self.pace.stalled / 2, 0.2))
            with suppress(ConnectorException):
                await self._requeue(app)
                await self._measure(app)

    async def _requeue(self, app: procrastinate.App) -> None:
        stalled = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=self.pace.stalled)
        for job in stalled:
            if job.id is None:
                continue
            described = TASKS.get(job.task_name)
            if described is not None and job.attempts + 1 >= described.attempts:
                # It took its worker down each time: running it for ever would stop all others.
                await app.job_manager.finish_job_by_id_async(
                    job_id=job.id, status=procrastinate.jobs.Status.FAILED, delete_job=False
                )
                metrics.JOBS.labels(job.task_name, "failed").inc()
                log.error("job failed", job=job.task_name, job_id=job.id, error="WorkerDied", again=False)
                continue
            await app.job_manager.retry_job_by_id_async(job.id, retry_at=now())
            metrics.JOBS.labels(job.task_name, "stalled").inc()
            log.warning("job of a dead worker runs again", job=job.task_name, job_id=job.id)

    @staticmethod
    async def _measure(app: procrastinate.App) -> None:
        rows = await app.connector.execute_query_all_async(
            "select status::text as state, count(*) as number from jobs.procrastinate_jobs "
            "where status in ('todo', 'doing', 'failed') group by status"
        )
        found = {row["state"]: row["number"] for row in rows}
        for state in ("todo", "doing", "failed"):
            metrics.JOB_QUEUE.labels(state).set(found.get(state, 0))


class ActorGone(AppError):
    """The user on whose authority the job was to run may no longer act."""

    status = 403
    code = "actor_gone"


def _place(error: BaseException) -> dict[str, Any]:
    """What of an error may stand in a log: its type, its code and the place, never its message."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    return {"error": type(error).__name__, "code": getattr(error, "code", None), "where": where}
