"""What a run of an import hands from batch to batch, and the rows on their way through one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from compliance.datamap import DataMap, EntityDef
    from crm_server.domain.imports.references import Resolver
    from crm_server.domain.imports.rules import Rules
    from crm_server.importing.mapping import FieldProblem, ImportMapping, RowReader
    from crm_server.importing.values.numbers import Amount
    from crm_server.kernel.actor import Actor

__all__ = ["Counts", "Plan", "Work", "problem_json"]

Counts = Counter[str]
"""How many of each outcome, and ``problem:field code`` of each problem."""


@dataclass(slots=True)
class Work:
    """One row on its way. ``assumed`` are sums for which the file names no currency."""

    ordinal: int
    line: int
    values: dict[str, Any]
    problems: list[FieldProblem] = field(default_factory=list)
    key: tuple[str, ...] | None = None
    assumed: dict[str, Amount] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether a problem holds the row back."""
        return bool(self.problems) and any(not problem.warning for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays the same over all batches of a run."""

    datamap: DataMap
    entity: EntityDef
    mapping: ImportMapping
    read: RowReader
    actor: Actor
    resolver: Resolver
    rules: Rules
    import_id: UUID
    dry: bool


def problem_json(problem: FieldProblem) -> dict[str, Any]:
    """A problem as it is stored: its sentence stays translatable, and holds no value of the row."""
    mapping: Mapping[str, Any] | None = getattr(problem.message, "mapping", None)
    return {
        "field": problem.field,
        "code": problem.code,
        "message": str(problem.message),
        "mapping": dict(mapping) if mapping else None,
        "columns": list(problem.columns),
        "warning": problem.warning,
    }
