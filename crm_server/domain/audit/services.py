"""What can be done with the log inside the application: read how far it is, export it, prove an event."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from compliance.audit.log.reading import LogReader, NotSealedError
from compliance.audit.models import AuditEvent
from crm_server.domain.audit import events
from crm_server.domain.audit.places import places

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef
    from crm_server.settings import Settings


def reader(session: Session, settings: Settings) -> LogReader:
    """The log on the session's connection, inside its transaction."""
    where = places(settings)
    raw: Any = session.connection().connection.dbapi_connection
    return LogReader(raw, where.mirror, where.keys)


def proof_archive(session: Session, settings: Settings, event_id: UUID) -> tuple[str, bytes]:
    """A zip file with the event, its inclusion proof under the newest checkpoint, the keys and the verifier.

    Returns:
        Name of the file, and its bytes.

    Raises:
        NotSealedError: the event is younger than the newest checkpoint.
        MirrorDamaged: the mirror lacks what was signed.
    """
    packed, indexes = _archive(session, settings, [event_id], "kontor-event")
    events.record(session, events.proved(event_id))
    return f"kontor-event-{indexes[0]}.zip", packed


def history_archive(
    session: Session, settings: Settings, entity: EntityDef, record: UUID
) -> tuple[str, bytes]:
    """A zip file that proves every sealed event about a record, oldest first, with the verifier.

    Raises:
        NotSealedError: there is none, or the newest is not under a checkpoint yet.
        MirrorDamaged: the mirror lacks what was signed.
    """
    found = list(
        session.scalars(
            select(AuditEvent.event_id)
            .where(AuditEvent.object_ref == record, AuditEvent.object_type == entity.number)
            .order_by(AuditEvent.event_id)
            .limit(_MOST_PROVED)
        )
    )
    if not found:
        raise NotSealedError
    packed, _indexes = _archive(session, settings, found, "kontor-history")
    events.record(session, events.history_proved(entity.number, record, len(found)))
    return f"kontor-history-{record}.zip", packed


_MOST_PROVED = 1000


def _archive(session: Session, settings: Settings, wanted: list[UUID], name: str) -> tuple[bytes, list[int]]:
    with tempfile.TemporaryDirectory(prefix="kontor-proof-") as folder:
        made = Path(folder) / "bundle"
        indexes = reader(session, settings).prove(made, wanted)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(made.rglob("*")):
                if path.is_file():
                    archive.write(path, f"{name}/{path.relative_to(made)}")
    return packed.getvalue(), indexes
