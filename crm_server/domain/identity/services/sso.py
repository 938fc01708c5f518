"""Logging in through a provider of single sign-on, and stepping up there.

A log-in is begun here, goes on in the browser at the provider, and comes back once: the row that remembers it
is deleted by whoever brings the answer first. Whatever the protocol, it ends in a `Vouched` person, whom
`GroupService.admit` turns into an account and `LoginService.proceed` leads to the second factor or into a
session. A second protocol (SAML) needs a client with `begin` and `finish` and a word in
`SsoProvider.protocol`, nothing else.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import object_session

from compliance.datamap.text import Text
from crm_server.domain.identity import events, seeds
from crm_server.domain.identity.models import User
from crm_server.domain.identity.services.groups import Profile
from crm_server.domain.identity.services.login import LoginResult, Step
from crm_server.domain.identity.services.requests import take_request
from crm_server.domain.identity.services.sources import fill
from crm_server.domain.identity.services.sso_sessions import ProviderSession
from crm_server.domain.identity.sso_models import LoginRequest, ScimGroup, SsoProvider
from crm_server.kernel import db as database
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import FieldError, NotFound, ValidationFailed
from security.identity.sessions import new_session_token
from security.identity.throttle import Limit
from security.web.outgoing import OutgoingFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.domain.identity.limits import LoginLimits
    from crm_server.domain.identity.services.groups import GroupService
    from crm_server.domain.identity.services.login import Client, LoginService
    from crm_server.domain.identity.services.sessions import SessionService
    from crm_server.domain.identity.services.sso_sessions import SsoSessions
    from security.identity.oidc import Provider, ProviderSettings, Vouched
    from security.identity.oidc.diagnosis import Step as TestStep
    from security.web.outgoing import Outgoing

SETTABLE = (
    "name", "issuer", "client_id", "scopes", "identity_claim", "login_claim", "groups_claim", "provisioning",
    "trusted_methods", "authorities",
)  # fmt: skip
"""The fields of a provider that an administrator sets."""
LIFETIME = timedelta(minutes=10)
"""How long a person may take at the provider."""
_REPLAY = Limit(1, timedelta(minutes=30))
"""A logout token is taken once; it is refused as too old long before this is over."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the browser goes, and the token that it brings back in a cookie."""

    url: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finish:
    """How a log-in through a provider ended. `cookie` is the new session cookie after a step-up."""

    result: LoginResult
    wanted: str = "/"
    stepped_up: bool = False


class SsoService:
    """Everything that concerns logging in through providers. Keeps one client a provider."""

    def __init__(  # noqa: PLR0917 - everything that a log-in asks, each injected once by `make`
        self,
        factory: sessionmaker[Session],
        limits: LoginLimits,
        groups: GroupService,
        login: LoginService,
        sessions: SessionService,
        kept: SsoSessions,
        outgoing: Outgoing,
    ) -> None:
        self._factory = factory
        self._limits = limits
        self._groups = groups
        self._login = login
        self._sessions = sessions
        self._kept = kept
        self.outgoing = outgoing
        self._clients: dict[UUID, tuple[int, Provider]] = {}
        self._lock = threading.Lock()

    def offered(self) -> list[tuple[UUID, str]]:
        """(id, name) of the providers that the log-in page offers."""
        with self._factory() as db:
            query = select(SsoProvider.id, SsoProvider.name).where(SsoProvider.enabled)
            return [(key, name) for key, name in db.execute(query.order_by(func.lower(SsoProvider.name)))]

    def client(self, row: SsoProvider) -> Provider:
        """The client of a provider. Raises ValueError that names the setting that can't work."""
        with self._lock:
            known = self._clients.get(row.id)
            if known is None or known[0] != row.version:
                # Only processes that ask a provider pay for its library.
                from security.identity.oidc import Provider

                known = (row.version, Provider(self._settings(row), self.outgoing))
                self._clients[row.id] = known
            return known[1]

    def draft(self) -> SsoProvider:
        """A provider that isn't saved yet."""
        return SsoProvider(
            trusted_methods=[],
            scopes="openid profile email",
            identity_claim="sub",
            login_claim="preferred_username",
            groups_claim="groups",
            provisioning="login",
        )

    def save(
        self, db: Session, row: SsoProvider, values: Mapping[str, Any], secret: str | None = None
    ) -> None:
        """Set a provider up or change it; what isn't named stays.

        Args:
            values: JSON values of `SETTABLE` by name.
            secret: The client's secret, if it changes.

        Raises:
            ValidationFailed: naming each place.
        """
        fill(db, row, values, SETTABLE, secret)
        if secret:
            self.set_secret(db, row, secret)
        try:
            self.client(row)
            self.outgoing.check(row.issuer)
        except OutgoingFailed:
            pass  # The name has no address yet; the test tells that, and the set-up may go on.
        except ValueError as wrong:
            raise ValidationFailed([FieldError("/issuer", "unusable", Text(str(wrong)))]) from wrong

    def test(self, db: Session, row: SsoProvider) -> tuple[TestStep, ...]:
        """Ask a provider what a log-in would ask, without logging anybody in (AUTH-10).

        Raises ValueError that names the setting that can't work.
        """
        from security.identity.oidc.diagnosis import diagnose

        steps = diagnose(self.client(row), self.outgoing)
        passed = all(step.passed for step in steps)
        events.record(db, events.provider("sso_tested", row.id, passed=passed))
        return steps

    def group_named(self, db: Session, row: SsoProvider, text: str) -> tuple[str, str]:
        """(key, name) of a group: one that SCIM brought, by its id or name; else the value of the claim."""
        if row.provisioning != "scim":
            return text, text
        for group in db.scalars(select(ScimGroup).where(ScimGroup.provider_id == row.id)):
            if text in {str(group.id), group.display_name}:
                return str(group.id), group.display_name
        raise NotFound

    def set_state(self, db: Session, row: SsoProvider, *, enabled: bool) -> None:
        """Offer a provider at log-in, or leave it out. Leaving it out ends the sessions that began there."""
        row.enabled = enabled
        db.flush()
        if not enabled:
            for session_id, user_id in self._kept.ended_by(db, row.id, None, None):
                self._sessions.end(db, session_id, user_id, "provider_left_out")

    def set_secret(self, db: Session, row: SsoProvider, secret: str) -> None:
        """Keep the client's secret, sealed."""
        row.client_secret = seeds.seal(db, row.id, secret.encode(), seeds.SSO_SECRET)
        db.flush()
        events.record(db, events.provider("sso_secret_set", row.id))

    def begin(
        self,
        provider_id: UUID,
        redirect: str,
        wanted: str,
        client: Client,
        *,
        session_id: UUID | None = None,
    ) -> Start | None:
        """Begin a log-in, or with `session_id` the step-up of a session.

        Returns:
            Where to go; None when too many log-ins were begun from this address.

        Raises:
            NotFound: there is no such provider, or it isn't enabled.
            Unavailable: the provider can't be asked.
        """
        if not self._limits.address.hit(client.address or "").allowed:
            return None
        with self._factory() as db:
            provider = self.client(self._enabled(db, provider_id))
        begun = provider.begin(redirect, prove_again=session_id is not None)
        token = new_session_token()
        with database.open_session(self._factory, system_actor(Origin.WEB, client.request_id)) as db:
            db.add(
                LoginRequest(
                    token_hash=token.digest,
                    provider_id=provider_id,
                    challenge=hashlib.sha256(begun.state.encode()).digest(),
                    nonce=begun.nonce,
                    verifier=begun.verifier,
                    wanted=wanted,
                    session_id=session_id,
                    expires_at=now() + LIFETIME,
                )
            )
            database.commit(db)
        return Start(begun.url, token.text)

    def finish(
        self, provider_id: UUID, token: str, answer: Mapping[str, str], redirect: str, client: Client
    ) -> Finish:
        """Take the answer that the browser brought, once.

        Raises NotFound for a provider that isn't there. Every refusal looks the same; the audit log says why.
        """
        from security.identity.oidc import Refused, Unavailable

        actor = system_actor(Origin.WEB, client.request_id)
        with database.open_session(self._factory, actor) as db:
            provider = self.client(self._enabled(db, provider_id))
            request = take_request(db, token, provider_id)
            database.commit(db)
        if request is None:
            return self._refuse(client, "sso_not_begun_here")
        begun_at = (request.expires_at - LIFETIME).timestamp()
        try:
            vouched = provider.finish(
                answer,
                state_digest=request.challenge,
                nonce=request.nonce or "",
                verifier=request.verifier or "",
                redirect=redirect,
                proved_since=begun_at if request.session_id is not None else None,
            )
        except Refused as refused:
            return self._refuse(client, f"sso_{refused.reason}", request.wanted)
        except Unavailable:
            return self._refuse(client, "sso_provider_unavailable", request.wanted)
        with database.open_session(self._factory, actor) as db:
            row = self._enabled(db, provider_id)
            if request.session_id is not None:
                return self._step_up(db, row, vouched, request, client)
            return self._admit(db, row, vouched, request.wanted, client)

    def end_from_provider(self, provider_id: UUID, token: str, client: Client) -> bool:
        """End the sessions that a logout token of the provider means (Back-Channel Logout 1.0).

        Returns whether the token was believed.

        Raises NotFound.
        """
        from security.identity.oidc import Refused, Unavailable

        if not self._limits.address.hit(client.address or "").allowed:
            return False
        actor = system_actor(Origin.API, client.request_id)
        with database.open_session(self._factory, actor) as db:
            provider = self.client(self._enabled(db, provider_id))
        try:
            subject, session, key = provider.verify_logout(token)
        except (Refused, Unavailable):
            return False
        if not self._limits.store.take("sso/logout", f"{provider_id} {key}", _REPLAY, now()).granted:
            return False
        with database.open_session(self._factory, actor) as db:
            for session_id, user_id in self._kept.ended_by(db, provider_id, subject, session):
                self._sessions.end(db, session_id, user_id, "ended_by_provider")
            database.commit(db)
        return True

    def logout_url(self, db: Session, session_id: UUID, back: str) -> tuple[str, str] | None:
        """(Name of the provider, where to log out there as well) for a session that began there."""
        from security.identity.oidc import Unavailable

        kept = self._kept.of(db, session_id)
        row = db.get(SsoProvider, kept.provider_id) if kept is not None else None
        if kept is None or row is None or not row.enabled:
            return None
        try:
            url = self.client(row).logout_url(kept.id_token, back)
        except (Unavailable, ValueError):
            return None
        return (row.name, url) if url is not None else None

    def provider_of(self, db: Session, user: User) -> SsoProvider | None:
        """The enabled provider that vouches for a user, if any."""
        query = select(SsoProvider).where(SsoProvider.enabled)
        return next((row for row in db.scalars(query) if source_of(row) == user.source), None)

    def _admit(self, db: Session, row: SsoProvider, vouched: Vouched, wanted: str, client: Client) -> Finish:
        profile = Profile(vouched.key, vouched.login, vouched.name, vouched.email)
        if row.provisioning == "scim":
            # Accounts, their names and their groups are SCIM's; the provider says only that it is this person.
            user = self._groups.find(db, source_of(row), vouched.key)
            reason = "no_account" if user is None else None if user.state == "active" else "account_disabled"
        else:
            user, reason = self._groups.admit(db, source_of(row), profile, vouched.groups)
        if reason is not None or user is None:
            event = events.login(
                "failure", reason, user_id=user.id if user else None, address=client.address, action="sso"
            )
            db.rollback()
            events.record(db, event)
            database.commit(db)
            return Finish(LoginResult(Step.REFUSED), wanted)
        kept = ProviderSession(row.id, vouched.subject, vouched.session, vouched.id_token)
        result = self._login.proceed(
            db,
            user,
            "sso+provider" if vouched.second_factor else "sso",
            client,
            second_factor=vouched.second_factor,
            vouched=self._kept.seal(db, user.id, kept),
        )
        database.commit(db)
        return Finish(result, wanted)

    def _step_up(
        self, db: Session, row: SsoProvider, vouched: Vouched, request: LoginRequest, client: Client
    ) -> Finish:
        """The owner of a session proved again at the provider who they are (AUTH-15)."""
        user = self._groups.find(db, source_of(row), vouched.key)
        if user is None or request.session_id is None:
            return self._refuse(client, "sso_somebody_else", request.wanted)
        try:
            cookie = self._sessions.prove_again(db, request.session_id, user.id, "sso")
        except NotFound:
            db.rollback()
            return self._refuse(client, "sso_somebody_else", request.wanted)
        database.commit(db)
        return Finish(LoginResult(Step.SIGNED_IN, cookie), request.wanted, stepped_up=True)

    def _refuse(self, client: Client, reason: str, wanted: str = "/") -> Finish:
        if self._limits.audit.hit(client.address or "").allowed:
            with database.open_session(self._factory, system_actor(Origin.WEB, client.request_id)) as db:
                events.record(db, events.login("failure", reason, address=client.address, action="sso"))
                database.commit(db)
        return Finish(LoginResult(Step.REFUSED), wanted)

    def _enabled(self, db: Session, provider_id: UUID) -> SsoProvider:
        row = db.get(SsoProvider, provider_id)
        if row is None or not row.enabled:
            raise NotFound
        return row

    def _settings(self, row: SsoProvider) -> ProviderSettings:
        from security.identity.oidc import ProviderSettings

        secret = b""
        if row.client_secret is not None:
            db = object_session(row)
            if db is None:
                raise LookupError("a provider's row without a session can't be opened")
            secret = seeds.unseal(db, row.id, row.client_secret, seeds.SSO_SECRET)
        return ProviderSettings(
            issuer=row.issuer,
            client_id=row.client_id,
            client_secret=secret.decode(),
            scopes=row.scopes,
            identity_claim=row.identity_claim,
            login_claim=row.login_claim,
            groups_claim=row.groups_claim,
            trusted_methods=tuple(row.trusted_methods),
            authorities=row.authorities,
        )


def source_of(row: SsoProvider) -> str:
    """What `User.source` says of people for whom this provider vouches."""
    return f"sso:{row.id}"
