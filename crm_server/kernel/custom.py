"""What the kernel needs to know of custom fields; the domain `custom_fields` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from compliance.datamap import EntityDef
    from crm_server.kernel.errors import Errors


class CustomFields(Protocol):
    """Custom fields of records, with the same rules as fields in code."""

    def clean(
        self, entity: EntityDef, given: Mapping[str, Any], errors: Errors, *, partial: bool
    ) -> dict[str, Any]:
        """Decode values by name; note problems at "/custom/<name>"."""

    def save(self, entity: EntityDef, record: Any, values: Mapping[str, Any]) -> bool:
        """Note decoded values for the next flush, with their audit; True when something changed."""

    def load(self, entity: EntityDef, record_ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        """Values by record and name."""
