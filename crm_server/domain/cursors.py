"""Cursors of streams that are no plain lists (board, bin, timeline): opaque to clients, checked on return."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery

if TYPE_CHECKING:
    from collections.abc import Callable


def pack(*parts: object) -> str:
    """A cursor from the values that the next page begins behind."""
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).decode()


def unpack(text: str, *parsers: Callable[[str], Any]) -> tuple[Any, ...]:
    """The values of a cursor.

    Raises:
        BadQuery: it was not made by the stream that it is given to.
    """
    try:
        parts = base64.urlsafe_b64decode(text.encode()).decode().split("|")
        return tuple(parse(part) for parse, part in zip(parsers, parts, strict=True))
    except (ValueError, binascii.Error):
        raise BadQuery("after", _("This cursor was not made by this list.")) from None


def instant(text: str) -> datetime:
    """An aware time."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found


def word(*allowed: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return parse
