"""Every cryptographic algorithm of the product, in one table: what it is for, and which profile may use it.

The inventory finds uses in the source and looks them up here; the profile decides by ``approved``. A primitive that is
used but doesn't stand here fails a test, so the table can't fall behind the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm.

    ``primitive``, ``mode`` and ``functions`` are words of CycloneDX 1.6; ``approved`` means approved by
    NIST for this use; ``bits`` is the classical security level, ``quantum`` NIST's category (0 to 6).
    """

    name: str
    primitive: str
    functions: tuple[str, ...]
    standard: str
    purpose: str
    approved: bool
    bits: int
    quantum: int = 0
    mode: str | None = None
    oid: str | None = None


AES_GCM: Final = Algorithm(
    "AES-256-GCM", "ae", ("encrypt", "decrypt", "tag"), "NIST SP 800-38D", "Sealed documents and chunks, suite 1",
    approved=True, bits=256, quantum=5, mode="gcm", oid="2.16.840.1.101.3.4.1.46",
)  # fmt: skip
AES_CBC: Final = Algorithm(
    "AES-256-CBC", "block-cipher", ("encrypt", "decrypt"), "NIST SP 800-38A",
    "Sealed documents and chunks, suite 2; escrow", approved=True, bits=256, quantum=5, mode="cbc",
    oid="2.16.840.1.101.3.4.1.42",
)  # fmt: skip
AES_KW: Final = Algorithm(
    "AES-256-KW", "ae", ("encrypt", "decrypt"), "RFC 3394, NIST SP 800-38F",
    "Data keys under an epoch; epochs under a passphrase or an HSM key", approved=True, bits=256, quantum=5,
    oid="2.16.840.1.101.3.4.1.45",
)  # fmt: skip
KBKDF: Final = Algorithm(
    "KBKDF-HMAC-SHA-256", "kdf", ("keyderive",), "NIST SP 800-108r1, 4.1",
    "Wrapping keys, document keys, index keys", approved=True, bits=256, quantum=5,
)  # fmt: skip
HMAC_SHA256: Final = Algorithm(
    "HMAC-SHA-256", "mac", ("tag", "verify"), "FIPS 198-1", "Blind index, check values", approved=True, bits=256,
    quantum=5, oid="1.2.840.113549.2.9",
)  # fmt: skip
HMAC_SHA512: Final = Algorithm(
    "HMAC-SHA-512-256", "mac", ("tag", "verify"), "FIPS 198-1, RFC 7518 5.2.5", "Tag of suite 2, cut to 256 bits",
    approved=True, bits=256, quantum=5,
)  # fmt: skip
SHA256: Final = Algorithm(
    "SHA-256", "hash", ("digest",), "FIPS 180-4", "Digest of associated data", approved=True, bits=128, quantum=2,
    oid="2.16.840.1.101.3.4.2.1",
)  # fmt: skip
SHA512: Final = Algorithm(
    "SHA-512", "hash", ("digest",), "FIPS 180-4", "Inside of HMAC", approved=True, bits=256, quantum=5,
    oid="2.16.840.1.101.3.4.2.3",
)  # fmt: skip
ECDH: Final = Algorithm(
    "ECDH-P-256", "key-agree", ("keyderive",), "NIST SP 800-56A r3, 5.7.1.2", "Handing an epoch to another node",
    approved=True, bits=128, oid="1.3.132.1.12",
)  # fmt: skip
ARGON2ID: Final = Algorithm(
    "Argon2id", "kdf", ("keyderive",), "RFC 9106", "Key ring under a passphrase", approved=False, bits=256,
)  # fmt: skip
PBKDF2: Final = Algorithm(
    "PBKDF2-HMAC-SHA-256", "kdf", ("keyderive",), "NIST SP 800-132", "Key ring under a passphrase, strict profile",
    approved=True, bits=256,
)  # fmt: skip
DRBG: Final = Algorithm(
    "OS random numbers",
    "drbg",
    ("generate",),
    "getrandom(2)",
    "Keys, salts, nonces",
    approved=True,
    bits=256,
    quantum=5,
)

ALGORITHMS: Final = (
    AES_GCM, AES_CBC, AES_KW, KBKDF, HMAC_SHA256, HMAC_SHA512, SHA256, SHA512, ECDH, ARGON2ID, PBKDF2,
    DRBG,
)  # fmt: skip

_PRIMITIVES = "cryptography.hazmat.primitives."
# Dotted name of a use in the source → algorithm. None: a part of an algorithm that another name stands for.
SYMBOLS: Final[Mapping[str, Algorithm | None]] = {
    _PRIMITIVES + "ciphers.aead.AESGCM": AES_GCM,
    _PRIMITIVES + "ciphers.modes.CBC": AES_CBC,
    _PRIMITIVES + "ciphers.algorithms.AES": None,
    _PRIMITIVES + "ciphers.Cipher": None,
    _PRIMITIVES + "keywrap.aes_key_wrap": AES_KW,
    _PRIMITIVES + "keywrap.aes_key_unwrap": AES_KW,
    _PRIMITIVES + "keywrap.InvalidUnwrap": None,
    _PRIMITIVES + "kdf.kbkdf.KBKDFHMAC": KBKDF,
    _PRIMITIVES + "kdf.kbkdf.CounterLocation": None,
    _PRIMITIVES + "kdf.kbkdf.Mode": None,
    _PRIMITIVES + "hmac.HMAC": HMAC_SHA256,
    _PRIMITIVES + "hashes.SHA256": SHA256,
    _PRIMITIVES + "hashes.SHA512": SHA512,
    _PRIMITIVES + "kdf.argon2.Argon2id": ARGON2ID,
    _PRIMITIVES + "kdf.pbkdf2.PBKDF2HMAC": PBKDF2,
    _PRIMITIVES + "asymmetric.ec.ECDH": ECDH,
    _PRIMITIVES + "asymmetric.ec.SECP256R1": None,
    _PRIMITIVES + "asymmetric.ec.generate_private_key": None,
    _PRIMITIVES + "asymmetric.ec.derive_private_key": None,
    _PRIMITIVES + "asymmetric.ec.EllipticCurvePrivateKey": None,
    _PRIMITIVES + "asymmetric.ec.EllipticCurvePublicKey": None,
    _PRIMITIVES + "asymmetric.ec.EllipticCurvePublicKey.from_encoded_point": None,
    _PRIMITIVES + "asymmetric.ec.EllipticCurvePublicNumbers": None,
    "hashlib.sha256": SHA256,
    "hashlib.sha512": SHA512,
    "hmac.digest:sha256": HMAC_SHA256,
    "hmac.digest:sha512": HMAC_SHA512,
    "hmac.compare_digest": None,
    "os.urandom": DRBG,
    "pkcs11.Mechanism.AES_KEY_WRAP": AES_KW,
    # Of the native module, whose own functions put HMAC, KBKDF and AES-KW together.
    "openssl.SHA256": SHA256,
    "openssl.AES-256-GCM": AES_GCM,
    "openssl.AES-256-ECB": AES_KW,
    "_native.hmac_prepare": HMAC_SHA256,
    "_native.kbkdf": KBKDF,
    "_native.key_wrap": AES_KW,
}


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A kind of key in the hierarchy, for the inventory. ``life`` says how long one lives, in words."""

    name: str
    size: int
    wrapped_by: str | None
    purpose: str
    life: str


KEY_KINDS: Final = (
    KeyKind(
        "root",
        256,
        None,
        "Seals epochs; HSM key, TPM policy or passphrase",
        "An HSM key or counter value an epoch",
    ),
    KeyKind("KEK_e", 256, "root", "Wraps data keys", "One epoch; destroyed within the erasure horizon"),
    KeyKind("BIK_e", 256, "root", "Root of the blind indexes", "One epoch; destroyed with KEK_e"),
    KeyKind(
        "DEK",
        256,
        "KEK_e",
        "One for each tenant, subject, key class and generation",
        "Until the subject's erasure",
    ),
    KeyKind("document key", 256, "DEK", "Derived for each document, never stored", "As its DEK in memory"),
    KeyKind(
        "handover key",
        256,
        None,
        "Agreed on by two nodes to hand over an epoch, never stored",
        "Seconds to minutes",
    ),
    KeyKind(
        "index key", 256, "BIK_e", "Derived for each blind index, never stored", "A process, at most an epoch"
    ),
)
