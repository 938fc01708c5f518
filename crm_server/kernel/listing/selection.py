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
from crm_server.kernel.listing.statement import Label, label
from crm_server.kernel.listing.where import unknown_field
from crm_server.kernel.presenter import Presentation, mask_kind, presentation
from security.access.masks import MaskKind, mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.actor import Actor

_MOST_KEPT = 2000
_kept: dict[Any, Selection] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What the rows of an answer consist of. Equal selections are one object, so that texts can be kept by it."""

    shown: Presentation
    names: tuple[str, ...]
    labels: tuple[Label, ...]
    custom: tuple[CustomColumn, ...]
    custom_masks: tuple[tuple[str, MaskKind], ...]

    def row(self, values: Sequence[Any]) -> dict[str, Any]:
        """A row of the result as a dict, masked."""
        row = dict(zip(self.names, values, strict=False))
        if self.shown.masks:
            self.shown.masked(row)
        if self.labels or self.custom:
            offset = len(self.names)
            for item in self.labels:
                row[item.name] = item.show(values[offset])
                offset += 1
            if self.custom:
                given = values[offset] or {}
                found = {item.name: given.get(item.name) for item in self.custom}
                for name, kind in self.custom_masks:
                    found[name] = mask(found[name], kind)
                row[CUSTOM] = found
        return row

    def columns(self, entity: EntityDef, *more: str) -> str:
        """The columns that the page carries: those shown, those that labels need, and those that the event needs."""
        wanted = [*self.names, *more, *(item.field.name for item in self.labels)]
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
    key = (shown, fields, labels, tuple((one.field_id, one.name, one.column) for one in columns), masks)
    found = _kept.get(key)
    if found is None:
        if len(_kept) > _MOST_KEPT:
            _kept.clear()
        names = tuple(shown.fields) if fields is None else _names(shown, fields)
        found = _kept[key] = Selection(shown, names, labels, columns, masks)
    return found


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
