"""The ciphers behind sealed documents (suite 1) and wrapped keys, by the ``cryptography`` library.

``_native.c`` computes the same bytes in less time where it was built; :mod:`security.crypto.native` compares the two
and chooses. This way is the reference: it works on every machine, it is what the strict profile uses, and it judges the
other. What a document holds and why one is refused is said in :mod:`security.crypto.document`, what a wrapped key is in
:mod:`security.crypto.wrap`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from security.crypto.kdf import PreparedKdf

DOCUMENT_LABEL: Final = b"kontor/doc/v1"
WRAP_LABEL: Final = b"kontor/dek-wrap/v1"
CHECK_LABEL: Final = b"kontor/kcv/v1"
WRAPPED_SIZE: Final = 40
_MARK: Final = b"\1\1"
# The fixed input of KBKDF around salt and hash of the associated data: block 1 is the key, block 2 the commitment.
_KEY_BLOCK: Final = b"\0\0\0\1" + DOCUMENT_LABEL + b"\0"
_COMMIT_BLOCK: Final = b"\0\0\0\2" + DOCUMENT_LABEL + b"\0"
_TAIL: Final = (64 * 8).to_bytes(4, "big")
_sha256 = hashlib.sha256
_equal = hmac.compare_digest


def key_check_value(dek: bytes) -> bytes:
    """Return the check value of a data key: the first 8 bytes of HMAC-SHA-256(DEK, "kontor/kcv/v1")."""
    return hmac.digest(dek, CHECK_LABEL, "sha256")[:8]


class DocumentCipher:
    """Opens and seals documents of suite 1 under one data key (32 bytes). Ids, salts and nonces have fixed sizes."""

    __slots__ = ("_state",)

    def __init__(self, dek: bytes) -> None:
        # One keyed state for both blocks of the derivation: half the memory of two, and the second copy is warm.
        self._state: Callable[[], HMAC] = HMAC(dek, hashes.SHA256()).copy

    def open(self, blob: bytes, aad: bytes) -> bytes | None:
        """Return the padded content; None when the document commits to another key or other data, or was altered."""
        if blob[:2] != _MARK or len(blob) < 94:
            return None
        message = blob[18:34] + _sha256(aad).digest() + _TAIL
        derive = self._state()
        derive.update(_COMMIT_BLOCK + message)
        if not _equal(derive.finalize(), blob[34:66]):
            return None
        derive = self._state()
        derive.update(_KEY_BLOCK + message)
        try:
            return AESGCM(derive.finalize()).decrypt(blob[66:78], blob[78:], aad)
        except InvalidTag:
            return None

    def seal(self, kid: bytes, random: bytes, aad: bytes, content: bytes) -> bytes:
        """Return the document of padded content; ``random`` is the salt (16 bytes) and the nonce (12)."""
        salt, nonce = random[:16], random[16:]
        message = salt + _sha256(aad).digest() + _TAIL
        derive_key = self._state()
        derive_key.update(_KEY_BLOCK + message)
        derive_commitment = self._state()
        derive_commitment.update(_COMMIT_BLOCK + message)
        body = AESGCM(derive_key.finalize()).encrypt(nonce, content, aad)
        return b"".join((_MARK, kid, salt, derive_commitment.finalize(), nonce, body))

    def check_value(self) -> bytes:
        """Return the check value (8 bytes) of the data key; see :func:`key_check_value`."""
        state = self._state()
        state.update(CHECK_LABEL)
        return state.finalize()[:8]

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")


class WrapCipher:
    """Wraps and unwraps data keys under one key-encryption key (32 bytes)."""

    __slots__ = ("_kdf",)

    def __init__(self, kek: bytes) -> None:
        self._kdf = PreparedKdf(kek, WRAP_LABEL, 32)

    def wrap(self, dek: bytes, context: bytes) -> bytes:
        """Return the wrapped key (40 bytes)."""
        return aes_key_wrap(self._kdf.derive(context), dek)

    def unwrap(self, wrapped: bytes, context: bytes, kcv: bytes) -> bytes | None:
        """Return the data key; None when it doesn't unwrap here, or isn't the key of the check value."""
        if len(wrapped) != WRAPPED_SIZE:
            return None
        try:
            dek = aes_key_unwrap(self._kdf.derive(context), wrapped)
        except InvalidUnwrap:
            return None
        return dek if _equal(key_check_value(dek), kcv) else None

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")
