"""Opaque marks of a place in a list. A cursor holds the sort value and key of a row, bound to the list it came from.

It is checked as strictly as any other input: a forged one can only ask for another place in the same list, which the
client may see anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

_MAX_LENGTH = 12_000


class BadCursorError(ValueError):
    """Not a cursor of this list."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page starts.

    Attributes:
        value: Sort value of the row beside which the page starts; None where the field is empty.
        key: The row's key as text.
        backward: The page ends before the row instead of starting after it.
    """

    value: Any
    key: str
    backward: bool = False


def list_mark(entity: str, sort: str, *, descending: bool, deleted: bool) -> str:
    """A short name of the list, which its cursors carry: a cursor is refused in a list sorted otherwise."""
    text = f"{entity}|{sort}|{descending:d}|{deleted:d}"
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=6).digest()).decode()


def encode(place: Place, mark: str) -> str:
    """The text for the client."""
    raw = orjson.dumps([mark, place.value, place.key, int(place.backward)], option=orjson.OPT_UTC_Z)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str, mark: str) -> Place:
    """The place that a cursor names; its sort value is still to be decoded by the field's type.

    Raises:
        BadCursorError: damaged, forged, or of another list.
    """
    try:
        if len(text) > _MAX_LENGTH:
            raise BadCursorError
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        loaded = orjson.loads(raw)
        found, value, key, backward = loaded
        if found != mark or backward not in {0, 1} or not isinstance(key, str):
            raise BadCursorError
        return Place(value, str(UUID(key)), bool(backward))
    except (ValueError, TypeError, binascii.Error):
        raise BadCursorError from None
