"""The keys in the transaction of a session: what domains and the sealing of documents are given (ENC-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.kernel import db
from crm_server.kernel.keystore import KEY_COLUMNS
from security.crypto.datakeys import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.kernel.keys import Keys
    from security.crypto.document import DocumentKey, SealedColumn


class SessionKeys:
    """The keys in one session's transaction."""

    __slots__ = ("data", "keys", "session")

    def __init__(self, keys: Keys, session: Session) -> None:
        self.keys = keys
        self.session = session
        self.data = keys.in_session(session)

    @property
    def tenant(self) -> UUID:
        """The installation."""
        return self.keys.tenant

    def column(self, table: int, key_class: str) -> SealedColumn:
        """The place of sealed documents; see `Keys.column`."""
        return self.keys.column(table, key_class)

    def by_id(self, kid: bytes) -> DocumentKey:
        """The key of a document. Raises KeyMissing (alarm), KeyErased (tombstone), KeyCorrupt, KeysAway."""
        return self.data.by_id(kid)

    def by_ids(self, kids: Iterable[bytes]) -> dict[bytes, DocumentKey | None]:
        """The keys of many documents in one query at most: None for an erased one; unknown ones are left out."""
        wanted = set(kids)
        found: dict[bytes, DocumentKey | None] = {}
        missing = []
        for kid in wanted:
            key = self.keys.cache.get(kid)
            if key is None:
                missing.append(kid)
            else:
                found[kid] = key
        if missing:
            mark = self.keys.cache.mark()
            rows = self.session.connection().exec_driver_sql(
                f"select {KEY_COLUMNS} from keys.data_key where kid = any(%s)",  # noqa: S608 - names of columns
                (missing,),
            )
            found |= self.keys.unwrap(rows, mark)
        return found

    def for_sealing(self, subject: UUID, key_class: str) -> DocumentKey:
        """The subject's key for a new document, made on first use. Raises KeyErased for somebody who was erased."""
        connection, word = self.session.connection(), str(key_class)
        first = self.keys.first
        return (
            first.known(connection, subject, word)
            or first.make(connection, subject, word)
            or self.data.for_sealing(KeyOwner(self.tenant, subject, word))
        )

    def for_sealing_many(self, subjects: Iterable[UUID], key_class: str) -> dict[UUID, DocumentKey | None]:
        """The keys of many subjects for new documents, in two statements; None for those who were erased."""
        return self.keys.for_sealing_many(self.session.connection(), subjects, key_class)


def keys_of(session: Session) -> SessionKeys:
    """The keys of a session.

    Raises:
        LookupError: the session was opened without keys; give them to `db.session_factory`.
    """
    keys: Keys | None = session.info.get(db.KEYS)
    if keys is None:
        raise LookupError("this session has no keys; make its factory with keys=Keys.open(…)")
    return SessionKeys(keys, session)
