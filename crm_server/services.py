"""Which service keeps the records of which entity. API, pages, imports and commands all ask here.

A domain with rules of its own names its class; the rest is kept by the plain service.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from crm_server.kernel.records import RecordService
from crm_server.models import datamap

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# Filled by the domains' services modules below.
OWN: tuple[type[RecordService], ...] = ()


@cache
def service_class(entity: str) -> type[RecordService]:
    """The class that keeps records of an entity."""
    for found in OWN:
        if found.entity_name == entity:
            return found
    return type(f"{entity.title()}Service", (RecordService,), {"entity_name": entity})


def records(session: Session, entity: str) -> RecordService:
    """The service for records of `entity`, acting as the session's actor."""
    return service_class(entity)(session, datamap())
