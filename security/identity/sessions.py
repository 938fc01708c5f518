"""Tokens and lifetime rules of log-in sessions, as pure decisions.

Called by the session store of the identity domain at each request. The cookie holds 256 random bits; only
their SHA-256 is stored, so a copy of the database opens no session (AUTH-16). A fast hash is enough because
the token has full entropy.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_CLOCK_SLACK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class NewSessionToken:
    """A token just made: ``text`` goes into the cookie once, ``digest`` (32 bytes) into the database."""

    text: str = field(repr=False)
    digest: bytes = field(repr=False)


def new_session_token() -> NewSessionToken:
    """Make a session token of 256 bits from the operating system's generator."""
    text = base64.urlsafe_b64encode(os.urandom(TOKEN_BYTES)).decode("ascii").rstrip("=")
    return NewSessionToken(text, hashlib.sha256(text.encode("ascii")).digest())


def digest_session_token(text: str) -> bytes | None:
    """Return the SHA-256 to look up, or None if ``text`` can't be a token (then no query is made)."""
    if not _TOKEN.fullmatch(text):
        return None
    return hashlib.sha256(text.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lives. The defaults are those of AUTH-16."""

    idle: timedelta = timedelta(minutes=30)
    idle_administrator: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(hours=12)
    touch_every: timedelta = timedelta(seconds=60)
    """The last use is written at most this often, so that reading pages doesn't write a row each time."""
    clock_tolerance: timedelta = timedelta(minutes=2)
    """How far the clocks of two nodes may be apart before a session from the future is refused."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What the store knows about a session. All times are aware."""

    created_at: datetime
    last_seen_at: datetime
    administrator: bool = False
    revoked_at: datetime | None = None
    user_active: bool = True
    sessions_valid_after: datetime | None = None
    """Sessions made before this moment are dead: password changed, factors reset, account disabled and
    re-enabled.
    """


class SessionState(enum.Enum):
    """Why a session is accepted or not. The value is the reason code in audit events."""

    ACTIVE = "active"
    IDLE = "idle_too_long"
    EXPIRED = "absolute_limit"
    REVOKED = "revoked"
    USER_INACTIVE = "user_inactive"
    SUPERSEDED = "superseded"
    FROM_THE_FUTURE = "clock_mismatch"


@dataclass(frozen=True, slots=True)
class SessionVerdict:
    """Decision about one session at one moment."""

    state: SessionState
    touch: bool = False
    """The caller should store ``last_seen_at = now``."""
    ends_at: datetime | None = None
    """When the session ends if nobody uses it again; only for active sessions."""

    @property
    def active(self) -> bool:
        """True if the session may be used."""
        return self.state is SessionState.ACTIVE


def judge_session(facts: SessionFacts, now: datetime, limits: SessionLimits | None = None) -> SessionVerdict:
    """Decide whether a session may be used at ``now``. The first rule that refuses gives the reason."""
    limits = limits or SessionLimits()
    idle = limits.idle_administrator if facts.administrator else limits.idle
    newest = max(facts.created_at, facts.last_seen_at)
    since = facts.sessions_valid_after
    refusals = (
        (facts.revoked_at is not None, SessionState.REVOKED),
        (not facts.user_active, SessionState.USER_INACTIVE),
        (since is not None and facts.created_at < since, SessionState.SUPERSEDED),
        (newest - now > limits.clock_tolerance, SessionState.FROM_THE_FUTURE),
        (now - facts.created_at >= limits.absolute, SessionState.EXPIRED),
        (now - facts.last_seen_at >= idle, SessionState.IDLE),
    )
    for refused, state in refusals:
        if refused:
            return SessionVerdict(state)
    touch = now - facts.last_seen_at >= limits.touch_every
    seen = now if touch else facts.last_seen_at
    return SessionVerdict(SessionState.ACTIVE, touch, min(seen + idle, facts.created_at + limits.absolute))


def is_fresh(proved_at: datetime | None, now: datetime, within: timedelta = timedelta(minutes=5)) -> bool:
    """True if the user proved who they are at most ``within`` ago; the rule behind step-up (AUTH-15)."""
    if proved_at is None:
        return False
    # The proof may carry the clock of another node, a little ahead of ours.
    return -_CLOCK_SLACK <= now - proved_at <= within
