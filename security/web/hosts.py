"""Whether a Host header names one of the hosts that are served, and nothing else.

Addresses of links, redirects and passkeys are made from it, so a header that only begins like a known host
(`known:443@evil.example`) must not pass (OWASP ASVS 5.0 V3.2, host header attacks).
"""

from __future__ import annotations

import re

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:@/\\?#\[\]]+)(?::([0-9]{1,5}))?", re.ASCII)


def is_served(host: str, served: frozenset[str]) -> bool:
    """Whether `host` is a served name, with or without a port.

    Args:
        host: The Host header.
        served: Names without ports; IPv6 addresses stand in brackets.
    """
    match = _HOST.fullmatch(host)
    return match is not None and match.group(1) in served and int(match.group(2) or 443) <= 65535
