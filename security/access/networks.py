"""Lists of networks that an act may come from: CIDR of IPv4 and IPv6 (RFC 4632, RFC 4291), read strictly.

An IPv4 address that arrives as IPv4-mapped IPv6 (``::ffff:192.0.2.1``) counts as the IPv4 address that it is,
or a dual-stack socket would shut everybody out, or let everybody in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST = 200
"""Networks that one list may have."""


class BadNetworkError(ValueError):
    """A list that can't be used; ``text`` is the entry, ``code`` why: "form", "host_bits" or "too_many"."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(f"networks: {code}")
        self.text = text
        self.code = code


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks; a single address is a network of one. Doubles go, order stays.

    Raises BadNetworkError at the first that is none, or whose address has bits beyond its mask: whoever wrote
    192.0.2.7/24 meant either less or more.
    """
    found: dict[Network, None] = {}
    for text in texts:
        entry = text.strip()
        try:
            found[ipaddress.ip_network(entry)] = None
        except ValueError:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                raise BadNetworkError(entry, "form") from None
            raise BadNetworkError(entry, "host_bits") from None
        if len(found) > MOST:
            raise BadNetworkError(entry, "too_many")
    return tuple(found)


def contains(networks: Iterable[Network], address: str | None) -> bool:
    """Whether an address lies in one of the networks. One that isn't known or can't be read lies in none."""
    try:
        known = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return any(known in network for network in networks if network.version == known.version)
