"""What may be believed of the headers that proxies add: the client's address and the scheme it used.

Anybody can write `X-Forwarded-For` and `X-Forwarded-Proto`. They count only as far as a proxy of the settings
wrote them: the connection comes from one, and each address before the last believed one is one as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

_MOST_HOPS = 20


def client_address(peer: str | None, forwarded_for: str, trusted: Iterable[str]) -> str | None:
    """The address of the client: the last of the chain that isn't a trusted proxy.

    Args:
        peer: Address of the connection.
        forwarded_for: Value of X-Forwarded-For; several headers are joined by commas.
        trusted: Addresses and networks of the proxies.

    Returns:
        An address in its usual form, or None when what should be one isn't.
    """
    chain = [part.strip() for part in forwarded_for.split(",") if part.strip()][-_MOST_HOPS:]
    networks = tuple(trusted)
    address = peer or ""
    while chain and is_among(address, networks):
        address = chain.pop()
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def client_scheme(peer: str | None, forwarded_proto: str, trusted: Iterable[str], scheme: str) -> str:
    """The scheme that the client used: what a trusted proxy says, else that of the connection."""
    said = forwarded_proto.strip().lower()
    return said if said in {"http", "https"} and is_among(peer or "", tuple(trusted)) else scheme


def is_among(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks; no for text that is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in one for one in _parsed(networks))


@lru_cache(maxsize=64)
def _parsed(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(one, strict=False) for one in networks)
