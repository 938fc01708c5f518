"""A key ring under a passphrase, for trials and for machines without a TPM or an HSM.

root = Argon2id(passphrase) (RFC 9106), or PBKDF2-HMAC-SHA-256 in the strict profile; each epoch is wrapped by
AES-256-KW under KBKDF(root, "kontor/ring-passphrase/v1", CBOR[epoch]). Whoever has a copy of the files and learns the
passphrase opens all epochs that were in the copy: this provider can't prove destruction, and says so everywhere.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from translationstring import TranslationStringFactory

from security.crypto import cbor
from security.crypto.errors import ProviderRefused, RingCorrupt
from security.crypto.kdf import kbkdf
from security.crypto.keyring import Capabilities, EpochInfo, EpochKeys
from security.crypto.providers.ring import FileRing

_ = TranslationStringFactory("kontor")

NAME: Final = "passphrase"
LABEL: Final = b"kontor/ring-passphrase/v1"
ROOT_CHECK: Final = b"kontor/ring-root-check/v1"
STATEMENT: Final = _(
    "This key ring is protected by a passphrase only. It can't prove that a key was destroyed: whoever kept a copy of "
    "its files and knows the passphrase can still open destroyed epochs. Use an HSM or a TPM for real personal data."
)
MIN_PASSPHRASE: Final = 12
# RFC 9106, section 4, second recommended option: 64 MiB, 3 passes, 4 lanes.
ARGON2: Final = {"kdf": "argon2id", "memory_kib": 65_536, "passes": 3, "lanes": 4}
PBKDF2: Final = {"kdf": "pbkdf2-hmac-sha-256", "iterations": 600_000}


class PassphraseRing(FileRing):
    """A key ring under a passphrase (bytes, at least 12), asked for when it is first needed."""

    def __init__(
        self,
        folder: Path,
        passphrase: Callable[[], bytes],
        kdf: Literal["argon2id", "pbkdf2-hmac-sha-256"] = "argon2id",
    ) -> None:
        super().__init__(folder)
        self._passphrase = passphrase
        self._kdf = kdf
        self._cached_root: bytes | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can promise: no proof of destruction."""
        return Capabilities(
            name=NAME,
            can_prove_destruction=False,
            hardware=False,
            needs_secret=True,
            strict=self._kdf == PBKDF2["kdf"],
            statement=STATEMENT,
        )

    def _make_parameters(self) -> dict[str, Any]:
        salt = os.urandom(16)
        chosen = ARGON2 if self._kdf == ARGON2["kdf"] else PBKDF2
        parameters = {**chosen, "salt": salt.hex()}
        return {**parameters, "check": _root_check(self._derive(parameters))}

    def _derive(self, parameters: dict[str, Any]) -> bytes:
        """Return the root key. The costs come from a file, so they are held between sane bounds."""
        passphrase = self._passphrase()
        if len(passphrase) < MIN_PASSPHRASE:
            raise ProviderRefused(
                f"The passphrase of the key ring needs at least {MIN_PASSPHRASE} characters."
            )
        try:
            salt = bytes.fromhex(parameters["salt"])
            if parameters["kdf"] == ARGON2["kdf"]:
                memory, passes, lanes = (int(parameters[name]) for name in ("memory_kib", "passes", "lanes"))
                if not (19_456 <= memory <= 4_194_304 and 2 <= passes <= 64 and 1 <= lanes <= 64):
                    raise RingCorrupt("The costs of Argon2id in ring.json are out of bounds.")
                return Argon2id(
                    salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory
                ).derive(passphrase)
            rounds = int(parameters["iterations"])
        except (KeyError, TypeError, ValueError):
            raise RingCorrupt("The parameters of the passphrase in ring.json are damaged.") from None
        if parameters["kdf"] != PBKDF2["kdf"] or not 600_000 <= rounds <= 100_000_000:
            raise RingCorrupt("The key derivation in ring.json is unknown, or its costs are out of bounds.")
        return PBKDF2HMAC(hashes.SHA256(), 32, salt, rounds).derive(passphrase)

    def _root(self) -> bytes:
        if self._cached_root is None:
            parameters = self._parameters(self._make_parameters)
            if parameters.get("kdf") != self._kdf:
                raise ProviderRefused(
                    f"The key ring was made with {parameters.get('kdf')}, but {self._kdf} is asked for. "
                    "Make a new ring under the profile in force and rotate into it."
                )
            root = self._derive(parameters)
            if not hmac.compare_digest(_root_check(root), str(parameters.get("check"))):
                raise ProviderRefused("The passphrase of the key ring is wrong.")
            self._cached_root = root
        return self._cached_root

    def create_epoch(self, number: int, keys: EpochKeys | None = None) -> EpochInfo:
        """Make an epoch; see KeyRingProvider."""
        self._root()  # Reads or makes ring.json under the lock of its own.
        return super().create_epoch(number, keys)

    def _protect(self, number: int, material: bytes, *, taken_over: bool) -> dict[str, str]:
        return {"wrapped": aes_key_wrap(self._wrapping_key(number), material).hex()}

    def _reveal(self, number: int, protected: dict[str, str]) -> bytes:
        material: bytes | None
        try:
            material = aes_key_unwrap(self._wrapping_key(number), bytes.fromhex(protected["wrapped"]))
        except (InvalidUnwrap, KeyError, TypeError, ValueError):
            material = None
        if material is None:
            raise RingCorrupt(
                f"The sealed material of epoch {number} is damaged. Restore the file from a copy."
            )
        return material

    def _annihilate(self, number: int, protected: dict[str, str]) -> dict[str, str]:
        # The caller overwrites the file; that is all that can be done here.
        return {"method": "file overwritten"}

    def _wrapping_key(self, number: int) -> bytes:
        return kbkdf(self._root(), LABEL, cbor.array(number), 32)


def _root_check(root: bytes) -> str:
    return hmac.digest(root, ROOT_CHECK, "sha256")[:16].hex()
