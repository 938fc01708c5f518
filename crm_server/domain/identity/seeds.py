"""Seals the secrets of accounts: seeds of authenticator apps (AUTH-12), passwords of directory service accounts.

A secret is a sealed document of key class `auth`, bound to tenant, table and row, so that it opens in no other row,
and dies with the row's data key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap import KeyClass
from crm_server.kernel.keys import keys_of
from security.crypto.document import document_kid

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

_VERSION = 1
TOTP_SEED = (45, 2)
"""Numbers of table and field of a seed."""
DIRECTORY_PASSWORD = (50, 25)
"""Numbers of table and field of a service account's password."""
SSO_SECRET = (80, 25)
"""Numbers of table and field of a client's secret at a provider."""
SSO_TOKEN = (82, 5)
"""Numbers of table and field of a provider's identity token."""


def seal(session: Session, row_id: UUID, secret: bytes, place: tuple[int, int] = TOTP_SEED) -> bytes:
    """Return the sealed secret of a row; for seeds the row is the user's.

    Raises:
        KeyErased: the row's key was erased.
        KeysAway: the key ring doesn't answer.
    """
    keys, (table, number) = keys_of(session), place
    key = keys.for_sealing(row_id, KeyClass.AUTH)
    return keys.column(table, KeyClass.AUTH).seal(key, {number: secret}, row_id.bytes, row_id.bytes, _VERSION)


def unseal(session: Session, row_id: UUID, sealed: bytes, place: tuple[int, int] = TOTP_SEED) -> bytes:
    """Return the secret.

    Raises the errors of `SealedColumn.open` when it isn't this row's or was altered, and those of its key.
    """
    keys, (table, number) = keys_of(session), place
    key = keys.by_id(document_kid(sealed))
    values = keys.column(table, KeyClass.AUTH).open(key, sealed, row_id.bytes, row_id.bytes, _VERSION)
    secret: bytes = values[number]
    return secret
