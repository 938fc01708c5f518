"""From rows of a list to the cells of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.kernel.listing import SORTABLE
from crm_server.kernel.opening import ERASED, UNREADABLE
from crm_server.web.formats import as_phone
from crm_server.web.reading import given, short
from crm_server.web.ui import BADGE_FIELDS, NONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyramid.request import Request

    from compliance.datamap import EntityDef, FieldPolicy
    from compliance.datamap.text import Text
    from crm_server.web.ui import Ui

NUMBERS = frozenset({Semantic.MONEY, Semantic.INTEGER, Semantic.SMALL_INTEGER, Semantic.PERCENT})


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `sort` is the address that sorts by it, `sorted` how the list is sorted by it now, if it is."""

    name: str
    label: Text | str
    number: bool = False
    title: bool = False
    sort: str | None = None
    sorted: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one cell: text, perhaps a link, perhaps a choice that is shown as a badge."""

    text: str
    href: str | None = None
    badge: str | None = None
    external: bool = False


_EMPTY = Cell("")


def cell(ui: Ui, name: str, policy: FieldPolicy, row: dict[str, Any]) -> Cell:  # noqa: PLR0911 - a line a type of field
    """The cell of a field in a row of the listing layer."""
    value = row.get(name)
    if value is None or value == "":
        return _EMPTY
    if policy.semantic is Semantic.REFERENCE:
        embedded = row.get(short(name))
        if not isinstance(embedded, dict):
            return _EMPTY
        shown = title_text(ui, embedded, "name")
        if not shown:
            return _EMPTY
        return Cell(given(ui, policy.target, shown), ui.record_url(policy.target or "", embedded["id"]))
    text = ui.text_of(policy, value, row)
    if policy.semantic is Semantic.CHOICE and name in BADGE_FIELDS and value in policy.choices:
        return Cell(text, badge=str(value))
    if policy.semantic is Semantic.EMAIL and "*" not in text:
        return Cell(text, f"mailto:{text}")
    if policy.semantic is Semantic.PHONE and "*" not in text:
        return Cell(as_phone(text), f"tel:{text}")
    if policy.semantic is Semantic.URL:
        shown = text.removeprefix("https://").removeprefix("http://").rstrip("/")
        return Cell(shown, text, external=True)
    return Cell(text)


def title_text(ui: Ui, row: dict[str, Any], title: str) -> str:
    """What names a record; of somebody erased, or whose document doesn't open, that word stands there instead."""
    if row.get(title):
        return str(row[title])
    if row.get(ERASED):
        return ui.t(_("Erased"))
    return ui.t(_("Can't be opened")) if row.get(UNREADABLE) else ""


def title_cell(ui: Ui, entity: EntityDef, row: dict[str, Any], base: str | None = None) -> Cell:
    """The cell that names a record and leads to it."""
    text = title_text(ui, row, entity.policy.title) or NONE
    return Cell(text, base or ui.record_url(entity.name, row["id"]))


def columns(request: Request, entity: EntityDef, names: Iterable[str], sort: Any, link: Any) -> list[Column]:
    """The columns of a list.

    Args:
        request: The request.
        entity: What is listed.
        names: The fields, in order.
        sort: How the list is sorted (`Sort` or None).
        link: Gives the address of the list sorted by "name" or "-name".
    """
    from crm_server.web.reading import custom_columns, shown

    visible = shown(request, entity)
    custom = custom_columns(request)(entity)
    found = []
    for name in names:
        if name.startswith("custom."):
            known = custom.get(name.removeprefix("custom."))
            if known is not None:
                found.append(Column(name, known.policy.label, known.policy.semantic in NUMBERS))
            continue
        item = visible.fields.get(name)
        if item is None:
            continue
        now = None
        if sort is not None and sort.field == name:
            now = "descending" if sort.descending else "ascending"
        address = None
        if (
            link
            and name in visible.readable
            and item.semantic in SORTABLE
            and item.semantic is not Semantic.REFERENCE
        ):
            address = link(f"-{name}" if now == "ascending" else name)
        found.append(
            Column(
                name, item.policy.label, item.semantic in NUMBERS, name == entity.policy.title, address, now
            )
        )
    return found


def cells(
    ui: Ui, entity: EntityDef, shown: Iterable[Column], row: dict[str, Any], custom: Any = None
) -> list[Cell]:
    """The cells of a row, in the order of the columns."""
    found = []
    for column in shown:
        if column.title:
            found.append(title_cell(ui, entity, row))
        elif column.name.startswith("custom."):
            known = (custom or {})[column.name.removeprefix("custom.")]
            found.append(cell(ui, known.name, known.policy, row.get("custom") or {}))
        else:
            found.append(cell(ui, column.name, entity.fields[column.name].policy, row))
    return found
