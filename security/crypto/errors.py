"""Everything that can go wrong while sealing and opening, each with a code of its own.

Callers turn these into alarms, audit events and answers. No message, argument or attribute ever carries a plaintext,
a key or a passphrase; key ids are random and may be shown. Errors are raised outside of ``except`` blocks where the
original exception could hold a value, so that not even ``__context__`` carries it.
"""

from __future__ import annotations

from typing import ClassVar


class CryptoError(Exception):
    """Base of all errors of this package.

    ``code`` is stable and machine-readable; ``alarm`` says that an operator must see it now.
    """

    code: ClassVar[str] = "crypto"
    alarm: ClassVar[bool] = False


# Documents -----------------------------------------------------------------------------------------------------------


class DocumentError(CryptoError):
    """A sealed document cannot be opened."""

    code = "document"
    alarm = True


class MalformedDocument(DocumentError):
    """The bytes aren't a sealed document: too short, wrong lengths, or a plaintext that breaks the format."""

    code = "document-malformed"


class UnknownSuite(DocumentError):
    """The version or suite is unknown, reserved, or refused by the profile."""

    code = "document-unknown-suite"


class CommitmentMismatch(DocumentError):
    """The document doesn't commit to this key and this place; nothing was decrypted (ENC-3, ENC-4)."""

    code = "document-commitment"


class WrongKey(CommitmentMismatch):
    """The document names another key than the one that was offered, or the offered key fails its check value."""

    code = "document-wrong-key"


class DocumentMoved(CommitmentMismatch):
    """The key is right but the place isn't: moved between tenants, tables, records, subjects or classes, or the
    header was altered.
    """

    code = "document-moved"


class DocumentRolledBack(CommitmentMismatch):
    """The document is at home here, but under another version: an older one was put back (or a newer one, early).

    ``found`` and ``expected`` are document versions.
    """

    code = "document-rolled-back"

    def __init__(self, found: int, expected: int) -> None:
        super().__init__(
            f"This is version {found} of the document where version {expected} is expected: it was put back."
        )
        self.found = found
        self.expected = expected


class DocumentAltered(DocumentError):
    """The commitment fits, the ciphertext or its tag doesn't: the body was altered."""

    code = "document-altered"


class StreamTruncated(DocumentError):
    """Chunks of an attachment are missing, repeated or out of order."""

    code = "stream-truncated"


class UnsealableValue(CryptoError):
    """A value can't be put into a document: a type or size the format doesn't have. Names the field, not the value."""

    code = "unsealable-value"


# Data keys -----------------------------------------------------------------------------------------------------------


class DataKeyError(CryptoError):
    """A data key can't be used. ``kid`` is its id."""

    code = "key"

    def __init__(self, kid: bytes, message: str) -> None:
        super().__init__(message)
        self.kid = kid


class KeyMissing(DataKeyError):
    """No such key, and no tombstone: an alarm, never an erasure (ENC-6)."""

    code = "key-missing"
    alarm = True

    def __init__(self, kid: bytes) -> None:
        super().__init__(
            kid,
            f"Data key {kid.hex()} is unknown and was never erased. Restore the key table before going on.",
        )


class KeyErased(DataKeyError):
    """The key was erased on purpose; what it sealed is gone (ENC-6)."""

    code = "key-erased"

    def __init__(self, kid: bytes) -> None:
        super().__init__(kid, f"Data key {kid.hex()} was erased. What it sealed can't be read any more.")


class KeyCorrupt(DataKeyError):
    """The wrapped key doesn't unwrap under its epoch, or fails its check value."""

    code = "key-corrupt"
    alarm = True


class KeyHeld(DataKeyError):
    """The key is under a legal hold and can't be erased."""

    code = "key-held"

    def __init__(self, kid: bytes) -> None:
        super().__init__(kid, f"Data key {kid.hex()} is under a legal hold. Release the hold first.")


class KeyIdReused(DataKeyError):
    """A key id that exists or once existed was about to be created again."""

    code = "key-id-reused"
    alarm = True

    def __init__(self, kid: bytes) -> None:
        super().__init__(
            kid, f"Data key {kid.hex()} exists already, or did. A key id is never created again."
        )


# Key ring ------------------------------------------------------------------------------------------------------------


class KeyRingError(CryptoError):
    """The key ring or its provider can't do what was asked."""

    code = "keyring"
    alarm = True


class ProviderUnavailable(KeyRingError):
    """The device, library or tool doesn't answer, or isn't installed."""

    code = "provider-unavailable"


class ProviderRefused(KeyRingError):
    """The passphrase, PIN, token or slot is wrong."""

    code = "provider-refused"


class RingCorrupt(KeyRingError):
    """A file of the key ring is damaged, or belongs to another device or epoch."""

    code = "ring-corrupt"


class RingStorage(KeyRingError):
    """A file of the key ring can't be written: disk full, or no permission. The earlier state is intact."""

    code = "ring-storage"


class EpochUnknown(KeyRingError):
    """There is no such epoch, and there never was."""

    code = "epoch-unknown"


class EpochExists(KeyRingError):
    """The number of the epoch was used before; epochs only grow."""

    code = "epoch-exists"


class EpochDestroyed(KeyRingError):
    """The epoch was destroyed on purpose. Nothing opens it again."""

    code = "epoch-destroyed"
    alarm = False


class DestructionFailed(KeyRingError):
    """The device didn't confirm the destruction. Run it again; it goes on where it stopped."""

    code = "destruction-failed"


class HandoverRefused(KeyRingError):
    """An epoch isn't handed to another node, or what was handed over doesn't open."""

    code = "handover-refused"


# Rules ---------------------------------------------------------------------------------------------------------------


class ProfileRefused(CryptoError):
    """The profile in force doesn't allow this algorithm, suite or provider."""

    code = "profile-refused"


class NotNormal(CryptoError):
    """A value can't be brought into the normal form of its blind index. Never carries the value."""

    code = "not-normal"


class BitBudgetBroken(CryptoError):
    """The blind indexes of a record reveal too much, or find too little (ENC-17)."""

    code = "bit-budget"
    alarm = True
