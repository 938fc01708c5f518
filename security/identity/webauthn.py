"""Passkeys and security keys (W3C Web Authentication level 2), a thin layer over py_webauthn.

Called by the enrolment page and at the second step of a log-in. User verification is always required and
credentials are discoverable (AUTH-14). A signature counter that doesn't advance may mean a cloned key:
verification still reports the result, with ``counter_regressed`` set, and the caller refuses and raises the
alarm, because the caller owns audit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

CHALLENGE_BYTES = 32
TIMEOUT_MS = 120_000


class PasskeyRefusedError(Exception):
    """The browser's answer could not be verified. ``reason`` is for the audit log, never for the page."""

    def __init__(self, reason: str) -> None:
        super().__init__("passkey: the answer of the authenticator could not be verified; start again")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Who we are to the authenticator.

    ``id`` is the host name, ``origin`` is scheme, host and port of the pages.
    """

    id: str
    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class Ceremony:
    """Options for the browser (JSON text) and the challenge that the server keeps until the answer comes,
    once.
    """

    options: str
    challenge: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Passkey:
    """An enrolled credential as it is stored."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    backed_up: bool = False
    """The key is synchronised by its vendor, so it lives on more than one device."""
    aaguid: str = ""


@dataclass(frozen=True, slots=True)
class PasskeyUse:
    """A verified log-in with a passkey."""

    credential_id: bytes
    sign_count: int
    """Store this value, unless the counter went back."""
    counter_regressed: bool
    backed_up: bool


def begin_registration(
    party: RelyingParty, user_handle: bytes, user_name: str, display_name: str, existing: Iterable[bytes] = ()
) -> Ceremony:
    """Options for ``navigator.credentials.create``.

    ``user_handle`` is random per user and holds no personal data (W3C §14.6.1), at most 64 bytes.
    ``existing`` are the ids already enrolled, so that the same key isn't enrolled twice.
    """
    challenge = os.urandom(CHALLENGE_BYTES)
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=user_handle,
        user_name=user_name,
        user_display_name=display_name,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            require_resident_key=True,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in existing],
    )
    return Ceremony(options_to_json(options), challenge)


def finish_registration(party: RelyingParty, answer: str | dict[str, Any], challenge: bytes) -> Passkey:
    """Verify the browser's answer and return what to store. Raises PasskeyRefusedError."""
    try:
        verified = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefusedError(_reason(error)) from error
    return Passkey(
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        backed_up=verified.credential_backed_up,
        aaguid=verified.aaguid,
    )


def begin_authentication(party: RelyingParty, allowed: Iterable[bytes] = ()) -> Ceremony:
    """Options for ``navigator.credentials.get``.

    With no ``allowed`` ids the device offers its discoverable ones.
    """
    challenge = os.urandom(CHALLENGE_BYTES)
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=[PublicKeyCredentialDescriptor(id=one) for one in allowed],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Ceremony(options_to_json(options), challenge)


def finish_authentication(
    party: RelyingParty, answer: str | dict[str, Any], challenge: bytes, stored: Passkey
) -> PasskeyUse:
    """Verify a log-in against the stored credential. Raises PasskeyRefusedError.

    The library refuses a counter that stands still, without verifying the signature first. It is therefore
    told to expect any counter, and the comparison of W3C §7.2 step 22 is made here, after the signature
    proved to be right.
    """
    try:
        verified = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=stored.public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefusedError(_reason(error)) from error
    if verified.credential_id != stored.credential_id:
        raise PasskeyRefusedError("credential_mismatch")
    counts = verified.new_sign_count > 0 or stored.sign_count > 0
    return PasskeyUse(
        credential_id=verified.credential_id,
        sign_count=verified.new_sign_count,
        counter_regressed=counts and verified.new_sign_count <= stored.sign_count,
        backed_up=verified.credential_backed_up,
    )


def encode_id(credential_id: bytes) -> str:
    """Return a credential's id as browsers write it (base64url without padding)."""
    return bytes_to_base64url(credential_id)


def decode_id(text: Any) -> bytes | None:
    """Read a credential's id as browsers write it; None for anything else."""
    if not isinstance(text, str) or not 1 <= len(text) <= 1500:
        return None
    try:
        return base64url_to_bytes(text) or None
    except ValueError:
        return None


def user_handle(answer: dict[str, Any]) -> bytes | None:
    """The user whom the authenticator names in its answer, if it names one (W3C §7.2 step 6)."""
    response = answer.get("response")
    found = response.get("userHandle") if isinstance(response, dict) else None
    return None if not found else (decode_id(found) or b"")


def _reason(error: Exception) -> str:
    """Name the kind of failure without repeating the browser's data."""
    return type(error).__name__
