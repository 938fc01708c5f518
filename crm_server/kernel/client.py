"""Where a request comes from, as far as it can be believed."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyramid.request import Request


def address_of(request: Request) -> str | None:
    """The address of the client.

    X-Forwarded-For is believed only as far as it was written by the proxies of the settings: the address is
    the last one that isn't such a proxy. Anybody could write the rest.
    """
    trusted = request.registry.settings["kontor"].trusted_proxies
    chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    address = request.remote_addr or ""
    while chain and _is_among(address, trusted):
        address = chain.pop()
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def _is_among(address: str, networks: Iterable[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
        return any(found in ipaddress.ip_network(one, strict=False) for one in networks)
    except ValueError:
        return False
