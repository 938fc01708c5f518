"""Seals the seeds of authenticator apps (AUTH-12).

A seed is a sealed document of key class `auth`, bound to tenant, table and user, so that it opens in no other
row. Its data key is derived for each user from a key file that lies outside the database: a copy of the
database alone holds no usable seed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from security.crypto.document import DocumentKey, SealedColumn
from security.crypto.kdf import kbkdf

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

_KEY_CLASS = "auth"
_VERSION = 1
TOTP_SEED = (45, 2)
"""Numbers of table and field of a seed."""
DIRECTORY_PASSWORD = (50, 25)
"""Numbers of table and field of a service account's password."""
SSO_SECRET = (80, 25)
"""Numbers of table and field of a client's secret at a provider."""
SSO_TOKEN = (82, 5)
"""Numbers of table and field of a provider's identity token."""


class SeedBox:
    """Seals and opens secrets. One for a process; safe to share between threads."""

    def __init__(self, key: bytes, tenant: UUID) -> None:
        self._key = key
        self._tenant = tenant

    def seal(self, row_id: UUID, secret: bytes, place: tuple[int, int] = TOTP_SEED) -> bytes:
        """Return the sealed secret of a row; for seeds the row is the user's."""
        table, number = place
        column = SealedColumn(self._tenant, table, _KEY_CLASS)
        return column.seal(self._key_of(row_id), {number: secret}, row_id.bytes, row_id.bytes, _VERSION)

    def open(self, row_id: UUID, sealed: bytes, place: tuple[int, int] = TOTP_SEED) -> bytes:
        """Return the secret.

        Raises the errors of `SealedColumn.open` when it isn't this row's or was altered.
        """
        table, number = place
        column = SealedColumn(self._tenant, table, _KEY_CLASS)
        secret: bytes = column.open(self._key_of(row_id), sealed, row_id.bytes, row_id.bytes, _VERSION)[
            number
        ]
        return secret

    def _key_of(self, row_id: UUID) -> DocumentKey:
        derived = kbkdf(self._key, b"kontor/auth-seed/v1", self._tenant.bytes + row_id.bytes, 48)
        return DocumentKey(derived[:32], derived[32:], self._tenant.bytes, row_id.bytes, _KEY_CLASS)


def read_key(state_dir: Path) -> bytes:
    """Read the key of seeds (32 bytes) from `auth.key` below `state_dir`; make it at the first start.

    The file belongs into the backup of the node's secrets, and every node needs the same one. Raises
    ValueError when the file is damaged: a fresh key would make every enrolled app useless without a word.
    """
    path = state_dir / "auth.key"
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        draft = state_dir / f".auth.key.{secrets.token_hex(8)}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, secrets.token_bytes(32))
            os.fsync(handle)
        finally:
            os.close(handle)
        # Two processes that start at once: the first link wins and both read the same key.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    key = path.read_bytes()
    if len(key) != 32:
        raise ValueError(
            f"{path}: the key of authenticator seeds must have 32 bytes; restore it from your backup"
        )
    return key
