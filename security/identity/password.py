"""Hash, verify and judge passwords that Kontor keeps itself (trials, break-glass accounts, local users).

Called by the identity domain at log-in, at a change of password and by the strength meter. Passwords of
directory users never come here; see ``security.identity.ldap``.

Two profiles exist: Argon2id (RFC 9106, at least 19 MiB and two passes) and, for sites that may use approved
primitives only, PBKDF2-HMAC-SHA-256 (SP 800-132, at least 600,000 rounds). Both formats are verified whatever
the profile, so a site changes profile without locking anybody out: ``needs_rehash`` says when to store a new
hash.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

MAX_CHARACTERS = 256
"""Longer input is refused before any hashing, so that a request can't buy minutes of our processor."""

MIN_ALONE = 15
MIN_WITH_SECOND_FACTOR = 8
WEAK_SCORE = 1
"""Highest zxcvbn score (0 to 4) that is refused: fewer than about 10^6 guesses."""

ARGON2_MEMORY_KIB = 32 * 1024
ARGON2_PASSES = 3
ARGON2_LANES = 1
PBKDF2_ROUNDS = 600_000
_PBKDF2_PREFIX = "$pbkdf2-sha256$"
_ZXCVBN_CHARACTERS = 72


class HashProfile(enum.Enum):
    """Which algorithm new hashes use."""

    ARGON2ID = "argon2id"
    PBKDF2_SHA256 = "pbkdf2-sha256"


@dataclass(frozen=True, slots=True)
class Verification:
    """Outcome of comparing a password with a stored hash."""

    matched: bool
    needs_rehash: bool = False
    """True only beside ``matched``: the stored hash uses another profile or lower cost than today's."""


def normalise(password: str) -> str:
    """Return the form that is hashed: NFC, as the OpaqueString profile of RFC 8265 §4.2 asks.

    Spaces and case are kept. Two keyboards that compose "é" differently produce the same hash.
    """
    return unicodedata.normalize("NFC", password)


class PasswordHasher:
    """Hashes and verifies under one profile; safe to share between threads."""

    def __init__(self, profile: HashProfile = HashProfile.ARGON2ID) -> None:
        self.profile = profile
        self._argon2 = argon2.PasswordHasher(
            time_cost=ARGON2_PASSES,
            memory_cost=ARGON2_MEMORY_KIB,
            parallelism=ARGON2_LANES,
            hash_len=32,
            salt_len=16,
            type=argon2.Type.ID,
        )
        # A hash of noise that nobody knows: verifying against it costs the same as verifying a real account.
        self._decoy = self._hash(os.urandom(24).hex())

    def hash(self, password: str) -> str:
        """Return a PHC string for ``password``.

        Raises ValueError if the password is empty or longer than ``MAX_CHARACTERS``.
        """
        if not _acceptable_length(password):
            raise ValueError(f"password: must have 1 to {MAX_CHARACTERS} characters; choose another length")
        return self._hash(normalise(password))

    def verify(self, stored: str, password: str) -> Verification:
        """Compare ``password`` with the PHC string ``stored``.

        A stored value in an unknown format never matches. Work is done in every case, so that the time
        doesn't tell a damaged record or an over-long password from a wrong one.
        """
        if not _acceptable_length(password):
            self.burn(password)
            return Verification(False)
        text = normalise(password)
        if stored.startswith(_PBKDF2_PREFIX):
            return self._verify_pbkdf2(stored, text)
        try:
            self._argon2.verify(stored, text)
        except InvalidHashError:
            self.burn(text)
            return Verification(False)
        except VerificationError:
            return Verification(False)
        stale = self.profile is not HashProfile.ARGON2ID or self._argon2.check_needs_rehash(stored)
        return Verification(True, needs_rehash=stale)

    def burn(self, password: str) -> None:
        """Spend the time of one verification; for accounts that don't exist (AUTH-2)."""
        text = normalise(password[:MAX_CHARACTERS])
        if self.profile is HashProfile.PBKDF2_SHA256:
            self._verify_pbkdf2(self._decoy, text)
            return
        try:
            self._argon2.verify(self._decoy, text)
        except VerificationError:
            return

    def _hash(self, text: str) -> str:
        if self.profile is HashProfile.ARGON2ID:
            return self._argon2.hash(text)
        salt = os.urandom(16)
        digest = hashlib.pbkdf2_hmac("sha256", text.encode(), salt, PBKDF2_ROUNDS, 32)
        return f"{_PBKDF2_PREFIX}i={PBKDF2_ROUNDS},l=32${_b64(salt)}${_b64(digest)}"

    def _verify_pbkdf2(self, stored: str, text: str) -> Verification:
        try:
            parameters, salt64, digest64 = stored[len(_PBKDF2_PREFIX) :].split("$")
            values = dict(item.split("=", 1) for item in parameters.split(","))
            rounds, salt, digest = int(values["i"]), _unb64(salt64), _unb64(digest64)
        except (ValueError, KeyError, binascii.Error):
            self.burn(text)
            return Verification(False)
        if not 1 <= rounds <= 10 * PBKDF2_ROUNDS:
            self.burn(text)
            return Verification(False)
        found = hashlib.pbkdf2_hmac("sha256", text.encode(), salt, rounds, 32)
        if not hmac.compare_digest(found, digest):
            return Verification(False)
        stale = self.profile is not HashProfile.PBKDF2_SHA256 or rounds < PBKDF2_ROUNDS
        return Verification(True, needs_rehash=stale)


class Weakness(enum.Enum):
    """Why a new password is refused. The value is the code that audit events and translations use."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    COMMON = "common"
    PERSONAL = "personal"
    GUESSABLE = "guessable"


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the policy says about a proposed password."""

    weaknesses: tuple[Weakness, ...]
    score: int
    """zxcvbn score, 0 (worst) to 4; drives the strength meter."""
    minimum: int
    """Characters that were required."""

    @property
    def accepted(self) -> bool:
        """True if nothing speaks against the password."""
        return not self.weaknesses


def assess(
    password: str,
    *,
    second_factor: bool,
    personal: Iterable[str] = (),
    blocked: frozenset[str] | None = None,
) -> Assessment:
    """Judge a proposed password after NIST SP 800-63B: length, block list and guessability, no composition
    rules.

    ``second_factor`` says that the account can't be entered with the password alone. ``personal`` are words
    tied to the user (name, log-in, e-mail, company). ``blocked`` replaces the block list that ships with the
    product.
    """
    minimum = MIN_WITH_SECOND_FACTOR if second_factor else MIN_ALONE
    text = normalise(password)
    words = _personal_words(personal)
    found: list[Weakness] = []
    if len(text) < minimum:
        found.append(Weakness.TOO_SHORT)
    if len(text) > MAX_CHARACTERS:
        return Assessment((Weakness.TOO_LONG,), 0, minimum)
    folded = text.casefold().strip()
    if folded in (common_passwords() if blocked is None else blocked):
        found.append(Weakness.COMMON)
    if _mostly_personal(folded, words):
        found.append(Weakness.PERSONAL)
    score = 0
    if text:
        # Its word lists take 12 MB, which only the processes that see a new password should pay for.
        from zxcvbn import zxcvbn

        score = int(
            zxcvbn(text[:_ZXCVBN_CHARACTERS], user_inputs=words, max_length=_ZXCVBN_CHARACTERS)["score"]
        )
    if score <= WEAK_SCORE:
        found.append(Weakness.GUESSABLE)
    return Assessment(tuple(found), score, minimum)


@lru_cache(maxsize=1)
def common_passwords() -> frozenset[str]:
    """The block list that ships with the product, in casefolded form."""
    text = resources.files("security.identity").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _personal_words(personal: Iterable[str]) -> list[str]:
    words: list[str] = []
    for item in personal:
        folded = item.casefold()
        parts = folded.replace("@", " ").replace(".", " ").replace("-", " ").replace("_", " ").split()
        words.extend(word for word in (folded, *parts) if len(word) >= 3)
    return words


def _mostly_personal(folded: str, words: list[str]) -> bool:
    """True if the user's own words make up more than half of the password."""
    rest = folded
    for word in sorted(set(words), key=len, reverse=True):
        rest = rest.replace(word, "")
    return 2 * len(rest) < len(folded)


def _acceptable_length(password: str) -> bool:
    return 1 <= len(password) <= MAX_CHARACTERS


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
