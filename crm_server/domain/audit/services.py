"""What can be done with the log inside the application: read how far it is, export it, prove an event."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compliance.audit.log.reading import LogReader
from crm_server.domain.audit import events
from crm_server.domain.audit.places import places

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

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
    with tempfile.TemporaryDirectory(prefix="kontor-proof-") as folder:
        made = Path(folder) / "bundle"
        (index,) = reader(session, settings).prove(made, [event_id])
        name = f"kontor-event-{index}"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(made.rglob("*")):
                if path.is_file():
                    archive.write(path, f"{name}/{path.relative_to(made)}")
    events.record(session, events.proved(event_id))
    return f"{name}.zip", packed.getvalue()
