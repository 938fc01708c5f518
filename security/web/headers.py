"""Security headers of every response. The Content-Security-Policy allows scripts and styles by nonce only.

After the OWASP Secure Headers Project; CSP Level 3 (W3C), HSTS (RFC 6797).
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator

_FIXED = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Pages and answers hold personal data; only built assets say otherwise.
    "Cache-Control": "no-store",
}
_FIXED_BY_NAME = tuple((name.lower(), (name, value)) for name, value in _FIXED.items())
_PAGE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def new_nonce(_request: Any) -> str:
    """128 random bits for the scripts and styles of one page."""
    return base64.b64encode(os.urandom(16)).decode()


def headers_tween(handler: Callable[[Any], Any], _registry: Any) -> Callable[[Any], Any]:
    """Set the headers on every response; what a view has set stays."""

    def tween(request: Any) -> Any:
        response = handler(request)
        # The plain list: the mapping around it searches the whole list for each header.
        headers = response.headerlist
        given = {name.lower(): value for name, value in headers}
        headers.extend(pair for name, pair in _FIXED_BY_NAME if name not in given)
        if "content-security-policy" not in given:
            page = given.get("content-type", "").startswith("text/html")
            policy = _PAGE_POLICY.format(nonce=request.csp_nonce) if page else _DATA_POLICY
            headers.append(("Content-Security-Policy", policy))
        return response

    return tween


def includeme(config: Configurator) -> None:
    """Add `request.csp_nonce` and the tween, outermost, so that error pages get the headers as well."""
    config.add_request_method(new_nonce, "csp_nonce", reify=True)
    config.add_tween("security.web.headers.headers_tween", over="pyramid.tweens.excview_tween_factory")
