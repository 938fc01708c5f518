"""Profiles: which algorithms an installation may use, and the check of it at start.

*standard* uses everything in :mod:`security.crypto.algorithms`. *strict* uses approved algorithms only, seals with
suite 2 (no GCM nonces from outside of the module) and derives from passphrases by PBKDF2. At start
:func:`self_check` runs a known-answer test of each algorithm that the profile uses, lists the modules that compute
them, and refuses the rest. Where the native module is in use it is listed beside the libraries, for what it computes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import platform
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cryptography
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from security.crypto import algorithms as table
from security.crypto import native
from security.crypto.document import SUITE_CBC_HMAC, SUITE_GCM
from security.crypto.errors import ProfileRefused
from security.crypto.kdf import PreparedKdf, kbkdf
from security.crypto.keyring import Capabilities


class Profile(StrEnum):
    """Name of a profile, as in the settings."""

    STANDARD = "standard"
    STRICT = "strict"

    @property
    def suite(self) -> int:
        """The suite to seal with."""
        return SUITE_CBC_HMAC if self is Profile.STRICT else SUITE_GCM

    @property
    def suites(self) -> frozenset[int]:
        """The suites that may be opened."""
        return (
            frozenset((SUITE_CBC_HMAC,)) if self is Profile.STRICT else frozenset((SUITE_GCM, SUITE_CBC_HMAC))
        )

    def require(self, algorithm: str) -> None:
        """Raise ProfileRefused unless the profile allows the algorithm (a name of the table)."""
        if algorithm not in {item.name for item in allowed(self)}:
            names = ", ".join(item.name for item in allowed(self))
            raise ProfileRefused(f"The profile {self.value} doesn't allow {algorithm!r}. It allows: {names}.")

    def require_provider(self, capabilities: Capabilities) -> None:
        """Raise ProfileRefused unless the profile allows the provider of the key ring as it is set up."""
        if self is Profile.STRICT and not capabilities.strict:
            raise ProfileRefused(
                f"The profile strict doesn't allow the key ring {capabilities.name!r} as it is set up. Use an HSM, TPM "
                "or a passphrase with pbkdf2-hmac-sha-256."
            )


def allowed(profile: Profile) -> tuple[table.Algorithm, ...]:
    """Return the algorithms of a profile. Strict leaves GCM out though it is approved: its nonces come from outside."""
    if profile is Profile.STANDARD:
        return table.ALGORITHMS
    return tuple(item for item in table.ALGORITHMS if item.approved and item is not table.AES_GCM)


@dataclass(frozen=True, slots=True)
class Checked:
    """An algorithm whose known answer was right, and the module that computed it."""

    algorithm: str
    standard: str
    module: str


_KEY: Final = bytes(range(32))


def _gcm() -> bool:
    # McGrew and Viega, test case 14 (a key of zeros, a block of zeros).
    sealed = AESGCM(bytes(32)).encrypt(bytes(12), bytes(16), None)
    return sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


def _cbc() -> bool:
    # NIST SP 800-38A, F.2.5, first block.
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(range(16)))).encryptor()
    return (
        encryptor.update(bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")).hex()
        == "f58c4c04d6e5f1ba779eabfb5f7bfbd6"
    )


def _kw() -> bool:
    # RFC 3394, 4.6.
    data = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
    wrapped = aes_key_wrap(_KEY, data)
    expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    return wrapped.hex() == expected and aes_key_unwrap(_KEY, wrapped) == data


def _kbkdf() -> bool:
    # Both ways to the same bytes, the second one spelled out after SP 800-108r1, 4.1.
    spelled = hmac.digest(_KEY, b"\0\0\0\1label\0context\0\0\1\0", "sha256")
    derived = kbkdf(_KEY, b"label", b"context", 32)
    return derived == spelled == PreparedKdf(_KEY, b"label", 32).derive(b"context")


def _hmac256() -> bool:
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    return hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256").hex() == expected


def _hmac512() -> bool:
    # RFC 4231, test case 2, first half.
    expected = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
    return hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha512")[:32].hex() == expected


def _sha256() -> bool:
    # FIPS 180-4 example, "abc".
    return hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def _sha512() -> bool:
    # FIPS 180-4 example, "abc".
    return hashlib.sha512(b"abc").hexdigest().startswith("ddaf35a193617abacc417349ae20413112e6fa4e")


def _ecdh() -> bool:
    # NIST CAVP, ECC CDH primitive, P-256, first vector.
    private = ec.derive_private_key(
        0x7D7DC5F71EB29DDAF80D6214632EEAE03D9058AF1FB6D22ED80BADB62BC1A534, ec.SECP256R1()
    )
    theirs = ec.EllipticCurvePublicNumbers(
        0x700C48F77F56584C5CC632CA65640DB91B6BACCE3A4DF6B42CE7CC838833D287,
        0xDB71E509E3FD9B060DDB20BA5C51DCC5948D46FBF640DFE0441782CAB85FA4AC,
        ec.SECP256R1(),
    ).public_key()
    expected = "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b"
    return private.exchange(ec.ECDH(), theirs).hex() == expected


def _argon2id() -> bool:
    # RFC 9106, 5.3.
    derived = Argon2id(
        salt=b"\2" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\4" * 12, secret=b"\3" * 8
    ).derive(b"\1" * 32)
    return derived.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def _pbkdf2() -> bool:
    # RFC 7914, 11, second vector, first half.
    derived = PBKDF2HMAC(hashes.SHA256(), 32, b"NaCl", 80_000).derive(b"Password")
    return derived.hex() == "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"


def _random() -> bool:
    # No statistics: the operating system tests its generator. This notices one that isn't there.
    return os.urandom(32) != os.urandom(32)


_PYTHON: Final = "hashlib of Python " + platform.python_version() + " with " + ssl.OPENSSL_VERSION
_TESTS: Final[dict[str, tuple[Callable[[], bool], bool]]] = {
    # The second item says whether Python's own hashlib computes it, or the cryptography library.
    table.AES_GCM.name: (_gcm, False),
    table.AES_CBC.name: (_cbc, False),
    table.AES_KW.name: (_kw, False),
    table.KBKDF.name: (_kbkdf, False),
    table.HMAC_SHA256.name: (_hmac256, True),
    table.HMAC_SHA512.name: (_hmac512, True),
    table.SHA256.name: (_sha256, True),
    table.SHA512.name: (_sha512, True),
    table.ECDH.name: (_ecdh, False),
    table.ARGON2ID.name: (_argon2id, False),
    table.PBKDF2.name: (_pbkdf2, False),
    table.DRBG.name: (_random, False),
}


# What the native module computes as well, for documents of suite 1 and wrapped keys.
_NATIVE: Final = (table.AES_GCM, table.AES_KW, table.KBKDF, table.HMAC_SHA256, table.SHA256)


def module_names() -> tuple[str, str, str]:
    """Return the modules in use: the cryptography library, Python's hashlib, and the kernel, each with its version."""
    library = f"cryptography {cryptography.__version__} with {backend.openssl_version_text()}"
    return library, _PYTHON, f"getrandom(2) of {platform.system()} {platform.release()}"


def native_name() -> str:
    """Return the name of the native module with the version of the libcrypto of the system that it uses."""
    return f"{native.NAME} with {native.NATIVE.library}" if native.NATIVE is not None else ""


def modules(profile: Profile) -> tuple[str, ...]:
    """Return the modules that compute the algorithms of a profile, each with its version, after the self-check."""
    return tuple(sorted({one.module for one in self_check(profile)}))


def self_check(profile: Profile) -> tuple[Checked, ...]:
    """Run the known-answer test of each algorithm that the profile allows, and return what was checked.

    Raises ProfileRefused, naming the algorithm, if an answer is wrong or the module doesn't have it.
    """
    library, python, kernel = module_names()
    checked = []
    if profile is Profile.STANDARD and native.NATIVE is not None:
        if not native.agrees(native.NATIVE):
            raise ProfileRefused(f"The self-check of {native_name()} failed. The start is refused.")
        checked = [Checked(item.name, item.standard, native_name()) for item in _NATIVE]
    for algorithm in allowed(profile):
        test, by_python = _TESTS[algorithm.name]
        module = kernel if algorithm is table.DRBG else python if by_python else library
        try:
            right = test()
        except Exception:  # noqa: BLE001 - whatever a crippled module raises, the answer is the same: refuse.
            right = False
        if not right:
            raise ProfileRefused(
                f"The self-check of {algorithm.name} failed in {module}. The start is refused."
            )
        checked.append(Checked(algorithm.name, algorithm.standard, module))
    return tuple(checked)
