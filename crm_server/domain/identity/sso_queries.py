"""What the pages and commands read of single sign-on providers and of SCIM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from crm_server.domain.identity.sso_models import ScimGroup, ScimMember, ScimToken, ScimUser, SsoProvider
from crm_server.kernel.clock import now
from crm_server.kernel.errors import NotFound

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session


def providers(db: Session) -> list[SsoProvider]:
    """All providers by name."""
    return list(db.scalars(select(SsoProvider).order_by(func.lower(SsoProvider.name))))


def provider(db: Session, key: UUID) -> SsoProvider:
    """One provider. Raises NotFound."""
    found = db.get(SsoProvider, key)
    if found is None:
        raise NotFound
    return found


def provider_named(db: Session, name: str) -> SsoProvider:
    """One provider by name. Raises NotFound."""
    found = db.scalars(select(SsoProvider).where(SsoProvider.name == name)).one_or_none()
    if found is None:
        raise NotFound
    return found


def tokens(db: Session, provider_id: UUID) -> list[ScimToken]:
    """The SCIM tokens of a provider that still work."""
    query = select(ScimToken).where(
        ScimToken.provider_id == provider_id, ScimToken.revoked_at.is_(None), ScimToken.expires_at > now()
    )
    return list(db.scalars(query.order_by(ScimToken.created_at)))


def groups(db: Session, provider_id: UUID) -> list[tuple[ScimGroup, int]]:
    """The groups that SCIM brought, each with the number of its members."""
    members = select(func.count()).where(ScimMember.group_id == ScimGroup.id).scalar_subquery()
    query = select(ScimGroup, members).where(ScimGroup.provider_id == provider_id)
    return [(one, count) for one, count in db.execute(query.order_by(func.lower(ScimGroup.display_name)))]


def provisioned(db: Session, provider_id: UUID) -> int:
    """How many accounts SCIM keeps for a provider."""
    return db.scalar(select(func.count()).where(ScimUser.provider_id == provider_id)) or 0
