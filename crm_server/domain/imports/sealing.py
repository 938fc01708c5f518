"""What an import keeps of persons: its file, and the values that an update overwrote. Each has a key of its own.

A file holds many persons, so no one's key fits: the owner of its key is the file itself. When the file or the import is
removed, the key is erased with it, and the copies in backups die with the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
from sqlalchemy import delete

from compliance.audit.events import Event, write
from compliance.datamap import KeyClass
from crm_server.domain.imports.models import Import, ImportChunk, ImportMade, ImportRow
from crm_server.kernel.db import actor_of
from crm_server.kernel.keys import keys_of
from crm_server.kernel.keystore import SqlKeyStore
from security.crypto.chunks import ChunkCipher
from security.crypto.datakeys import KeyState
from security.crypto.document import document_kid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

_CLASS: Final = KeyClass.IDENTITY
_CHUNKS: Final = ImportChunk.__entity__.number
_ROWS: Final = ImportRow.__entity__.number
_MADE: Final = ImportMade.__entity__.number
_BEFORE, _BODY = 8, 5
"""Numbers of the field in the sealed documents of a row and of a batch: their columns have the same."""


def begin_file(session: Session, import_id: UUID, file_id: UUID) -> ChunkCipher:
    """A stream for a file that is coming in."""
    vault = keys_of(session)
    key = vault.for_sealing(file_id, _CLASS)
    return ChunkCipher.create(vault.column(_CHUNKS, _CLASS), key, import_id.bytes, file_id.bytes, 1)


def reopen_file(session: Session, import_id: UUID, file_id: UUID, header: bytes) -> ChunkCipher:
    """The stream of a stored file."""
    vault = keys_of(session)
    key = vault.by_id(document_kid(header))
    column = vault.column(_CHUNKS, _CLASS)
    return ChunkCipher.from_header(column, key, header, import_id.bytes, file_id.bytes, 1)


def seal_notes(session: Session, import_id: UUID, notes: Iterable[dict[str, Any]]) -> None:
    """Replace the old values in rows of notes by documents that only this import opens."""
    held = [note for note in notes if note["before"] is not None]
    if not held:
        return
    vault = keys_of(session)
    key, column = vault.for_sealing(import_id, _CLASS), vault.column(_ROWS, _CLASS)
    for note in held:
        note["before"] = column.seal(
            key, {_BEFORE: note["before"]}, _place(note["ordinal"]), import_id.bytes, 1
        )


def old_values(session: Session, note: ImportRow) -> dict[str, Any]:
    """The values that an update overwrote; empty where none are kept."""
    if note.before is None:
        return {}
    vault = keys_of(session)
    body = bytes(note.before)
    key, column = vault.by_id(document_kid(body)), vault.column(_ROWS, _CLASS)
    found: dict[str, Any] = column.open(key, body, _place(note.ordinal), note.import_id.bytes, 1)[_BEFORE]
    return found


def seal_made(session: Session, import_id: UUID, xid: int, made: Mapping[str, str]) -> bytes:
    """The records that a transaction has made, value by record, as a document that only this import's key opens."""
    vault = keys_of(session)
    key, column = vault.for_sealing(import_id, _CLASS), vault.column(_MADE, _CLASS)
    return column.seal(key, {_BODY: orjson.dumps(made)}, _place(xid), import_id.bytes, 1)


def open_made(session: Session, import_id: UUID, xid: int, body: bytes) -> dict[str, str]:
    """The records that a transaction of another import has made, with their values."""
    vault = keys_of(session)
    key, column = vault.by_id(document_kid(body)), vault.column(_MADE, _CLASS)
    content = column.open(key, body, _place(xid), import_id.bytes, 1)[_BODY]
    found: dict[str, str] = orjson.loads(content)
    return found


def forget_made(session: Session, import_id: UUID) -> None:
    """Remove what the import has told others of its records: it has come to an end."""
    session.execute(delete(ImportMade).where(ImportMade.import_id == import_id))


def erase_keys(session: Session, job: Import, *owners: UUID | None) -> None:
    """Erase the keys of the owners for good, with their event: nothing that they sealed opens again."""
    vault, store = keys_of(session), SqlKeyStore(session.connection)
    keys = [key for owner in owners if owner is not None for key in store.of_subject(vault.tenant, owner)]
    for key in keys:
        if key.state is KeyState.ERASED:
            continue
        event = Event("job", "import_forget", object_type=25, object_ref=job.id, meta={"entity": job.entity})
        write(session.connection(), actor_of(session), [event])
        vault.data.erase(key.kid, event.event_id)


def _place(number: int) -> bytes:
    """Notes and batches have a number for a key; a document is bound to 16 bytes."""
    return UUID(int=number).bytes
