"""The mapping as a form: what it offers, and what comes back.

One row a column of the file, with the field that it feeds; below, values for all rows, and how duplicates
are treated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compliance.datamap import EntityDef, Semantic
from compliance.datamap.text import _
from crm_server.domain.imports.views.common import text_of
from crm_server.importing.mapping import FULL_NAME, Feed, ImportMapping
from crm_server.importing.values.convert import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webob.multidict import MultiDict

    from crm_server.domain.imports.queries import ImportState, PreviewRow
    from crm_server.importing.propose import Proposal
    from crm_server.kernel.actor import Actor

__all__ = ["BLANKS", "CHOICES", "DATE_ORDERS", "DUPLICATES", "MISSING", "ColumnRow", "column_rows", "field_options",
           "key_options", "read_form"]  # fmt: skip

DUPLICATES = {
    "update": _("Change the record that is there"),
    "skip": _("Leave the record as it is"),
    "create": _("Make another record"),
}
BLANKS = {"keep": _("Leave the old value"), "clear": _("Empty the field")}
MISSING = {
    "error": _("Refuse the row"),
    "blank": _("Leave the field blank"),
    "create": _("Make the record"),
}
CHOICES = {
    "error": _("Refuse the row"),
    "other": _("Take “Other”, or leave it blank"),
    "blank": _("Leave the field blank"),
}
DATE_ORDERS = {
    "dmy": _("Day first: 31/12/2026"),
    "mdy": _("Month first: 12/31/2026"),
    "ymd": _("Year first: 2026-12-31"),
}
_CONSTANTS = 3
_JOINED = {"street": ", ", "billing_street": ", ", "description": "\n"}
_IMPORTED_REFERENCES = frozenset({"account", "contact", "opportunity", "lead"})


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One column of the file in the form. ``missing`` is None for fields that refer to nothing."""

    number: int
    name: str
    samples: tuple[str, ...]
    field: str
    sure: bool
    missing: str | None
    creatable: bool


def field_options(
    entity: EntityDef, actor: Actor, translate: Callable[[object], str]
) -> list[tuple[str, str]]:
    """The fields that the person may fill, by label; the whole name stands first."""
    found = [
        (name, translate(item.policy.label))
        for name, item in entity.fields.items()
        if item.writable
        and actor.field_level(item.policy.handling.access) == "write"
        and item.semantic is not Semantic.BYTES
    ]
    found.sort(key=lambda pair: pair[1].casefold())
    if {"given_name", "family_name"} <= entity.fields.keys():
        found.insert(0, (FULL_NAME, translate(_("Whole name"))))
    return found


def column_rows(
    entity: EntityDef, state: ImportState, rows: list[PreviewRow], proposals: list[Proposal]
) -> list[ColumnRow]:
    """The columns with samples of their cells and what the mapping does with them."""
    fed = {column: feed for feed in state.mapping.feeds for column in feed.columns}
    scores = {
        item.column: item.score
        for item in proposals
        if item.column in fed and fed[item.column].field == item.field
    }
    found = []
    for number, name in enumerate(state.profile.columns):
        samples = tuple(dict.fromkeys(cell for row in rows if (cell := row.cells[number])))[:3]
        feed = fed.get(name)
        item = entity.fields.get(feed.field) if feed else None
        refers = item is not None and item.semantic is Semantic.REFERENCE
        found.append(
            ColumnRow(
                number=number,
                name=name,
                samples=samples,
                field=feed.field if feed else "",
                sure=feed is None or scores.get(name, 1.0) >= 0.9,
                missing=feed.missing if feed and refers else None,
                creatable=item is not None and item.policy.target == "account",
            )
        )
    return found


def key_options(
    entity: EntityDef, state: ImportState, translate: Callable[[object], str]
) -> list[tuple[str, str]]:
    """Fields by which records can be recognised: those that are fed and identify something."""
    fed = {feed.field for feed in state.mapping.feeds}
    return [
        (name, translate(entity.fields[name].policy.label))
        for name in ("external_id", "email", "name", "phone", "mobile", "tax_number", "website")
        if name in fed and name in entity.fields and entity.fields[name].writable
    ]


def read_form(form: MultiDict, state: ImportState, entity: EntityDef) -> ImportMapping:
    """The mapping that the form says. Feeds that the form can't show (replaced values) are kept from the old
    one.
    """
    old = {feed.field: feed for feed in state.mapping.feeds}
    feeds: dict[str, Feed] = {}
    for number, column in enumerate(state.profile.columns):
        name = text_of(form.get(f"field-{number}"))
        if not name or (name not in entity.fields and name != FULL_NAME):
            continue
        if name in feeds:
            known = feeds[name]
            feeds[name] = dataclasses.replace(
                known, columns=(*known.columns, column), separator=_JOINED.get(name, " ")
            )
            continue
        feeds[name] = _feed(name, column, text_of(form.get(f"missing-{number}")), old.get(name), entity)
    for number in range(_CONSTANTS + len(feeds)):
        name, constant = (
            text_of(form.get(f"constant-field-{number}")),
            text_of(form.get(f"constant-{number}")),
        )
        if constant and (name in entity.fields or name == FULL_NAME):
            feeds[name] = (
                dataclasses.replace(feeds[name], constant=constant)
                if name in feeds
                else Feed(name, constant=constant)
            )
    key = text_of(form.get("key"))
    return ImportMapping(
        entity=state.entity,
        feeds=tuple(feeds.values()),
        key=(key,) if key else (),
        duplicates=_one(form, "duplicates", DUPLICATES, state.mapping.duplicates),
        blank=_one(form, "blank", BLANKS, state.mapping.blank),
        options=_options(form, state.mapping.options),
        preset=state.mapping.preset,
    )


def _feed(name: str, column: str, missing: str, old: Feed | None, entity: EntityDef) -> Feed:
    if old is not None and column in old.columns:
        feed = dataclasses.replace(old, columns=(column,), constant=None)
    else:
        item = entity.fields.get(name)
        refers = item is not None and item.semantic is Semantic.REFERENCE
        by_id = (
            refers
            and item is not None
            and item.policy.target in _IMPORTED_REFERENCES
            and column.casefold().endswith("id")
        )
        feed = Feed(name, (column,), match=("external_id" if by_id else "name") if refers else None)
        if item is not None and item.policy.target == "account" and not missing:
            missing = "blank" if by_id else "create"
    return dataclasses.replace(feed, missing=missing) if missing in MISSING else feed  # type: ignore[arg-type]


def _options(form: MultiDict, old: Options) -> Options:
    country, currency = text_of(form.get("country")).upper(), text_of(form.get("currency")).upper()
    found = dataclasses.replace(
        old,
        country=country or old.country,
        currency=currency or old.currency,
        date_order=_one(form, "date_order", DATE_ORDERS, old.date_order),
        unknown_choice=_one(form, "unknown_choice", CHOICES, old.unknown_choice),
    )
    found.check()
    return found


def _one(form: MultiDict, name: str, known: Mapping[str, Any], old: Any) -> Any:
    value = text_of(form.get(name))
    return value if value in known else old
