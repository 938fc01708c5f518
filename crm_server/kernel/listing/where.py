"""From a filter tree to the SQL of a where clause, field by field, with every name checked on the way."""

# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from compliance.datamap import Search, Semantic
from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing.asking import (
    MOST_IDS,
    array,
    as_tree,
    client_for,
    counted,
    needed,
    readable,
    sealed_field,
    wholly_sealed,
)
from crm_server.kernel.listing.operators import Comparison, Reader, Values, like_pattern
from crm_server.kernel.listing.query import MAX_CONDITIONS, MAX_DEPTH, Condition, Filter, Group, Negation
from crm_server.kernel.listing.scope import (
    CUSTOM,
    MAX_HOPS,
    CustomColumns,
    may_follow,
    readable_custom,
    reference,
    sql_name,
    table_name,
)
from crm_server.kernel.presenter import presentation
from crm_server.search.protocol import Match, Never, Tree

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef, FieldPolicy
    from crm_server.kernel.hot import Hot

# An operator that holds for an empty field holds for a missing record as well: it is the negation of its twin.
_NEGATED = {"ne": "eq", "not_in": "in"}


def unknown_field(where: str, name: str) -> BadQuery:
    """The error for a field that does not exist, or that the actor may not read: both look the same."""
    return BadQuery(
        where, _("There is no field ${name} that you can use here.", mapping={"name": name[:100]})
    )


def check_text(text: str) -> None:
    """Refuse a text that nobody can look for."""
    if not 1 <= len(text) <= 200 or not text.isprintable():
        raise BadQuery("q", _("A text of 1 to 200 characters is expected here."))


@dataclass(slots=True)
class WhereCompiler:
    """Compiles the filters of one statement; `values` collects its parameters."""

    datamap: DataMap
    custom: CustomColumns
    reader: Reader
    values: Values
    source: Hot | Session | Connection
    conditions: int = 0
    aliases: int = 0
    terms: list[Any] = field(default_factory=list)
    """[path, operator, value] of every condition, for the audit event."""

    def compile(
        self, node: Filter, entity: EntityDef, alias: str, where: str = "filter", depth: int = 1
    ) -> str:
        """The SQL of a filter on the rows of `alias`.

        Raises:
            BadQuery: naming the place as "filter/and/0".
        """
        if depth > MAX_DEPTH:
            raise BadQuery(where, _("Filters may be nested ${n} deep.", mapping={"n": MAX_DEPTH}))
        if wholly_sealed(node, entity, self.custom):
            self.check_readable(node, entity, where)
            tree = as_tree(node, entity, self.reader, self.custom, where)
            return self._sealed(tree, entity, alias, where)
        if isinstance(node, Condition):
            self._count(node, where)
            return self._condition(node.path.split("."), node, entity, alias, where)
        if isinstance(node, Negation):
            return f"({self.compile(node.item, entity, alias, f'{where}/not', depth + 1)}) is not true"
        parts = [
            self.compile(item, entity, alias, f"{where}/{node.kind}/{index}", depth + 1)
            for index, item in enumerate(node.items)
        ]
        if not parts:
            return "true" if node.kind == "and" else "false"
        return "(" + f" {node.kind} ".join(parts) + ")"

    def check_readable(self, node: Filter, entity: EntityDef, where: str, depth: int = 1) -> None:
        """Count the conditions of a filter on sealed fields, and refuse those on fields that the actor can't read."""
        if depth > MAX_DEPTH:
            raise BadQuery(where, _("Filters may be nested ${n} deep.", mapping={"n": MAX_DEPTH}))
        if isinstance(node, Condition):
            self._count(node, where)
            if not readable(entity, node.path, self.reader.actor, self.custom):
                raise unknown_field(where, node.path)
        elif isinstance(node, Negation):
            self.check_readable(node.item, entity, f"{where}/not", depth + 1)
        else:
            for index, item in enumerate(node.items):
                self.check_readable(item, entity, f"{where}/{node.kind}/{index}", depth + 1)

    def _count(self, node: Condition, where: str) -> None:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise BadQuery(where, _("At most ${n} conditions are possible.", mapping={"n": MAX_CONDITIONS}))
        self.terms.append([node.path, node.operator, node.value])

    def text_search(self, text: str, entity: EntityDef, alias: str) -> str:
        """The SQL that finds a text in the searchable fields that the actor may read."""
        shown = presentation(entity, self.reader.actor)
        pattern = exact = None
        parts = []
        for name in shown.readable:
            item = shown.fields[name]
            if item.sealed:
                continue
            column = f"{alias}.{sql_name(name)}"
            if item.policy.search is Search.TEXT:
                pattern = pattern or self.values.add("text", like_pattern(text))
                parts.append(f"{column} ilike {pattern}")
            elif item.policy.search is Search.EXACT and item.semantic is not Semantic.INTEGER:
                exact = exact or self.values.add("text", text.lower())
                parts.append(f"lower({column}) = {exact}")
            elif item.policy.search is Search.EXACT and text.isascii() and text.isdigit() and len(text) < 19:
                parts.append(f"{column} = {self.values.add('bigint', int(text))}")
        return "(" + " or ".join(sorted(parts)) + ")" if parts else "false"

    def _condition(
        self, parts: list[str], node: Condition, entity: EntityDef, alias: str, where: str, hops: int = 0
    ) -> str:
        actor, path = self.reader.actor, ".".join(parts)
        if sealed_field(entity, path, self.custom) is not None:
            if not readable(entity, path, actor, self.custom):
                raise unknown_field(where, node.path)
            tree = as_tree(replace(node, path=path), entity, self.reader, self.custom, where)
            return self._sealed(tree, entity, alias, where)
        if len(parts) == 1:
            shown = presentation(entity, actor)
            if parts[0] not in shown.readable:
                raise unknown_field(where, node.path)
            item = shown.fields[parts[0]]
            column = f"{alias}.{sql_name(item.name)}"
            return self._compare(column, item.policy, node, where)
        negated, node = self._twin(node)
        if parts[0] == CUSTOM and len(parts) == 2:
            inner = self._custom(parts[1], node, entity, alias, where)
        else:
            inner = self._hop(parts, node, entity, alias, where, hops)
        return f"not {inner}" if negated else inner

    def _sealed(self, tree: Tree, entity: EntityDef, alias: str, where: str) -> str:
        """The SQL for conditions on sealed fields beside others: the set of ids, or of those that are not in it."""
        client, person = needed(client_for(self.source)), counted(entity, self.reader.actor)
        found = client.match(Match(entity.number, tree, MOST_IDS, actor=person))
        if not found.more:
            return f"{alias}.id = any({self.values.add('uuid[]', array(found.ids))})"
        others = client.match(Match(entity.number, Never(tree), MOST_IDS, actor=person))
        if not others.more:
            return f"{alias}.id <> all({self.values.add('uuid[]', array(others.ids))})"
        raise BadQuery(
            where,
            _("Too many records fit this condition to combine it with the others. Narrow the filter."),
        )

    def _compare(self, column: str, policy: FieldPolicy, node: Condition, where: str) -> str:
        return Comparison(column, policy, self.values, self.reader, where).sql(node.operator, node.value)

    @staticmethod
    def _twin(node: Condition) -> tuple[bool, Condition]:
        """Turn an operator that holds for nothing into its negation, so that `exists` can ask for the rest."""
        if node.operator in {"is_null", "eq", "ne"} and (node.value is None or node.operator == "is_null"):
            empty = node.value if node.operator == "is_null" else node.operator == "eq"
            if isinstance(empty, bool):
                return empty, Condition(node.path, "is_null", value=False)
        positive = _NEGATED.get(node.operator)
        return (True, Condition(node.path, positive, node.value)) if positive else (False, node)

    def _hop(
        self, parts: list[str], node: Condition, entity: EntityDef, alias: str, where: str, hops: int
    ) -> str:
        item = reference(entity, parts[0])
        target = None if item is None else may_follow(self.datamap, entity, item, self.reader.actor)
        if item is None or target is None or hops >= MAX_HOPS:
            raise unknown_field(where, node.path)
        self.aliases += 1
        inner = f"r{self.aliases}"
        condition = self._condition(parts[1:], node, target, inner, where, hops + 1)
        return (
            f"exists (select 1 from {table_name(target)} {inner} "
            f"where {inner}.id = {alias}.{sql_name(item.name)} and {condition})"
        )

    def _custom(self, name: str, node: Condition, entity: EntityDef, alias: str, where: str) -> str:
        found = self.custom(entity).get(name)
        if found is None or not readable_custom(entity, found, self.reader.actor):
            raise unknown_field(where, node.path)
        self.aliases += 1
        inner = f"v{self.aliases}"
        place = self.values.add("uuid", str(found.field_id))
        comparison = self._compare(f"{inner}.{sql_name(found.column)}", found.policy, node, where)
        return (
            f'exists (select 1 from "crm"."custom_value" {inner} where {inner}.record_id = {alias}.id '
            f"and {inner}.field_id = {place} and {comparison})"
        )


__all__ = ["Filter", "Group", "WhereCompiler", "unknown_field"]
