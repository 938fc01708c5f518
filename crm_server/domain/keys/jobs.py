"""What is done with keys by itself: rotation when it is due, escrow, asking for destruction, attestation, metrics.

The worker imports this through `crm_server.tasks`. Nothing here destroys without a release: the request waits two days
in which any person with the permission can refuse it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from crm_server.domain.keys import destruction, drill, escrow, rotation
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.domain.keys.queries import KeyState, last_drill, state_of
from crm_server.domain.keys.work import work_of
from crm_server.kernel.blindindex import upkeep
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict
from crm_server.kernel.jobs import Job, task
from crm_server.models import datamap
from monitoring import metrics
from security.crypto.errors import KeyRingError

if TYPE_CHECKING:
    from crm_server.domain.keys.work import KeyWork

log = structlog.get_logger("kontor.keys")


@task("keys_watch", attempts=1, cron="*/5 * * * *")
def keys_watch(job: Job) -> None:
    """Attest for this node, complete the ledger, drop what is too old from the cache, and tell the metrics."""
    with job.session() as session:
        work = work_of(session, job.settings)
        work.keys.cache.purge()
        work.keys.attest()
        work.keys.take_over()
        work.keys.answer_handovers()
        work.keys.ledger.complete(session.connection())
        _measure(state_of(session.connection(), work.keys, job.settings))


def _measure(state: KeyState) -> None:
    active = next((item for item in state.epochs if item.state == "active"), None)
    if active is not None:
        metrics.KEY_EPOCH.set(active.number)
        metrics.KEY_EPOCH_AGE.set((now() - active.created_at).total_seconds())
    metrics.KEYS_BEHIND.set(state.behind)
    metrics.KEY_RING_AWAY.set(1 if state.away else 0)
    if state.drill is not None:
        metrics.KEY_DRILL_AGE.set((now() - state.drill.at).total_seconds())
        metrics.KEY_DRILL_PASSED.set(1 if state.drill.passed else 0)


@task("keys_drill", attempts=1, cron="47 4 * * *")
def keys_drill(job: Job) -> None:
    """Run the drill of erasure when it is due, on a database of its own, and keep the evidence (ENC-10).

    A drill that failed is run again the next night.
    """
    with job.session() as session:
        work = work_of(session, job.settings)
        last = last_drill(session.connection(), job.settings)
    if last is not None and last.passed and last.due > now():
        return
    evidence = drill.drill(job.settings)
    with work.engine.begin() as connection:
        drill.keep(connection, work.actor, work.keys.node, evidence)
    log.info("drill of erasure", passed=evidence.passed, steps=len(evidence.steps))


@task("keys_care", attempts=1, cron="23 3 * * *")
def keys_care(job: Job) -> None:
    """Rotate when it is due, finish what was broken off, keep an escrow that opened, and ask for destructions."""
    with job.session() as session:
        work = work_of(session, job.settings)
        state = state_of(session.connection(), work.keys, job.settings)
    active = next(item for item in state.epochs if item.state == "active")
    if state.behind or (active.due is not None and active.due <= now()):
        done = rotation.rotate(work, fresh=not state.behind)
        _renew_tokens(job)
        log.info("keys rotated", epoch=done.epoch, wrapped=done.wrapped, left=done.left)
    _keep_escrow(work, state)
    for epoch in state.epochs:
        if epoch.state == "retired" and epoch.veto_until is None and not epoch.approved:
            _ask(job, epoch.number)


def _renew_tokens(job: Job) -> None:
    """Blind indexes die with their epoch, so they are made anew under the one in use."""
    for entity in upkeep.indexed_entities(datamap()):
        upkeep.rebuild(job.factory, job.actor, entity)


def _keep_escrow(work: KeyWork, state: KeyState) -> None:
    """A fresh escrow each day, opened; old ones go when their time is over."""
    fresh = state.escrow is not None and state.escrow.made_at > now() - timedelta(hours=20)
    if (
        not fresh
        or state.escrow is None
        or state.escrow.opened_at is None
        or state.escrow.epoch != state.active
    ):
        escrow.open_scratch(work, escrow.export(work).file)
    escrow.remove_old(work)


def _ask(job: Job, epoch: int) -> None:
    try:
        with job.session() as session:
            destruction.request(session, epoch, "The destruction window of the policy has begun.")
    except KeyWorkRefused as refused:
        log.warning("epoch can't be destroyed yet", epoch=epoch, reason=refused.reason)
    except Conflict:
        pass


@task("keys_rotate", attempts=1)
def keys_rotate(job: Job) -> None:
    """An urgent rotation that a person asked for on the page."""
    with job.session() as session:
        work = work_of(session, job.settings)
    rotation.rotate(work)
    _renew_tokens(job)
    escrow.open_scratch(work, escrow.export(work).file)


@task("keys_escrow", attempts=1)
def keys_escrow(job: Job) -> None:
    """An escrow that a person asked for on the page; it is opened at once."""
    with job.session() as session:
        work = work_of(session, job.settings)
    escrow.open_scratch(work, escrow.export(work).file)


@task("keys_destroy", attempts=10, backoff=60)
def keys_destroy(job: Job, **arguments: Any) -> None:
    """Destroy an epoch whose destruction was released; tried again while the device is away."""
    with job.session() as session:
        work = work_of(session, job.settings)
    try:
        done = destruction.destroy(work, int(arguments["epoch"]))
    except KeyWorkRefused as refused:
        if refused.reason == "destroyed":
            return
        raise
    except KeyRingError as error:
        metrics.KEY_ALARMS.labels(error.code).inc()
        raise
    log.info("epoch destroyed", epoch=done.epoch, proven=done.proven, pending=len(done.pending))
