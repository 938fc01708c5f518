"""The pages of identity: logging in, one's own security, users, roles, teams and territories; roles in the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyramid.config import Configurator


def includeme_api(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    from crm_server.domain.identity.views import api, api_sso

    api.add_addresses(config)
    api_sso.add_addresses(config)
