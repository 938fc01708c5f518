"""From a stored row to what an actor may see of it: hidden fields are left out, masked ones masked.

Lists and single reads select only what a `Presentation` names; answers to changes use `present_record`. API, pages and
exports all end here, so a field rule holds in each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from compliance.datamap import Access, EntityKind, Privacy, Semantic
from compliance.datamap.documents import erased
from security.access.masks import MaskKind, mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compliance.datamap import EntityDef, FieldDef, FieldPolicy
    from crm_server.kernel.actor import Actor

ALWAYS = frozenset({"id", "version"})
"""What is shown of a record to everybody who may read it at all."""
_NEVER = frozenset({Access.SYSTEM, Access.SECRET})
_GROUPS = tuple(group for group in Access if group not in _NEVER)
_UNSHOWN = frozenset({Semantic.BYTES})


@dataclass(frozen=True, slots=True, eq=False)
class Presentation:
    """What an actor sees of an entity.

    Attributes:
        fields: Visible fields by name, in order of declaration; masked ones among them.
        masks: How each masked field is masked.
        readable: Names of the fields seen in clear; only these may be filtered and sorted.
        writable: Names of the fields that the actor may set.
    """

    entity: EntityDef
    fields: Mapping[str, FieldDef]
    masks: Mapping[str, MaskKind]
    readable: frozenset[str]
    writable: frozenset[str]

    def masked(self, row: dict[str, Any]) -> dict[str, Any]:
        """Mask a row in place and return it."""
        for name, kind in self.masks.items():
            if name in row:
                row[name] = mask(row[name], kind)
        return row


_KNOWN: dict[tuple[Any, ...], Presentation] = {}


def presentation(entity: EntityDef, actor: Actor) -> Presentation:
    """What `actor` sees of `entity`; kept, because there are few combinations of levels."""
    everywhere = actor if actor.only is None else replace(actor, only=None)
    levels = tuple(everywhere.field_level(group) for group in _GROUPS)
    key = (entity, levels, actor.only)
    found = _KNOWN.get(key)
    if found is None:
        if len(_KNOWN) > 1000:
            _KNOWN.clear()
        found = _KNOWN[key] = _present(entity, dict(zip(_GROUPS, levels, strict=True)), actor.only)
    return found


def _present(
    entity: EntityDef, levels: Mapping[Access, str], only: frozenset[str] | None = None
) -> Presentation:
    fields: dict[str, FieldDef] = {}
    masks: dict[str, MaskKind] = {}
    writable: set[str] = set()
    for name, item in sorted(entity.fields.items(), key=lambda pair: pair[0] not in ALWAYS):
        access = item.policy.handling.access
        level = "read" if name in ALWAYS else levels.get(access, "hidden")
        if only is not None and name not in ALWAYS and f"{entity.name}.{name}" not in only:
            continue
        if level == "hidden" or access in _NEVER or item.semantic in _UNSHOWN:
            continue
        # Staff, teams and territories are shown by name where records refer to them, and no further.
        if entity.policy.kind is EntityKind.TECHNICAL and name not in {"id", entity.policy.title}:
            continue
        fields[name] = item
        if level == "masked":
            # Only personal values are worth a mask; other kinds of values would be hidden whole.
            masks[name] = mask_kind(item)
        if level == "write" and item.writable:
            writable.add(name)
    return Presentation(entity, fields, masks, frozenset(fields) - frozenset(masks), frozenset(writable))


class Maskable(Protocol):
    """A field of the code or a custom field."""

    @property
    def semantic(self) -> Semantic:
        """What it means."""

    @property
    def policy(self) -> FieldPolicy:
        """Its declaration."""


def mask_kind(item: Maskable) -> MaskKind:
    """How a field is masked, by what it means."""
    by_semantic = {
        Semantic.EMAIL: MaskKind.EMAIL,
        Semantic.PHONE: MaskKind.PHONE,
        Semantic.DATE: MaskKind.DATE,
        Semantic.DATETIME: MaskKind.DATE,
    }
    found = by_semantic.get(item.semantic)
    if (
        found is None
        and item.semantic is Semantic.TEXT
        and item.policy.handling.privacy is Privacy.IDENTIFIER
    ):
        return MaskKind.NAME
    return found or MaskKind.FULL


def present_record(entity: EntityDef, record: Any, actor: Actor) -> dict[str, Any]:
    """What the actor may see of a loaded object, as a dict that orjson can write."""
    shown = presentation(entity, actor)
    row = shown.masked({name: getattr(record, name) for name in shown.fields})
    if erased(record):
        row["erased"] = True
    return row
