"""What a list is asked for, as values: `parse` makes them of a client's words, `fetch` reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
MAX_DEPTH = 5
MAX_CONDITIONS = 50
MAX_VALUES = 200
COUNT_CAP = 10_000


class Scalar(str):
    """A text from a URL, which stands for a number or a boolean where the field has such values."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison.

    Attributes:
        path: A field ("email"), a field of a referenced record ("account.name", "account.owner.name") or a custom
            field ("custom.size").
        operator: A word of `operators.OPERATORS`.
        value: A JSON value (text, number, boolean, None, or a list of them), as a client would send it. Periods
            such as "last_30_days" stand where dates stand, and "me" where a user's id stands.
    """

    path: str
    operator: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Group:
    """Several filters, all or any of which must hold. An empty "and" holds always, an empty "or" never."""

    kind: Literal["and", "or"]
    items: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """Holds where the inner filter does not; an empty field counts as "does not"."""

    item: Filter


Filter = Condition | Group | Negation


@dataclass(frozen=True, slots=True)
class Sort:
    """One field; the record's key breaks ties in the same direction, so that the order is total."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list that somebody wants to see.

    Attributes:
        filter: Tree of conditions, or None.
        q: Free text, searched in the fields that are declared searchable and that the actor may read.
        sort: None for the natural order: newest first.
        fields: Names of the fields wanted; None for all that the actor may see. The key always comes along.
        includes: Names of references ("account", "owner") whose label shall be embedded.
        limit: Rows on a page, 1 to `MAX_LIMIT`.
        cursor: From an earlier page of the same list.
        deleted: Look into the bin instead.
        count: "exact" counts all matches, up to `COUNT_CAP`.
        partial: While the search service loads, a text is looked for in what is there; the page tells how much that is.
    """

    filter: Filter | None = None
    q: str | None = None
    sort: Sort | None = None
    fields: tuple[str, ...] | None = None
    includes: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    deleted: bool = False
    count: Literal["none", "exact"] = "none"
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of rows.

    Attributes:
        rows: One dict a row, ready for JSON: ids as text, dates and aware timestamps as such, masked values masked,
            fields that the actor may not see left out. A reference that was included stands under its short name
            as {"id", "name"} or None. Custom fields, where wanted, stand under "custom".
        next_cursor: Opaque; None on the last page.
        previous_cursor: Opaque; None on the first page.
        count: Number of matches if it was asked for, at most `COUNT_CAP`.
        count_capped: There are more than `count`.
        percent: How much of everything was looked into; less than 100 for `ListQuery.partial` alone.
    """

    rows: list[dict[str, Any]]
    next_cursor: str | None = None
    previous_cursor: str | None = None
    count: int | None = None
    count_capped: bool = field(default=False)
    percent: int = 100
