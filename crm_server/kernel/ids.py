"""Keys of rows: UUIDv7 (RFC 9562 §5.7), so that an index grows at its end and a key tells no count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uuid_utils
from uuid_utils.compat import uuid7

if TYPE_CHECKING:
    from uuid import UUID


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid7()


def new_ids(number: int) -> list[bytes]:
    """So many fresh UUIDv7 as 16 bytes each, for rows that are written in bulk and need no UUID objects."""
    return [uuid_utils.uuid7().bytes for _each in range(number)]
