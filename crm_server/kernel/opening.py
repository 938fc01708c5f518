"""Opening the sealed documents of many rows at once: for searches, imports, exports and rebuilds.

Mapped objects open their own documents one by one; whoever reads thousands of rows comes here. A document whose key
was erased is empty, as everywhere; one that doesn't open though nobody erased its key is an alarm and an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from compliance.datamap import documents
from crm_server.kernel.keys import keys_of
from security.crypto.document import document_kid
from security.crypto.errors import CryptoError, KeyMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef, FieldDef

_CHUNK: Final = 2_000


def opened(
    session: Session, entity: EntityDef, keys: Sequence[UUID], fields: Iterable[FieldDef] | None = None
) -> Iterator[tuple[UUID, dict[int, Any]]]:
    """(record, sealed fields by number) of the records that there are, in no order.

    Args:
        fields: Only the documents that hold these; all by default.
    """
    classes = set(entity.documents) if fields is None else {item.policy.handling.key_class for item in fields}
    columns = [document.column for kind, document in entity.documents.items() if kind in classes]
    table, version = entity.table, entity.version_column
    if not columns or version is None:
        return
    names = ["id", entity.policy.subject or "", version, *columns]
    for start in range(0, len(keys), _CHUNK):
        part = list(keys[start : start + _CHUNK])
        query = select(*(table.c[name] for name in names)).where(
            table.c.id == any_(bindparam("keys", part, type_=ARRAY(Uuid)))
        )
        yield from opened_rows(session, entity, session.execute(query).mappings().all())


def opened_rows(
    session: Session, entity: EntityDef, rows: Sequence[Mapping[Any, Any]]
) -> Iterator[tuple[UUID, dict[int, Any]]]:
    """The same for rows that were read already, with id, subject, version and documents by the names of their columns.

    Raises:
        CryptoError: a document doesn't open.
    """
    vault = keys_of(session)
    version, subject = entity.version_column or "", entity.policy.subject or ""
    found: dict[UUID, dict[int, Any]] = {row["id"]: {} for row in rows}
    for key_class, document in entity.documents.items():
        held = [row for row in rows if row.get(document.column) is not None]
        keys = vault.by_ids(document_kid(bytes(row[document.column])) for row in held)
        column = vault.column(entity.number, key_class)
        for row in held:
            blob = bytes(row[document.column])
            kid = blob[2:18]
            try:
                if kid not in keys:
                    raise KeyMissing(kid)
                key = keys[kid]
                if key is not None:
                    owner: UUID = row[subject] or vault.tenant
                    found[row["id"]] |= column.open(key, blob, row["id"].bytes, owner.bytes, row[version])
            except CryptoError as error:
                documents.report(
                    session, documents.Trouble(entity.number, row["id"], str(key_class), error)
                )
                raise
    yield from found.items()
