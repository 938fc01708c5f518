"""A key ring under an HSM, through PKCS#11 (OASIS v2.40 and later).

Each epoch has an AES-256 key of its own in the token: sensitive, not extractable, for wrapping only. The epoch's
material is wrapped by CKM_AES_KEY_WRAP (RFC 3394). To destroy an epoch is to destroy that key in the token; a data
object stays behind as a tombstone, so that "destroyed" and "wrong token" are never taken for each other. Proof
against copies rests on the token: it must not be backed up together with the files, and an HSM's own backups belong
to the ceremony.

A PKCS#11 library doesn't survive a fork: a server opens its epochs in the process that uses them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as p11
from translationstring import TranslationStringFactory

from security.crypto.errors import (
    DestructionFailed,
    EpochDestroyed,
    ProviderRefused,
    ProviderUnavailable,
    RingCorrupt,
)
from security.crypto.keyring import MATERIAL_SIZE, Capabilities
from security.crypto.providers.ring import FileRing

_ = TranslationStringFactory("kontor")

NAME: Final = "pkcs11"
STATEMENT: Final = _(
    "This key ring is protected by an HSM. Each epoch has a key in the HSM that never leaves it; when that key is "
    "destroyed, no copy of the files opens the epoch again. Backups of the HSM itself must be destroyed as well."
)
_lock = threading.RLock()


class HsmRing(FileRing):
    """A key ring under one token of a PKCS#11 ``module`` (path of the library); ``pin`` is asked for at each use."""

    def __init__(self, folder: Path, module: Path, token_label: str, pin: Callable[[], str]) -> None:
        super().__init__(folder)
        self._module = module
        self._token_label = token_label
        self._pin = pin

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can promise."""
        return Capabilities(
            name=NAME,
            can_prove_destruction=True,
            hardware=True,
            needs_secret=True,
            strict=True,
            statement=STATEMENT,
        )

    @contextmanager
    def _session(self) -> Iterator[pkcs11.Session]:
        """Open a session of the user. Raises ProviderUnavailable, ProviderRefused."""
        if not self._module.exists():
            raise ProviderUnavailable(f"The PKCS#11 library {self._module} isn't installed.")
        # One log-in at a time: a token has one log-in state for the whole process.
        with _lock:
            session: pkcs11.Session | None = None
            failure: Exception | None = None
            try:
                library = pkcs11.lib(str(self._module))
                token = library.get_token(token_label=self._token_label)
                session = token.open(rw=True, user_pin=self._pin())
            except (p11.NoSuchToken, p11.MultipleTokensReturned):
                failure = ProviderRefused(
                    f"The HSM has no token, or several, with the label {self._token_label!r}."
                )
            except (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange, p11.ArgumentsBad):
                failure = ProviderRefused(
                    "The PIN of the HSM token is wrong. Mind that a token locks after a few tries."
                )
            except p11.PinLocked:
                failure = ProviderRefused(
                    "The PIN of the HSM token is locked. The security officer must unlock it."
                )
            except (p11.PKCS11Error, OSError, RuntimeError) as error:
                failure = ProviderUnavailable(f"The HSM doesn't answer ({type(error).__name__}).")
            if failure is not None or session is None:
                raise failure or ProviderUnavailable("The HSM doesn't answer.")
            try:
                with session:
                    yield session
            except p11.PKCS11Error as error:
                raise ProviderUnavailable(
                    f"The HSM failed in the middle of its work ({type(error).__name__})."
                ) from None

    def _label(self, number: int) -> str:
        return f"kontor-epoch-{number}"

    def _keys(self, session: pkcs11.Session, number: int) -> list[Any]:
        # Any: which operations a key has depends on its mechanism, which the library's types can't say.
        found = session.get_objects(
            {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._label(number)}
        )
        return list(found)

    def _tombstones(self, session: pkcs11.Session, number: int) -> list[pkcs11.Object]:
        label = self._label(number) + "-destroyed"
        return list(session.get_objects({Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: label}))

    def _protect(self, number: int, material: bytes, *, taken_over: bool) -> dict[str, str]:
        with self._session() as session:
            if self._tombstones(session, number):
                raise EpochDestroyed(
                    f"The HSM remembers that epoch {number} was destroyed. Take the next number."
                )
            found = self._keys(session, number)
            if found and taken_over:
                # Several nodes share the token: the epoch has its key already, and other files are sealed under it.
                return {"label": self._label(number), "wrapped": self._wrap(session, found[0], material)}
            for orphan in found:
                orphan.destroy()  # Left by a kill between the HSM and the file; no file was ever sealed under it.
            key: Any = session.generate_key(
                KeyType.AES,
                256,
                label=self._label(number),
                store=True,
                template={
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                    Attribute.WRAP: True,
                    Attribute.UNWRAP: True,
                    Attribute.ENCRYPT: False,
                    Attribute.DECRYPT: False,
                    Attribute.SIGN: False,
                    Attribute.VERIFY: False,
                    Attribute.DERIVE: False,
                },
            )
            return {"label": self._label(number), "wrapped": self._wrap(session, key, material)}

    @staticmethod
    def _wrap(session: pkcs11.Session, key: Any, material: bytes) -> str:
        plain = session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.VALUE: material,
                Attribute.EXTRACTABLE: True,
                Attribute.SENSITIVE: False,
                Attribute.TOKEN: False,
            }
        )
        wrapped: bytes = key.wrap_key(plain, mechanism=Mechanism.AES_KEY_WRAP)
        plain.destroy()
        return wrapped.hex()

    def _reveal(self, number: int, protected: dict[str, str]) -> bytes:
        wrapped = self._wrapped(number, protected)
        with self._session() as session:
            keys = self._keys(session, number)
            if self._tombstones(session, number):
                raise EpochDestroyed(
                    f"The HSM remembers that epoch {number} was destroyed. Nothing opens it again."
                )
            if not keys:
                raise ProviderRefused(
                    f"The token {self._token_label!r} has no key of epoch {number}: another token?"
                )
            material: bytes | None
            try:
                plain = keys[0].unwrap_key(
                    ObjectClass.SECRET_KEY,
                    KeyType.GENERIC_SECRET,
                    wrapped,
                    mechanism=Mechanism.AES_KEY_WRAP,
                    store=False,
                    template={Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False},
                )
                material = bytes(plain[Attribute.VALUE])
                plain.destroy()
            except p11.PKCS11Error:
                material = None
        if material is None:
            raise RingCorrupt(
                f"The sealed material of epoch {number} is damaged. Restore the file from a copy."
            )
        return material

    @staticmethod
    def _wrapped(number: int, protected: dict[str, str]) -> bytes:
        wrapped: bytes | None
        try:
            wrapped = bytes.fromhex(protected["wrapped"])
        except (KeyError, TypeError, ValueError):
            wrapped = None
        if wrapped is None or len(wrapped) != MATERIAL_SIZE + 8:
            raise RingCorrupt(
                f"The sealed material of epoch {number} is damaged. Restore the file from a copy."
            )
        return wrapped

    def _annihilate(self, number: int, protected: dict[str, str]) -> dict[str, str]:
        with self._session() as session:
            keys = self._keys(session, number)
            if not keys and not self._tombstones(session, number):
                raise DestructionFailed(f"The token {self._token_label!r} never had a key of epoch {number}.")
            for key in keys:
                key.destroy()
            if self._keys(session, number):
                raise DestructionFailed(f"The HSM still has the key of epoch {number} after destroying it.")
            if not self._tombstones(session, number):
                session.create_object(
                    {
                        Attribute.CLASS: ObjectClass.DATA,
                        Attribute.TOKEN: True,
                        Attribute.PRIVATE: True,
                        Attribute.LABEL: self._label(number) + "-destroyed",
                        Attribute.VALUE: b"destroyed",
                    }
                )
            token = session.token
            return {
                "method": "key object destroyed in the token",
                "label": self._label(number),
                "token": token.label,
                "serial": token.serial.decode("ascii", "replace").strip(),
                "model": token.model.strip(),
            }
