"""What the services of all domains share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from compliance.datamap.text import _
from crm_server.kernel.errors import Conflict, NotFound
from crm_server.kernel.records import RecordService
from crm_server.kernel.rowrules import RowAction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from compliance.datamap.text import Text
    from crm_server.kernel.errors import Errors

S = TypeVar("S", bound=RecordService)

OTHER_RECORDS: Text = _("Other records still refer to this one.")


class DomainService(RecordService):
    """A record service with the few helpers that rules of several domains need."""

    def other(self, service: type[S]) -> S:
        """The service of another domain in the same transaction and as the same actor."""
        return service(self.session, self.datamap, self.custom, country=self.country)

    def lock(self, record_id: UUID, *, version: int | None = None) -> Any:
        """The record, locked until the transaction ends, so that two acts on it follow each other.

        Args:
            record_id: Its key.
            version: What the client had read, if it said so.

        Raises:
            NotFound: no such record, or it lies in the bin.
            LostUpdate: it has another version.
        """
        self.reach(self.get(record_id), RowAction.UPDATE)
        record = self.session.get(self.entity.model, record_id, with_for_update=True, populate_existing=True)
        if record is None or getattr(record, "deleted_at", None) is not None:
            raise NotFound
        if version is not None and record.version != version:
            raise self._lost_update(record, {}, version)
        return record

    @staticmethod
    def later(values: Mapping[str, Any], record: Any | None, name: str) -> Any:
        """The value that a field will have: the new one if it is given, else the stored one."""
        if name in values or record is None:
            return values.get(name)
        return getattr(record, name)


class SettingService(DomainService):
    """A service of records that are settings and no business data: field rules of roles do not apply to them."""

    def clean(self, raw: Mapping[str, Any], errors: Errors, *, partial: bool) -> dict[str, Any]:
        """As for any record, with every field writable for whoever may change such records at all."""
        narrow = self.actor
        self.actor = replace(narrow, fields={"general": "write"})
        try:
            return super().clean(raw, errors, partial=partial)
        finally:
            self.actor = narrow


__all__ = ["OTHER_RECORDS", "Conflict", "DomainService", "SettingService"]
