"""Addresses of the pages. Those of single kinds of records come before the generic ones, which match any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from crm_server.kernel.errors import NotFound
from crm_server.permissions import EntityContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator
    from pyramid.request import Request

UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def context_of(entity: str) -> Callable[[Request], EntityContext]:
    """A route factory for pages about one kind of record."""

    def factory(request: Request) -> EntityContext:
        return EntityContext(request.registry.datamap[entity])

    return factory


def context(request: Request) -> EntityContext:
    """The kind of record that the address names."""
    entity = request.registry.datamap.by_collection(request.matchdict["collection"])
    if entity is None:
        raise NotFound
    return EntityContext(entity)


def record_id(request: Request) -> UUID:
    """The key in the address; the route's pattern has checked it."""
    return UUID(request.matchdict["id"])


def includeme(config: Configurator) -> None:
    """Add the routes and the modules of views behind them."""
    datamap = config.registry.datamap
    collections = "|".join(sorted(item.policy.collection for item in datamap.records()))
    one = f"{{id:{UUID_PATTERN}}}"
    entities = "|".join(sorted(item.name for item in datamap))

    config.add_route("home", "/")
    config.add_route("preferences", "/preferences")
    config.add_route("profile", "/profile")
    config.add_route("search", "/search")
    config.add_route("pick", f"/pick/{{entity:{entities}}}")
    config.add_route("bin", "/bin")
    for name in ("tag",):
        config.add_route(f"{name}_list", f"/{datamap[name].policy.collection}", factory=context_of(name), static=True)

    generic = f"/{{collection:{collections}}}"
    config.add_route("list", generic, factory=context)
    config.add_route("list_filter", f"{generic}/filter", factory=context)
    config.add_route("list_filter_row", f"{generic}/filter-row", factory=context)
    config.add_route("list_bulk", f"{generic}/bulk", factory=context)
    config.add_route("record_new", f"{generic}/new", factory=context)
    config.add_route("record", f"{generic}/{one}", factory=context)
    config.add_route("record_edit", f"{generic}/{one}/edit", factory=context)
    config.add_route("record_resolve", f"{generic}/{one}/resolve", factory=context)
    config.add_route("record_delete", f"{generic}/{one}/delete", factory=context)
    config.add_route("record_restore", f"{generic}/{one}/restore", factory=context)
    config.add_route("record_purge", f"{generic}/{one}/purge", factory=context)
    config.scan("crm_server.web.views")
