"""Imports every module that maps a table, so that the data map is whole, and freezes it.

A new domain adds its line here; nothing else lists the models.
"""

# ruff: noqa: F401 - tables are mapped by being imported
from __future__ import annotations

from functools import cache

import compliance.audit.models
import crm_server.domain.accounts.models
import crm_server.domain.activities.models
import crm_server.domain.approvals.models
import crm_server.domain.audit.models
import crm_server.domain.cases.models
import crm_server.domain.catalog.models
import crm_server.domain.contacts.models
import crm_server.domain.custom_fields.models
import crm_server.domain.documents.models
import crm_server.domain.identity.directory_models
import crm_server.domain.identity.factor_models
import crm_server.domain.identity.models
import crm_server.domain.identity.sso_models
import crm_server.domain.imports.models
import crm_server.domain.keys.models
import crm_server.domain.leads.models
import crm_server.domain.pipeline.models
import crm_server.domain.saved_views.models
import crm_server.domain.sharing.models
import crm_server.domain.subjects.models
import crm_server.domain.tags.models
import crm_server.kernel.models
from compliance.datamap import Base, DataMap
from crm_server.kernel import rowsql


@cache
def datamap() -> DataMap:
    """The frozen data map of the application."""
    rowsql.add_indexes(Base.metadata)
    return DataMap.freeze(Base.registry)
