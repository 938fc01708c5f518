"""Which column feeds which field, as plain data that can be proposed, edited, saved and applied again.

Used by the wizard, the command line and the API; the engine turns it into one function per row with
``compile_mapping``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dc_field
from typing import Any, Literal, Self

import msgspec

from compliance.datamap import EntityDef, Semantic
from crm_server.importing.errors import ImportFileError, ValueProblem, _
from crm_server.importing.rows import SourceRow
from crm_server.importing.values import people
from crm_server.importing.values.convert import CONTROL, Converter, Options, Style, build_converter
from crm_server.importing.values.places import fold
from crm_server.kernel.values import unseen

__all__ = [
    "CUSTOM",
    "FULL_NAME",
    "Feed",
    "FieldProblem",
    "ImportMapping",
    "ReferenceText",
    "RowReader",
    "check_mapping",
    "compile_mapping",
    "surveyed",
]

MAX_FEEDS = 500
FULL_NAME = "@full_name"
"""Pseudo-field: one column with a whole name, split into salutation, given and family name."""
CUSTOM = "custom."
"""Begins the names of custom fields among those of an entity: ``custom.size``."""

Combine = Literal["join", "first"]
Duplicates = Literal["update", "skip", "create"]
Blank = Literal["keep", "clear"]
Missing = Literal["error", "create", "blank"]


@dataclass(frozen=True, slots=True)
class Feed:
    """Where one field gets its text from.

    Several ``columns`` are joined with ``separator`` or the first that is filled is taken. ``constant`` is
    used when the columns are blank, or when there are none. ``values`` replaces whole cells before they are
    read ("Kalt" → "c"). ``match`` says by which field of the other entity a reference is found, ``missing``
    what happens when there is none: an error of the row, a new record, or a blank field with a warning.
    """

    field: str
    columns: tuple[str, ...] = ()
    combine: Combine = "join"
    separator: str = " "
    constant: str | None = None
    values: Mapping[str, str] = dc_field(default_factory=dict)
    match: str | None = None
    missing: Missing = "error"


@dataclass(frozen=True, slots=True)
class ImportMapping:
    """A complete instruction for one file.

    ``key`` are the fields by which existing records are recognised (all of them must agree); empty means
    that every row is new. ``duplicates`` says what happens to a row whose record exists. ``blank`` says
    whether a blank cell leaves the field of an existing record alone or empties it.
    """

    entity: str
    feeds: tuple[Feed, ...]
    key: tuple[str, ...] = ()
    duplicates: Duplicates = "update"
    blank: Blank = "keep"
    options: Options = dc_field(default_factory=Options)
    preset: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for storage, the API and mapping files of the command line."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The mapping that ``to_json`` wrote, or a hand-written one.

        Raises ImportFileError ``mapping.invalid`` when names or types don't fit, ``mapping.country`` and
        ``mapping.currency`` for codes that there are not.
        """
        broken = ImportFileError(
            "mapping.invalid", _("The mapping can't be read. Save it again from the import page.")
        )
        try:
            found = msgspec.convert(data, cls)
            found.options.tzinfo  # noqa: B018 - an unknown zone raises
        except (msgspec.ValidationError, ValueError, KeyError, OSError) as error:
            raise broken from error
        if len(found.feeds) > MAX_FEEDS:
            raise broken
        found.options.check()
        return found


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of one row: stable code, translatable reason, the columns it came from.

    A ``warning`` doesn't hold the row back: the field stays blank and the report counts it.
    """

    field: str
    code: str
    message: str
    columns: tuple[str, ...] = ()
    warning: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceText:
    """A reference that the engine has yet to resolve: the text, the field to match it by, what to do when it
    is missing.
    """

    text: str
    match: str
    missing: Missing


def check_mapping(mapping: ImportMapping, entity: EntityDef, columns: Iterable[str]) -> list[FieldProblem]:
    """What is wrong with the mapping itself, before any row is read; empty when it can run."""
    known = set(columns)
    problems = []
    fed: set[str] = set()
    for feed in mapping.feeds:
        for name in _fields_of(feed, entity):
            target = entity.fields.get(name)
            if target is None or not target.writable:
                problems.append(
                    FieldProblem(
                        feed.field, "mapping.unknown_field", _("There is no such field to import into.")
                    )
                )
                continue
            if name in fed:
                problems.append(FieldProblem(name, "mapping.twice", _("The field is fed twice.")))
            fed.add(name)
        missing = tuple(name for name in feed.columns if name not in known)
        if missing:
            problems.append(
                FieldProblem(feed.field, "mapping.unknown_column", _("The file has no such column."), missing)
            )
    no_key = _("Records are recognised by this field, but no column feeds it.")
    problems += [FieldProblem(name, "mapping.key", no_key) for name in mapping.key if name not in fed]
    no_custom = _("Records can't be recognised by a custom field.")
    problems += [
        FieldProblem(name, "mapping.key_custom", no_custom)
        for name in mapping.key
        if name in fed and name.startswith(CUSTOM)
    ]
    if not mapping.key or mapping.duplicates == "create":
        problems += [
            FieldProblem(name, "mapping.required", _("A required field is fed by no column."))
            for name, item in entity.fields.items()
            if _needed(item) and name not in fed
        ]
    return problems


def _needed(item: Any) -> bool:
    return item.policy.required and item.writable and not item.defaulted


def _fields_of(feed: Feed, entity: EntityDef) -> tuple[str, ...]:
    if feed.field == FULL_NAME:
        return tuple(name for name in ("given_name", "family_name") if name in entity.fields)
    return (feed.field,)


def surveyed(mapping: ImportMapping, entity: EntityDef) -> dict[str, Semantic]:
    """Columns whose style must be found out over the whole file, with the kind of value that they feed."""
    return {
        column: entity.fields[feed.field].semantic
        for feed in mapping.feeds
        if feed.field in entity.fields
        for column in feed.columns
    }


_DROPPED = _("The field has no such value and was left blank.")

RowReader = Callable[[SourceRow], tuple[dict[str, Any], list[FieldProblem]]]
"""(values by field, problems) of a row. Blank cells are absent with ``blank="keep"``, None with
``"clear"``."""


def compile_mapping(
    mapping: ImportMapping,
    entity: EntityDef,
    styles: Mapping[str, Style],
    *,
    translate: Callable[[object, str], str] | None = None,
) -> RowReader:
    """The function that reads one row. Money is still ``Amount`` and references ``ReferenceText`` in what it
    returns.
    """
    steps = [_step(feed, entity, styles, mapping.options, translate) for feed in mapping.feeds]
    clear = mapping.blank == "clear"

    def read(row: SourceRow) -> tuple[dict[str, Any], list[FieldProblem]]:
        values: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        cells = row.values
        for feed, gather, convert in steps:
            text = gather(cells)
            if not text or (not text.isascii() and unseen(text)):
                if clear and feed.field != FULL_NAME:
                    values.setdefault(feed.field, None)
                continue
            if feed.values:
                text = feed.values.get(text, text)
            if feed.field == FULL_NAME:
                _apply_name(text, entity, values)
                continue
            try:
                value = convert(text)
                if value is None:
                    problems.append(
                        FieldProblem(feed.field, "choice.dropped", _DROPPED, feed.columns, warning=True)
                    )
                    continue
                values[feed.field] = value
            except ValueProblem as problem:
                problems.append(FieldProblem(feed.field, problem.code, problem.message, feed.columns))
        return values, problems

    return read


def _step(
    feed: Feed,
    entity: EntityDef,
    styles: Mapping[str, Style],
    options: Options,
    translate: Callable[[object, str], str] | None,
) -> tuple[Feed, Callable[[Mapping[str, str | None]], str | None], Converter]:
    gather = _gatherer(feed)
    if feed.field == FULL_NAME:
        return feed, gather, str
    policy = entity.fields[feed.field].policy
    style = next(
        (styles[name] for name in feed.columns if name in styles),
        Style(options.date_order, options.separator),
    )
    convert = build_converter(policy, style, options, translate=translate)
    if policy.semantic is Semantic.REFERENCE:
        match, missing = feed.match or "name", feed.missing
        return feed, gather, lambda text: ReferenceText(convert(text), match, missing)
    return feed, gather, convert


def _gatherer(feed: Feed) -> Callable[[Mapping[str, str | None]], str | None]:
    columns, constant, separator = feed.columns, feed.constant, feed.separator
    if len(columns) == 1:
        only = columns[0]
        return lambda cells: cells.get(only) or constant
    if feed.combine == "first":
        return lambda cells: next((text for name in columns if (text := cells.get(name))), constant)
    return lambda cells: separator.join(text for name in columns if (text := cells.get(name))) or constant


_SALUTATIONS = {
    "mr": ("mr", "herr", "herrn", "sir", "先生"),
    "ms": ("mrs", "ms", "miss", "frau", "dame", "女士", "小姐", "太太"),
    "dr": ("dr", "博士"),
    "prof": ("prof", "professor", "教授"),
}


def _apply_name(text: str, entity: EntityDef, values: dict[str, Any]) -> None:
    name = people.split_name(CONTROL.sub(" ", text))
    values["given_name"], values["family_name"] = name.given, name.family
    if name.prefix and "salutation" in entity.fields and not values.get("salutation"):
        words = {fold(word) for word in name.prefix.split()}
        found = [key for key, names in _SALUTATIONS.items() if words & {fold(item) for item in names}]
        if found:
            # "Prof. Dr." is addressed by the higher title, which stands last in the table.
            values["salutation"] = found[-1]
