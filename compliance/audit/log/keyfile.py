"""The sealer's signing key as a file: made once, readable by its owner alone, flushed before it signs anything."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from compliance.audit.log.files import write_atomically

_OTHERS = 0o077


class KeyFileError(Exception):
    """The key file is absent, of another kind, or open to others. The message says what to do."""


def create(path: Path) -> Ed25519PrivateKey:
    """Make a key and write it, PKCS#8 in PEM (RFC 8410), mode 0600.

    Raises:
        KeyFileError: there is a file already; a key is never overwritten.
        OSError: it can't be written.
    """
    if path.exists():
        raise KeyFileError(f"{path} exists; a signing key is never overwritten")
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(path, pem, mode=0o600)
    return private


def load(path: Path) -> Ed25519PrivateKey:
    """Read the key.

    Raises:
        KeyFileError: it is no Ed25519 key, or others may read it.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise KeyFileError(f"others may read {path}: chmod 600 {path}, and consider whether they have")
        content = file.read(10_000)
    try:
        private = load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} holds no key in PEM form without a passphrase") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{path} must hold an Ed25519 key")
    return private
