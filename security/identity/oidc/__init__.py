"""Single sign-on with OpenID Connect: the authorization code flow with PKCE, as a relying party.

OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0, Back-Channel Logout 1.0; RFC 7636 (PKCE),
RFC 9207 (issuer in the answer), RFC 9700 (best practice). The protocol's parts come from authlib and joserfc,
every call goes through `security.web.outgoing`.
"""

from security.identity.oidc.client import (
    Begun,
    Provider,
    ProviderSettings,
    Refused,
    Vouched,
)
from security.identity.oidc.metadata import Unavailable

__all__ = ["Begun", "Provider", "ProviderSettings", "Refused", "Unavailable", "Vouched"]
