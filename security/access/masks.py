"""Masks: what someone sees of a value that they may recognise but not read.

Applied by presenters to fields at level *masked*. A mask keeps just enough to tell two customers apart on the
phone and never the length of what it hides. Values that it can't make sense of are hidden whole.
"""

from __future__ import annotations

import enum
from datetime import date

HIDDEN = "***"


class MaskKind(enum.Enum):
    """How a value is masked; the data map chooses by semantic type."""

    FULL = "full"
    EMAIL = "email"
    PHONE = "phone"
    NAME = "name"
    ACCOUNT = "account"
    DATE = "date"


def mask(value: object, kind: MaskKind) -> str | None:
    """Return the masked form of ``value``; None and empty text stay None, so that "unknown" shows."""
    if value is None or value == "":
        return None
    if kind is MaskKind.DATE:
        return f"{value.year:04d}-**-**" if isinstance(value, date) else HIDDEN
    text = str(value).strip()
    if kind is MaskKind.EMAIL:
        return _email(text)
    if kind is MaskKind.NAME:
        return " ".join(f"{part[0]}***" for part in text.split()[:3]) or HIDDEN
    if kind in (MaskKind.PHONE, MaskKind.ACCOUNT):
        return _tail(text, 2 if kind is MaskKind.PHONE else 4)
    return HIDDEN


def _email(text: str) -> str:
    """``lena@example.com`` → ``l***@example.com``; a one-letter local part shows nothing of itself."""
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        return HIDDEN
    return f"{local[0] if len(local) > 1 else ''}{HIDDEN}@{domain}"


def _tail(text: str, keep: int) -> str:
    """Keep the last characters of a number if that leaves at least twice as many hidden."""
    compact = "".join(character for character in text if character.isalnum())
    return HIDDEN + compact[-keep:] if len(compact) >= 3 * keep else HIDDEN
