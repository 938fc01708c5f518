"""What a session needs of the provider that vouched for it: kept sealed, so that either side can end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from sqlalchemy import select

from crm_server.domain.identity import seeds
from crm_server.domain.identity.sso_models import SsoSession

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """The other side of a session."""

    provider_id: UUID
    subject: str = field(repr=False)
    session: str | None = field(repr=False)
    id_token: str = field(repr=False)


class SsoSessions:
    """Keeps provider sessions: sealed beside a log-in that waits for its second step, then beside its session."""

    def seal(self, db: Session, user_id: UUID, one: ProviderSession) -> bytes:
        """Seal for the row of a log-in that waits for its second step."""
        return seeds.seal(db, user_id, msgspec.json.encode(one), seeds.SSO_TOKEN)

    def keep(self, db: Session, user_id: UUID, session_id: UUID, sealed: bytes) -> None:
        """Put what `seal` made beside the session that was begun."""
        one = msgspec.json.decode(seeds.unseal(db, user_id, sealed, seeds.SSO_TOKEN), type=ProviderSession)
        db.add(
            SsoSession(
                session_id=session_id,
                provider_id=one.provider_id,
                user_id=user_id,
                subject=one.subject,
                provider_session=one.session,
                id_token=sealed,
            )
        )
        db.flush()

    def of(self, db: Session, session_id: UUID) -> ProviderSession | None:
        """The provider's side of a session, if it began by single sign-on."""
        row = db.get(SsoSession, session_id)
        if row is None:
            return None
        return msgspec.json.decode(
            seeds.unseal(db, row.user_id, row.id_token, seeds.SSO_TOKEN), type=ProviderSession
        )

    def ended_by(
        self, db: Session, provider_id: UUID, subject: str | None, session: str | None
    ) -> list[tuple[UUID, UUID]]:
        """(session, user) of those that a provider's log-out means: one session, or all of a subject."""
        query = select(SsoSession.session_id, SsoSession.user_id).where(SsoSession.provider_id == provider_id)
        if session is not None:
            query = query.where(SsoSession.provider_session == session)
        if subject is not None:
            query = query.where(SsoSession.subject == subject)
        return [(key, user) for key, user in db.execute(query)]
