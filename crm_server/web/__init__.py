"""The pages, derived from the data map.

Each record of the CRM gets its list, its page, its forms and its place in the bin from the declaration of its fields;
what a kind of record needs beyond that stands in `layouts` and in views of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyramid.config import Configurator


def includeme(config: Configurator) -> None:
    """Add templates, translations and built assets first, then the pages, then the error pages around them."""
    config.include("crm_server.web.templating")
    config.include("crm_server.web.static")
    config.include("crm_server.web.routes")
    config.include("crm_server.web.errors")
