"""``Provider``: begin a log-in at an OpenID Connect provider, and judge what comes back.

Every rule of Core 1.0 §3.1.3.7 is asked for: signature by one of the provider's keys with an asymmetric
algorithm, issuer, audience and authorized party, expiry, issue time, nonce, hash of the access token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jws
from joserfc.errors import JoseError

from security.identity.oidc.metadata import Metadata, MetadataSource, Unavailable, read_object
from security.web.outgoing import Outgoing, OutgoingFailed, OutgoingRefused

LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""
OLDEST_TOKEN_SECONDS = 600
"""A token that was issued longer ago than this isn't the answer to a log-in that was begun just now."""
PROOF_SECONDS = 300
"""How old a proof may be that the provider takes for fresh; whether it is fresh enough is judged here."""
MAX_TOKEN = 64 * 1024
MAX_GROUPS = 2000
_AUTHORIZATION_ERRORS = frozenset(
    {
        "access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_request",
        "invalid_scope", "login_required", "server_error", "temporarily_unavailable", "unauthorized_client",
        "unsupported_response_type",
    }
)  # fmt: skip
"""RFC 6749 §4.1.2.1 and OpenID Connect Core 1.0 §3.1.2.6."""
_TOKEN_ERRORS = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
"""RFC 6749 §5.2."""
_CLAIMS = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "auth_time", "nonce", "amr", "azp", "at_hash"})
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Refused(Exception):
    """What came back can't be believed. ``reason`` is a code for the audit log, never for the page."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"single sign-on: refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """How a provider is reached and which of its claims are used."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str = "openid profile email"
    identity_claim: str = "sub"
    login_claim: str = "preferred_username"
    groups_claim: str = "groups"
    trusted_methods: tuple[str, ...] = ()
    """Values of ``amr`` or ``acr`` that count as a second factor; none by default."""
    authorities: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """A log-in that was begun: where the browser goes, and what the server keeps, once, until the answer."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Vouched:
    """A person for whom a provider vouches. Any protocol of single sign-on ends in one of these."""

    subject: str = field(repr=False)
    key: str = field(repr=False)
    """The lasting id, from the claim of the settings."""
    login: str = field(repr=False)
    name: str = field(repr=False)
    email: str | None = field(repr=False)
    groups: frozenset[str] = field(repr=False)
    second_factor: bool
    """The provider says, and is trusted to say, that it asked for a second factor."""
    proved_at: int
    """When the person proved who they are at the provider (seconds since 1970)."""
    session: str | None = field(default=None, repr=False)
    id_token: str = field(default="", repr=False)


class Provider:
    """One provider. Safe to share between threads; remembers the provider's metadata and keys."""

    def __init__(
        self,
        settings: ProviderSettings,
        outgoing: Outgoing,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the settings. Raises ValueError that names the setting that can't work."""
        parts = urlsplit(settings.issuer)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                "issuer: give the provider's address, such as https://sso.example.com/realms/main"
            )
        if not settings.client_id:
            raise ValueError("client_id: give the id under which Kontor is registered at the provider")
        if "openid" not in settings.scopes.split():
            raise ValueError('scopes: "openid" must be among them')
        self.settings = settings
        self._outgoing = outgoing
        self._now = now
        self.source = MetadataSource(settings.issuer, settings.authorities, outgoing, clock=clock)

    def begin(self, redirect: str, *, prove_again: bool = False) -> Begun:
        """Make the address to which the browser goes. Raises Unavailable.

        Args:
            redirect: Our address for the answer, as registered at the provider.
            prove_again: Ask the person for their proof even if the provider knows them (step-up).
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect,
            "scope": self.settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        if prove_again:
            # With max_age the provider must say when the proof was given (Core 1.0 §2, auth_time).
            asked |= {"prompt": "login", "max_age": str(PROOF_SECONDS)}
        base = self.source.metadata().authorization
        return Begun(f"{base}{'&' if '?' in base else '?'}{urlencode(asked)}", state, nonce, verifier)

    def finish(
        self,
        answer: Mapping[str, str],
        *,
        state_digest: bytes,
        nonce: str,
        verifier: str,
        redirect: str,
        proved_since: float | None = None,
    ) -> Vouched:
        """Judge the browser's answer and fetch who it is.

        Args:
            answer: The parameters with which the browser came back.
            state_digest: SHA-256 of the state.
            nonce: As begun.
            verifier: As begun.
            redirect: As begun.
            proved_since: For a step-up: the person must have given their proof after this moment.

        Raises:
            Refused: the answer isn't the one to this log-in, or the provider's token can't be believed.
            Unavailable: the provider can't be asked.
        """
        if not hmac.compare_digest(hashlib.sha256(answer.get("state", "").encode()).digest(), state_digest):
            raise Refused("wrong_state")
        metadata = self.source.metadata()
        issuer = answer.get("iss")
        if issuer is None and metadata.names_itself:
            raise Refused("issuer_missing")
        if issuer is not None and issuer != metadata.issuer:
            raise Refused("other_issuer")
        if "error" in answer:
            raise Refused(f"provider_{_known(answer['error'], _AUTHORIZATION_ERRORS)}")
        code = answer.get("code", "")
        if not code or len(code) > 4096:
            raise Refused("no_code")
        tokens = self._exchange(metadata, code, verifier, redirect)
        claims = self.verify(tokens["id_token"], nonce=nonce, access_token=tokens["access_token"])
        age = self._now() - LEEWAY_SECONDS - OLDEST_TOKEN_SECONDS
        if claims["iat"] < age:
            raise Refused("token_too_old")
        if proved_since is not None and claims.get("auth_time", 0) < proved_since - LEEWAY_SECONDS:
            raise Refused("proof_too_old")
        return self._vouched(metadata, claims, tokens)

    def verify(
        self, token: str, *, nonce: str | None = None, access_token: str | None = None
    ) -> dict[str, Any]:
        """Check signature and claims of an identity token (Core 1.0 §3.1.3.7). Raises Refused, Unavailable."""
        header, payload = self._signed(token)
        options: dict[str, Any] = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},
        }
        parameters = {"client_id": self.settings.client_id, "nonce": nonce, "access_token": access_token}
        claims = CodeIDToken(payload, header, options, parameters)
        try:
            claims.validate(now=int(self._now()), leeway=LEEWAY_SECONDS)
        except JoseError as error:
            raise Refused(_claim_reason(error)) from error
        if not isinstance(claims.get("sub"), str) or not 1 <= len(claims["sub"]) <= 300:
            raise Refused("subject_unusable")
        return dict(claims)

    def verify_logout(self, token: str) -> tuple[str | None, str | None, str]:
        """Check a logout token (Back-Channel Logout 1.0 §2.6).

        Returns:
            Subject, session at the provider (one of the two may be None), and the token's own id.

        Raises:
            Refused, Unavailable.
        """
        _header, payload = self._signed(token)
        events = payload.get("events")
        if not isinstance(events, dict) or _LOGOUT_EVENT not in events or "nonce" in payload:
            raise Refused("no_logout_token")
        audience = payload.get("aud")
        if payload.get("iss") != self.settings.issuer:
            raise Refused("iss")
        if self.settings.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise Refused("aud")
        issued, expires = payload.get("iat"), payload.get("exp")
        now = self._now()
        if not isinstance(issued, int | float) or abs(now - issued) > OLDEST_TOKEN_SECONDS + LEEWAY_SECONDS:
            raise Refused("token_too_old")
        if isinstance(expires, int | float) and now > expires + LEEWAY_SECONDS:
            raise Refused("exp")
        subject, session, key = (payload.get(name) for name in ("sub", "sid", "jti"))
        if not isinstance(key, str) or not (isinstance(subject, str) or isinstance(session, str)):
            raise Refused("no_logout_token")
        return _text(subject), _text(session), key[:300]

    def logout_url(self, id_token: str, back: str) -> str | None:
        """Where the browser goes to log out at the provider as well; None when it offers no such place."""
        base = self.source.metadata().end_session
        if base is None:
            return None
        asked = {
            "id_token_hint": id_token,
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": back,
        }
        return f"{base}{'&' if '?' in base else '?'}{urlencode(asked)}"

    def _exchange(self, metadata: Metadata, code: str, verifier: str, redirect: str) -> dict[str, str]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        way = "client_secret_post" if metadata.secret_in_body else "client_secret_basic"
        if not self.settings.client_secret:
            way = "none"
        signer = ClientAuth(self.settings.client_id, self.settings.client_secret, way)
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        url, headers, body = signer.prepare("POST", metadata.token, headers, urlencode(form))
        try:
            answer = self._outgoing.call(
                "POST", url, headers=headers, body=body.encode(), authorities=self.settings.authorities
            )
        except (OutgoingFailed, OutgoingRefused) as error:
            raise Unavailable(str(error)) from error
        if 400 <= answer.status < 500:
            # invalid_grant for a code that was used or has expired; invalid_client for a wrong secret.
            raise Refused(f"token_{_error_of(answer.body)}")
        found = read_object(answer.status, answer.body, url)
        tokens = {name: found.get(name) for name in ("id_token", "access_token")}
        if not all(isinstance(one, str) and one for one in tokens.values()):
            raise Refused("no_id_token")
        return {name: str(one) for name, one in tokens.items()}

    def _signed(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check the signature; returns header and payload. A key that isn't known makes the keys be fetched anew."""
        if len(token) > MAX_TOKEN:
            raise Refused("token_too_large")
        algorithms = list(self.source.metadata().algorithms)
        for fresh in (False, True):
            try:
                signed = jws.deserialize_compact(token, self.source.keys(fresh=fresh), algorithms=algorithms)
                payload = json.loads(signed.payload)
            except (JoseError, ValueError, RecursionError, TypeError):
                continue
            if isinstance(payload, dict):
                return dict(signed.headers()), payload
        raise Refused("signature")

    def _vouched(self, metadata: Metadata, claims: dict[str, Any], tokens: dict[str, str]) -> Vouched:
        wanted = self.settings
        needed = {wanted.groups_claim, wanted.login_claim, wanted.identity_claim, "name", "email"}
        if needed - claims.keys() and metadata.userinfo is not None:
            more = self._userinfo(metadata.userinfo, tokens["access_token"])
            if more.get("sub") != claims["sub"]:
                raise Refused("userinfo_of_somebody_else")
            claims = {**more, **claims}
        key = claims.get(wanted.identity_claim)
        login = claims.get(wanted.login_claim) or claims.get("email")
        if not isinstance(key, str) or not 1 <= len(key) <= 200:
            raise Refused("no_identity_key")
        if not isinstance(login, str) or not login.strip() or len(login) > 100 or not login.isprintable():
            raise Refused("no_login_name")
        methods = {*_list(claims.get("amr")), *_list(claims.get("acr"))}
        name, email = _text(claims.get("name")), _text(claims.get("email"))
        return Vouched(
            subject=claims["sub"],
            key=key,
            login=" ".join(login.split()),
            name=(name or login).strip()[:200],
            email=email if claims.get("email_verified", True) is True else None,
            groups=frozenset(_list(claims.get(wanted.groups_claim))[:MAX_GROUPS]),
            second_factor=bool(methods & set(wanted.trusted_methods)),
            proved_at=int(claims.get("auth_time", claims["iat"])),
            session=(_text(claims.get("sid")) or "")[:300] or None,
            id_token=tokens["id_token"],
        )

    def _userinfo(self, url: str, access_token: str) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token}"}
        try:
            answer = self._outgoing.call("GET", url, headers=headers, authorities=self.settings.authorities)
        except (OutgoingFailed, OutgoingRefused) as error:
            raise Unavailable(str(error)) from error
        return read_object(answer.status, answer.body, url)


def _claim_reason(error: JoseError) -> str:
    """Which claim was wrong ("claim_nonce", "claim_aud", …), without its value."""
    claim = getattr(error, "claim", None) or {"expired_token": "exp"}.get(error.error)
    return f"claim_{_known(claim, _CLAIMS)}"


def _error_of(body: bytes) -> str:
    try:
        return _known(json.loads(body)["error"], _TOKEN_ERRORS)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "error"


def _known(word: Any, words: frozenset[str]) -> str:
    """A word of the standard, else "error": what others send must not make up reason codes, which are counted."""
    return word if isinstance(word, str) and word in words else "error"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return (
        [one for one in value if isinstance(one, str) and len(one) <= 300] if isinstance(value, list) else []
    )
