"""From filters on sealed fields to what the search service understands, and to its client."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from compliance.datamap import FieldDef, KeyClass, Search, Semantic
from compliance.datamap.text import _
from crm_server.kernel.db import SEARCH
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.hot import Hot
from crm_server.kernel.listing.operators import (
    Reader,
    check_operator,
    empty_flag,
    plain_text,
    read_value,
    several,
)
from crm_server.kernel.listing.periods import Period
from crm_server.kernel.listing.query import COUNT_CAP, Condition, Filter, Negation
from crm_server.kernel.listing.scope import CUSTOM, readable_custom
from crm_server.kernel.presenter import presentation
from crm_server.search.client import SearchClient, SearchUnavailable
from crm_server.search.fields import indexed
from crm_server.search.protocol import Every, Never, Some, Test, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from compliance.datamap import EntityDef, FieldPolicy
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.listing.scope import CustomColumns

MOST_IDS = COUNT_CAP
"""A condition that at most so many records fulfil stands in the statement as a set of ids."""


def client_for(source: Hot | Session | Connection) -> SearchClient | None:
    """The client that comes with a source of rows, if it was made with one."""
    found = source.info.get(SEARCH) if isinstance(source, Hot | Session) else None
    return found if isinstance(found, SearchClient) else None


def needed(client: SearchClient | None) -> SearchClient:
    """The client, where nothing can be done without it."""
    if client is None:
        raise SearchUnavailable
    return client


def counted(entity: EntityDef, actor: Actor) -> bytes:
    """Whose limit of searches counts: the actor's, where a search reaches protected values (ENC-18)."""
    personal = any(item.policy.handling.key_class is not KeyClass.NONE for item in entity.fields.values())
    return actor.id.bytes if personal else b""


def finding_fields(entity: EntityDef, actor: Actor, custom: CustomColumns) -> tuple[int, ...]:
    """Numbers of the fields that a text is looked for in: those that are found by text and read in clear."""
    shown = presentation(entity, actor)
    policies = [item.policy for name, item in shown.fields.items() if name in shown.readable]
    policies += [
        item.policy
        for item in custom(entity).values()
        if item.sealed and readable_custom(entity, item, actor)
    ]
    return tuple(sorted(policy.number for policy in policies if policy.search is not Search.NONE))


@cache
def held(entity: EntityDef) -> bool:
    """Whether the service holds records of this kind."""
    return "deleted_at" in entity.fields and entity.exposed and indexed(entity) is not None


def sealed_field(entity: EntityDef, path: str, custom: CustomColumns) -> FieldDef | None:
    """The sealed field of the entity itself, or the sealed custom one, that a path names."""
    item = entity.fields.get(path)
    if item is not None:
        return item if item.sealed else None
    head, _dot, name = path.partition(".")
    found = custom(entity).get(name) if head == CUSTOM else None
    return None if found is None or not found.sealed else FieldDef(path, found.policy, None)


def readable(entity: EntityDef, path: str, actor: Actor, custom: CustomColumns) -> bool:
    """Whether the actor reads a field of the entity, or a custom one, in clear."""
    if path in entity.fields:
        return path in presentation(entity, actor).readable
    found = custom(entity).get(path.removeprefix(f"{CUSTOM}."))
    return found is not None and readable_custom(entity, found, actor)


def wholly_sealed(node: Filter, entity: EntityDef, custom: CustomColumns) -> bool:
    """Whether every condition of a filter is one on a sealed field of the entity itself."""
    if isinstance(node, Condition):
        return sealed_field(entity, node.path, custom) is not None
    if isinstance(node, Negation):
        return wholly_sealed(node.item, entity, custom)
    return bool(node.items) and all(wholly_sealed(item, entity, custom) for item in node.items)


def as_tree(node: Filter, entity: EntityDef, reader: Reader, custom: CustomColumns, where: str) -> Tree:
    """A wholly sealed filter as the service understands it. The fields were found readable before.

    Raises:
        BadQuery: an operator or value that does not fit.
    """
    if isinstance(node, Condition):
        item = sealed_field(entity, node.path, custom)
        assert item is not None  # noqa: S101 - the filter is wholly sealed
        return _as_test(node, item, reader, where)
    if isinstance(node, Negation):
        return Never(as_tree(node.item, entity, reader, custom, f"{where}/not"))
    items = tuple(
        as_tree(item, entity, reader, custom, f"{where}/{node.kind}/{index}")
        for index, item in enumerate(node.items)
    )
    return Every(items) if node.kind == "and" else Some(items)


def _as_test(node: Condition, item: FieldDef, reader: Reader, where: str) -> Tree:
    operator, value, number, policy = node.operator, node.value, item.number, item.policy
    check_operator(policy, operator, where)
    if operator == "is_null":
        return Test(number, "is_null", empty_flag(value, where))
    if value is None and operator in {"eq", "ne"}:
        return Test(number, "is_null", operator == "eq")
    if operator in {"in", "not_in"}:
        return Test(number, operator, [_given(policy, one, reader, where) for one in several(value, where)])
    if operator == "between":
        if not isinstance(value, list) or len(value) != 2:
            raise BadQuery(where, _("between expects a list of two values."))
        return Every((_single(number, "ge", policy, value[0], reader, where),
                      _single(number, "le", policy, value[1], reader, where)))  # fmt: skip
    if operator in {"contains", "starts_with"}:
        return Test(number, operator, plain_text(value, where))
    return _single(number, operator, policy, value, reader, where)


def _single(
    number: int, operator: str, policy: FieldPolicy, value: Any, reader: Reader, where: str
) -> Tree:  # fmt: skip
    decoded = read_value(policy, value, reader, where)
    if not isinstance(decoded, Period):
        return Test(number, operator, _plain(decoded))
    times = policy.semantic is Semantic.DATETIME
    start, end = decoded.instants(reader.zone) if times else (decoded.start, decoded.end)
    if operator in {"eq", "ne"}:
        inside = Every((Test(number, "ge", _plain(start)), Test(number, "lt", _plain(end))))
        return inside if operator == "eq" else Never(inside)
    if operator in {"lt", "ge"}:
        return Test(number, operator, _plain(start))
    return Test(number, "lt" if operator == "le" else "ge", _plain(end))


def _given(policy: FieldPolicy, value: Any, reader: Reader, where: str) -> Any:
    return _plain(read_value(policy, value, reader, where))


def _plain(value: Any) -> Any:
    """A value as the service holds it: texts, numbers, dates as ISO 8601."""
    return value.isoformat() if isinstance(value, date | datetime) else value


def array(ids: bytes | Iterable[str]) -> str:
    """Ids as PostgreSQL reads an array of them."""
    if isinstance(ids, bytes):
        spelled = ids.hex()
        return "{" + ",".join(spelled[at : at + 32] for at in range(0, len(spelled), 32)) + "}"
    return "{" + ",".join(ids) + "}"


__all__ = [
    "MOST_IDS",
    "array",
    "as_tree",
    "client_for",
    "counted",
    "finding_fields",
    "held",
    "needed",
    "readable",
    "sealed_field",
    "wholly_sealed",
]
