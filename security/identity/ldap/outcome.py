"""How a conversation with the directory can end, and the errors that end it early."""

from __future__ import annotations

import enum

from security.network import Cause


class Outcome(enum.Enum):
    """Result of a log-in through the directory.

    The value is the audit reason; outside all refusals look alike.
    """

    SIGNED_IN = "signed_in"
    EMPTY_PASSWORD = "empty_password"  # noqa: S105 - a reason code, not a secret.
    MALFORMED_LOGIN = "malformed_login"
    UNKNOWN_USER = "unknown_user"
    AMBIGUOUS_USER = "ambiguous_user"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - as above.
    DISABLED = "account_disabled"
    LOCKED = "account_locked"
    ACCOUNT_EXPIRED = "account_expired"
    PASSWORD_EXPIRED = "password_expired"  # noqa: S105 - as above.
    MUST_CHANGE_PASSWORD = "must_change_password"  # noqa: S105 - as above.
    OUTSIDE_HOURS = "outside_permitted_hours"
    NO_IDENTITY_KEY = "entry_without_immutable_id"
    SPARED = "rate_limited_before_directory"
    UNAVAILABLE = "directory_unavailable"
    MISCONFIGURED = "directory_misconfigured"


class DirectoryFailure(Exception):
    """No server gave a usable answer.

    ``outcome`` is UNAVAILABLE or MISCONFIGURED; ``detail`` is for operators.
    """

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(f"directory: {detail}")
        self.outcome = outcome
        self.detail = detail


class ServerTrouble(Exception):
    """One server failed in a way that another one may not. Counts against its circuit breaker."""

    def __init__(self, step: str, detail: str, cause: Cause | None = None) -> None:
        super().__init__(f"{step}: {detail}")
        self.step = step
        self.detail = detail
        self.cause = cause
        """Why the connection failed, if that is what failed."""


class Misconfigured(Exception):
    """The directory works but refuses what we are set up to do: wrong base, wrong service account, no
    permission.
    """

    def __init__(self, step: str, detail: str) -> None:
        super().__init__(f"{step}: {detail}")
        self.step = step
        self.detail = detail


class IncompleteListing(Exception):
    """A paged search ended before the directory said that it was over; nothing may be concluded from its
    gaps.
    """
