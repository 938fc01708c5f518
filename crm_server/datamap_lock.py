"""The ledger of numbers: which entity and which field got which number, retired ones included.

Sealed documents and the audit log name a field by its number for ever, so a number must never mean anything else.
`datamap.lock.json` beside this file is committed; `kontor db datamap-lock` extends it, a test compares it with the
models. It only grows: an entity or a field that is gone stays in it, so that nobody takes its number again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compliance.datamap import DataMap

PATH = Path(__file__).with_name("datamap.lock.json")

Ledger = dict[int, tuple[str, dict[int, str]]]
"""Entity number → (entity name, field number → field name)."""


class NumberReusedError(Exception):
    """A number means something else than it did. The message lists each place."""


def read(path: Path = PATH) -> Ledger:
    """The committed ledger; empty when there is none."""
    if not path.exists():
        return {}
    loaded = json.loads(path.read_text("utf-8"))
    return {
        int(number): (entry["name"], {int(key): name for key, name in entry["fields"].items()})
        for number, entry in loaded.items()
    }


def of(datamap: DataMap) -> Ledger:
    """The numbers as the models have them now."""
    return {
        entity.number: (entity.name, {item.number: item.name for item in entity.fields.values()})
        for entity in datamap
    }


def conflicts(ledger: Ledger, now: Ledger) -> list[str]:
    """Where a number or a name of `now` contradicts the ledger; one sentence each."""
    problems = []
    names = {name: number for number, (name, _fields) in ledger.items()}
    for number, (name, fields) in now.items():
        known_name, known = ledger.get(number, (name, {}))
        if known_name != name:
            problems.append(f"entity number {number} was {known_name}; {name} needs a number of its own")
            continue
        if names.get(name, number) != number:
            problems.append(f"entity {name} had number {names[name]}, not {number}")
        problems += _field_conflicts(name, known, fields)
    return problems


def _field_conflicts(entity: str, known: Mapping[int, str], fields: Mapping[int, str]) -> list[str]:
    before = {name: number for number, name in known.items()}
    problems = []
    for number, name in fields.items():
        if known.get(number, name) != name:
            problems.append(
                f"{entity}: number {number} was {known[number]}; {name} needs a number of its own"
            )
        elif before.get(name, number) != number:
            problems.append(f"{entity}.{name} had number {before[name]}, not {number}")
    return problems


def missing(ledger: Ledger, now: Ledger) -> list[str]:
    """What the models have and the ledger not yet."""
    found = []
    for number, (name, fields) in now.items():
        known = ledger.get(number, (name, {}))[1]
        found += [f"{name}.{field} ({key})" for key, field in fields.items() if key not in known]
    return found


def extend(datamap: DataMap, path: Path = PATH) -> list[str]:
    """Write what is new into the ledger.

    Returns:
        What was added.

    Raises:
        NumberReusedError: a number or a name would change its meaning; nothing is written.
    """
    ledger, now = read(path), of(datamap)
    problems = conflicts(ledger, now)
    if problems:
        raise NumberReusedError("Numbers of the data map are never reused:\n  " + "\n  ".join(problems))
    added = missing(ledger, now)
    for number, (name, fields) in now.items():
        ledger.setdefault(number, (name, {}))[1].update(fields)
    text = {
        str(number): {"name": name, "fields": {str(key): fields[key] for key in sorted(fields)}}
        for number, (name, fields) in sorted(ledger.items())
    }
    path.write_text(json.dumps(text, indent=1) + "\n", "utf-8")
    return added
