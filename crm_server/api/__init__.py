"""The REST API, derived from the data map.

Routes are tried in order, so what is asked most often stands first. Domains add actions of their own (convert a lead,
move a deal) by `includeme_api(config)` in their views module.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING

import crm_server.domain
from crm_server.api.actions import lead_context, opportunity_context
from crm_server.api.context import UUID_PATTERN, collection_context, known_parts, part_context
from crm_server.api.custom import CustomDefinitions
from crm_server.api.problems import MethodNotAllowed
from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

_ID = f"{{id:{UUID_PATTERN}}}"
_NAME = "{collection:[a-z-]+}"
# Attachments are no collection: their one address of this form is below.
_RECORDS = "{collection:(?!attachments/)[a-z-]+}"
# Name, pattern, whether it leads to a record or a part of one, and the methods that it takes.
ROUTES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("api_record", f"/{_RECORDS}/{_ID}", "record", ("GET", "HEAD", "PATCH", "DELETE")),
    ("api_meta", "/meta", "", ("GET", "HEAD")),
    ("api_me", "/me", "", ("GET", "HEAD")),
    ("api_changes", "/changes", "", ("GET", "HEAD")),
    ("api_openapi", "/openapi.json", "", ("GET", "HEAD")),
    ("api_docs", "/docs", "", ("GET", "HEAD")),
    ("api_collection", f"/{_NAME}", "record", ("GET", "HEAD", "POST")),
    ("api_query", f"/{_NAME}/query", "record", ("POST",)),
    ("api_bulk", f"/{_NAME}/bulk", "record", ("POST",)),
    ("api_restore", f"/{_NAME}/{_ID}/restore", "record", ("POST",)),
    ("api_convert", f"/leads/{_ID}/convert", "lead", ("POST",)),
    ("api_move", f"/opportunities/{_ID}/move", "opportunity", ("POST",)),
    ("api_tags", f"/{_NAME}/{_ID}/tags", "record", ("GET", "HEAD", "POST")),
    ("api_tag", f"/{_NAME}/{_ID}/tags/{{tag_id:{UUID_PATTERN}}}", "record", ("DELETE",)),
    ("api_attachments", f"/{_NAME}/{_ID}/attachments", "record", ("GET", "HEAD", "POST")),
    ("api_download", f"/attachments/{_ID}/content", "", ("GET", "HEAD")),
    ("api_attachment", f"/attachments/{_ID}", "", ("DELETE",)),
    ("api_purge", f"/{_NAME}/{_ID}/purge", "record", ("POST",)),
)
PART_ROUTES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("api_parts", f"/{_NAME}/{_ID}/{{part:[a-z-]+}}", "part", ("GET", "HEAD", "POST")),
    (
        "api_part",
        f"/{_NAME}/{_ID}/{{part:[a-z-]+}}/{{part_id:{UUID_PATTERN}}}",
        "part",
        ("GET", "HEAD", "PATCH", "DELETE"),
    ),
)
_FACTORIES = {
    "record": collection_context,
    "part": part_context,
    "lead": lead_context,
    "opportunity": opportunity_context,
    "": None,
}


def _refuse(methods: tuple[str, ...]) -> object:
    def refuse(_request: Request) -> Response:
        raise MethodNotAllowed(methods)

    return refuse


def _add_routes(config: Configurator, table: tuple[tuple[str, str, str, tuple[str, ...]], ...]) -> None:
    for name, pattern, leads_to, methods in table:
        config.add_route(name, pattern, factory=_FACTORIES[leads_to])
        config.add_view(_refuse(methods), route_name=name, permission=PUBLIC, require_csrf=False)


def _domain_actions(config: Configurator) -> None:
    """Include what the domains offer beside the life of a record."""
    for found in pkgutil.iter_modules(crm_server.domain.__path__, "crm_server.domain."):
        if not found.ispkg or importlib.util.find_spec(f"{found.name}.views") is None:
            continue
        module = importlib.import_module(f"{found.name}.views")
        if hasattr(module, "includeme_api"):
            module.includeme_api(config)


def includeme(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    config.registry.custom_columns = CustomDefinitions(
        config.registry.session_factory, config.registry.datamap
    )
    config.registry.api_parts = known_parts(config.registry.datamap)
    _add_routes(config, ROUTES)
    # Actions of domains come before parts: "/leads/{id}/convert" would else be taken for a part.
    _domain_actions(config)
    _add_routes(config, PART_ROUTES)
    for name in ("problems", "records", "bulk", "parts", "actions", "changes", "meta", "openapi", "docs"):
        config.include(f"crm_server.api.{name}")
