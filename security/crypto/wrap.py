"""Wrapping of data keys under the key of an epoch.

``WK = KBKDF(KEK_e, "kontor/dek-wrap/v1", CBOR[tenant, subject, class, generation, kid], 32)`` and
``wrapped = AES-256-KW(WK, DEK)`` (RFC 3394; NIST SP 800-38F, KW). Each data key is wrapped under a key of its own, so a
wrapped key that is moved to another subject, class or generation doesn't unwrap. The check value (kcv) lets a rotation
prove, key by key, that what it wrote opens to what it read (ENC-8). Callers: the data keys and the rotation. The
ciphers are those of :mod:`security.crypto.native`.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

from security.crypto import cbor, native
from security.crypto.document import DocumentKey
from security.crypto.errors import KeyCorrupt


def wrap_context(tenant: bytes, subject: bytes, key_class: str, generation: int, kid: bytes) -> bytes:
    """Return the context of a wrapping key; ids are 16 bytes each."""
    # An array of five, put together by hand: lists and the search service make one for each key that they open.
    return b"".join(
        (b"\x85\x50", tenant, b"\x50", subject, cbor.tstr(key_class), cbor.uint(generation), b"\x50", kid)
    )


def wrap_context_around(tenant: bytes, key_class: str, generation: int) -> tuple[bytes, bytes]:
    """Return what stands before the subject and between subject and kid in the contexts of many keys."""
    around = wrap_context(tenant, bytes(16), key_class, generation, bytes(16))
    return around[:19], around[35:-16]


class KeyContext:
    """What the keys of many subjects are wrapped for: tenant (16 bytes), key class and generation."""

    __slots__ = ("around", "generation", "key_class", "tenant")

    def __init__(self, tenant: bytes, key_class: str, generation: int) -> None:
        self.tenant, self.key_class, self.generation = tenant, key_class, generation
        self.around = wrap_context_around(tenant, key_class, generation)


class KeyWrapper:
    """Wraps and unwraps data keys under one epoch's key-encryption key (32 bytes)."""

    __slots__ = ("_cipher",)

    def __init__(self, kek: bytes) -> None:
        if len(kek) != 32:
            raise ValueError("A key-encryption key has 32 bytes.")
        self._cipher = native.wrap_cipher(kek)

    def wrap(self, dek: bytes, context: bytes) -> bytes:
        """Return the wrapped key (40 bytes)."""
        return self._cipher.wrap(dek, context)

    def unwrap(self, wrapped: bytes, context: bytes, kid: bytes, kcv: bytes) -> bytes:
        """Return the data key. Raises KeyCorrupt when it doesn't unwrap here, or isn't the key of the check value."""
        dek = self._cipher.unwrap(wrapped, context, kcv)
        if dek is None:
            raise KeyCorrupt(
                kid,
                f"Data key {kid.hex()} doesn't unwrap under its epoch to the key of its check value: it was damaged, "
                "moved, or is another epoch's.",
            )
        return dek

    def open(
        self, wrapped: bytes, context: KeyContext, subject: bytes, kid: bytes, kcv: bytes
    ) -> DocumentKey:
        """Return the data key of a subject, ready to open documents. Raises KeyCorrupt as :meth:`unwrap` does."""
        before, after = context.around
        dek = self.unwrap(wrapped, b"".join((before, subject, after, kid)), kid, kcv)
        return DocumentKey(dek, kid, context.tenant, subject, context.key_class, context.generation)

    def rewrap(self, successor: KeyWrapper, wrapped: bytes, context: bytes, kid: bytes, kcv: bytes) -> bytes:
        """Return the same data key wrapped under the ``successor``, opened again and compared (ENC-8)."""
        dek = self.unwrap(wrapped, context, kid, kcv)
        renewed = successor.wrap(dek, context)
        if not compare_digest(successor.unwrap(renewed, context, kid, kcv), dek):
            raise KeyCorrupt(kid, f"Data key {kid.hex()} doesn't open to itself after it was wrapped anew.")
        return renewed

    def __repr__(self) -> str:
        return "KeyWrapper()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")
