"""Row rules as predicates of a statement. `visible` is the one place where they enter lists, reads and filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition on a row.

    Attributes:
        sql: With "{t}" for the alias of the table and "{0}", "{1}" … for the values.
        values: (SQL type, value) in the order of their places.
    """

    sql: str
    values: tuple[tuple[str, Any], ...] = ()


def visible(entity: EntityDef, actor: Actor) -> list[Predicate]:
    """What limits the rows of an entity that the actor may see, beside the permission to read the entity.

    The same rule stands in PostgreSQL as a policy; this is the form that the planner can use an index for. A role
    sees all rows of an entity that it may read, so there is nothing to add.
    """
    return []
