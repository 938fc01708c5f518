"""Epochs: the keys at the top of the hierarchy that live for weeks and are then destroyed.

An epoch has two secrets of 32 bytes: KEK_e wraps data keys, BIK_e is the root of the blind indexes. A provider seals
both under something that can be destroyed for certain (a key in an HSM, the value of a TPM counter), or says that it
can't (a passphrase). After the destruction of an epoch nothing that was wrapped under it opens again, in no backup.
Callers: the key commands, the start of each process, and the data keys. Providers are in
:mod:`security.crypto.providers`; all pass one conformance suite (ENC-14).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NoReturn, Protocol, runtime_checkable

from security.crypto import cbc, cbor
from security.crypto.errors import DocumentAltered, MalformedDocument, RingCorrupt
from security.crypto.kdf import kbkdf
from security.crypto.wrap import KeyWrapper

MATERIAL_SIZE: Final = 64
INDEX_LABEL: Final = b"kontor/bidx/v1"
SEAL_LABEL: Final = b"kontor/epoch-seal/v1"
HANDOVER_LABEL: Final = b"kontor/handover-secret/v1"


class EpochState(StrEnum):
    """State of an epoch in its provider. *destroying* means that a destruction was begun and must be run to its end."""

    LIVE = "live"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """What anyone may know about an epoch."""

    number: int
    state: EpochState
    created_at: datetime
    destroyed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can promise. ``statement`` is shown word by word in the UI, the CLI and on certificates."""

    name: str
    can_prove_destruction: bool
    hardware: bool
    needs_secret: bool
    strict: bool
    statement: str


@dataclass(frozen=True, slots=True)
class DestructionEvidence:
    """What a provider says about the destruction of an epoch; part of the certificate of erasure.

    ``proven`` is true only if the provider can prove destruction, the epoch opened just before, and the device
    confirmed that what opened it is gone.
    ``details`` are public facts of the device, such as the value of a counter before and after.
    """

    epoch: int
    provider: str
    at: datetime
    proven: bool
    statement: str
    details: Mapping[str, str] = field(default_factory=dict)


class EpochKeys:
    """The opened keys of one epoch, in memory only."""

    __slots__ = ("_bik", "_kek", "epoch", "wrapper")

    def __init__(self, epoch: int, material: bytes) -> None:
        if len(material) != MATERIAL_SIZE:
            raise RingCorrupt(f"The key material of epoch {epoch} doesn't have {MATERIAL_SIZE} bytes.")
        self.epoch = epoch
        self._kek, self._bik = material[:32], material[32:]
        self.wrapper = KeyWrapper(self._kek)

    @classmethod
    def generate(cls, epoch: int) -> EpochKeys:
        """Make the keys of a new epoch from the random numbers of the operating system."""
        return cls(epoch, os.urandom(MATERIAL_SIZE))

    def index_key(self, tenant: bytes, field_number: int, transform: str, partition: int) -> bytes:
        """Return IK (32 bytes), the key of one blind index: KBKDF(BIK, "kontor/bidx/v1", CBOR[...])."""
        return kbkdf(self._bik, INDEX_LABEL, cbor.array(tenant, field_number, transform, partition), 32)

    def seal(self, purpose: str, data: bytes) -> bytes:
        """Seal bytes, such as an escrow of the key table, so that they die with the epoch.

        ``0x01 | 0x02 | salt 16 | IV 16 | ciphertext | tag 32``, keys from KBKDF(KEK, "kontor/epoch-seal/v1",
        salt ‖ CBOR[purpose, epoch]). ``purpose`` is part of the key: what was sealed for one doesn't open for another.
        """
        salt = os.urandom(16)
        padding = 16 - len(data) % 16
        padded = data + b"\x80" + bytes(padding - 1)
        okm, aad = self._seal_keys(purpose, salt)
        return b"\x01\x02" + salt + cbc.encrypt(okm, padded, aad)

    def unseal(self, purpose: str, sealed: bytes) -> bytes:
        """Open what :meth:`seal` wrote. Raises RingCorrupt."""
        padded: bytes | None
        if sealed[:2] != b"\x01\x02":
            raise RingCorrupt("This isn't something that was sealed under an epoch.")
        okm, aad = self._seal_keys(purpose, sealed[2:18])
        try:
            padded = cbc.decrypt(okm, sealed[18:], aad)
        except (DocumentAltered, MalformedDocument):
            padded = None
        if padded is None:
            raise RingCorrupt(f"The sealed bytes were altered, or belong to another epoch than {self.epoch}.")
        return padded.rstrip(b"\0")[:-1]

    def _seal_keys(self, purpose: str, salt: bytes) -> tuple[bytes, bytes]:
        aad = cbor.array(purpose, self.epoch)
        return kbkdf(self._kek, SEAL_LABEL, salt + aad, cbc.OKM_SIZE), aad

    def handover_secret(self) -> bytes:
        """Return the secret (32 bytes) that nodes which hold this epoch share, to hand over a later one."""
        return kbkdf(self._kek, HANDOVER_LABEL, cbor.array(self.epoch), 32)

    def material(self) -> bytes:
        """Return KEK ‖ BIK (64 bytes), to be sealed by a provider, also that of another node. Never write it down."""
        return self._kek + self._bik

    def __repr__(self) -> str:
        return f"EpochKeys(epoch={self.epoch})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")


@runtime_checkable
class KeyRingProvider(Protocol):
    """Keeps epochs. All methods may raise ProviderUnavailable, ProviderRefused, RingCorrupt and RingStorage."""

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can promise."""
        ...

    def create_epoch(self, number: int, keys: EpochKeys | None = None) -> EpochInfo:
        """Make epoch ``number``, above all earlier ones, or take over another node's ``keys`` of the same epoch.

        Raises EpochExists.
        """
        ...

    def open_epoch(self, number: int) -> EpochKeys:
        """Open an epoch. Raises EpochUnknown, EpochDestroyed."""
        ...

    def destroy(self, number: int) -> DestructionEvidence:
        """Destroy an epoch for good; after a kill, run it again. Raises EpochUnknown, DestructionFailed.

        The preconditions of a destruction (ENC-9) are the caller's affair; here it just happens.
        """
        ...

    def list(self) -> tuple[EpochInfo, ...]:
        """Return all epochs that ever were, by number. Needs neither device nor secret."""
        ...

    def seal(self, number: int, purpose: str, data: bytes) -> bytes:
        """Seal bytes under an epoch; see :meth:`EpochKeys.seal`."""
        ...

    def unseal(self, number: int, purpose: str, sealed: bytes) -> bytes:
        """Open bytes that were sealed under an epoch."""
        ...
