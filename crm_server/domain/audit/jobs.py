"""What the audit log does by itself: room for the months to come, the nightly reconciliation, retention, alerts.

The worker imports this through `crm_server.tasks`.
"""

from __future__ import annotations

import structlog
from sqlalchemy import text

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.note import NoteError
from compliance.audit.siem.catalog import reconciliation_meta
from crm_server.domain.audit import alerts, events, retention
from crm_server.domain.audit.places import places
from crm_server.kernel.jobs import Job, task
from monitoring import metrics

log = structlog.get_logger("kontor.audit")

MONTHS_AHEAD = 3


@task("audit_partitions", cron="11 1 * * *")
def audit_partitions(job: Job) -> None:
    """Make room for the months to come. What it finds is told in metrics and by `kontor doctor`."""
    with job.session() as session:
        made = list(session.scalars(text("select audit.make_partitions(:ahead)"), {"ahead": MONTHS_AHEAD}))
        row = session.execute(text("select months_ahead, misplaced from audit.partitions()")).one()
    metrics.PARTITIONS_AHEAD.set(row.months_ahead)
    metrics.PARTITIONS_MISPLACED.set(row.misplaced)
    if made:
        log.info("partitions made", names=made)
    if row.misplaced:
        log.warning("events lie outside every month: is a clock wrong?", count=row.misplaced)


@task("audit_reconciliation", cron="3 0 * * *")
def audit_reconciliation(job: Job) -> None:
    """Tell each receiver what it should have: log, first and last index, count, root (SIEM-7)."""
    try:
        newest = checkpoints.parse((places(job.settings).mirror / "checkpoint").read_bytes())[0]
    except (OSError, NoteError):
        log.warning("nothing to reconcile: no checkpoint can be read here")
        return
    with job.session() as session:
        row = session.execute(_BEFORE, {"log": newest.origin}).first()
        first = 0 if row is None else int(row.last_index) + 1
        if newest.size > first:
            meta = reconciliation_meta(newest.origin, first, newest.size - 1, newest.root)
            events.record(session, events.reconciled(meta))


_BEFORE = text("""
select meta ->> 'last_index' as last_index from audit.event
 where event_class = 'audit' and action = 'reconciliation' and meta ->> 'log' = :log
 order by event_id desc limit 1
""")


@task("audit_retention", cron="41 2 * * *")
def audit_retention(job: Job) -> None:
    """Prune what has been kept for as long as its class is kept (AUD-11)."""
    removed = retention.prune(job.session)
    if removed:
        log.info("audit events pruned", count=removed)


@task("audit_alerts", cron="*/5 * * * *")
def audit_alerts(job: Job) -> None:
    """Ask the rules over the log, and leave an event for each alert."""
    with job.session() as session:
        for found in alerts.examine(session):
            metrics.AUDIT_ALERTS.labels(found.rule).inc()
            log.warning("audit alert", rule=found.rule, count=found.count)
