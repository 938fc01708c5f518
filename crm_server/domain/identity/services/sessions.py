"""Sessions and API tokens: begin, end, list. What makes them valid at a request stands in `authentication`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, update

from compliance.datamap.text import _
from crm_server.domain.identity import events
from crm_server.domain.identity.models import ApiToken, LoginSession, User
from crm_server.domain.identity.services import factor_policy, password_age
from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.clock import now
from crm_server.kernel.errors import FieldError, NotFound, ValidationFailed
from crm_server.kernel.ids import new_id
from security.identity.sessions import new_session_token
from security.identity.tokens import new_api_token

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.services.login import Client

MAX_FIELDS = 500
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,59}\.(custom\.)?[a-z][a-z0-9_]{0,59}")
MAX_TOKENS = 50
"""API tokens that one user may have at a time."""


class Begun(NamedTuple):
    """A session just begun: the cookie's text, and the actor who it belongs to."""

    cookie: str
    actor: Actor


class NewToken(NamedTuple):
    """An API token just made. `text` is shown once and never again."""

    text: str
    id: UUID


def actor_for(user: User, client: Client, method: str, session_ref: UUID | None = None) -> Actor:
    """The user as an actor without permissions, for what happens during log-in itself."""
    return Actor(
        id=user.id,
        name=user.name,
        origin=Origin.WEB,
        locale=user.locale,
        timezone=user.timezone,
        theme=user.theme,
        auth_method=method,
        session_ref=session_ref,
        request_id=client.request_id,
    )


class SessionService:
    """Begins and ends sessions and API tokens."""

    def begin(self, db: Session, user: User, method: str, client: Client) -> Begun:
        """Begin a session of `user`, who has proved who they are by `method`. Always a new token (AUTH-16)."""
        token = new_session_token()
        moment = now()
        key = new_id()
        actor = actor_for(user, client, method, key)
        enrol = factor_policy.must_enrol(db, user.id, method)
        change = password_age.must_change(db, user, method)
        db.add(
            LoginSession(
                id=key,
                user_id=user.id,
                token_hash=token.digest,
                created_at=moment,
                last_seen_at=moment,
                authenticated_at=moment,
                auth_method=method,
                address=client.address,
                user_agent=client.user_agent,
                must_enrol=enrol,
                must_change_password=change,
            )
        )
        # As a statement of its own: the unit of work would raise the version, and a log-in is no change of the user.
        db.execute(
            update(User).where(User.id == user.id).values(last_login_at=moment, updated_at=User.updated_at)
        )
        events.record(db, events.login("success", None, user_id=user.id, address=client.address), actor=actor)
        if change:
            events.record(db, events.account("password_expired", user.id), actor=actor)
        if enrol or change:
            actor = replace(actor, reduced="second_factor_required" if enrol else "password_expired")
        return Begun(token.text, actor)

    def prove_again(self, db: Session, session_id: UUID, user_id: UUID, method: str) -> str:
        """Note that the owner of a session proved who they are again (step-up); returns the new cookie text.

        The token changes with the privilege, so a copy taken before has none of it (AUTH-15, AUTH-16).
        """
        token = new_session_token()
        changed = db.execute(
            update(LoginSession)
            .where(
                LoginSession.id == session_id,
                LoginSession.user_id == user_id,
                LoginSession.revoked_at.is_(None),
            )
            .values(authenticated_at=now(), token_hash=token.digest)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]
            raise NotFound
        events.record(db, events.login("success", None, user_id=user_id, action=f"step_up_{method}"))
        return token.text

    def renew(self, db: Session, session_id: UUID, user_id: UUID) -> str:
        """A new token for a session whose privileges changed (AUTH-16). Raises NotFound."""
        token = new_session_token()
        changed = db.execute(
            update(LoginSession)
            .where(
                LoginSession.id == session_id,
                LoginSession.user_id == user_id,
                LoginSession.revoked_at.is_(None),
            )
            .values(token_hash=token.digest)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]
            raise NotFound
        return token.text

    def end(self, db: Session, session_id: UUID, user_id: UUID, reason: str) -> None:
        """End one session of a user. Ending an ended one does nothing.

        Raises:
            NotFound: the user has no such session.
        """
        found = db.get(LoginSession, session_id)
        if found is None or found.user_id != user_id:
            raise NotFound
        if found.revoked_at is None:
            found.revoked_at = now()
            db.flush()
            events.record(db, events.session_ended(session_id, user_id, reason))

    def end_all(self, db: Session, user_id: UUID, reason: str, *, keep: UUID | None = None) -> int:
        """End all sessions of a user but `keep`; returns how many."""
        ended = db.scalars(
            update(LoginSession)
            .where(
                LoginSession.user_id == user_id,
                LoginSession.revoked_at.is_(None),
                LoginSession.id != (keep or new_id()),
            )
            .values(revoked_at=now())
            .returning(LoginSession.id)
        ).all()
        events.record(db, *(events.session_ended(key, user_id, reason) for key in ended))
        return len(ended)

    def make_token(
        self,
        db: Session,
        owner: Actor,
        name: str,
        permissions: Iterable[str],
        lifetime: timedelta,
        fields: Iterable[str] | None = None,
    ) -> NewToken:
        """Make an API token that may do at most what its owner may (AUTH-18).

        Args:
            db: The request's session.
            owner: Whose token it is.
            name: What it is for.
            permissions: What it may do.
            lifetime: At least an hour, at most 366 days.
            fields: The only fields that it sees, filters, sorts and writes, such as "contact.email" or
                "contact.custom.size"; None: all that its owner does. A field that its owner loses, it loses.

        Raises:
            ValidationFailed: no name, a permission that the owner lacks, or too many tokens.
        """
        wanted = sorted(set(permissions))
        moment = now()
        problems = []
        if not name.strip():
            problems.append(FieldError("/name", "required", _("Say what the token is for.")))
        if not wanted or not all(owner.may(one) for one in wanted):
            problems.append(
                FieldError("/permissions", "not_held", _("Choose permissions that you have yourself."))
            )
        only = None if fields is None else sorted(set(fields))
        if only is not None and (len(only) > MAX_FIELDS or not all(map(_FIELD.fullmatch, only))):
            problems.append(
                FieldError("/fields", "form", _("Name fields as kind.field, such as contact.email."))
            )
        if lifetime.total_seconds() < 3600 or lifetime.days > 366:
            problems.append(FieldError("/days", "range", _("A token lives between one hour and 366 days.")))
        if len(self.tokens(db, owner.id, moment)) >= MAX_TOKENS:
            problems.append(FieldError("/name", "too_many", _("Revoke tokens that you no longer need.")))
        if problems:
            raise ValidationFailed(problems)
        token = new_api_token()
        row = ApiToken(
            user_id=owner.id,
            name=name.strip()[:100],
            prefix=token.public_id,
            token_hash=token.digest,
            permissions=wanted,
            fields=only,
            expires_at=moment + lifetime,
        )
        db.add(row)
        db.flush()
        events.record(db, events.token("token_created", row.id, owner.id, permissions=wanted, fields=only))
        return NewToken(token.text, row.id)

    def revoke_token(self, db: Session, token_id: UUID, user_id: UUID) -> None:
        """Revoke an API token of a user. Raises NotFound."""
        found = db.get(ApiToken, token_id)
        if found is None or found.user_id != user_id:
            raise NotFound
        if found.revoked_at is None:
            found.revoked_at = now()
            db.flush()
            events.record(db, events.token("token_revoked", token_id, user_id))

    def revoke_all_tokens(self, db: Session, user_id: UUID) -> None:
        """Revoke every API token of a user."""
        for token in self.tokens(db, user_id, now()):
            self.revoke_token(db, token.id, user_id)

    def tokens(self, db: Session, user_id: UUID, moment: datetime) -> list[ApiToken]:
        """The API tokens of a user that still work."""
        return list(
            db.scalars(
                select(ApiToken)
                .where(
                    ApiToken.user_id == user_id,
                    ApiToken.revoked_at.is_(None),
                    (ApiToken.expires_at.is_(None)) | (ApiToken.expires_at > moment),
                )
                .order_by(ApiToken.created_at)
            )
        )
