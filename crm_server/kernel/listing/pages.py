# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Which rows a page has: where it starts, in which order it goes, and how it stays cheap however far it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing import cursors
from crm_server.kernel.listing.asking import readable, sealed_field
from crm_server.kernel.listing.operators import SORTABLE, Reader, Values, parameter_type, read_value
from crm_server.kernel.listing.periods import Period
from crm_server.kernel.listing.query import ListQuery, Sort
from crm_server.kernel.listing.scope import sql_name
from crm_server.kernel.listing.where import unknown_field

if TYPE_CHECKING:
    from compliance.datamap import EntityDef, FieldDef
    from crm_server.kernel.listing.scope import CustomColumns
    from crm_server.kernel.presenter import Presentation

NEWEST_FIRST = Sort("created_at", descending=True)
_BY_KEY = Sort("id", descending=True)


@dataclass(frozen=True, slots=True)
class Walk:
    """The way through a list.

    Where the field may be empty, the list has two regions, filled ones first. Each is walked in the order of its
    index, and the second only if the first did not fill the page; so no page pays for those before it.
    """

    sort: Sort
    item: FieldDef
    place: cursors.Place | None
    mark: str

    @property
    def backward(self) -> bool:
        """Whether the page ends at the place instead of starting there."""
        return self.place is not None and self.place.backward

    @property
    def shape(self) -> tuple[Any, ...]:
        """All of it that the text of the statement depends on."""
        place = self.place
        return (self.sort, None if place is None else (place.backward, place.value is None))

    def bind(self, values: Values) -> tuple[str, ...]:
        """Add the sort value (where there is one) and the key of the place to the parameters."""
        if self.place is None:
            return ()
        key = ("uuid", self.place.key)
        if self.item.name == "id" or self.place.value is None:
            return (values.add(*key),)
        return values.add(parameter_type(self.item.semantic), self.place.value), values.add(*key)

    def clauses(
        self, table: str, limit: int, conditions: tuple[str, ...], inner: str, bound: tuple[str, ...]
    ) -> list[str]:
        """The expression "page": up to one row more than the limit, in the order of reading.

        Args:
            table: What is read: see `rules.listed`.
            limit: Rows on a page.
            conditions: The where clause, to be joined by "and".
            inner: The columns that the page carries.
            bound: What `bind` returned.
        """
        column = f"t.{sql_name(self.item.name)}"
        downward = self.sort.descending is not self.backward
        direction, symbol = ("desc", "<") if downward else ("asc", ">")
        order = f"{column} {direction}" + ("" if self.item.name == "id" else f", t.id {direction}")
        after = []
        if bound:
            after = (
                [f"({column}, t.id) {symbol} ({', '.join(bound)})"]
                if len(bound) == 2
                else [f"t.id {symbol} {bound[0]}"]
            )

        def region(more: list[str], count: str) -> str:
            chosen = " and ".join([*conditions, *more]) or "true"
            return f"select {inner} from {table} t where {chosen} order by {order} limit {count}"

        if not self.item.nullable:
            return [f"page as materialized ({region(after, str(limit + 1))})"]
        regions: tuple[bool, ...] = (False, True) if self.backward else (True, False)
        if self.place is not None and (self.place.value is not None) is regions[1]:
            regions = regions[1:]
        tests = {True: f"{column} is not null", False: f"{column} is null"}
        first = region([tests[regions[0]], *after], str(limit + 1))
        if len(regions) == 1:
            return [f"page as materialized ({first})"]
        rest = region([tests[regions[1]]], f"greatest({limit + 1} - (select count(*) from first_region), 0)")
        return [
            f"first_region as materialized ({first})",
            f"page as materialized (select * from first_region union all (select * from ({rest}) more))",
        ]

    def cursor(self, value: Any, key: str, *, before: bool) -> str:
        """The cursor of the page that ends before a row, or starts after it."""
        return cursors.encode(cursors.Place(value, key, before), self.mark)


def walk(
    entity: EntityDef, query: ListQuery, shown: Presentation, reader: Reader, custom: CustomColumns
) -> Walk:
    """The way that a query asks for.

    Raises:
        BadQuery: a sort field that can't be used, or a cursor of another list.
    """
    sort = query.sort or (NEWEST_FIRST if "created_at" in shown.readable else _BY_KEY)
    item = sealed_field(entity, sort.field, custom) or entity.fields.get(sort.field)
    if (
        item is None
        or item.semantic not in SORTABLE
        or not readable(entity, sort.field, reader.actor, custom)
    ):
        raise unknown_field("sort", sort.field)
    mark = cursors.list_mark(entity.name, sort.field, descending=sort.descending, deleted=query.deleted)
    place = None if query.cursor is None else _place(item, query.cursor, mark, reader)
    return Walk(sort, item, place, mark)


def _place(item: FieldDef, text: str, mark: str, reader: Reader) -> cursors.Place:
    refused = BadQuery("cursor", _("This cursor does not belong to this list."))
    try:
        place = cursors.decode(text, mark)
    except cursors.BadCursorError:
        raise refused from None
    value = place.value
    if value is None or item.sealed:
        # A place in the order of a sealed field is named by the record alone.
        fits = item.nullable and value is None
    elif parameter_type(item.semantic) == "text":
        fits = isinstance(value, str) and _storable(value)
    else:
        value = read_value(item.policy, value, reader, "cursor")
        fits = not isinstance(value, Period)
    if not fits:
        raise refused
    return cursors.Place(value, place.key, place.backward)


def _storable(text: str) -> bool:
    """Whether PostgreSQL could hold the text: a forged cursor may carry anything, a true one any letter there is."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)
