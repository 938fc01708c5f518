"""What the rows of an answer consist of: fields, labels of references, custom fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crm_server.kernel.listing.scope import (
    CUSTOM,
    CustomColumn,
    CustomColumns,
    may_follow,
    reference,
    sql_name,
)
from crm_server.kernel.listing.statement import Label, label, output
from crm_server.kernel.listing.where import unknown_field
from crm_server.kernel.opening import (
    Opener,
    Wanted,
    document_columns,
    fill,
    wanted_documents,
    written,
)
from crm_server.kernel.presenter import Presentation, mask_kind, presentation
from security.access.masks import MaskKind, mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compliance.datamap import DataMap, EntityDef, KeyClass
    from crm_server.kernel.actor import Actor

_MOST_KEPT = 2000
_kept: dict[Any, Selection] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What the rows of an answer consist of. Equal selections are one object, so that texts can be kept by it."""

    entity: EntityDef
    shown: Presentation
    names: tuple[str, ...]
    labels: tuple[Label, ...]
    custom: tuple[CustomColumn, ...]
    custom_masks: tuple[tuple[str, MaskKind], ...]
    sealed: Wanted

    @property
    def seals(self) -> bool:
        """Whether an answer holds anything that must be opened."""
        return bool(self.sealed) or any(item.document is not None for item in self.labels)

    @property
    def plain(self) -> tuple[str, ...]:
        """The fields that columns of the statement give; sealed ones come from documents."""
        return tuple(name for name in self.names if not self.entity.fields[name].sealed)

    def read(self, rows: Sequence[Sequence[Any]], opener: Opener | None) -> list[dict[str, Any]]:
        """Rows of the result as dicts: documents opened, values masked. The order of fields is that of declaration.

        Args:
            opener: Needed where the selection `seals`.
        """
        plain, empty = self.plain, dict.fromkeys(self.names)
        first = len(plain) + len(self.sealed)
        found = []
        for values in rows:
            row = empty.copy()
            row.update(zip(plain, values, strict=False))
            found.append(row)
        if opener is not None:
            for place, one in enumerate(self.sealed, len(plain)):
                texts = [values[place] for values in rows]
                opened = opener.open_all(self.entity, one.document, texts)
                for row, fields in zip(found, opened, strict=True):
                    fill(row, one, fields)
        for place, item in enumerate(self.labels, first):
            shown = item.show([values[place] for values in rows], opener)
            for row, value in zip(found, shown, strict=True):
                row[item.name] = value
        if self.custom:
            place = first + len(self.labels)
            for row, values in zip(found, rows, strict=True):
                self._customise(row, values[place] if self.stored_custom else None)
        if self.shown.masks:
            for row in found:
                self.shown.masked(row)
        return found

    def _customise(self, row: dict[str, Any], stored: Any) -> None:
        """Gather custom fields under their name: those of documents lie in the row already."""
        given = stored or {}
        found = {
            item.name: row.pop(_in_document(item), None) if item.sealed else given.get(item.name)
            for item in self.custom
        }
        for name, kind in self.custom_masks:
            found[name] = mask(found[name], kind)
        row[CUSTOM] = found

    @property
    def stored_custom(self) -> tuple[CustomColumn, ...]:
        """The custom fields that are rows of crm.custom_value."""
        return tuple(item for item in self.custom if not item.sealed)

    def outputs(self) -> str:
        """The select list over the expression "page", as `read` reads it."""
        documents = [written(self.entity, one.document, "page") for one in self.sealed]
        return output(self.shown, self.plain, documents, self.labels, self.stored_custom)

    def columns(self, entity: EntityDef, *more: str) -> str:
        """The columns that the page carries: those shown, those that labels need, and those that the event needs."""
        wanted = [*self.plain, *more, *(item.field.name for item in self.labels)]
        wanted += document_columns(entity, [one.document for one in self.sealed])
        subject = entity.policy.subject
        if subject is not None and subject in entity.fields:
            wanted.append(subject)
        return ", ".join(f"t.{sql_name(name)}" for name in dict.fromkeys(wanted))


def select_fields(
    datamap: DataMap,
    entity: EntityDef,
    fields: tuple[str, ...] | None,
    includes: tuple[str, ...],
    actor: Actor,
    custom: CustomColumns,
) -> Selection:
    """Work out which fields and labels an answer has.

    Raises:
        BadQuery: an unknown field or reference.
    """
    shown = presentation(entity, actor)
    labels = tuple(_labels(datamap, entity, includes, actor)) if includes else ()
    columns: tuple[CustomColumn, ...] = ()
    masks: tuple[tuple[str, MaskKind], ...] = ()
    if fields is None or CUSTOM in fields:
        levels = [
            (one, actor.field_level(one.policy.handling.access, f"{entity.name}.custom.{one.name}"))
            for one in custom(entity).values()
        ]
        columns = tuple(one for one, level in levels if level != "hidden")
        masks = tuple((one.name, mask_kind(one)) for one, level in levels if level == "masked")
    key = (
        entity,
        shown,
        fields,
        labels,
        tuple((one.field_id, one.name, one.column) for one in columns),
        masks,
    )
    found = _kept.get(key)
    if found is None:
        if len(_kept) > _MOST_KEPT:
            _kept.clear()
        names = tuple(shown.fields) if fields is None else _names(shown, fields)
        found = _kept[key] = Selection(
            entity, shown, names, labels, columns, masks, _sealed(entity, names, columns)
        )
    return found


def _sealed(entity: EntityDef, names: Sequence[str], custom: Sequence[CustomColumn]) -> Wanted:
    """The documents that the sealed fields of an answer need, custom ones among them."""
    more: dict[KeyClass, list[tuple[int, str]]] = {}
    for item in custom:
        if item.sealed:
            fields = more.setdefault(item.policy.handling.key_class, [])
            fields.append((item.policy.number, _in_document(item)))
    return wanted_documents(entity, names, more)


def _in_document(item: CustomColumn) -> str:
    """Where the value of a sealed custom field lies in a row until it is gathered with the others."""
    return f"custom.{item.name}"


def _names(shown: Presentation, fields: tuple[str, ...]) -> tuple[str, ...]:
    for name in fields:
        if name not in shown.fields and name != CUSTOM:
            raise unknown_field("fields", name)
    wanted = {"id", "version", *fields}
    return tuple(name for name in shown.fields if name in wanted)


def _labels(datamap: DataMap, entity: EntityDef, includes: tuple[str, ...], actor: Actor) -> list[Label]:
    found = []
    for name in dict.fromkeys(includes):
        item = reference(entity, name)
        target = None if item is None else may_follow(datamap, entity, item, actor)
        if item is None or target is None:
            raise unknown_field("include", name)
        # A reference that has no short name keeps its id beside the label.
        found.append(label(f"{name}_label" if name == item.name else name, item, target, actor))
    return found
