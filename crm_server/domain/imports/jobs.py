"""Imports as background jobs. A job that is run twice, or after its worker was killed, goes on where it
was.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select, update

from crm_server.domain.imports.models import Import
from crm_server.domain.imports.run import Runner
from crm_server.domain.imports.sealing import forget_made
from crm_server.domain.imports.storage import drop_file
from crm_server.domain.imports.undo import Undo
from crm_server.importing.errors import ImportFileError
from crm_server.importing.texts import translate
from crm_server.kernel import db
from crm_server.kernel.clock import now
from crm_server.kernel.jobs import Job, defer, task
from crm_server.models import datamap

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["enqueue", "forget_old_files", "work"]

_ATTEMPTS = 20
"""A long import may outlive several restarts of its worker; each of them counts as an attempt."""
KEEP_FILES = timedelta(days=30)
"""How long an uploaded file is kept: it is a copy of personal data, needed only for the error file."""


def enqueue(session: Session, import_id: UUID) -> None:
    """Asks for the import to be worked on, in the session's transaction."""
    defer(session, "imports.work", lock=f"import:{import_id}", import_id=str(import_id))


@task("imports.work", attempts=_ATTEMPTS, backoff=5)
def work(job: Job, import_id: str) -> None:
    """Checks, runs or undoes an import, as its phase says."""
    key = UUID(import_id)
    entities: Any = datamap()
    with db.open_session(job.factory, job.actor) as session:
        phase = session.scalar(select(Import.phase).where(Import.id == key))
    try:
        if phase == "undo":
            Undo(job.factory, entities, job.actor).run(key)
        elif phase is not None:
            Runner(job.factory, entities, job.actor, translate=translate).run(key)
    except ImportFileError:
        # The import says itself what is wrong with its file; trying again wouldn't change that.
        return
    except Exception:
        if job.attempt >= _ATTEMPTS:
            with db.open_session(job.factory, job.actor) as session:
                values = {"state": "failed", "error": "internal", "finished_at": now()}
                session.execute(update(Import).where(Import.id == key).values(values))
                forget_made(session, key)
                db.commit(session)
        raise


@task("imports.forget_old_files", cron="17 3 * * *")
def forget_old_files(job: Job) -> None:
    """Deletes uploaded files whose time is over; imports that wait or run keep theirs."""
    with db.open_session(job.factory, job.actor) as session:
        query = select(Import).where(
            Import.has_file,
            Import.created_at < now() - KEEP_FILES,
            Import.state.not_in(["queued", "working"]),
        )
        for item in session.scalars(query).all():
            drop_file(session, item)
        db.commit(session)
