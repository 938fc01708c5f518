"""From the settings to the provider that keeps the epochs."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from crm_server.settings import SettingsError
from security.crypto import native
from security.crypto.profile import Profile

if TYPE_CHECKING:
    from crm_server.settings import Settings
    from security.crypto.keyring import KeyRingProvider


class KeysRefused(SettingsError):
    """The keys can't be opened, so the start is refused. The message says why and what to do."""


def folder_of(settings: Settings) -> Path:
    """The folder of the key ring."""
    return Path(settings.key_ring or settings.state_dir / "keyring")


HORIZON_DAYS = 28
"""Within this long nobody who was erased can be read in any backup (ENC-12)."""


def horizon_of(settings: Settings) -> int:
    """Days from an erasure until the last copy of its key is gone: rotation, destruction and retention of the escrow.

    Raises:
        KeysRefused: it is longer than 28 days.
    """
    days: int = settings.key_rotation_days + settings.key_destruction_days + settings.key_escrow_days
    if days > HORIZON_DAYS:
        raise KeysRefused(
            f"KONTOR_KEY_ROTATION_DAYS, KONTOR_KEY_DESTRUCTION_DAYS and KONTOR_KEY_ESCROW_DAYS make {days} days "
            f"together; an erased person must be unreadable everywhere within {HORIZON_DAYS}. Shorten one of them."
        )
    return days


def node_of(settings: Settings) -> str:
    """The name of this machine among the nodes."""
    name: str = settings.node_name or socket.gethostname()
    return name[:200]


def escrow_of(settings: Settings) -> Path:
    """The folder of escrows."""
    return Path(settings.key_escrow or settings.state_dir / "escrow")


def open_ring(settings: Settings) -> KeyRingProvider:
    """The provider that the settings name; its device is asked when an epoch is opened.

    Raises:
        KeysRefused: a setting is missing, or the profile doesn't allow the provider.
        RingStorage: the folder can't be made.
    """
    folder, profile = folder_of(settings), Profile(settings.crypto_profile)
    native.choose(native=profile is not Profile.STRICT)
    ring: KeyRingProvider
    if settings.key_provider == "pkcs11":
        # Loaded when it is used: the library must not be needed where there is no HSM.
        from security.crypto.providers.hsm import HsmRing

        if not settings.key_pkcs11_module or not settings.key_pkcs11_pin:
            raise KeysRefused("KONTOR_KEY_PKCS11_MODULE and KONTOR_KEY_PKCS11_PIN: an HSM needs both.")
        pin: str = settings.key_pkcs11_pin
        ring = HsmRing(folder, settings.key_pkcs11_module, settings.key_pkcs11_token, lambda: pin)
    elif settings.key_provider == "tpm":
        from security.crypto.providers.tpm import TpmRing

        ring = TpmRing(folder, settings.key_tpm)
    else:
        from security.crypto.providers.passphrase import PassphraseRing

        kdf = "pbkdf2-hmac-sha-256" if profile is Profile.STRICT else "argon2id"
        ring = PassphraseRing(folder, lambda: _passphrase(settings, folder), kdf)  # type: ignore[arg-type]
    profile.require_provider(ring.capabilities)
    return ring


def _passphrase(settings: Settings, folder: Path) -> bytes:
    """The passphrase of the settings; without one, that of a file beside the ring, made for a trial at first use."""
    given: str = settings.key_passphrase
    if given:
        return given.encode()
    path = folder.parent / f"{folder.name}.passphrase"
    if not path.exists():
        if any(folder.glob("epoch-*.json")):
            raise KeysRefused(
                f"The passphrase of the key ring isn't set, and {path.name} is missing beside the ring. "
                "Set KONTOR_KEY_PASSPHRASE_FILE, or restore the file."
            )
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(32).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            # Two processes that start at once: the first link wins, and both read the same words.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes().strip()
