"""Recovery codes: the way back in when the second factor is lost.

Called at enrolment (show the codes once) and at log-in. Ten codes of 60 bits each, written in Crockford's
base 32, which has no letters that look alike. Only slow hashes under one salt are kept, so one derivation
checks a code against all ten. A code is used once: the caller deletes the digest with ``DELETE … WHERE digest
= :digest`` and accepts only if one row went (AUTH-13).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

CODES = 10
_CHARACTERS = 12
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ROUNDS = 100_000
_LOOK_ALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    """A fresh set. ``codes`` are shown once; ``salt`` (16 bytes) and ``digests`` (32 each) are stored."""

    codes: tuple[str, ...] = field(repr=False)
    salt: bytes = field(repr=False)
    digests: tuple[bytes, ...] = field(repr=False)


def new_recovery_codes() -> RecoveryCodes:
    """Make ten codes such as ``7XK4-09TR-MMQZ``."""
    salt = os.urandom(16)
    raw = ["".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS)) for _ in range(CODES)]
    codes = tuple("-".join(code[i : i + 4] for i in range(0, _CHARACTERS, 4)) for code in raw)
    return RecoveryCodes(codes, salt, tuple(_derive(code, salt) for code in raw))


def normalise_code(text: str) -> str | None:
    """Return the twelve characters meant (case, hyphens, spaces, O/0 and I/L/1 don't matter), or
    None.
    """
    cleaned = "".join(text.split()).replace("-", "").upper().translate(_LOOK_ALIKES)
    if len(cleaned) != _CHARACTERS or any(character not in _ALPHABET for character in cleaned):
        return None
    return cleaned


def matching_digest(text: str, salt: bytes, digests: Iterable[bytes]) -> bytes | None:
    """Return the stored digest that ``text`` is, or None. Every digest is compared, in constant time."""
    cleaned = normalise_code(text)
    found = _derive(cleaned or "", salt)
    match: bytes | None = None
    for digest in digests:
        if hmac.compare_digest(digest, found) and cleaned is not None:
            match = digest
    return match


def _derive(code: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", code.encode("ascii"), salt, _ROUNDS, 32)
