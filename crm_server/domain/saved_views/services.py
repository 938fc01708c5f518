"""Saved views: private ones are everybody's own affair, shared ones need a permission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import or_, select

from compliance.datamap.text import _
from crm_server.domain.base import SettingService
from crm_server.domain.saved_views.models import SavedView
from crm_server.kernel.errors import NotAllowed, NotFound
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from uuid import UUID

    from crm_server.kernel.errors import Errors

KEYS = frozenset({"filter", "columns", "sort", "search", "layout"})
LARGEST = 16_384
"""Bytes of a definition as JSON."""


class SavedViewService(SettingService):
    """A named filter, set of columns and sort order of one list."""

    entity_name = "saved_view"

    def require(self, action: str) -> None:
        """Everybody who works with records may keep views; see `prepare` for shared ones."""
        if not self.actor.may(Permission.LOGGED_IN):
            raise NotAllowed(str(Permission.LOGGED_IN))

    def visible(self, entity: str) -> list[SavedView]:
        """The actor's own views of a list and those shared with everybody, by name."""
        self.require("read")
        return list(
            self.session.scalars(
                select(SavedView)
                .where(
                    SavedView.entity == entity,
                    SavedView.deleted_at.is_(None),
                    or_(SavedView.owner_id == self._author(), SavedView.shared),
                )
                .order_by(SavedView.shared, SavedView.name, SavedView.id)
            )
        )

    def get(self, record_id: UUID, *, deleted: bool = False) -> Any:
        """A view that the actor may see; private views of others do not exist for them."""
        view = super().get(record_id, deleted=deleted)
        if not view.shared and not self._owns(view):
            raise NotFound
        return view

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Check list and definition; sharing, and changing what is shared, need the permission for it."""
        shared = bool(self.later(values, record, "shared"))
        if (shared or (record is not None and record.shared)) and not self._may_share():
            raise NotAllowed(
                str(Permission.SHARED_VIEWS_MANAGE), _("You may not share views with everybody.")
            )
        if record is not None and values.get("entity", record.entity) != record.entity:
            errors.add("/entity", "fixed", _("A view stays with its list."))
        values.pop("owner_id", None)
        if record is None:
            values["owner_id"] = self._author()
            values.setdefault("definition", {})
        entity = self.datamap.entities.get(self.later(values, record, "entity") or "")
        if entity is None or not entity.exposed:
            errors.add("/entity", "unknown", _("There is no such list."))
        elif "definition" in values:
            self._check(values["definition"], entity.fields.keys(), errors)

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Remove a view of one's own, or a shared one with the permission."""
        view = self.get(record_id)
        if not self._owns(view) and not self._may_share():
            raise NotAllowed(str(Permission.SHARED_VIEWS_MANAGE))
        return super().delete(record_id, version=version)

    def _owns(self, view: SavedView) -> bool:
        # The system itself empties the bin.
        return self.actor.all_permissions or view.owner_id == self._author()

    def _may_share(self) -> bool:
        return self.actor.may(Permission.SHARED_VIEWS_MANAGE)

    @staticmethod
    def _check(definition: Any, fields: Any, errors: Errors) -> None:
        if not isinstance(definition, dict) or len(orjson.dumps(definition)) > LARGEST:
            errors.add("/definition", "type", _("An object of at most 16 KB is expected here."))
            return
        for key in definition.keys() - KEYS:
            errors.add(f"/definition/{key}", "unknown_field", _("There is no such field."))
        columns = definition.get("columns", [])
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            errors.add("/definition/columns", "type", _("A list of field names is expected here."))
            return
        for place, name in enumerate(columns):
            # Custom fields come and go; a column of one that is gone is left out when the list is shown.
            if name not in fields and not name.startswith("custom."):
                errors.add(f"/definition/columns/{place}", "unknown_field", _("There is no such field."))
