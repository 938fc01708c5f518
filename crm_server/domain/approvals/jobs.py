"""Lets requests expire, and carries out what a timer lets. The worker imports this through `crm_server.tasks`."""

from __future__ import annotations

from crm_server.domain.approvals.services import ApprovalService
from crm_server.kernel.jobs import Job, task


@task("approvals_tick", attempts=1, cron="* * * * *")
def approvals_tick(job: Job) -> None:
    """Bring requests to where the clock says that they are."""
    with job.session() as session:
        ApprovalService(session).tick()
