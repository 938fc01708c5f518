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

if TYPE_CHECKING:
    from pyramid.config import Configurator

_ID = f"{{id:{UUID_PATTERN}}}"
# Name, pattern, and what it leads to.
ROUTES: tuple[tuple[str, str, str], ...] = (
    ("api_record", f"/{{records}}/{_ID}", "record"),
    ("api_collection", "/{records}", "record"),
    ("api_me", "/me", ""),
    ("api_changes", "/changes", ""),
    ("api_meta", "/meta", ""),
    ("api_query", "/{records}/query", "record"),
    ("api_bulk", "/{records}/bulk", "record"),
    ("api_tags", f"/{{records}}/{_ID}/tags", "record"),
    ("api_tag", f"/{{records}}/{_ID}/tags/{{tag_id:{UUID_PATTERN}}}", "record"),
    ("api_attachments", f"/{{records}}/{_ID}/attachments", "record"),
    ("api_download", f"/attachments/{_ID}/content", ""),
    ("api_attachment", f"/attachments/{_ID}", ""),
    ("api_convert", f"/leads/{_ID}/convert", "lead"),
    ("api_revert", f"/leads/{_ID}/revert-conversion", "lead"),
    ("api_move", f"/opportunities/{_ID}/move", "opportunity"),
    ("api_restore", f"/{{records}}/{_ID}/restore", "record"),
    ("api_purge", f"/{{records}}/{_ID}/purge", "record"),
    ("api_openapi", "/openapi.json", ""),
    ("api_docs", "/docs", ""),
)
PART_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("api_parts", f"/{{records}}/{_ID}/{{part:[a-z-]+}}", "part"),
    ("api_part", f"/{{records}}/{_ID}/{{part:[a-z-]+}}/{{part_id:{UUID_PATTERN}}}", "part"),
)
_FACTORIES = {
    "record": collection_context,
    "part": part_context,
    "lead": lead_context,
    "opportunity": opportunity_context,
    "": None,
}


def _add_routes(config: Configurator, table: tuple[tuple[str, str, str], ...]) -> None:
    known = "|".join(entity.policy.collection for entity in config.registry.datamap.records())
    for name, pattern, leads_to in table:
        config.add_route(
            name, pattern.replace("{records}", f"{{collection:{known}}}"), factory=_FACTORIES[leads_to]
        )


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
