"""API: the hierarchy around an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer
from crm_server.api.context import key_of, named
from crm_server.domain.accounts.queries import ancestors, subtree
from crm_server.domain.actions import add_action, one_of
from crm_server.permissions import Action
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def hierarchy(request: Request) -> Response:
    """GET the accounts above (nearest first) and below (level by level), the account itself left out."""
    named(request, ())
    key = records(request.db, "account").get(key_of(request)).id
    return answer({"above": ancestors(request.db, key)[1:], "below": subtree(request.db, key)[1:]})


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_hierarchy", f"{one_of('accounts')}/hierarchy", {"GET": (hierarchy, Action.READ)})
