"""What identity does by itself: compare directories with the accounts, and forget what has ended.

The worker imports this through `crm_server.tasks`. The comparison runs every five minutes, so that whoever
was disabled in the directory has lost sessions and tokens by then (AUTH-8).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import delete, select

from crm_server.domain.identity import events, services
from crm_server.domain.identity.directory_models import CompanyDirectory
from crm_server.domain.identity.factor_models import OneTimeLink, PendingLogin
from crm_server.domain.identity.models import LoginSession, RateLimit
from crm_server.domain.identity.services.emergency import EmergencyService
from crm_server.domain.identity.sso_models import LoginRequest
from crm_server.kernel.clock import now
from crm_server.kernel.jobs import Job, task
from security.identity.ldap import DirectoryFailure

if TYPE_CHECKING:
    from uuid import UUID

log = structlog.get_logger("kontor.identity")

_KEEP_SESSIONS = timedelta(days=90)
"""Ended sessions stay this long, so that "where was I logged in?" has an answer."""


@task("directory_sync", attempts=1, cron="*/5 * * * *")
def directory_sync(job: Job) -> None:
    """Compare every enabled directory with its accounts; one that fails doesn't stop the others."""
    service = services.make_directories()
    with job.session() as session:
        keys = list(session.scalars(select(CompanyDirectory.id).where(CompanyDirectory.enabled)))
    for key in keys:
        try:
            with job.session() as session:
                result = service.compare(session, session.get_one(CompanyDirectory, key), apply=True)
            log.info("directory compared", directory=str(key), **result.plain())
        except (DirectoryFailure, ValueError) as failure:
            _tell(
                job,
                key,
                failure.outcome.value if isinstance(failure, DirectoryFailure) else "directory_misconfigured",
            )


def _tell(job: Job, key: UUID, reason: str) -> None:
    """Note on the directory's page and, once for each outage, in the audit log that it couldn't be compared."""
    log.warning("directory not compared", directory=str(key), reason=reason)
    with job.session() as session:
        row = session.get_one(CompanyDirectory, key)
        before = (row.last_sync or {}).get("failed")
        row.last_sync_at, row.last_sync = now(), {"failed": reason}
        if before != reason:
            events.record(session, events.comparison_failed(key, reason))


@task("emergency_tick", attempts=1, cron="* * * * *")
def emergency_tick(job: Job) -> None:
    """Note emergency access that has run out; the role has ceased to count by itself."""
    with job.session() as session:
        EmergencyService().tick(session)


@task("identity_purge", cron="23 * * * *")
def identity_purge(job: Job) -> None:
    """Forget ended sessions after 90 days, and links, half log-ins and counted attempts when they are over."""
    moment = now()
    ended = moment - _KEEP_SESSIONS
    with job.session() as session:
        session.execute(delete(LoginSession).where(LoginSession.created_at < ended))
        session.execute(delete(OneTimeLink).where(OneTimeLink.expires_at < moment))
        session.execute(delete(PendingLogin).where(PendingLogin.expires_at < moment))
        session.execute(delete(LoginRequest).where(LoginRequest.expires_at < moment))
        session.execute(delete(RateLimit).where(RateLimit.expires_at < moment))
