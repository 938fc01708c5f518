"""Logging in, step by step: password, then the second factor if there is one.

Outside, every refusal looks the same: same text, same status, about the same time. Inside, the audit event
says why (AUTH-2). Limits are asked before anything is checked and refuse when they can't be asked (AUTH-18).
"""

from __future__ import annotations

import enum
import time
import unicodedata
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import delete, func, select

from crm_server.domain.identity import events
from crm_server.domain.identity.factor_models import PendingLogin
from crm_server.domain.identity.models import User
from crm_server.domain.identity.services import factor_policy, password_age
from crm_server.domain.identity.services.requests import take_request
from crm_server.kernel import db as database
from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.clock import now
from security.identity.sessions import digest_session_token, new_session_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.domain.identity.limits import LoginLimits
    from crm_server.domain.identity.services.directories import DirectoryService
    from crm_server.domain.identity.services.factors import CodeCheck, FactorService
    from crm_server.domain.identity.services.passkeys import PasskeyService
    from crm_server.domain.identity.services.sessions import SessionService
    from crm_server.domain.identity.services.sso_sessions import SsoSessions
    from security.identity.password import PasswordHasher
    from security.identity.webauthn import RelyingParty

SECOND_STEP_LIFETIME = timedelta(minutes=10)
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a log-in comes from."""

    request_id: UUID | None
    address: str | None = field(default=None, repr=False)
    user_agent: str | None = field(default=None, repr=False)


class Step(enum.Enum):
    """What the page shows next."""

    SIGNED_IN = "signed_in"
    SECOND_STEP = "second_step"
    REFUSED = "refused"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class LoginResult:
    """Outcome of one step. `token` is the session cookie's text, or the one of the second step."""

    step: Step
    token: str | None = field(default=None, repr=False)
    actor: Actor | None = None
    retry_after: int = 0
    password_days: int | None = None
    """Days until the password has to be changed, when that is soon (AUTH-17)."""


class LoginService:
    """Checks the steps of a log-in. Opens database sessions of its own: nobody is logged in yet."""

    def __init__(  # noqa: PLR0913, PLR0917 - everything that a log-in asks, each injected once by `make`
        self,
        factory: sessionmaker[Session],
        hasher: PasswordHasher,
        limits: LoginLimits,
        sessions: SessionService,
        factors: FactorService,
        directories: DirectoryService,
        passkeys: PasskeyService,
        sso_sessions: SsoSessions,
        *,
        refusal_seconds: float = 0.4,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._factory = factory
        self._hasher = hasher
        self._limits = limits
        self._sessions = sessions
        self._factors = factors
        self._directories = directories
        self._passkeys = passkeys
        self._sso_sessions = sso_sessions
        self._refusal_seconds = refusal_seconds
        self._pause = pause

    def password(self, login: str, password: str, client: Client) -> LoginResult:
        """First step: log-in name and password."""
        start = time.monotonic()
        result = self._password(login, password, client)
        if result.step is Step.REFUSED:
            # Whatever was found out and however long it took, a refusal comes at the same moment.
            self._pause(max(0.0, self._refusal_seconds - (time.monotonic() - start)))
        return result

    def _password(self, login: str, password: str, client: Client) -> LoginResult:
        name = canonical_login(login)
        fingerprint = self._limits.store.fingerprint("login", name).hex()[:32]
        for limit, key in ((self._limits.address, client.address or ""), (self._limits.account, name)):
            verdict = limit.hit(key)
            if not verdict.allowed:
                self._tell_limited(verdict.state.value, fingerprint, client)
                return LoginResult(Step.WAIT, retry_after=verdict.retry_after)
        with database.open_session(self._factory, self._stranger(client)) as db:
            user, method, reason = self._first_step(db, name, password)
            if reason is not None or user is None:
                event = events.login(
                    "failure",
                    reason,
                    user_id=user.id if user else None,
                    fingerprint=None if user else fingerprint,
                    address=client.address,
                )
                events.record(db, event)
                database.commit(db)
                return LoginResult(Step.REFUSED)
            result = self.proceed(db, user, method, client)
            database.commit(db)
        if result.step is Step.SIGNED_IN:
            self._limits.account.forgive(name)
        return result

    def proceed(
        self,
        db: Session,
        user: User,
        method: str,
        client: Client,
        *,
        second_factor: bool = False,
        vouched: bytes | None = None,
    ) -> LoginResult:
        """Go on with somebody who passed the first step: to the second one, or into a session.

        Every way of logging in ends here, so that the second factor depends on no source (AUTH-11).

        Args:
            second_factor: The first step was one of two factors already (a passkey, or a provider that is
                trusted for it).
            vouched: The provider's side of the session, as `SsoSessions.seal` made it.
        """
        # A role that asks for a passkey takes no other factor, whoever vouches for it.
        enough = second_factor and (method == "passkey" or not factor_policy.passkey_only(db, user.id))
        if enough or not self._factors.has_second_factor(db, user.id):
            return self._begin(db, user, method, client, vouched)
        token = new_session_token()
        db.execute(delete(PendingLogin).where(PendingLogin.user_id == user.id))
        db.add(
            PendingLogin(
                token_hash=token.digest,
                user_id=user.id,
                auth_method=method,
                address=client.address,
                vouched=vouched,
                expires_at=now() + SECOND_STEP_LIFETIME,
            )
        )
        db.flush()
        return LoginResult(Step.SECOND_STEP, token.text)

    def _begin(
        self, db: Session, user: User, method: str, client: Client, vouched: bytes | None
    ) -> LoginResult:
        begun = self._sessions.begin(db, user, method, client)
        if vouched is not None and begun.actor.session_ref is not None:
            db.flush()
            self._sso_sessions.keep(db, user.id, begun.actor.session_ref, vouched)
        left = password_age.days_left(db, user) if method.startswith("password") else None
        return LoginResult(Step.SIGNED_IN, begun.cookie, begun.actor, password_days=left)

    def code(self, token: str, code: str, client: Client) -> LoginResult:
        """Second step: a code of the authenticator app, or a recovery code.

        WAIT when the limit is used up; REFUSED with no token when the first step is too long ago and must be
        repeated; REFUSED with the token when the code was wrong.
        """
        return self._second_step(token, client, lambda db, one: self._factors.use_code(db, one.user_id, code))

    def passkey_options(self, token: str, client: Client, party: RelyingParty) -> str | None:
        """What the browser asks the passkey, as JSON; None when the first step must be repeated."""
        with database.open_session(self._factory, self._stranger(client)) as db:
            pending = self._pending(db, token)
            if pending is None:
                return None
            options = self._passkeys.begin_login(db, pending, party)
            database.commit(db)
            return options

    def passkey(self, token: str, answer: dict[str, Any], client: Client, party: RelyingParty) -> LoginResult:
        """Second step with a passkey; outcomes as those of `code`."""
        return self._second_step(token, client, lambda db, one: self._passkeys.use(db, one, answer, party))

    def passkey_alone_options(
        self, client: Client, party: RelyingParty, wanted: str
    ) -> tuple[str, str] | None:
        """Begin a log-in by passkey without a name: options as JSON and the browser's token; None to wait."""
        if not self._limits.address.hit(client.address or "").allowed:
            return None
        with database.open_session(self._factory, self._stranger(client)) as db:
            begun = self._passkeys.begin_alone(db, party, wanted)
            database.commit(db)
            return begun

    def passkey_alone(
        self, token: str, answer: dict[str, Any], client: Client, party: RelyingParty
    ) -> LoginResult:
        """Log in by passkey alone: SIGNED_IN or REFUSED. The device verified the person, so no second step."""
        with database.open_session(self._factory, self._stranger(client)) as db:
            request = take_request(db, token, None)
            if request is None or request.session_id is not None:
                return LoginResult(Step.REFUSED)
            user_id, check = self._passkeys.use_alone(db, request, answer, party)
            user = db.get(User, user_id) if user_id is not None else None
            if check.method is None or user is None or user.state != "active":
                event = events.login(
                    "failure",
                    check.reason or "account_disabled",
                    user_id=user_id,
                    address=client.address,
                    action="passkey",
                )
                events.record(db, event)
                database.commit(db)
                return LoginResult(Step.REFUSED)
            result = self.proceed(db, user, "passkey", client, second_factor=True)
            database.commit(db)
        return result

    def _second_step(
        self, token: str, client: Client, check_factor: Callable[[Session, PendingLogin], CodeCheck]
    ) -> LoginResult:
        with database.open_session(self._factory, self._stranger(client)) as db:
            pending = self._pending(db, token)
            if pending is None:
                return LoginResult(Step.REFUSED)
            user = db.get_one(User, pending.user_id)
            verdict = self._limits.second_step.hit(str(user.id))
            if not verdict.allowed:
                self._tell_limited(verdict.state.value, None, client, user.id)
                return LoginResult(Step.WAIT, token, retry_after=verdict.retry_after)
            check = check_factor(db, pending)
            if check.method is None or user.state != "active":
                event = events.login(
                    "failure",
                    check.reason or "account_disabled",
                    user_id=user.id,
                    address=client.address,
                    action="second_step",
                )
                events.record(db, event)
                database.commit(db)
                return LoginResult(Step.REFUSED, token)
            taken = db.execute(delete(PendingLogin).where(PendingLogin.token_hash == pending.token_hash))
            if taken.rowcount != 1:  # type: ignore[attr-defined]
                db.rollback()
                return LoginResult(Step.REFUSED)
            method = f"{pending.auth_method}+{check.method}"
            result = self._begin(db, user, method, client, pending.vouched)
            database.commit(db)
        self._limits.account.forgive(canonical_login(user.login))
        return result

    def check_again(self, db: Session, user_id: UUID, password: str) -> bool:
        """Whether `password` is the user's own, for step-up and for changing it; counts as a guess."""
        user = db.get_one(User, user_id)
        if not self._limits.account.hit(canonical_login(user.login)).allowed:
            self._hasher.burn(password)
            return False
        if user.source == LOCAL:
            reason = self._check_password(user, password)
        else:
            found, reason = self._directories.authenticate(db, user, user.login, password)
            if found is None or found.id != user_id:
                reason = reason or "somebody_else"
        if reason is not None:
            return False
        self._limits.account.forgive(canonical_login(user.login))
        return True

    def tell_failed_step_up(self, db: Session, user_id: UUID, client: Client) -> None:
        """Note in the audit log that somebody could not prove again who they are."""
        event = events.login(
            "failure", "wrong_proof", user_id=user_id, address=client.address, action="step_up"
        )
        events.record(db, event)

    def _first_step(self, db: Session, name: str, password: str) -> tuple[User | None, str, str | None]:
        """Check the password where the account's password lies. Returns the user, the method, and why not."""
        user = db.scalars(select(User).where(func.lower(User.login) == name)).one_or_none()
        if user is not None and user.source == LOCAL:
            return user, "password", self._check_password(user, password)
        if not self._directories.any_enabled(db):
            return user, "password", self._check_password(user, password)
        found, reason = self._directories.authenticate(db, user, name, password, release=True)
        return found or user, "directory", reason

    def _check_password(self, user: User | None, password: str) -> str | None:
        """Return why the password opens nothing, or None. Costs one verification in every case."""
        if user is None or user.password_hash is None:
            self._hasher.burn(password)
            return "unknown_user" if user is None else "no_password"
        verification = self._hasher.verify(user.password_hash, password)
        if not verification.matched:
            return "wrong_password"
        if user.state != "active":
            return "account_disabled" if user.state == "disabled" else "account_not_ready"
        if user.source != LOCAL:
            return "other_source"
        if verification.needs_rehash:
            user.password_hash = self._hasher.hash(password)
        return None

    def _pending(self, db: Session, token: str) -> PendingLogin | None:
        digest = digest_session_token(token)
        found = db.get(PendingLogin, digest) if digest else None
        return found if found is not None and found.expires_at > now() else None

    def _tell_limited(
        self, reason: str, fingerprint: str | None, client: Client, user_id: UUID | None = None
    ) -> None:
        if not self._limits.audit.hit(client.address or "").allowed:
            return
        with database.open_session(self._factory, self._stranger(client)) as db:
            event = events.login(
                "failure", reason, user_id=user_id, fingerprint=fingerprint, address=client.address
            )
            events.record(db, event)
            database.commit(db)

    def _stranger(self, client: Client) -> Actor:
        return system_actor(Origin.WEB, client.request_id)


def canonical_login(login: str) -> str:
    """The form of a log-in name that is searched for and that limits count: no way of typing it is a fresh
    guess.
    """
    text = unicodedata.normalize("NFKC", login[:256]).encode("utf-8", "ignore").decode("utf-8")
    return " ".join(text.replace("\x00", "").lower().split())
