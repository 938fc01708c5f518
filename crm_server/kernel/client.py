"""Where a request comes from, as far as it can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from security.web.proxies import client_address

if TYPE_CHECKING:
    from pyramid.request import Request


def address_of(request: Request) -> str | None:
    """The address of the client, or None when it can't be told."""
    trusted = request.registry.settings["kontor"].trusted_proxies
    return client_address(request.remote_addr, request.headers.get("X-Forwarded-For", ""), trusted)
