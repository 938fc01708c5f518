"""What a preset is, and how it becomes a mapping for the columns that a file really has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from compliance.datamap import EntityDef, Semantic
from crm_server.importing.mapping import FULL_NAME, Feed, ImportMapping, Missing
from crm_server.importing.values.convert import Options
from crm_server.importing.values.dates import DateOrder
from crm_server.importing.values.places import fold

__all__ = ["Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of export of one system.

    ``signatures`` are sets of headers; a file that has all of one set is this kind. ``fields`` maps each
    field to the headers that may feed it, the best first: systems label columns differently by edition and
    by way of export. ``merged`` maps fields to headers that are joined. References are matched by name
    unless ``by_id`` lists the header.
    """

    name: str
    system: str
    entity: str
    signatures: tuple[frozenset[str], ...]
    fields: Mapping[str, tuple[str, ...]]
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_id: frozenset[str] = frozenset()
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    date_order: DateOrder = "mdy"
    key: tuple[str, ...] = ("external_id",)

    def recognises(self, columns: Iterable[str]) -> bool:
        """Whether the columns are those of such an export."""
        have = {fold(name) for name in columns}
        return any({fold(name) for name in signature} <= have for signature in self.signatures)

    def known(self, columns: Iterable[str]) -> int:
        """How many of the columns the preset uses."""
        have = {fold(name) for name in columns}
        return sum(any(fold(name) in have for name in names) for names in self.fields.values())

    def mapping(
        self, columns: Iterable[str], entity: EntityDef, options: Options | None = None
    ) -> ImportMapping:
        """The mapping for a file with these columns; fields without a column in the file are left out."""
        have = {fold(name): name for name in reversed(tuple(columns))}
        feeds = [
            self._feed(name, (have[fold(found)],), entity)
            for name, headers in self.fields.items()
            if (name in entity.fields or name == FULL_NAME)
            and (found := next((header for header in headers if fold(header) in have), None))
        ]
        for name, headers in self.merged.items():
            present = tuple(have[fold(header)] for header in headers if fold(header) in have)
            if present and name in entity.fields:
                feeds.append(Feed(name, present, separator=", "))
        fed = {feed.field for feed in feeds}
        if FULL_NAME in fed and "family_name" in fed:
            feeds = [feed for feed in feeds if feed.field != FULL_NAME]
        key = tuple(name for name in self.key if name in fed) or next(
            (
                (name,)
                for name in ("email", "name")
                if name in fed and name in entity.fields and entity.fields[name].writable
            ),
            (),
        )
        chosen = replace(options or Options(), date_order=self.date_order, unknown_choice="other")
        return ImportMapping(self.entity, tuple(feeds), key=key, options=chosen, preset=self.name)

    def _feed(self, name: str, columns: tuple[str, ...], entity: EntityDef) -> Feed:
        values = self.values.get(name, {})
        target = entity.fields.get(name)
        if target is None or target.semantic is not Semantic.REFERENCE:
            return Feed(name, columns, values=values)
        by_id = columns[0] in self.by_id or fold(columns[0]) in {fold(header) for header in self.by_id}
        missing: Missing = "create" if target.policy.target == "account" and not by_id else "blank"
        if target.policy.target in {"stage", "pipeline"}:
            missing = "error"
        return Feed(name, columns, values=values, match="external_id" if by_id else "name", missing=missing)
