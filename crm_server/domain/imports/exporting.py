"""Lists on their way out, row by row, as far as the actor may see them.

Called by the export view and ``kontor export``. Rows come through the listing, so filters, field rules,
masks and the audit of what was read hold here as on the page (AUD-10); the export itself is an event as well.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from babel.numbers import get_currency_precision

from compliance.audit.events import Event
from compliance.datamap import DataMap, EntityDef, Semantic
from crm_server.importing.errors import _
from crm_server.importing.mapping import CUSTOM
from crm_server.importing.writers.csv_writer import write_csv
from crm_server.importing.writers.vcard_writer import write_vcards
from crm_server.importing.writers.xlsx_writer import write_xlsx
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing import ListQuery, fetch, includable
from crm_server.kernel.listing.scope import no_custom
from crm_server.kernel.presenter import presentation

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from compliance.datamap import FieldPolicy
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot
    from crm_server.kernel.listing import Page
    from crm_server.kernel.listing.scope import CustomColumn, CustomColumns

__all__ = ["FORMATS", "Export", "ExportFile"]

FORMATS = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    "vcard": ("text/vcard; charset=utf-8", "vcf"),
}
"""Format → (media type, ending). vCard is for people only."""

_PAGE = 200
_BLOCK = 64 << 10
_LEFT_OUT = frozenset({Semantic.BYTES, Semantic.JSON, Semantic.UUID_LIST})
_ALL_CUSTOM = "custom"
"""Name under which the listing gives all custom fields of a row."""
_TECHNICAL = frozenset({"version", "event_id", "deleted_at", "deleted_by", "subject_id", "import_id"})
Translate = Callable[[object], str]


@dataclass(frozen=True, slots=True)
class ExportFile:
    """What the view needs for its response."""

    media_type: str
    filename: str
    blocks: Iterator[bytes]


class Export:
    """One export. ``total`` is known when the file is made, ``count`` rises while its blocks are consumed."""

    def __init__(
        self,
        source: Hot | Session | Connection,
        datamap: DataMap,
        entity: EntityDef,
        query: ListQuery,
        actor: Actor,
        *,
        translate: Translate,
        custom: CustomColumns | None = None,
    ) -> None:
        self._source = source
        self._datamap = datamap
        self._entity = entity
        self._actor = actor
        self._translate = translate
        self._custom = custom or no_custom
        # Custom fields under their full name, as far as the actor may know of them.
        self._own: dict[str, CustomColumn] = {
            CUSTOM + name: item
            for name, item in ({} if custom is None else custom(entity)).items()
            if actor.field_level(item.policy.handling.access, f"{entity.name}.{CUSTOM}{name}") != "hidden"
        }
        self._names = self._columns(query)
        followed = set(includable(datamap, entity, actor))
        self._labelled = {name for name in self._names if name.removesuffix("_id") in followed}
        money = {self._currency(name) for name in self._names} - {None}
        fields = dict.fromkeys(
            (
                *(_ALL_CUSTOM if name in self._own else name for name in self._names),
                *sorted(filter(None, money)),
            )
        )
        self._query = replace(
            query,
            fields=tuple(fields),
            includes=tuple(name.removesuffix("_id") for name in self._names if name in self._labelled),
            limit=_PAGE,
            cursor=None,
            count="none",
        )
        self.count = 0
        self.total = 0
        self._first: Page | None = None

    def file(self, kind: str, today: dt.date) -> ExportFile:
        """The export as a file of the format. Raises BadQuery for a format that the records can't have."""
        if kind not in FORMATS or (kind == "vcard" and "family_name" not in self._entity.fields):
            raise BadQuery("format", _("Choose csv, xlsx or, for people, vcard."))
        media_type, ending = FORMATS[kind]
        # The first page is read before the answer begins, so that a wrong filter is an error and no broken
        # file.
        self._first = self._page(replace(self._query, count="exact"))
        self.total = (self._first.count or 0) + self._first.count_capped
        blocks = {"csv": self._csv, "xlsx": self._xlsx, "vcard": self._vcard}[kind]()
        return ExportFile(
            media_type, f"{self._entity.policy.collection}-{today.isoformat()}.{ending}", blocks
        )

    def event(self, kind: str, *, done: bool) -> Event:
        """The audit event of the export: before its first row, and again with the count when it is
        through.
        """
        meta: dict[str, Any] = {
            "entity": self._entity.name,
            "format": kind,
            "field_count": len(self._names),
        }
        if done:
            meta["rows"] = self.count
        action = "export_done" if done else "export"
        return Event("export", action, object_type=self._entity.number, meta=meta)

    def header(self) -> list[str]:
        """Names of the columns in the reader's language."""
        return [self._translate(self._policy(name).label) for name in self._names]

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows of the list as the listing gives them."""
        query = self._query
        page = self._first or self._page(query)
        while True:
            self.count += len(page.rows)
            yield from page.rows
            if page.next_cursor is None:
                return
            query = replace(query, cursor=page.next_cursor)
            page = self._page(query)

    def _page(self, query: ListQuery) -> Page:
        return fetch(self._source, self._datamap, self._entity, query, self._actor, custom=self._custom)

    def _csv(self) -> Iterator[bytes]:
        return write_csv(self.header(), (self._cells(row) for row in self.rows()))

    def _xlsx(self) -> Iterator[bytes]:
        # A workbook is a zip archive whose table of contents is written last, so it can't be streamed as it
        # grows.
        with tempfile.TemporaryFile() as file:
            title = self._translate(self._entity.policy.label_plural)
            write_xlsx(file, title, self.header(), (self._cells(row) for row in self.rows()))
            file.seek(0)
            while block := file.read(_BLOCK):
                yield block

    def _vcard(self) -> Iterator[bytes]:
        return write_vcards(self._person(row) for row in self.rows())

    def _columns(self, query: ListQuery) -> list[str]:
        shown = presentation(self._entity, self._actor)
        found: dict[str, None] = {}
        for name in query.fields or (*shown.fields, _ALL_CUSTOM):
            if name == _ALL_CUSTOM:
                found |= dict.fromkeys(self._own)
            elif name in self._own:
                found[name] = None
            elif name not in shown.fields:
                raise BadQuery("fields", _("There is no field ${name} here.", mapping={"name": name}))
            elif name not in _TECHNICAL and shown.fields[name].semantic not in _LEFT_OUT:
                found[name] = None
        return list(found)

    def _policy(self, name: str) -> FieldPolicy:
        own = self._own.get(name)
        return self._entity.fields[name].policy if own is None else own.policy

    def _currency(self, name: str) -> str | None:
        found = self._policy(name).currency_field
        return found if found in self._entity.fields else None

    def _cells(self, row: dict[str, Any]) -> list[object]:
        return [self._cell(name, row) for name in self._names]

    def _cell(self, name: str, row: dict[str, Any]) -> object:
        if name in self._labelled:
            short = name.removesuffix("_id")
            # A reference that is its own short name arrives beside its label (`created_by`, `created_by_label`).
            target = row.get(short if short != name else f"{name}_label")
            return target["name"] if target else None
        own = self._own.get(name)
        value = row.get(name) if own is None else row[_ALL_CUSTOM].get(own.name)
        policy = self._policy(name)
        if value is None or (isinstance(value, str) and policy.semantic is not Semantic.CHOICE):
            return _moment(value, policy.semantic)
        match policy.semantic:
            case Semantic.CHOICE:
                label = policy.choices.get(value)
                return self._translate(label) if label is not None else value
            case Semantic.MONEY:
                currency = row.get(self._currency(name) or "") or "EUR"
                return Decimal(value).scaleb(-get_currency_precision(currency))
            case _:
                return value

    def _person(self, row: dict[str, Any]) -> dict[str, object]:
        account = row.get("account")
        salutation = row.get("salutation")
        label = self._entity.fields["salutation"].policy.choices.get(salutation) if salutation else None
        return row | {
            "account": account["name"] if account else row.get("company"),
            "salutation": self._translate(label) if label is not None else None,
            "birth_date": _moment(row.get("birth_date"), Semantic.DATE),
            "updated_at": _moment(row.get("updated_at"), Semantic.DATETIME),
        }


def _moment(value: Any, semantic: Semantic) -> Any:
    """Dates and times as such, whether the listing gave them as text or not; masked ones stay as they are."""
    read = _READERS.get(semantic)
    if read is None or not isinstance(value, str):
        return value
    try:
        return read(value)
    except ValueError:
        return value


_READERS: dict[Semantic, Callable[[str], dt.date]] = {
    Semantic.DATE: dt.date.fromisoformat,
    Semantic.DATETIME: dt.datetime.fromisoformat,
}
