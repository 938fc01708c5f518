"""Seals the payloads of audit events: old and new values, search terms, addresses (AUD-6).

A payload is a sealed document of key class `audit`, bound to its event. Its key is that of the event's data subject, so
that erasing the person makes it unreadable in every copy, while event, leaf and proofs stay. Without a data subject it
is the key of whoever acted for what they looked for, and the installation's own for changes of records about nobody.

`Keys` hands one of these to the writer of events for its engine; on an engine without keys events tell facts alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from compliance.datamap import KeyClass
from crm_server.kernel.actor import SYSTEM_ID
from security.crypto.cache import BoundedCache
from security.crypto.datakeys import KeyOwner
from security.crypto.document import document_kid
from security.crypto.errors import KeyErased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

    from compliance.audit.events import Payload
    from crm_server.kernel.keys import Keys
    from security.crypto.document import DocumentKey

TABLE: Final = 61
"""Number of the table of payloads in the data map."""
_CLASS: Final = str(KeyClass.AUDIT)
_FIELD, _VERSION = 1, 1
_SALT = 32
_REMEMBERED, _SECONDS = 20_000, 300


class Payloads:
    """The payloads of one engine. Safe to share between threads."""

    def __init__(self, keys: Keys, engine: Engine) -> None:
        self._keys, self._engine = keys, engine
        # Key ids of subjects whose key is committed; the keys themselves are in the cache that erasures empty.
        self._known: BoundedCache[UUID, bytes] = BoundedCache(_REMEMBERED, _SECONDS)

    def seal(self, connection: Connection, payloads: Sequence[Payload]) -> list[bytes | None]:
        """Seal in the connection's transaction; the keys of data subjects commit or roll back with it.

        Returns:
            The sealed documents in the same order; None where the person was erased, so that nothing may be kept.
        """
        unknown = dict.fromkeys(
            one.subject for one in payloads if one.key is None and one.subject is not None
        )
        keys = self._keys_of(connection, list(unknown)) if unknown else {}
        alone = {one.keeper for one in payloads if one.key is None and one.subject is None}
        own = {keeper: self._own(keeper) for keeper in alone}
        seal = self._keys.column(TABLE, KeyClass.AUDIT).seal
        sealed: list[bytes | None] = []
        for event, subject, keeper, content, fresh in payloads:
            key = fresh or (own[keeper] if subject is None else keys[subject])
            body = None if key is None else seal(key, {_FIELD: content}, event, key.subject, _VERSION)
            sealed.append(body)
        return sealed

    def seal_alone(self, event: UUID, keeper: UUID | None, content: bytes) -> bytes:
        """Seal for a statement that is a transaction of its own, about nobody in particular."""
        key = self._own(keeper)
        column = self._keys.column(TABLE, KeyClass.AUDIT)
        return column.seal(key, {_FIELD: content}, event.bytes, key.subject, _VERSION)

    def _own(self, keeper: UUID | None) -> DocumentKey:
        """The key of who keeps what is about no data subject: whoever acted, or the installation.

        It is made in a transaction of its own: many transactions at once want it, and none waits for another.
        """
        owner = self._keys.tenant if keeper is None or keeper == SYSTEM_ID else keeper
        key = self._remembered(owner)
        if key is None:
            with self._engine.begin() as connection:
                key = self._keys.on(lambda: connection).for_sealing(self._key_owner(owner))
            self._known.put(owner, key.kid, self._known.mark())
        return key

    def open(self, connection: Connection, event: UUID, body: bytes) -> dict[str, Any] | None:
        """The payload of an event; None if its key was erased.

        Raises:
            CryptoError: it was altered, or belongs to another event.
        """
        try:
            key = self._keys.on(lambda: connection).by_id(document_kid(body))
        except KeyErased:
            return None
        column = self._keys.column(TABLE, KeyClass.AUDIT)
        content: bytes = column.open(key, body, event.bytes, key.subject, _VERSION)[_FIELD]
        found: dict[str, Any] = orjson.loads(content[_SALT:])
        return found

    def _key_owner(self, owner: UUID) -> KeyOwner:
        return KeyOwner(self._keys.tenant, owner, _CLASS)

    def _remembered(self, owner: UUID) -> DocumentKey | None:
        kid = self._known.get(owner)
        return None if kid is None else self._keys.cache.get(kid)

    def _keys_of(self, connection: Connection, subjects: list[UUID]) -> dict[UUID, DocumentKey | None]:
        found: dict[UUID, DocumentKey | None] = {}
        missing = []
        for subject in subjects:
            key = self._remembered(subject) or self._keys.first.known(connection, subject, _CLASS)
            if key is None:
                missing.append(subject)
            else:
                found[subject] = key
        if missing:
            made = self._keys.for_sealing_many(connection, missing, _CLASS)
            found |= made
            for subject, key in made.items():
                # A key that was just made isn't in the cache: its transaction may still roll back.
                if key is not None and self._keys.cache.get(key.kid) is not None:
                    self._known.put(subject, key.kid, self._known.mark())
        return found
