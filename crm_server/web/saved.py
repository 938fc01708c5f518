"""Saved views and tags as lists use them, over the services of their domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.request import Request

    from compliance.datamap import EntityDef


def menu(request: Request, entity: EntityDef, state: Any) -> list[Any]:
    """The saved views of a list that the person may use."""
    return []


def tag(request: Request, entity: EntityDef, record_id: UUID, tag_id: str) -> None:
    """Put a tag on a record."""
