"""Imports as records of the CRM: the file, its mapping, its dry run, its run with progress, and its undoing.

``services`` changes imports, ``queries`` reads them, ``jobs`` runs them in the background, ``views`` are the
pages and the addresses below ``/api/v1/imports``; lists leave as files by ``exporting``. What a file means
is decided in ``crm_server.importing``; this package writes the result into the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyramid.config import Configurator

_ID = "{id:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}}"
_ROUTES = (
    ("imports", "/imports"),
    ("import", f"/imports/{_ID}"),
    ("import_mapping", f"/imports/{_ID}/mapping"),
    ("import_act", f"/imports/{_ID}/act"),
    ("import_progress", f"/imports/{_ID}/progress"),
    ("import_errors", f"/imports/{_ID}/errors.csv"),
    ("api_imports", "/api/v1/imports"),
    ("api_import", f"/api/v1/imports/{_ID}"),
    ("api_import_mapping", f"/api/v1/imports/{_ID}/mapping"),
    ("api_import_rows", f"/api/v1/imports/{_ID}/rows"),
    ("api_import_errors", f"/api/v1/imports/{_ID}/errors.csv"),
    ("api_import_act", f"/api/v1/imports/{_ID}/{{act:check|run|stop|resume|undo}}"),
)


def includeme(config: Configurator) -> None:
    """Add routes and views. Comes before the API's own routes, whose patterns match any collection."""
    from compliance.datamap.text import _
    from crm_server.api.context import collection_context
    from crm_server.web import flash

    flash.TEXTS.update(
        {
            "mapping_saved": ("success", _("The mapping was kept.")),
            "mapping_incomplete": ("warning", _("The mapping is not complete yet. Correct it first.")),
            "mapping_country": (
                "warning",
                _("There is no such country. Write its two-letter code, like DE."),
            ),
            "mapping_currency": (
                "warning",
                _("There is no such currency. Write its three-letter code, like EUR."),
            ),
            "import_deleted": ("success", _("The import was removed. The records stay.")),
            "import_changed": ("warning", _("The import has changed meanwhile. This is how it stands now.")),
        }
    )
    for name, pattern in _ROUTES:
        config.add_route(name, pattern)
    collections = "|".join(sorted(item.policy.collection for item in config.registry.datamap.records()))
    config.add_route(
        "export_release", f"/{{collection:{collections}}}/export/release", factory=collection_context
    )
    config.add_route(
        "api_export_release",
        f"/api/v1/{{collection:{collections}}}/export/release",
        factory=collection_context,
    )
    config.add_route("export", f"/{{collection:{collections}}}/export", factory=collection_context)
    config.add_route("api_export", f"/api/v1/{{collection:{collections}}}/export", factory=collection_context)
    config.scan("crm_server.domain.imports.views")
