"""Saved views and tags as lists use them, over the services of their domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.domain.saved_views.services import SavedViewService
from crm_server.domain.tags.services import TagService
from crm_server.web import filters
from crm_server.web.acting import service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyramid.request import Request

    from compliance.datamap import EntityDef
    from compliance.datamap.text import Text

_LISTS = frozenset({"in", "not_in", "between"})
_NUMBERS = frozenset({Semantic.MONEY, Semantic.INTEGER, Semantic.SMALL_INTEGER, Semantic.PERCENT})


@dataclass(frozen=True, slots=True)
class Tab:
    """A view in the row of tabs above a list; the first one is the whole list and has no key."""

    id: str | None
    name: Text | str
    href: str
    current: bool
    shared: bool = False
    own: bool = False


def menu(request: Request, entity: EntityDef, state: Any) -> list[Tab]:
    """The views of a list that the person may use; nothing when there are none."""
    views = service(request, SavedViewService).visible(entity.name)
    if not views:
        return []
    chosen = state.get("view")
    tabs = [Tab(None, _("All"), state.path, chosen is None)]
    for view in views:
        key = str(view.id)
        address = f"{state.path}?{urlencode([*address_of(view.definition or {}), ('view', key)])}"
        own = view.owner_id == request.actor.id
        tabs.append(Tab(key, view.name, address, chosen == key, view.shared, own))
    return tabs


def address_of(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parameters of the address of a saved view."""
    found: list[tuple[str, str]] = []
    node = definition.get("filter") or {}
    for one in node.get("and", [node] if "field" in node else []):
        if "field" not in one:
            continue
        value = one.get("value")
        found.append((f"filter[{one['field']}][{one.get('op', 'eq')}]", _word(value)))
    if definition.get("search"):
        found.append(("q", str(definition["search"])))
    if definition.get("sort"):
        found.append(("sort", str(definition["sort"])))
    if definition.get("columns"):
        found.append(("columns", ",".join(definition["columns"])))
    return found


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_word(item) for item in value)
    return "" if value is None else str(value)


def definition_of(request: Request, entity: EntityDef, state: Any) -> dict[str, Any]:
    """What a list shows now, as a definition to keep: typed values, as the API takes them."""
    known = {one.name: one for one in filters.filterable(request, entity)}
    conditions = [
        {"field": field, "op": operator, "value": _typed(known[field].policy, operator, value)}
        for _place, field, operator, value in state.conditions()
        if field in known
    ]
    found: dict[str, Any] = {}
    if conditions:
        found["filter"] = {"and": conditions}
    for name, key in (("q", "search"), ("sort", "sort")):
        if state.get(name):
            found[key] = state.get(name)
    if state.get("columns"):
        found["columns"] = state.get("columns").split(",")
    return found


def _typed(policy: Any, operator: str, value: str) -> Any:
    if operator == "is_null":
        return value == "true"
    if operator in _LISTS:
        return [_typed(policy, "eq", part) for part in value.split(",")]
    if policy.semantic is Semantic.BOOLEAN:
        return value == "true"
    if policy.semantic in _NUMBERS and value.lstrip("-").isdigit():
        return int(value)
    return value


def tag(request: Request, entity: EntityDef, record_id: UUID, tag_id: str) -> None:
    """Put a tag on a record."""
    service(request, TagService).add((entity.name, record_id), tag_id=UUID(tag_id))
