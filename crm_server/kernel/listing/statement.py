"""Writes the statement of a list or a single read: one round trip that reads, labels and counts.

The text depends on the shape of the query alone, so a list that is asked for often is a prepared statement.
"""

# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from compliance.datamap import Semantic
from crm_server.kernel.listing.query import COUNT_CAP
from crm_server.kernel.listing.scope import sql_name, table_name
from crm_server.kernel.opening import WantedFields, fill, written
from crm_server.kernel.presenter import Presentation, mask_kind, presentation
from security.access.masks import MaskKind, mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compliance.datamap import DocumentDef, EntityDef, FieldDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.listing.scope import CustomColumn
    from crm_server.kernel.opening import Opener

SORT_VALUE = "sort_value"
TOTAL = "total_count"
_ID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Label:
    """A reference to embed: the field, where it leads, and how its title is masked ("hidden", a mask, or None)."""

    name: str
    field: FieldDef
    target: EntityDef
    masked: MaskKind | str | None

    @property
    def document(self) -> DocumentDef | None:
        """The document that the title lies in, if it is sealed and shown."""
        title = self.target.fields[self.target.policy.title]
        if self.masked == "hidden" or not title.sealed:
            return None
        return self.target.documents[title.policy.handling.key_class]

    def show(self, values: Sequence[Any], opener: Opener | None) -> list[Any]:
        """The embedded values of a page for a client, and the documents of sealed titles opened."""
        found = list(values)
        if self.document is not None and opener is not None:
            found = self._opened(self.document, values, opener)
        if isinstance(self.masked, MaskKind):
            for value in found:
                if value is not None:
                    value["name"] = mask(value["name"], self.masked)
        return found

    def _opened(
        self, document: DocumentDef, values: Sequence[str | None], opener: Opener
    ) -> list[dict[str, Any] | None]:
        """Sealed titles come as text: the id of the record, and behind it its written document if it has one."""
        title = WantedFields(document, ((self.target.fields[self.target.policy.title].number, "name"),))
        texts = [(value or "")[_ID_LENGTH:] or None for value in values]
        found: list[dict[str, Any] | None] = []
        for value, fields in zip(values, opener.open_all(self.target, document, texts), strict=True):
            row = None if value is None else {"id": value[:_ID_LENGTH], "name": None}
            if row is not None:
                fill(row, title, fields)
            found.append(row)
        return found


def label(name: str, item: FieldDef, target: EntityDef, actor: Actor) -> Label:
    """What embedding a reference shows to an actor."""
    shown = presentation(target, actor)
    title = target.policy.title
    masked: MaskKind | str | None = "hidden"
    if title in shown.fields:
        masked = shown.masks.get(title)
    return Label(name, item, target, masked)


def output(
    shown: Presentation,
    names: Sequence[str],
    documents: Sequence[str],
    labels: Sequence[Label],
    custom: Sequence[CustomColumn],
) -> str:
    """The select list over the page: ids as text, written documents, embedded labels, custom fields. A reference to a
    record that the actor may not see has no label: the policy of its table hides it.
    """
    columns = [*(_output_column(shown.fields[name]) for name in names), *documents]
    for item in labels:
        found = f"x.id = page.{sql_name(item.field.name)}"
        columns.append(f"(select {_label_value(item)} from {table_name(item.target)} x where {found})")
    if custom:
        columns.append(custom_column(custom))
    return ", ".join(columns)


def _label_value(item: Label) -> str:
    """What a label needs of the record that it leads to: its id and title, or its id and the written document."""
    if item.document is not None:
        return f"x.id::text || coalesce({written(item.target, item.document, 'x')}, '')"
    title = "null" if item.masked == "hidden" else f"x.{sql_name(item.target.policy.title)}::text"
    return f"jsonb_build_object('id', x.id, 'name', {title})"


def _output_column(item: FieldDef) -> str:
    column = f"page.{sql_name(item.name)}"
    kind = item.stored.type
    if isinstance(kind, Uuid):
        return f"{column}::text"
    return f"{column}::text[]" if isinstance(kind, ARRAY) and item.semantic is Semantic.UUID_LIST else column


def custom_column(custom: Sequence[CustomColumn]) -> str:
    """All wanted custom fields of a row as one object, by name."""
    cases = " ".join(
        f"when '{item.field_id}'::uuid then to_jsonb(v.{sql_name(item.column)})" for item in custom
    )
    names = " ".join(f"when '{item.field_id}'::uuid then '{item.name}'" for item in custom)
    keys = ", ".join(f"'{item.field_id}'::uuid" for item in custom)
    return (
        f"(select jsonb_object_agg(case v.field_id {names} end, case v.field_id {cases} end) "
        f'from "crm"."custom_value" v where v.record_id = page.id and v.field_id in ({keys}))'
    )


def count_column(table: str, where: str) -> str:
    """The number of matches, counted up to one more than the cap."""
    return (
        f"(select count(*) from (select 1 from {table} t where {where} limit {COUNT_CAP + 1}) c) as {TOTAL}"
    )


__all__ = ["Label", "count_column", "label", "mask_kind", "output"]
