"""Passkeys and security keys: enrolment, log-in alone or as second factor, step-up, removal (AUTH-14).

Challenges live in the row of the half log-in, or in one of their own, and serve one answer. The person is
always verified by the device, so a passkey alone is two factors: something one has, and a finger or a PIN.
A signature counter that doesn't advance is refused and told as an alarm: the key may have been copied.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from crm_server.domain.identity import events
from crm_server.domain.identity.factor_models import Passkey, PendingLogin, RecoveryCode
from crm_server.domain.identity.services import factor_policy
from crm_server.domain.identity.services.factors import CodeCheck
from crm_server.domain.identity.sso_models import LoginRequest
from crm_server.kernel.clock import now
from crm_server.kernel.errors import NotFound
from security.identity.sessions import new_session_token

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from security.identity.webauthn import RelyingParty

_ENROLMENT = "enrolment"
_LIFETIME = timedelta(minutes=5)


class PasskeyService:
    """Enrols, checks and removes passkeys."""

    def list(self, db: Session, user_id: UUID) -> list[Passkey]:
        """A user's passkeys, the oldest first."""
        return list(
            db.scalars(select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.created_at))
        )

    def begin_enrolment(
        self, db: Session, user_id: UUID, session_id: UUID, name: str, party: RelyingParty
    ) -> str:
        """Options for the browser, as JSON. The challenge belongs to this session."""
        from security.identity import webauthn  # a large library that few requests need

        known = [one.credential_id for one in self.list(db, user_id)]
        ceremony = webauthn.begin_registration(party, user_id.bytes, name, name, known)
        key = _enrolment_key(session_id)
        db.execute(delete(PendingLogin).where(PendingLogin.token_hash == key))
        db.add(
            PendingLogin(
                token_hash=key,
                user_id=user_id,
                auth_method=_ENROLMENT,
                challenge=ceremony.challenge,
                expires_at=now() + _LIFETIME,
            )
        )
        db.flush()
        return ceremony.options

    def finish_enrolment(
        self,
        db: Session,
        user_id: UUID,
        session_id: UUID,
        answer: dict[str, Any],
        name: str,
        party: RelyingParty,
    ) -> Passkey:
        """Keep the new passkey.

        Raises:
            NotFound: no enrolment waits for this answer.
            PasskeyRefusedError: the answer can't be verified.
        """
        from security.identity import webauthn  # a large library that few requests need

        challenge = db.scalar(
            delete(PendingLogin)
            .where(
                PendingLogin.token_hash == _enrolment_key(session_id),
                PendingLogin.user_id == user_id,
                PendingLogin.expires_at > now(),
            )
            .returning(PendingLogin.challenge)
        )
        if challenge is None:
            raise NotFound
        made = webauthn.finish_registration(party, answer, challenge)
        row = Passkey(
            user_id=user_id,
            name=(" ".join(name.split()) or "Passkey")[:100],
            credential_id=made.credential_id,
            public_key=made.public_key,
            sign_count=made.sign_count,
            backed_up=made.backed_up,
        )
        db.add(row)
        db.flush()
        events.record(db, events.account("factor_added", user_id, kind="passkey"))
        factor_policy.enrolled(db, user_id)
        return row

    def remove(self, db: Session, user_id: UUID, passkey_id: UUID) -> None:
        """Remove one of a user's passkeys. Raises NotFound."""
        gone = db.execute(delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id))
        if gone.rowcount != 1:  # type: ignore[attr-defined]
            raise NotFound
        factor_policy.check_enough_left(db, user_id)
        events.record(db, events.account("factor_removed", user_id, "by_owner", kind="passkey"))

    def forget_codes_without_factor(self, db: Session, user_id: UUID) -> None:
        """Recovery codes stand in for a factor; without one there is nothing to recover."""
        db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))

    def begin_login(self, db: Session, pending: PendingLogin, party: RelyingParty) -> str:
        """Options for the browser, as JSON; the challenge goes into the half log-in."""
        from security.identity import webauthn  # a large library that few requests need

        known = [one.credential_id for one in self.list(db, pending.user_id)]
        ceremony = webauthn.begin_authentication(party, known)
        pending.challenge = ceremony.challenge
        db.flush()
        return ceremony.options

    def use(
        self, db: Session, pending: PendingLogin, answer: dict[str, Any], party: RelyingParty
    ) -> CodeCheck:
        """Check the answer of a passkey, once."""
        from security.identity import webauthn  # a large library that few requests need

        challenge = pending.challenge
        taken = db.execute(
            update(PendingLogin)
            .where(PendingLogin.token_hash == pending.token_hash, PendingLogin.challenge == challenge)
            .values(challenge=None)
            .execution_options(synchronize_session=False)
        )
        if challenge is None or taken.rowcount != 1:  # type: ignore[attr-defined]
            return CodeCheck(reason="challenge_used_before")
        rows = self.list(db, pending.user_id)
        row = next((one for one in rows if webauthn.encode_id(one.credential_id) == answer.get("id")), None)
        return self._check(db, row, answer, challenge, party)

    def begin_alone(
        self,
        db: Session,
        party: RelyingParty,
        wanted: str,
        *,
        session_id: UUID | None = None,
        owner: UUID | None = None,
    ) -> tuple[str, str]:
        """Begin a log-in without a name, or with `session_id` the step-up of a session by its `owner`.

        Returns:
            Options for the browser as JSON, and the token that it brings back in a cookie.
        """
        from security.identity import webauthn  # a large library that few requests need

        known = [] if owner is None else [one.credential_id for one in self.list(db, owner)]
        ceremony = webauthn.begin_authentication(party, known)
        token = new_session_token()
        db.add(
            LoginRequest(
                token_hash=token.digest,
                challenge=ceremony.challenge,
                wanted=wanted,
                session_id=session_id,
                expires_at=now() + _LIFETIME,
            )
        )
        db.flush()
        return ceremony.options, token.text

    def use_alone(
        self, db: Session, request: LoginRequest, answer: dict[str, Any], party: RelyingParty
    ) -> tuple[UUID | None, CodeCheck]:
        """Check the answer to `begin_alone`; returns whose passkey it is, as far as that is known."""
        from security.identity import webauthn  # a large library that few requests need

        identifier = webauthn.decode_id(answer.get("id"))
        query = select(Passkey).where(Passkey.credential_id == identifier)
        row = db.scalars(query).one_or_none() if identifier else None
        if row is not None and webauthn.user_handle(answer) not in (None, row.user_id.bytes):
            return row.user_id, CodeCheck(reason="passkey_of_somebody_else")
        check = self._check(db, row, answer, request.challenge, party)
        return (row.user_id if row is not None else None), check

    def _check(
        self,
        db: Session,
        row: Passkey | None,
        answer: dict[str, Any],
        challenge: bytes,
        party: RelyingParty,
    ) -> CodeCheck:
        from security.identity import webauthn  # a large library that few requests need

        if row is None:
            return CodeCheck(reason="unknown_passkey")
        stored = webauthn.Passkey(row.credential_id, row.public_key, row.sign_count)
        try:
            used = webauthn.finish_authentication(party, answer, challenge, stored)
        except webauthn.PasskeyRefusedError as refused:
            return CodeCheck(reason=f"passkey_{refused.reason}"[:200])
        if used.counter_regressed:
            events.record(db, events.cloned_passkey(row.id, row.user_id, row.sign_count, used.sign_count))
            return CodeCheck(reason="passkey_counter_regressed")
        row.sign_count, row.last_used_at = used.sign_count, now()
        db.flush()
        return CodeCheck(method="passkey")


def _enrolment_key(session_id: UUID) -> bytes:
    return hashlib.sha256(b"passkey enrolment" + session_id.bytes).digest()
