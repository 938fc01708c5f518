"""One-time links: the invitation of a new user and the reset of a forgotten password.

An administrator makes the link and hands it over; nobody but the user ever sees or sets the password. A link
works once, for a limited time, and a newer one replaces it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from compliance.datamap.text import _
from crm_server.domain.identity import events
from crm_server.domain.identity.factor_models import OneTimeLink
from crm_server.domain.identity.models import User
from crm_server.domain.identity.passwords import check_new_password, look_at
from crm_server.domain.identity.services.sessions import actor_for
from crm_server.kernel import db as database
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, NotFound, TooManyRequests
from security.identity.sessions import digest_session_token, new_session_token

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from compliance.datamap.text import Text
    from crm_server.domain.identity.limits import LoginLimits
    from crm_server.domain.identity.services.login import Client
    from crm_server.domain.identity.services.sessions import SessionService
    from security.identity.password import Assessment, PasswordHasher

LIFETIMES = {"invite": timedelta(days=3), "reset": timedelta(hours=2)}


class LinkService:
    """Makes and redeems one-time links."""

    def __init__(
        self,
        factory: sessionmaker[Session],
        hasher: PasswordHasher,
        limits: LoginLimits,
        sessions: SessionService,
    ) -> None:
        self._factory = factory
        self._hasher = hasher
        self._limits = limits
        self._sessions = sessions

    def make(self, db: Session, user: User) -> str:
        """Make a link for `user`: an invitation if they never had a password, else a reset. Returns its
        token.

        Raises:
            Conflict: the user is disabled, or the password lies in a directory.
        """
        if user.state == "disabled":
            raise Conflict(_("Enable the account first."))
        if user.source != "local":
            raise Conflict(_("The password of this user is kept in the company directory."))
        purpose = "invite" if user.password_hash is None else "reset"
        token = new_session_token()
        db.execute(delete(OneTimeLink).where(OneTimeLink.user_id == user.id))
        db.add(
            OneTimeLink(
                user_id=user.id,
                purpose=purpose,
                token_hash=token.digest,
                expires_at=now() + LIFETIMES[purpose],
            )
        )
        db.flush()
        events.record(db, events.account("link_made", user.id, purpose))
        return token.text

    def check(self, user: User, password: str) -> None:
        """Judge a first password before its user is made. Raises ValidationFailed."""
        check_new_password(user, password, second_factor=False)

    def look(self, token: str, client: Client) -> str | None:
        """The purpose of a link that still works, or None."""
        self._ask_limit(client)
        with database.open_session(self._factory, system_actor(Origin.WEB, client.request_id)) as db:
            found = self._find(db, token)
            return found.purpose if found else None

    def judge(self, token: str, password: str, client: Client) -> tuple[Assessment, list[Text]]:
        """What speaks against a password for the owner of a link. Raises NotFound: the link doesn't work."""
        with database.open_session(self._factory, system_actor(Origin.WEB, client.request_id)) as db:
            found = self._find(db, token)
            if found is None:
                raise NotFound
            return look_at(db.get_one(User, found.user_id), password, second_factor=False)

    def redeem(self, token: str, password: str, client: Client) -> None:
        """Set the first or a new password, and end all sessions and tokens of before.

        Raises:
            NotFound: the link never was, was used, or is too old: all look the same.
            ValidationFailed: the password is too weak; the link still works.
        """
        self._ask_limit(client)
        with database.open_session(self._factory, system_actor(Origin.WEB, client.request_id)) as db:
            found = self._find(db, token)
            if found is None:
                raise NotFound
            user = db.get_one(User, found.user_id)
            if user.state == "disabled":
                raise NotFound
            check_new_password(user, password, second_factor=False)
            gone = db.execute(delete(OneTimeLink).where(OneTimeLink.id == found.id))
            if gone.rowcount != 1:  # type: ignore[attr-defined]
                raise NotFound
            user.password_hash = self._hasher.hash(password)
            user.password_changed_at = now()
            if user.state == "invited":
                user.state = "active"
            db.flush()
            actor = actor_for(user, client, "one_time_link")
            events.record(db, events.account("password_set", user.id, found.purpose), actor=actor)
            self._sessions.end_all(db, user.id, "password_changed")
            database.commit(db)

    def _find(self, db: Session, token: str) -> OneTimeLink | None:
        digest = digest_session_token(token)
        if digest is None:
            return None
        return db.scalars(
            select(OneTimeLink).where(OneTimeLink.token_hash == digest, OneTimeLink.expires_at > now())
        ).one_or_none()

    def _ask_limit(self, client: Client) -> None:
        verdict = self._limits.link.hit(client.address or "")
        if not verdict.allowed:
            raise TooManyRequests("login/link", verdict.retry_after)
