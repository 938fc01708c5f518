"""Seals documents anew that don't fit the profile in force, after a change of `KONTOR_CRYPTO_PROFILE`.

The content isn't looked at: what a document holds is opened with its key and sealed again with the suite of the profile
under the next version. Batches commit, so a run that was killed goes on; a row that changed meanwhile is taken by the
next run. Erased documents stay as they are.
"""

# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from crm_server.domain.keys import events
from crm_server.domain.keys.work import silent
from crm_server.kernel import db
from crm_server.kernel.keys import KEY_COLUMNS
from security.crypto.document import SUITE_CBC_HMAC, SUITE_GCM, SealedColumn, document_kid
from security.crypto.errors import KeyMissing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from compliance.datamap import DataMap, EntityDef
    from crm_server.domain.keys.work import KeyWork, Progress

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many rows were sealed anew, and how many were left for their keys were erased."""

    rows: int
    erased: int

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def reseal(work: KeyWork, datamap: DataMap, progress: Progress = silent) -> Resealed:
    """Seal anew whatever isn't sealed with the suite of the profile in force.

    Raises:
        DocumentError, KeyMissing: a document doesn't open; nothing of its batch was changed.
    """
    rows = erased = 0
    entities = [entity for entity in datamap if entity.documents and entity.version_column]
    for entity in entities:
        last: Any = None
        while True:
            with db.connect(work.engine, work.actor) as connection:
                found = _read(connection, entity, work.keys.profile.suite, last)
                if not found:
                    break
                done = _batch(connection, work, entity, found)
                connection.commit()
            rows, erased, last = rows + done, erased + len(found) - done, found[-1][0]
            progress(rows, rows + erased)
    with work.engine.begin() as connection:
        told = events.epoch("documents_resealed", rows=rows, suite=work.keys.profile.suite)
        events.record(connection, work.actor, told)
    return Resealed(rows, erased)


def _read(connection: Connection, entity: EntityDef, suite: int, last: Any) -> list[Any]:
    """Rows with a document of another suite: (id, subject, version, document …), in order of the id."""
    columns = [item.column for item in entity.documents.values()]
    wrong = " or ".join(f"get_byte({name}, 1) <> {suite}" for name in columns)
    layout = entity.model.__layout__
    table = _quoted(entity)
    return list(
        connection.exec_driver_sql(
            f"select id, {layout.subject}, {layout.version}, {', '.join(columns)} from {table} "
            f"where ({wrong}) and (%s::uuid is null or id > %s) order by id limit {_BATCH}",
            (last, last),
        ).all()
    )


def _batch(connection: Connection, work: KeyWork, entity: EntityDef, rows: list[Any]) -> int:
    """Seal rows anew; returns how many. A row of which any key is erased stays."""
    kids = {document_kid(bytes(blob)) for row in rows for blob in row[3:] if blob is not None}
    stored = connection.exec_driver_sql(
        f"select {KEY_COLUMNS} from keys.data_key where kid = any(%s)", (list(kids),)
    )
    keys, done = work.keys.unwrap(stored), 0
    documents = list(entity.documents.values())
    places = [
        SealedColumn(
            work.keys.tenant,
            entity.number,
            str(item.key_class),
            suite=work.keys.profile.suite,
            suites=frozenset((SUITE_GCM, SUITE_CBC_HMAC)),
        )
        for item in documents
    ]
    version_column = entity.version_column
    for key, owner, version, *blobs in rows:
        subject = (owner or work.keys.tenant).bytes
        fresh: list[bytes | None] = []
        for place, blob in zip(places, blobs, strict=True):
            if blob is None:
                fresh.append(None)
                continue
            sealed = bytes(blob)
            kid = document_kid(sealed)
            if kid not in keys:
                raise KeyMissing(kid)
            data_key = keys[kid]
            if data_key is None:
                break
            values = place.open(data_key, sealed, key.bytes, subject, version)
            fresh.append(place.seal(data_key, values, key.bytes, subject, version + 1))
        if len(fresh) < len(blobs):
            continue
        changes = ", ".join(f"{item.column} = %s" for item in documents)
        done += connection.exec_driver_sql(
            f"update {_quoted(entity)} set {changes}, {version_column} = %s where id = %s and {version_column} = %s",
            (*fresh, version + 1, key, version),
        ).rowcount
    return done


def _quoted(entity: EntityDef) -> str:
    return f'{entity.table.schema}."{entity.table.name}"'
