"""Every background task of the application, and those that run by themselves.

The worker imports this module; so does whatever defers a job by name. A domain with tasks adds its line here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

import crm_server.approvals
import crm_server.domain.approvals.jobs
import crm_server.domain.audit.jobs
import crm_server.domain.identity.jobs
import crm_server.domain.imports.jobs
import crm_server.domain.keys.jobs  # noqa: F401 - as above
from crm_server.domain.bin.services import empty
from crm_server.domain.identity.actors import actor_of_user
from crm_server.kernel.blindindex import upkeep
from crm_server.kernel.clock import now
from crm_server.kernel.jobs import Job, task
from crm_server.models import datamap
from crm_server.services import records

if TYPE_CHECKING:
    from crm_server.kernel.worker import Pace, Worker
    from crm_server.settings import Settings

_BATCH = 10_000


@task("bin_purge", cron="17 2 * * *")
def bin_purge(job: Job) -> None:
    """Remove for good what has lain in the bin for longer than the setting says."""
    more = True
    while more:
        with job.session() as session:
            more = empty(session, datamap(), records, days=job.settings.bin_days).more


@task("idempotency_purge", cron="7 * * * *")
def idempotency_purge(job: Job) -> None:
    """Forget answers to repeated requests after a day."""
    with job.session() as session:
        session.execute(
            text("delete from kontor.idempotency_key where created_at < :before"),
            {"before": now() - timedelta(hours=24)},
        )


@task("change_feed_purge", cron="37 2 * * *")
def change_feed_purge(job: Job) -> None:
    """Cut the change feed to the days that it reaches back."""
    before = now() - timedelta(days=job.settings.change_days)
    removed = _BATCH
    while removed == _BATCH:
        with job.session() as session:
            # The oldest stand first in the key, so this looks at no row that stays but one.
            removed = len(
                session.execute(
                    text(
                        "delete from crm.change where seq in (select seq from crm.change "
                        "where seq < (select coalesce(min(seq), 0) + :batch from crm.change) and changed_at < :before "
                        "order by seq limit :batch) returning seq"
                    ),
                    {"before": before, "batch": _BATCH},
                ).all()
            )


@task("blind_index_check", cron="27 3 * * *")
def blind_index_check(job: Job) -> None:
    """Hold the blind indexes against their budget, and build anew what a table has outgrown (ENC-17)."""
    for entity in upkeep.indexed_entities(datamap()):
        with job.session() as session:
            stale = upkeep.check(session, entity).stale
        if stale:
            upkeep.rebuild(job.factory, job.actor, entity)


@task("job_purge", cron="47 * * * *")
def job_purge(job: Job) -> None:
    """Forget jobs that ended well three days ago. Failed ones stay until somebody looks at them, at most 90 days."""
    with job.session() as session:
        session.execute(
            text(
                "delete from jobs.procrastinate_jobs j where status in ('succeeded', 'cancelled', 'aborted', 'failed') "
                "and not exists (select from jobs.procrastinate_events e where e.job_id = j.id and e.at > "
                "case when j.status = 'failed' then now() - interval '90 days' else now() - interval '3 days' end)"
            )
        )


def worker(settings: Settings, *, concurrency: int | None = None, pace: Pace | None = None) -> Worker:
    """A worker that knows all tasks of the application."""
    from crm_server.kernel.worker import Worker

    made = Worker(settings, actor_of_user, concurrency or settings.worker_concurrency)
    if pace is not None:
        made.pace = pace
    return made
