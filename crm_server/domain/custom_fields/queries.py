"""What other domains read of custom fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.domain.custom_fields.definitions import definitions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def names_by_number(session: Session, entity: int) -> dict[int, str]:
    """The names of an entity's live custom fields that the actor may know of, by number."""
    actor = session.info["kontor.actor"]
    return {
        item.number: item.name
        for item in definitions(session, entity).values()
        if actor.field_level(item.policy.handling.access) != "hidden"
    }
