"""Imports every module that registers a kind of two-person release, for the application, the worker and commands.

A domain with such acts adds its line here; nothing else lists the kinds.
"""

# ruff: noqa: F401 - kinds are registered by being imported
from __future__ import annotations

import crm_server.domain.audit.releasing
import crm_server.domain.identity.services.granting
import crm_server.domain.imports.releasing
import crm_server.domain.keys.jobs
import crm_server.domain.keys.releasing
