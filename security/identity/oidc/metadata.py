"""What a provider says of itself (OpenID Connect Discovery 1.0) and its keys, fetched and kept for a while.

Keys rotate: a signature by an unknown key makes the keys be fetched anew, at most once a minute, so that
forged tokens can't be used to flood the provider.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from joserfc.jwk import KeySet

from security.web.outgoing import Outgoing, OutgoingFailed, OutgoingRefused

KEEP_SECONDS = 3600.0
KEYS_PAUSE_SECONDS = 60.0
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures that are accepted. "none" and the symmetric ones, which the client's secret would open, are not."""


class Unavailable(Exception):
    """The provider can't be reached or what it says of itself can't be used. `detail` is for operators."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Metadata:
    """The parts of a provider's metadata that are used."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str | None
    end_session: str | None
    algorithms: tuple[str, ...]
    secret_in_body: bool
    """The provider takes the client's secret in the form alone, not as HTTP Basic."""
    names_itself: bool
    """The answer carries `iss` (RFC 9207)."""


class MetadataSource:
    """Fetches and remembers. Safe to share between threads."""

    def __init__(
        self,
        issuer: str,
        authorities: str | None,
        outgoing: Outgoing,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._authorities = authorities
        self._outgoing = outgoing
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def metadata(self) -> Metadata:
        """The provider's metadata. Raises Unavailable."""
        with self._lock:
            if self._metadata is None or self._clock() - self._metadata[0] > KEEP_SECONDS:
                url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
                self._metadata = (self._clock(), read_metadata(self._issuer, self.fetch_object(url)))
            return self._metadata[1]

    def keys(self, *, fresh: bool = False) -> KeySet:
        """The provider's public keys; `fresh` fetches them anew if that was not done just now. Raises Unavailable."""
        address = self.metadata().keys
        with self._lock:
            age = None if self._keys is None else self._clock() - self._keys[0]
            if age is None or age > KEEP_SECONDS or (fresh and age > KEYS_PAUSE_SECONDS):
                document = self.fetch_object(address)
                try:
                    public = [
                        _public(one) for one in document["keys"] if one.get("kty") in {"RSA", "EC", "OKP"}
                    ]
                    self._keys = (self._clock(), KeySet.import_key_set({"keys": public}))
                except Exception as error:
                    raise Unavailable("jwks_uri: the provider's keys can't be read") from error
            return self._keys[1]  # type: ignore[index]

    def fetch_object(self, url: str) -> dict[str, Any]:
        """GET a JSON object. Raises Unavailable."""
        try:
            answer = self._outgoing.call(
                "GET", url, headers={"Accept": "application/json"}, authorities=self._authorities
            )
        except (OutgoingFailed, OutgoingRefused) as error:
            raise Unavailable(str(error)) from error
        return read_object(answer.status, answer.body, url)


def read_object(status: int, body: bytes, url: str) -> dict[str, Any]:
    """Read the JSON object of an answer with status 200. Raises Unavailable."""
    place = urlsplit(url).path
    if status != 200:
        raise Unavailable(f"{place}: answered {status}")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"{place}: the answer is not a JSON object")
    return found


def read_metadata(issuer: str, found: dict[str, Any]) -> Metadata:
    """Check what a provider says of itself (Discovery 1.0 §4.3: the issuer must be the one that was asked).

    Raises Unavailable.
    """
    if found.get("issuer") != issuer:
        raise Unavailable(
            f'issuer: the provider calls itself "{str(found.get("issuer"))[:200]}", not "{issuer}"'
        )
    required = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        value = found.get(name)
        if not isinstance(value, str) or not value.startswith("https://"):
            raise Unavailable(f"{name}: the provider names no https address")
        required[name] = value
    offered = found.get("id_token_signing_alg_values_supported", ["RS256"])
    algorithms = tuple(one for one in _texts(offered) if one in ASYMMETRIC)
    if not algorithms:
        raise Unavailable(
            "id_token_signing_alg_values_supported: the provider offers no asymmetric signature"
        )
    ways = _texts(found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]))
    return Metadata(
        issuer=issuer,
        authorization=required["authorization_endpoint"],
        token=required["token_endpoint"],
        keys=required["jwks_uri"],
        userinfo=_https(found.get("userinfo_endpoint")),
        end_session=_https(found.get("end_session_endpoint")),
        algorithms=algorithms,
        secret_in_body="client_secret_basic" not in ways and "client_secret_post" in ways,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _public(key: dict[str, Any]) -> dict[str, Any]:
    """A key without what isn't needed to verify: a provider that shows private parts gives them to nobody."""
    return {name: value for name, value in key.items() if name not in {"d", "p", "q", "dp", "dq", "qi", "k"}}


def _https(value: Any) -> str | None:
    return value if isinstance(value, str) and value.startswith("https://") else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
