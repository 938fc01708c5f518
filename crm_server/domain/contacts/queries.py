"""The decision chain: who decides what an account or an opportunity is about, and who reports to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from crm_server.domain.contacts.models import Contact, ContactRole
from crm_server.kernel.db import actor_of
from crm_server.kernel.opening import read_rows
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
    roles = session.scalars(
        select(ContactRole)
        .join(Contact, Contact.id == ContactRole.contact_id)
        .where(place, Contact.deleted_at.is_(None))
    ).all()
    shown = presentation(datamap["contact"], actor_of(session))
    keep = [
        name for name in ("id", "name", "job_title", "email", "phone", "account_id") if name in shown.fields
    ]
    people = read_rows(
        session, datamap["contact"], (*keep, "reports_to_id"), {role.contact_id for role in roles}
    )
    superior: dict[UUID, UUID | None] = {key: row["reports_to_id"] for key, row in people.items()}
    links = [
        Link(
            role_id=role.id,
            role_version=role.version,
            role=role.role,
            influence=role.influence,
            is_primary=role.is_primary,
            note=role.note,
            contact=shown.masked({name: people[role.contact_id][name] for name in keep}),
            reports_to_id=superior[role.contact_id],
            level=_level(role.contact_id, superior),
        )
        for role in roles
        if role.contact_id in people
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
