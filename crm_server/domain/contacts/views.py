"""API: the decision chain of an account or an opportunity. Roles themselves are parts: `…/contact-roles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer
from crm_server.api.context import key_of, named
from crm_server.domain.actions import add_action, one_of
from crm_server.domain.contacts.queries import decision_chain
from crm_server.kernel.errors import NotAllowed
from crm_server.permissions import Action, EntityContext, record_permission
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def chain(context: EntityContext, request: Request) -> Response:
    """GET who decides: superiors before those who report to them."""
    named(request, ())
    needed = record_permission("contact", Action.READ)
    if not request.actor.may(needed):
        raise NotAllowed(needed)
    key = records(request.db, context.entity.name).get(key_of(request)).id
    place = {f"{context.entity.name}_id": key}
    return answer({"data": decision_chain(request.db, request.registry.datamap, **place)})


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(
        config,
        "api_chain",
        f"{one_of('accounts', 'opportunities')}/decision-chain",
        {"GET": (chain, Action.READ)},
    )
