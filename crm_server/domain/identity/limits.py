"""The named limits of log-in and where their attempts are counted: in PostgreSQL, shared by all processes and
nodes.

Each attempt is one statement in a transaction of its own, so that a log-in that fails and rolls back is still
counted. The row of a key is locked by the statement: of fifty parallel guesses no more than the limit get
through (AUTH-12).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crm_server.kernel.hot import Prepared
from security.identity.throttle import Limit, Taken, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from crm_server.kernel.hot import Hot

# Within the window of $5 no more than $4 attempts; a refused one is not added, and no row comes back for it.
_TAKE = Prepared(
    "identity_limit_take",
    "insert into identity.rate_limit as r (limit_name, key, attempts, expires_at) "
    "values ($1, $2, array[$3], $3 + $5) on conflict (limit_name, key) do update set "
    "attempts = array(select a from unnest(r.attempts) a where a > $3 - $5 order by a) || $3, "
    "expires_at = $3 + $5 "
    "where (select count(*) from unnest(r.attempts) a where a > $3 - $5) < $4 returning 1",
    ("text", "bytea", "timestamptz", "integer", "interval"),
)
_FREE_AT = Prepared(
    "identity_limit_free_at",
    "select a + $4 from identity.rate_limit r, unnest(r.attempts) a where limit_name = $1 and key = $2 "
    "order by a desc offset $3 - 1 limit 1",
    ("text", "bytea", "integer", "interval"),
)
_FORGET = Prepared(
    "identity_limit_forget",
    "delete from identity.rate_limit where limit_name = $1 and key = $2",
    ("text", "bytea"),
)
_PURGE = Prepared(
    "identity_limit_purge", "delete from identity.rate_limit where expires_at < $1", ("timestamptz",)
)
_KEY = Prepared("identity_limit_key", "select limit_key from kontor.installation", ())


class PostgresThrottleStore:
    """Counts attempts in `identity.rate_limit`. Keys are stored as keyed hashes."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        self._secret: bytes | None = None

    def take(self, name: str, key: str, limit: Limit, now: datetime) -> Taken:
        """Count one attempt unless the limit is used up."""
        hashed = self.fingerprint(name, key)
        rows = self._hot.run(_TAKE, (name, hashed, now, limit.amount, limit.period))
        if rows:
            return Taken(granted=True)
        free = self._hot.run(_FREE_AT, (name, hashed, limit.amount, limit.period))
        return Taken(granted=False, free_at=free[0][0] if free else None)

    def forget(self, name: str, key: str) -> None:
        """Drop all attempts of a key."""
        self._hot.run(_FORGET, (name, self.fingerprint(name, key)))

    def purge(self, now: datetime) -> None:
        """Drop rows whose windows have passed; a job calls it now and then."""
        self._hot.run(_PURGE, (now,))

    def fingerprint(self, name: str, key: str) -> bytes:
        """HMAC-SHA-256 of the key under the installation's own secret: 32 bytes that tell nothing to others."""
        if self._secret is None:
            self._secret = bytes(self._hot.run(_KEY, ())[0][0])
        return hmac.digest(self._secret, f"{name}\x00{key}".encode(errors="surrogatepass"), "sha256")


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Every limit of identity, as sentences on one page.

    The limit of a directory counts wrong passwords of a person, however the log-in name was written, and stays below
    the number at which the directory locks the account: guessing here locks nobody out there.
    """

    account: Throttle
    address: Throttle
    second_step: Throttle
    link: Throttle
    strength: Throttle
    directory: Throttle
    audit: Throttle
    store: PostgresThrottleStore


def login_limits(hot: Hot, clock: Callable[[], datetime], directory_guesses: int) -> LoginLimits:
    """Make the limits over the store of this installation."""
    store = PostgresThrottleStore(hot)
    return LoginLimits(
        account=Throttle("login/account", "5 per 5 minutes, 20 per hour", store, clock=clock),
        address=Throttle("login/address", "100 per 5 minutes", store, clock=clock),
        second_step=Throttle("login/second", "5 per 5 minutes", store, clock=clock),
        link=Throttle("login/link", "20 per hour", store, clock=clock),
        directory=Throttle("login/directory", f"{directory_guesses} per 30 minutes", store, clock=clock),
        # Judging a password takes the processor some milliseconds.
        strength=Throttle("password/strength", "120 per minute", store, clock=clock),
        # Refusals by a limit are told to the audit log only this often, or guessing could fill its disk.
        audit=Throttle("login/audit", "10 per minute", store, clock=clock),
        store=store,
    )
