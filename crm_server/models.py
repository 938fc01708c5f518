"""Imports every module that maps a table, so that the data map is whole, and freezes it.

A new domain adds its line here; nothing else lists the models.
"""

from __future__ import annotations

from functools import cache

import compliance.audit.models  # noqa: F401 - mapped by being imported
import crm_server.domain.accounts.models  # noqa: F401 - mapped by being imported
import crm_server.domain.activities.models  # noqa: F401 - mapped by being imported
import crm_server.domain.cases.models  # noqa: F401 - mapped by being imported
import crm_server.domain.catalog.models  # noqa: F401 - mapped by being imported
import crm_server.domain.contacts.models  # noqa: F401 - mapped by being imported
import crm_server.domain.custom_fields.models  # noqa: F401 - mapped by being imported
import crm_server.domain.documents.models  # noqa: F401 - mapped by being imported
import crm_server.domain.identity.directory_models  # noqa: F401 - mapped by being imported
import crm_server.domain.identity.factor_models  # noqa: F401 - mapped by being imported
import crm_server.domain.identity.models  # noqa: F401 - mapped by being imported
import crm_server.domain.imports.models  # noqa: F401 - mapped by being imported
import crm_server.domain.leads.models  # noqa: F401 - mapped by being imported
import crm_server.domain.pipeline.models  # noqa: F401 - mapped by being imported
import crm_server.domain.saved_views.models  # noqa: F401 - mapped by being imported
import crm_server.domain.subjects.models  # noqa: F401 - mapped by being imported
import crm_server.domain.tags.models  # noqa: F401 - mapped by being imported
import crm_server.kernel.models  # noqa: F401 - mapped by being imported
from compliance.datamap import Base, DataMap


@cache
def datamap() -> DataMap:
    """The frozen data map of the application."""
    return DataMap.freeze(Base.registry)
