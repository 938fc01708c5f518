"""Proposes a mapping for a file nobody has seen before.

Called by the wizard and the command line when no preset and no saved mapping fits. Three hints count: the
column's name against labels and synonyms in English, German and Chinese; how alike the words are; and what
the cells look like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from compliance.datamap import EntityDef, Semantic
from crm_server.importing.errors import ValueProblem
from crm_server.importing.mapping import CUSTOM, FULL_NAME, Feed, ImportMapping, Missing
from crm_server.importing.presets import find_preset
from crm_server.importing.rows import SourceRow
from crm_server.importing.synonyms import SYNONYMS
from crm_server.importing.values import dates, numbers, people
from crm_server.importing.values.convert import Options
from crm_server.importing.values.places import fold

__all__ = ["Proposal", "propose_mapping"]

_IMPORTED = frozenset({"account", "contact", "opportunity", "lead"})
_OFTEN = 0.95
_SYNONYM = 0.98
"""A field's own name beats what is only another word for it: “External id” before “Id”."""
_SURE = 0.75
"""A proposal below this is shown to a person but not taken by itself."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A field for a column with how sure it is (0 to 1) and the hint that decided: name, likeness,
    content.
    """

    column: str
    field: str
    score: float
    hint: str


@dataclass(frozen=True, slots=True)
class Words:
    """Folded words for a field: its own name and label, and all that people say for it."""

    own: frozenset[str]
    all: frozenset[str]


def propose_mapping(
    entity: EntityDef,
    columns: Sequence[str],
    sample: Iterable[SourceRow],
    *,
    options: Options | None = None,
    translate: Callable[[object, str], str] | None = None,
) -> tuple[ImportMapping, list[Proposal]]:
    """A mapping to start from, and the single proposals that it was made of.

    A file that a known system wrote gets that system's preset; otherwise each column goes to the field that
    fits it best, one column a field.
    """
    options = options or Options()
    if preset := find_preset(columns, entity.name):
        mapping = preset.mapping(columns, entity, options)
        used = {name for feed in mapping.feeds for name in feed.columns}
        told = [Proposal(name, feed.field, 1.0, "preset") for feed in mapping.feeds for name in feed.columns]
        # A preset can't know what fields there are in this installation.
        rest = [name for name in columns if name not in used]
        found = _assign(_scores(entity, rest, list(sample), options, translate))
        own = [item for item in found if item.field.startswith(CUSTOM) and item.score >= _SURE]
        feeds = (*mapping.feeds, *(_feed(item, entity) for item in own))
        return replace(mapping, feeds=feeds), [*told, *own]
    rows = list(sample)
    proposals = _assign(_scores(entity, columns, rows, options, translate))
    taken = [item for item in proposals if item.score >= _SURE]
    feeds = tuple(_feed(item, entity) for item in taken)
    return ImportMapping(entity.name, feeds, key=_key(entity, feeds, rows), options=options), proposals


def _feed(item: Proposal, entity: EntityDef) -> Feed:
    target = entity.fields.get(item.field)
    if target is not None and target.semantic is Semantic.REFERENCE:
        by_id = target.policy.target in _IMPORTED and fold(item.column).endswith(("id", "nummer", "编号"))
        missing: Missing = "create" if target.policy.target == "account" and not by_id else "blank"
        if target.policy.target in {"stage", "pipeline"}:
            # A deal in the wrong stage would falsify the forecast.
            missing = "error"
        return Feed(item.field, (item.column,), match="external_id" if by_id else "name", missing=missing)
    return Feed(item.field, (item.column,))


def _key(entity: EntityDef, feeds: Iterable[Feed], rows: Sequence[SourceRow]) -> tuple[str, ...]:
    """The best field to recognise records by: an id before a mail before a name, unless it is often blank."""
    fed = {feed.field: feed.columns for feed in feeds}
    fields = [
        name
        for name in ("external_id", "email", "name")
        if name in fed and name in entity.fields and entity.fields[name].writable
    ]

    def filled(name: str) -> float:
        return (
            sum(any(row.values.get(column) for column in fed[name]) for row in rows) / len(rows)
            if rows
            else 1.0
        )

    often = [name for name in fields if filled(name) >= _OFTEN]
    return tuple((often or sorted(fields, key=filled, reverse=True))[:1])


def _scores(
    entity: EntityDef,
    columns: Sequence[str],
    rows: Sequence[SourceRow],
    options: Options,
    translate: Callable[[object, str], str] | None,
) -> list[Proposal]:
    names = _names(entity, translate)
    found = []
    for column in columns:
        key = fold(re.sub(r"\(\d+\)$", "", column))
        cells = [text for row in rows if (text := row.values.get(column))]
        for target, words in names.items():
            by_name, hint = _by_name(key, words)
            fits = _fit(entity, target, cells, options)
            if fits is not None and fits < 0.3 and by_name < _SYNONYM:
                continue
            score = by_name * (0.7 + 0.3 * (fits if fits is not None else 1.0))
            if by_name >= _SYNONYM:
                # A column that is named for the field is meant for it, however bad its cells are.
                score = max(score, _SURE)
            if fits is not None and fits >= 0.8 and target in _TELLING:
                score, hint = max(score, 0.6 + 0.35 * by_name), hint if by_name > 0.5 else "content"
            if score > 0.35:
                found.append(Proposal(column, target, round(min(1.0, score), 2), hint))
    return found


_TELLING = frozenset({"email", "website"})
"""Fields that the cells alone betray; a phone number or a date could be any of several."""


def _names(entity: EntityDef, translate: Callable[[object, str], str] | None) -> dict[str, Words]:
    """Field → folded words for it. Fields that the system sets by itself are left out."""
    common = SYNONYMS["*"]
    own = SYNONYMS.get(entity.name, {})
    names: dict[str, Words] = {}
    for name, item in entity.fields.items():
        if not item.writable:
            continue
        short = name.removeprefix(CUSTOM)
        words = {
            name,
            short,
            name.removesuffix("_id"),
            str(item.policy.label),
            *common.get(name, ()),
            *own.get(name, ()),
        }
        if translate is not None:
            words |= {translate(item.policy.label, locale) for locale in ("en", "zh_Hans")}
        own_words = {name, short, str(item.policy.label)}
        names[name] = Words(frozenset(map(fold, own_words)), frozenset(fold(word) for word in words if word))
    if {"given_name", "family_name"} <= entity.fields.keys():
        names[FULL_NAME] = Words(frozenset(), frozenset(fold(word) for word in common[FULL_NAME]))
    return names


def _by_name(key: str, words: Words) -> tuple[float, str]:
    if key in words.own:
        return 1.0, "name"
    if key in words.all:
        return _SYNONYM, "name"
    best = 0.0
    for word in words.all:
        if len(word) > 3 and len(key) > 3:
            ratio = SequenceMatcher(None, key, word).ratio()
            if word in key or key in word:
                ratio = max(ratio, 0.55 + 0.4 * min(len(word), len(key)) / max(len(word), len(key)))
            best = max(best, ratio)
        elif len(word) >= 2 and not word.isascii() and word in key:
            best = max(best, 0.8)
    return (best if best >= 0.6 else 0.0), "likeness"


def _fit(entity: EntityDef, target: str, cells: Sequence[str], options: Options) -> float | None:
    """Share of the cells that the field could take, or None where nothing can be said."""
    if target == FULL_NAME or not cells or target not in entity.fields:
        return None
    test = _TESTS.get(entity.fields[target].semantic)
    if test is None:
        return None
    return sum(_passes(test, text, options) for text in cells[:100]) / len(cells[:100])


def _passes(test: Callable[[str, Options], object], text: str, options: Options) -> bool:
    try:
        test(text, options)
    except ValueProblem:
        return False
    return True


_PHONE = re.compile(r"[+\d][\d\s()/.-]{5,24}(?:\s*(?:ext|x)\.?\s*\d+)?")


def _like_phone(text: str) -> None:
    """Whether it could be a phone number in some country: which one is chosen later."""
    if not _PHONE.fullmatch(text.strip()):
        raise ValueProblem("phone.invalid", "")


_TESTS: Mapping[Semantic, Callable[[str, Options], object]] = {
    Semantic.EMAIL: lambda text, _options: people.parse_email(text),
    Semantic.PHONE: lambda text, _options: _like_phone(text),
    Semantic.URL: lambda text, _options: people.parse_url(text),
    Semantic.DATE: lambda text, options: dates.parse_date(text, options.date_order),
    Semantic.DATETIME: lambda text, options: dates.parse_date(text, options.date_order),
    Semantic.INTEGER: lambda text, options: numbers.parse_number(text, options.separator),
    Semantic.MONEY: lambda text, options: numbers.parse_money(text, options.separator),
    Semantic.PERCENT: lambda text, options: numbers.parse_percent(text, options.separator),
    Semantic.BOOLEAN: lambda text, _options: numbers.parse_boolean(text),
}


def _assign(proposals: Iterable[Proposal]) -> list[Proposal]:
    """The best proposal of each column, each field given once; a whole name yields to its parts."""
    chosen: dict[str, Proposal] = {}
    used: set[str] = set()
    for item in sorted(proposals, key=lambda item: -item.score):
        if item.column in chosen or item.field in used:
            continue
        chosen[item.column] = item
        used.add(item.field)
    if FULL_NAME in used and "family_name" in {item.field for item in chosen.values() if item.score >= _SURE}:
        chosen = {name: item for name, item in chosen.items() if item.field != FULL_NAME}
    return list(chosen.values())
