"""From a client's words to a `ListQuery`: URL parameters and JSON documents. Errors name the parameter.

Values and fields are judged when the statement is written, where the data map and the actor are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing.query import (
    DEFAULT_LIMIT,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIMIT,
    Condition,
    Filter,
    Group,
    ListQuery,
    Negation,
    Scalar,
    Sort,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PARAMETERS = ("filter", "q", "sort", "fields", "include", "limit", "cursor", "deleted", "count")
_BRACKETS = re.compile(r"filter\[([a-z0-9_.]{1,150})\](?:\[([a-z_]{2,20})\])?")
_LIST_OPERATORS = frozenset({"in", "not_in", "between"})
_WHOLE = re.compile(r"-?[0-9]{1,19}")


def parse_parameters(pairs: Iterable[tuple[str, str]]) -> ListQuery:
    """Read URL parameters.

    `filter` holds a filter as JSON; `filter[field]=value` and `filter[field][operator]=value` are the short form, all
    of which must hold. `sort=-created_at`, `fields=name,email`, `include=account,owner`, `limit=50`, `cursor=…`,
    `deleted=true`, `count=exact`, `q=text`.

    Raises:
        BadQuery: naming the parameter.
    """
    given: dict[str, Any] = {}
    conditions: list[Filter] = []
    for name, value in pairs:
        short = _BRACKETS.fullmatch(name)
        if short:
            conditions.append(_short(short[1], short[2] or "eq", value))
        elif name not in PARAMETERS:
            raise BadQuery(name[:100], _("There is no such parameter."))
        elif name in given:
            raise BadQuery(name, _("This parameter may stand once."))
        else:
            given[name] = _READERS[name](value) if name in _READERS else value
    query = parse_document(given)
    if not conditions:
        return query
    if query.filter is not None:
        conditions.append(query.filter)
    return ListQuery(
        filter=conditions[0] if len(conditions) == 1 else Group("and", tuple(conditions)),
        q=query.q, sort=query.sort, fields=query.fields, includes=query.includes, limit=query.limit,
        cursor=query.cursor, deleted=query.deleted, count=query.count,
    )  # fmt: skip


def _json(text: str) -> Any:
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    if found is None:
        raise BadQuery("filter", _("The filter is not JSON."))
    return found


def _divided(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


# What fits no reader stays as it is, and the checks of documents refuse it.
_READERS: dict[str, Callable[[str], Any]] = {
    "filter": _json,
    "fields": _divided,
    "include": _divided,
    "limit": lambda text: int(text) if _WHOLE.fullmatch(text) else text,
    "deleted": lambda text: {"true": True, "false": False}.get(text, text),
}


def parse_document(given: Mapping[str, Any]) -> ListQuery:
    """Read a query as JSON: the same names as the URL parameters; `fields` and `include` are lists.

    Raises:
        BadQuery: naming the parameter.
    """
    for name in given:
        if name not in PARAMETERS:
            raise BadQuery(str(name)[:100], _("There is no such parameter."))
    limit = given.get("limit", DEFAULT_LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise BadQuery("limit", _("A number from 1 to ${n} is expected here.", mapping={"n": MAX_LIMIT}))
    deleted = given.get("deleted", False)
    if not isinstance(deleted, bool):
        raise BadQuery("deleted", _("true or false is expected here."))
    count = given.get("count", "none")
    if count not in ("none", "exact"):
        raise BadQuery("count", _("none or exact is expected here."))
    cursor = given.get("cursor", "")
    if not isinstance(cursor, str):
        raise BadQuery("cursor", _("This cursor does not belong to this list."))
    return ListQuery(
        filter=parse_filter(given["filter"]) if "filter" in given else None,
        q=_text(given["q"]) if "q" in given else None,
        sort=parse_sort(given["sort"]) if "sort" in given else None,
        fields=_names(given, "fields") if "fields" in given else None,
        includes=_names(given, "include") if "include" in given else (),
        limit=limit,
        cursor=cursor or None,
        deleted=deleted,
        count=count,
    )


def parse_sort(text: Any) -> Sort:
    """A sort order: a field name, with a minus before it to sort downwards."""
    if not isinstance(text, str) or not re.fullmatch(r"-?[a-z0-9_]{1,100}", text):
        raise BadQuery("sort", _("One field name is expected here; a minus before it sorts downwards."))
    return Sort(text.removeprefix("-"), text.startswith("-"))


def parse_filter(node: Any, where: str = "filter", depth: int = 1) -> Filter:
    """Read a filter as JSON: {"field", "op", "value"}, {"and": […]}, {"or": […]} or {"not": …}."""
    if depth > MAX_DEPTH:
        raise BadQuery(where, _("Filters may be nested ${n} deep.", mapping={"n": MAX_DEPTH}))
    if not isinstance(node, dict):
        raise BadQuery(where, _("An object is expected here."))
    for kind in ("and", "or"):
        if kind in node:
            items = node[kind]
            if len(node) != 1 or not isinstance(items, list) or len(items) > MAX_CONDITIONS:
                raise BadQuery(
                    where, _("A list of at most ${n} filters is expected here.", mapping={"n": 50})
                )
            parts = [
                parse_filter(item, f"{where}/{kind}/{index}", depth + 1) for index, item in enumerate(items)
            ]
            return Group("and" if kind == "and" else "or", tuple(parts))
    if "not" in node:
        if len(node) != 1:
            raise BadQuery(where, _("not stands alone."))
        return Negation(parse_filter(node["not"], f"{where}/not", depth + 1))
    path, operator = node.get("field"), node.get("op", "eq")
    if set(node) - {"field", "op", "value"} or not isinstance(path, str) or not isinstance(operator, str):
        raise BadQuery(where, _('A condition has "field", "op" and "value".'))
    if "value" not in node:
        raise BadQuery(where, _('A condition has "field", "op" and "value".'))
    return Condition(path, operator, node["value"])


def _short(path: str, operator: str, text: str) -> Condition:
    """A condition from the URL: words become what the field needs, lists are divided by commas."""
    if operator in _LIST_OPERATORS:
        return Condition(path, operator, [Scalar(part) for part in text.split(",")])
    return Condition(path, operator, Scalar(text))


def _names(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given[name]
    if not isinstance(value, list) or len(value) > 100 or not all(isinstance(item, str) for item in value):
        raise BadQuery(name, _("A list of at most 100 names is expected here."))
    return tuple(dict.fromkeys(value))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= 200:
        raise BadQuery("q", _("A text of 1 to 200 characters is expected here."))
    return value.strip()
