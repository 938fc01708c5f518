"""What a record shows beside its fields: timeline, tags, files, roles, lines, comments, stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef


def parts_of(request: Request, entity: EntityDef, row: dict[str, Any]) -> dict[str, Any]:
    """The parts of a record's page by name; a kind of record has those that make sense for it."""
    return {}
