"""Field rules: which level of access an identity has to each field, and how a field without a rule is
treated.

Made by the application from roles and the data map; applied by presenters, forms, search, export and import
alike.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


class FieldAccess(enum.IntEnum):
    """Levels in rising order; a higher one contains the lower."""

    HIDDEN = 0
    MASKED = 1
    READ = 2
    WRITE = 3


@dataclass(frozen=True, slots=True)
class FieldRules:
    """Levels by field name ``entity.field``.

    Unlisted fields get ``default``, which is hidden unless a role says more.
    """

    default: FieldAccess = FieldAccess.HIDDEN
    levels: Mapping[str, FieldAccess] = field(default_factory=lambda: MappingProxyType({}))

    def level(self, name: str) -> FieldAccess:
        """Return the level for one field."""
        return self.levels.get(name, self.default)

    @staticmethod
    def widest(rules: Sequence[FieldRules]) -> FieldRules:
        """Combine the rules of several roles: for each field the highest level that any of them gives."""
        if not rules:
            return FieldRules()
        names = {name for one in rules for name in one.levels}
        levels = {name: max(one.level(name) for one in rules) for name in names}
        return FieldRules(max(one.default for one in rules), MappingProxyType(levels))

    def narrowed(self, allowed: frozenset[str] | None) -> FieldRules:
        """Return the rules left by an allow-list, such as an API token's: fields outside it are hidden."""
        if allowed is None:
            return self
        levels = {name: self.level(name) for name in allowed}
        return FieldRules(FieldAccess.HIDDEN, MappingProxyType(levels))
