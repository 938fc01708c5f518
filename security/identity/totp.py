"""Time-based one-time codes (RFC 6238) with exact accounting of used steps.

Called at enrolment and at the second step of a log-in. A step is used at most once: ``match`` returns the
step, and the caller runs ``UPDATE … SET last_step = :step WHERE last_step < :step`` and accepts only if one
row changed. So of fifty parallel requests with the same right code one gets in (AUTH-12).
"""

from __future__ import annotations

import base64
import enum
import hmac
import os
from dataclasses import dataclass
from datetime import datetime

import pyotp

STEP_SECONDS = 30
DIGITS = 6
SEED_BYTES = 20
"""160 bits, the length of the HMAC-SHA-1 output, as RFC 4226 §4 recommends."""

_WINDOW = 1
_DRIFT_WINDOW = 10


class TotpState(enum.Enum):
    """Outcome of checking a code; the value is the reason code in audit events."""

    MATCHED = "matched"
    WRONG = "wrong_code"
    REPLAYED = "code_used_before"
    CLOCK_DRIFT = "clock_drift"
    MALFORMED = "malformed_code"


@dataclass(frozen=True, slots=True)
class TotpVerdict:
    """Outcome of a check. ``step`` is the time step of the code, for matched and replayed codes."""

    state: TotpState
    step: int | None = None
    drift: int = 0
    """Steps between the code's clock and ours; an enrolled device that drifts can be told to set its clock.
    """

    @property
    def matched(self) -> bool:
        """True if the code is right and, so far as ``last_step`` told, unused."""
        return self.state is TotpState.MATCHED


def new_seed() -> bytes:
    """Make a seed of 160 bits. The caller stores it sealed."""
    return os.urandom(SEED_BYTES)


def seed_as_text(seed: bytes) -> str:
    """Base32 text in groups of four, for a person who types it instead of scanning the picture."""
    text = base64.b32encode(seed).decode("ascii").rstrip("=")
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def provisioning_uri(seed: bytes, account: str, issuer: str) -> str:
    """Return the ``otpauth://`` URI that authenticator apps read from the QR picture."""
    secret = base64.b32encode(seed).decode("ascii").rstrip("=")
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(
        name=account, issuer_name=issuer
    )


def code_at(seed: bytes, step: int) -> str:
    """Return the code of one time step (seconds since 1970, divided by 30): HOTP of RFC 4226 with SHA-1."""
    digest = hmac.digest(seed, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def match(seed: bytes, code: str, now: datetime, last_step: int | None = None) -> TotpVerdict:
    """Check ``code`` at ``now`` within one step either side.

    ``last_step`` is the highest step already used; codes up to it are replays. All steps of the window are
    compared, in constant time, whichever matches. A code from within five minutes either side is still
    refused but reported as clock drift, so that support can tell a wrong clock from a wrong code.
    """
    cleaned = "".join(code.split())
    if len(cleaned) != DIGITS or not cleaned.isascii() or not cleaned.isdigit():
        return TotpVerdict(TotpState.MALFORMED)
    current = int(now.timestamp()) // STEP_SECONDS
    matched: int | None = None
    for step in range(max(0, current - _DRIFT_WINDOW), current + _DRIFT_WINDOW + 1):
        same = hmac.compare_digest(code_at(seed, step), cleaned)
        if same and (matched is None or abs(step - current) < abs(matched - current)):
            matched = step
    if matched is None:
        return TotpVerdict(TotpState.WRONG)
    drift = matched - current
    if abs(drift) > _WINDOW:
        return TotpVerdict(TotpState.CLOCK_DRIFT, drift=drift)
    if last_step is not None and matched <= last_step:
        return TotpVerdict(TotpState.REPLAYED, matched, drift)
    return TotpVerdict(TotpState.MATCHED, matched, drift)
