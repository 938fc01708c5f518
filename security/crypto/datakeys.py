"""Data keys: what a row of the key table means, how its state may change, and how a key id becomes a usable key.

States: *active*, *held* (under a legal hold: usable, but not erasable) and *erased* (a tombstone: the id and the fact
stay, the wrapped key is gone). An unknown id is an alarm and an erased one is a tombstone; they never mix (ENC-6).
There is no SQL here: :class:`KeyStore` is the door that the key table of the database walks through.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from security.crypto.cache import BoundedCache
from security.crypto.document import DocumentKey
from security.crypto.errors import KeyErased, KeyHeld, KeyMissing
from security.crypto.reference import WRAPPED_SIZE
from security.crypto.wrap import KeyWrapper, wrap_context


class KeyState(StrEnum):
    """State of a data key."""

    ACTIVE = "active"
    HELD = "held"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whose key, and for what: one data key exists for each owner and generation."""

    tenant: UUID
    subject: UUID
    key_class: str


@dataclass(frozen=True, slots=True)
class DataKeyRecord:
    """One row of the key table. ``wrapped`` has 40 bytes, or is None for an erased key; ``kcv`` has 8."""

    kid: bytes
    owner: KeyOwner
    generation: int
    epoch: int
    state: KeyState
    wrapped: bytes | None = field(repr=False)
    kcv: bytes = field(repr=False)
    created_at: datetime
    erased_at: datetime | None = None
    erase_event: UUID | None = None

    def __post_init__(self) -> None:
        if len(self.kid) != 16 or len(self.kcv) != 8 or self.generation < 1 or self.epoch < 1:
            raise ValueError(
                "A data key has an id of 16 bytes, a check value of 8, a generation and an epoch from 1."
            )
        erased = self.state is KeyState.ERASED
        if erased != (self.wrapped is None) or erased != (self.erased_at is not None):
            raise ValueError(
                "An erased key has a time of erasure and no wrapped key; every other has it the other way."
            )
        if self.wrapped is not None and len(self.wrapped) != WRAPPED_SIZE:
            raise ValueError("A wrapped data key has 40 bytes.")

    @property
    def context(self) -> bytes:
        """The context that the key is wrapped under."""
        owner = self.owner
        return wrap_context(
            owner.tenant.bytes, owner.subject.bytes, owner.key_class, self.generation, self.kid
        )

    def hold(self) -> DataKeyRecord:
        """Return the record under a legal hold. Holding twice is no error; an erased key can't be held."""
        if self.state is KeyState.ERASED:
            raise KeyErased(self.kid)
        return replace(self, state=KeyState.HELD)

    def release(self) -> DataKeyRecord:
        """Return the record without a hold."""
        if self.state is KeyState.ERASED:
            raise KeyErased(self.kid)
        return replace(self, state=KeyState.ACTIVE)

    def erase(self, at: datetime, event: UUID) -> DataKeyRecord:
        """Return the tombstone. Raises KeyHeld under a hold; erasing an erased key gives the first tombstone back."""
        if self.state is KeyState.HELD:
            raise KeyHeld(self.kid)
        if self.state is KeyState.ERASED:
            return self
        return replace(self, state=KeyState.ERASED, wrapped=None, erased_at=at, erase_event=event)

    def rewrapped(self, old: KeyWrapper, new: KeyWrapper, epoch: int) -> DataKeyRecord:
        """Return the record under a later epoch, verified. A tombstone has nothing to wrap and stays as it is."""
        if epoch <= self.epoch:
            raise ValueError("A key is re-wrapped under a later epoch only.")
        if self.wrapped is None:
            return self
        return replace(
            self, epoch=epoch, wrapped=old.rewrap(new, self.wrapped, self.context, self.kid, self.kcv)
        )


class KeyStore(Protocol):
    """Where data keys are kept. An implementation works inside of the caller's transaction (ENC-7)."""

    def get(self, kid: bytes) -> DataKeyRecord | None:
        """Return the record, tombstones included, or None if the id was never used."""
        ...

    def current(self, owner: KeyOwner) -> DataKeyRecord | None:
        """Return the record of the highest generation of an owner, tombstones included."""
        ...

    def add(self, record: DataKeyRecord) -> DataKeyRecord:
        """Store a new key and return it, or the one that another transaction stored first for owner and generation.

        Raises KeyIdReused if the id exists, be it as a tombstone.
        """
        ...

    def put(self, record: DataKeyRecord) -> None:
        """Replace the record of the same id. Raises KeyMissing if there is none."""
        ...


class DataKeys:
    """From a key id, or an owner, to a key that opens and seals documents.

    ``wrapper_of`` gives the wrapper of an epoch (from the key ring), ``active_epoch`` the number of the epoch for new
    keys, and ``clock`` the aware time. The cache is shared by all requests of a process and forgets on its own.
    """

    def __init__(
        self,
        store: KeyStore,
        wrapper_of: Callable[[int], KeyWrapper],
        active_epoch: Callable[[], int],
        clock: Callable[[], datetime],
        cache: BoundedCache[bytes, DocumentKey] | None = None,
    ) -> None:
        self._store = store
        self._wrapper_of = wrapper_of
        self._active_epoch = active_epoch
        self._clock = clock
        self.cache: BoundedCache[bytes, DocumentKey] = BoundedCache() if cache is None else cache

    def by_id(self, kid: bytes) -> DocumentKey:
        """Return the key of a document. Raises KeyMissing (alarm), KeyErased (tombstone) or KeyCorrupt."""
        found = self.cache.get(kid)
        if found is not None:
            return found
        mark = self.cache.mark()
        record = self._store.get(kid)
        if record is None:
            raise KeyMissing(kid)
        key = self.open(record)
        self.cache.put(kid, key, mark)
        return key

    def open(self, record: DataKeyRecord) -> DocumentKey:
        """Unwrap a record that the caller has read, for bulk readers. Raises KeyErased, KeyCorrupt."""
        if record.wrapped is None:
            raise KeyErased(record.kid)
        dek = self._wrapper_of(record.epoch).unwrap(record.wrapped, record.context, record.kid, record.kcv)
        owner = record.owner
        return DocumentKey(
            dek, record.kid, owner.tenant.bytes, owner.subject.bytes, owner.key_class, record.generation
        )

    def for_sealing(self, owner: KeyOwner) -> DocumentKey:
        """Return the owner's key for a new document, made on first use in the caller's transaction.

        Raises KeyErased when the owner's newest key is a tombstone: whoever was erased doesn't come back unnoticed.
        :meth:`renew` makes the next generation when the re-entry was decided.
        """
        mark = self.cache.mark()
        record = self._store.current(owner)
        if record is None:
            return self._create(owner, 1)
        key = self.cache.get(record.kid)
        if key is None or record.wrapped is None:
            key = self.open(record)
            self.cache.put(record.kid, key, mark)
        return key

    def renew(self, owner: KeyOwner) -> DocumentKey:
        """Make the owner's key of the next generation."""
        record = self._store.current(owner)
        return self._create(owner, 1 if record is None else record.generation + 1)

    def erase(self, kid: bytes, event: UUID) -> DataKeyRecord:
        """Turn a key into a tombstone and forget it here. Other nodes drop it when the change reaches them.

        Raises KeyMissing, KeyHeld.
        """
        record = self._store.get(kid)
        if record is None:
            raise KeyMissing(kid)
        tombstone = record.erase(self._clock(), event)
        self._store.put(tombstone)
        self.cache.drop(kid)
        return tombstone

    def _create(self, owner: KeyOwner, generation: int) -> DocumentKey:
        kid, dek, epoch = os.urandom(16), os.urandom(32), self._active_epoch()
        tenant, subject = owner.tenant.bytes, owner.subject.bytes
        key = DocumentKey(dek, kid, tenant, subject, owner.key_class, generation)
        record = DataKeyRecord(
            kid=kid,
            owner=owner,
            generation=generation,
            epoch=epoch,
            state=KeyState.ACTIVE,
            wrapped=self._wrapper_of(epoch).wrap(
                dek, wrap_context(tenant, subject, owner.key_class, generation, kid)
            ),
            kcv=key.check_value(),
            created_at=self._clock(),
        )
        stored = self._store.add(record)
        if stored is not record:
            return self.open(stored)
        # Not cached: the transaction may still roll back, and then the key never existed.
        return key
