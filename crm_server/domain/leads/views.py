"""API: the conversion of a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer, expected_version
from crm_server.api.context import key_of
from crm_server.api.idempotency import Done, once
from crm_server.domain.actions import add_action, body_of, one_of
from crm_server.permissions import Action
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def convert(request: Request) -> Response:
    """POST makes an account, a contact and, with `opportunity`, an opportunity from a lead."""
    given = body_of(request, account_id="id", contact_id="id", opportunity="object")

    def act() -> Done:
        made = records(request.db, "lead").convert(
            key_of(request), version=expected_version(request), **given
        )
        facts = {
            name: None if value is None else str(value)
            for name, value in (
                ("lead_id", made.lead_id),
                ("account_id", made.account_id),
                ("contact_id", made.contact_id),
                ("opportunity_id", made.opportunity_id),
            )
        }
        return Done(200, answer=facts)

    return once(request, act, lambda done: answer(done.answer))


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_lead_convert", f"{one_of('leads')}/convert", {"POST": (convert, Action.UPDATE)})
