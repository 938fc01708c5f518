"""The decision chain: who decides what an account or an opportunity is about, and who reports to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from crm_server.domain.contacts.models import Contact, ContactRole
from crm_server.kernel.db import actor_of
from crm_server.kernel.presenter import presentation

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap


@dataclass(frozen=True, slots=True)
class Link:
    """One person of a decision chain. `contact` holds what the actor may see; `level` 0 stands at the top."""

    role_id: UUID
    role_version: int
    role: str
    influence: int | None
    is_primary: bool
    note: str | None
    contact: dict[str, Any]
    reports_to_id: UUID | None
    level: int


def decision_chain(
    session: Session, datamap: DataMap, *, account_id: UUID | None = None, opportunity_id: UUID | None = None
) -> list[Link]:
    """The roles on an account or an opportunity, superiors before those who report to them, influence first.

    Somebody whose superior has no role here stands at the top.
    """
    place = (
        ContactRole.account_id == account_id
        if account_id is not None
        else ContactRole.opportunity_id == opportunity_id
    )
    rows = session.execute(
        select(ContactRole, Contact)
        .join(Contact, Contact.id == ContactRole.contact_id)
        .where(place, Contact.deleted_at.is_(None))
    ).all()
    shown = presentation(datamap["contact"], actor_of(session))
    keep = [
        name for name in ("id", "name", "job_title", "email", "phone", "account_id") if name in shown.fields
    ]
    superior = {contact.id: contact.reports_to_id for _role, contact in rows}
    links = [
        Link(
            role_id=role.id,
            role_version=role.version,
            role=role.role,
            influence=role.influence,
            is_primary=role.is_primary,
            note=role.note,
            contact=shown.masked({name: getattr(contact, name) for name in keep}),
            reports_to_id=contact.reports_to_id,
            level=_level(contact.id, superior),
        )
        for role, contact in rows
    ]
    return sorted(
        links, key=lambda link: (link.level, not link.is_primary, -(link.influence or 0), link.role_id)
    )


def _level(contact_id: UUID, superior: dict[UUID, UUID | None]) -> int:
    level, seen = 0, {contact_id}
    above = superior.get(contact_id)
    while above in superior and above not in seen:
        seen.add(above)
        level += 1
        above = superior[above]
    return level
