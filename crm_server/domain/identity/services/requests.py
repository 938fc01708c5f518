"""Log-ins and step-ups that wait for one answer: of a provider, or of a passkey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete

from crm_server.domain.identity.sso_models import LoginRequest
from crm_server.kernel.clock import now
from security.identity.sessions import digest_session_token

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session


def take_request(db: Session, token: str, provider_id: UUID | None) -> LoginRequest | None:
    """Take the waiting row away, so that one answer alone is judged; None for a replay or one that is too late.

    Args:
        token: What the browser kept in its cookie.
        provider_id: Whose answer it is; None for a passkey's.
    """
    digest = digest_session_token(token)
    if digest is None:
        return None
    query = (
        delete(LoginRequest)
        .where(
            LoginRequest.token_hash == digest,
            LoginRequest.provider_id.is_not_distinct_from(provider_id),
            LoginRequest.expires_at > now(),
        )
        .returning(LoginRequest)
    )
    found = db.scalars(query).one_or_none()
    if found is not None:
        db.expunge(found)
    return found
