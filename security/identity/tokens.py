"""API tokens: format and hashing.

Called by the identity domain (creation page, request authentication). A token reads
``kntr_<id>_<secret><checksum>``: the id finds the row, the secret (256 bits) proves possession, and the
CRC-32 checksum lets secret scanners recognise a leaked token offline and lets us refuse a mistyped one
without a query. The checksum proves nothing else.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

PREFIX = "kntr"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARACTERS = 43
_CHECK_CHARACTERS = 6
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_TOKEN = re.compile(
    rf"{PREFIX}_([0-9a-f]{{16}})_([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})([0-9A-Za-z]{{{_CHECK_CHARACTERS}}})"
)


@dataclass(frozen=True, slots=True)
class NewApiToken:
    """A token just made. ``text`` is shown once; ``public_id`` and ``digest`` are stored."""

    text: str = field(repr=False)
    public_id: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """A well-formed token as it came with a request."""

    public_id: str
    digest: bytes = field(repr=False)


def new_api_token() -> NewApiToken:
    """Make a token with an id of 64 and a secret of 256 random bits."""
    public_id = secrets.token_hex(8)
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS))
    body = f"{PREFIX}_{public_id}_{secret}"
    return NewApiToken(body + _checksum(body), public_id, _digest(secret))


def parse_api_token(text: str) -> PresentedToken | None:
    """Return the id and the digest to compare, or None if ``text`` isn't a token or its checksum is wrong."""
    match = _TOKEN.fullmatch(text)
    if match is None or _checksum(text[:-_CHECK_CHARACTERS]) != match.group(3):
        return None
    return PresentedToken(match.group(1), _digest(match.group(2)))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _checksum(body: str) -> str:
    value, low = divmod(zlib.crc32(body.encode("ascii")), len(_PAIRS))
    high, middle = divmod(value, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
