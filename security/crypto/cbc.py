"""The cipher of suite 2: AES-256-CBC, then HMAC-SHA-512 truncated to 32 bytes.

For customers who must avoid initialisation vectors that come from outside of GCM. The composition is
AEAD_AES_256_CBC_HMAC_SHA_512 of RFC 7518, section 5.2.5: the tag covers AAD ‖ IV ‖ ciphertext ‖ bit length of the AAD
as 64 bits. Contents are padded to multiples of 32 bytes before, so the block mode adds no padding and there is no
padding to be asked about. Callers: documents and chunks.
"""

from __future__ import annotations

import hmac
import os
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from security.crypto.errors import DocumentAltered, MalformedDocument

IV_SIZE: Final = 16
TAG_SIZE: Final = 32
OVERHEAD: Final = IV_SIZE + TAG_SIZE
# AES key, commitment (at the same place as in suite 1), MAC key.
OKM_SIZE: Final = 96


def _tag(okm: bytes, aad: bytes, body: bytes) -> bytes:
    return hmac.digest(okm[64:96], aad + body + (len(aad) * 8).to_bytes(8, "big"), "sha512")[:TAG_SIZE]


def encrypt(okm: bytes, padded: bytes, aad: bytes) -> bytes:
    """Encrypt a multiple of 16 bytes under ``okm`` (96 bytes) and return IV ‖ ciphertext ‖ tag."""
    iv = os.urandom(IV_SIZE)
    encryptor = Cipher(algorithms.AES(okm[:32]), modes.CBC(iv)).encryptor()
    body = iv + encryptor.update(padded) + encryptor.finalize()
    return body + _tag(okm, aad, body)


def decrypt(okm: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Check the tag and return the padded content. Raises MalformedDocument, DocumentAltered."""
    if len(sealed) < OVERHEAD + 16 or (len(sealed) - OVERHEAD) % 16:
        raise MalformedDocument("The ciphertext isn't a whole number of blocks.")
    body = sealed[:-TAG_SIZE]
    if not hmac.compare_digest(_tag(okm, aad, body), sealed[-TAG_SIZE:]):
        raise DocumentAltered("The body of a sealed document was altered.")
    decryptor = Cipher(algorithms.AES(okm[:32]), modes.CBC(body[:IV_SIZE])).decryptor()
    return decryptor.update(body[IV_SIZE:]) + decryptor.finalize()
