"""Custom fields for lists and reads, which don't open a session: the definitions of this process, asked again after
two seconds.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from crm_server.domain.custom_fields.definitions import definitions
from crm_server.kernel.actor import system_actor
from crm_server.kernel.db import open_session
from crm_server.kernel.listing import CustomColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session, sessionmaker

    from compliance.datamap import DataMap, EntityDef

FRESH = 2.0
"""Seconds for which definitions are used without asking."""


class CustomDefinitions:
    """`listing.CustomColumns` over the table of custom fields."""

    def __init__(self, factory: sessionmaker[Session], datamap: DataMap) -> None:
        self._factory = factory
        self._datamap = datamap
        self._lock = threading.Lock()
        self._until = 0.0
        self._held: dict[str, Mapping[str, CustomColumn]] = {}

    def __call__(self, entity: EntityDef) -> Mapping[str, CustomColumn]:
        """The live custom fields of an entity by name, in order."""
        if time.monotonic() > self._until:
            self._refresh()
        return self._held.get(entity.name, {})

    def forget(self) -> None:
        """Ask at the next use."""
        self._until = 0.0

    def _refresh(self) -> None:
        # Whoever finds somebody else asking goes on with what is held.
        if not self._lock.acquire(blocking=not self._held):
            return
        try:
            if time.monotonic() <= self._until:
                return
            with open_session(self._factory, system_actor()) as session:
                self._held = {
                    entity.name: {
                        item.name: CustomColumn(item.id, item.name, item.policy, item.column)
                        for item in definitions(session, entity.number).values()
                    }
                    for entity in self._datamap.records()
                }
            self._until = time.monotonic() + FRESH
        finally:
            self._lock.release()
