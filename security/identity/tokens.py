"""API tokens: format, hashing and the decision whether one may be used.

Called by the identity domain (creation page, request authentication). A token reads
``kntr_<id>_<secret><checksum>``: the id finds the row, the secret (256 bits) proves possession, and the
CRC-32 checksum lets secret scanners recognise a leaked token offline and lets us refuse a mistyped one
without a query. The checksum proves nothing else.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import re
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

PREFIX = "kntr"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARACTERS = 43
_CHECK_CHARACTERS = 6
_TOKEN = re.compile(
    rf"{PREFIX}_([0-9a-f]{{16}})_([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})([0-9A-Za-z]{{{_CHECK_CHARACTERS}}})"
)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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


class TokenState(enum.Enum):
    """Why a token is accepted or not. The value is the reason code in audit events."""

    ACTIVE = "active"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a reason code, not a secret.
    EXPIRED = "expired"
    REVOKED = "revoked"
    USER_INACTIVE = "user_inactive"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What was stored when the token was made."""

    digest: bytes = field(repr=False)
    scopes: frozenset[str]
    """Permissions that the token may use, at most those of its owner."""
    expires_at: datetime
    fields: frozenset[str] | None = None
    """Names ``entity.field`` that the token may read or write; None means all that the owner may."""
    networks: tuple[str, ...] = ()
    """Address ranges (CIDR) from which the token works; empty means everywhere."""
    revoked_at: datetime | None = None
    user_active: bool = True


def judge_token(grant: TokenGrant, presented: PresentedToken, now: datetime, address: str) -> TokenState:
    """Decide whether the presented token may be used from ``address`` (the client's IP, as text) at ``now``.

    The secret is compared first and in constant time: nobody learns the state of a token that they don't
    hold.
    """
    if not hmac.compare_digest(grant.digest, presented.digest):
        return TokenState.WRONG_SECRET
    if grant.revoked_at is not None:
        return TokenState.REVOKED
    if not grant.user_active:
        return TokenState.USER_INACTIVE
    if now >= grant.expires_at:
        return TokenState.EXPIRED
    if not address_allowed(address, grant.networks):
        return TokenState.ADDRESS_NOT_ALLOWED
    return TokenState.ACTIVE


def address_allowed(address: str, networks: Iterable[str]) -> bool:
    """True if ``networks`` is empty or one of them (CIDR text) holds ``address``.

    An IPv4 address that arrives mapped into IPv6 counts as IPv4. Text that isn't an address is never allowed
    by a list; a malformed network matches nothing, so a typing error can't open the door.
    """
    ranges = list(map(_network, networks))
    if not ranges:
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(
        network is not None and found.version == network.version and found in network for network in ranges
    )


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    characters = []
    for _ in range(_CHECK_CHARACTERS):
        value, rest = divmod(value, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
