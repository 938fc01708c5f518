"""Lists for API, pages, imports and exports: filter, search, sort, pages of constant cost, and the audit event.

query = parse_parameters(request.GET.items())            # or ListQuery(filter=Condition("account.name", "eq", "X"))
page = fetch(request.registry.hot, datamap, datamap["contact"], query, actor)
page.rows, page.next_cursor
read_one(request.registry.hot, datamap, datamap["contact"], key, actor, includes=("account",))
"""

from crm_server.kernel.listing.fetch import fetch, read_one
from crm_server.kernel.listing.operators import OPERATORS, SORTABLE
from crm_server.kernel.listing.parse import parse_document, parse_filter, parse_parameters, parse_sort
from crm_server.kernel.listing.query import Condition, Filter, Group, ListQuery, Negation, Page, Sort
from crm_server.kernel.listing.scope import CustomColumn, CustomColumns, includable
from crm_server.kernel.listing.telling import Gathered, Reading

__all__ = [
    "OPERATORS",
    "SORTABLE",
    "Condition",
    "CustomColumn",
    "CustomColumns",
    "Filter",
    "Gathered",
    "Group",
    "ListQuery",
    "Negation",
    "Page",
    "Reading",
    "Sort",
    "fetch",
    "includable",
    "parse_document",
    "parse_filter",
    "parse_parameters",
    "parse_sort",
    "read_one",
]
