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
    config.add_route("explain", "/access/explain")
    config.add_route("file", f"/files/{one}")
    config.add_route("file_remove", f"/files/{one}/remove")
    config.add_route("parts", "/parts/{part:[a-z_]+}")
    config.add_route("part", f"/parts/{{part:[a-z_]+}}/{one}")
    config.add_route("part_remove", f"/parts/{{part:[a-z_]+}}/{one}/remove")
    config.add_route("pipeline", "/opportunities/board", factory=context_of("opportunity"))
    config.add_route("deal_move", f"/opportunities/{one}/move", factory=context_of("opportunity"))
    config.add_route("lead_revert", f"/leads/{one}/revert", factory=context_of("lead"))
    config.add_route("lead_convert", f"/leads/{one}/convert", factory=context_of("lead"))
    config.add_route("activity_done", f"/activities/{one}/done", factory=context_of("activity"))
    config.add_route("custom_fields", "/custom-fields")
    config.add_route("custom_field_new", "/custom-fields/new")
    config.add_route("custom_field_retire", f"/custom-fields/{one}/retire")
    # Lists with a place of their own in the navigation.
    for name in ("tag", "pipeline"):
        config.add_route(f"{name}_list", f"/{datamap[name].policy.collection}", factory=context_of(name))

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
    config.add_route("record_tags", f"{generic}/{one}/tags", factory=context)
    config.add_route("record_untag", f"{generic}/{one}/tags/{{tag:{UUID_PATTERN}}}/remove", factory=context)
    config.add_route("record_timeline", f"{generic}/{one}/timeline", factory=context)
    config.add_route("record_sharing", f"{generic}/{one}/sharing", factory=context)
    config.add_route(
        "record_share_stop", f"{generic}/{one}/sharing/{{share:{UUID_PATTERN}}}/stop", factory=context
    )
    config.add_route("record_hand_over", f"{generic}/{one}/hand-over", factory=context)
    config.add_route("record_files", f"{generic}/{one}/files", factory=context)
    config.add_route("view_save", f"{generic}/views", factory=context)
    config.add_route("view_delete", f"{generic}/views/{one}/delete", factory=context)
    config.scan("crm_server.web.views")
