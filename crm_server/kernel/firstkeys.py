"""The first data keys of a person who was made a moment ago, in one round trip.

Asking for a key that can't exist yet is a round trip for nothing, and a new person needs two keys at once: one for the
record, one for what its audit events tell. Whoever's key (UUIDv7) is seconds old gets both by one INSERT, which leaves
keys that do exist alone; then they are asked for as usual. What was made is remembered until its transaction ends, but
not inside a savepoint, which may be rolled back alone.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from compliance.datamap import KeyClass
from crm_server.kernel.clock import now
from crm_server.kernel.keystore import SqlKeyStore
from security.crypto.datakeys import DataKeyRecord, KeyOwner, KeyState
from security.crypto.document import DocumentKey
from security.crypto.wrap import wrap_context

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection
    from sqlalchemy.engine import RootTransaction

    from crm_server.kernel.keys import Keys
    from security.crypto.wrap import KeyWrapper

_YOUNG: Final = 10_000
"""Milliseconds for which somebody counts as new. A wrong guess costs a round trip and nothing else."""
_TOGETHER: Final[dict[str, tuple[str, ...]]] = {
    str(KeyClass.IDENTITY): (str(KeyClass.IDENTITY), str(KeyClass.AUDIT))
}


def first_key(
    wrapper: KeyWrapper, epoch: int, owner: KeyOwner, moment: datetime
) -> tuple[DataKeyRecord, DocumentKey]:
    """A data key of the first generation: the row to store, and the key itself."""
    random = os.urandom(48)
    kid, dek = random[:16], random[16:]
    tenant, subject = owner.tenant.bytes, owner.subject.bytes
    key = DocumentKey(dek, kid, tenant, subject, owner.key_class, 1)
    record = DataKeyRecord(
        kid=kid,
        owner=owner,
        generation=1,
        epoch=epoch,
        state=KeyState.ACTIVE,
        wrapped=wrapper.wrap(dek, wrap_context(tenant, subject, owner.key_class, 1, kid)),
        kcv=key.check_value(),
        created_at=moment,
    )
    return record, key


class FirstKeys:
    """The keys that were made in the transactions of one process that are still open."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._made: WeakKeyDictionary[RootTransaction, dict[tuple[UUID, str], DocumentKey]] = (
            WeakKeyDictionary()
        )

    def known(self, connection: Connection, subject: UUID, key_class: str) -> DocumentKey | None:
        """A key that was made earlier in the connection's transaction."""
        transaction = connection.get_transaction()
        made = None if transaction is None else self._made.get(transaction)
        return None if made is None else made.get((subject, key_class))

    def make(self, connection: Connection, subject: UUID, key_class: str) -> DocumentKey | None:
        """The key of somebody new; None for others, and for those who have one already."""
        if subject.version != 7 or not abs(time.time() * 1000 - (subject.int >> 80)) < _YOUNG:
            return None
        tenant, epoch = self._keys.tenant, self._keys.active_epoch(lambda: connection)
        wrapper, moment = self._keys.wrapper(epoch), now()
        fresh = [
            first_key(wrapper, epoch, KeyOwner(tenant, subject, word), moment)
            for word in _TOGETHER.get(key_class, (key_class,))
        ]
        beaten = SqlKeyStore(lambda: connection).add_many([record for record, _key in fresh])
        found = {
            (subject, record.owner.key_class): key for record, key in fresh if record.owner not in beaten
        }
        transaction = connection.get_transaction()
        if transaction is not None and not connection.in_nested_transaction():
            self._made.setdefault(transaction, {}).update(found)
        return found.get((subject, key_class))
