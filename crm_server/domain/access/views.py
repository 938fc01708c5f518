"""API: the access explainer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.context import named
from crm_server.domain.access.queries import ACTS, Explanation, explain
from crm_server.domain.actions import add_action, key_in
from crm_server.kernel.errors import BadQuery
from crm_server.permissions import Action, Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def explained(request: Request) -> Response:
    """GET why a user (oneself by default) may or may not do something with a record."""
    given = named(request, {"user", "entity", "record", "action"})
    action = given.get("action", Action.READ.value)
    if action not in {one.value for one in ACTS}:
        raise BadQuery("action", _("There is no such act."))
    record = key_in(given, "record")
    if record is None:
        raise BadQuery("record", _("This parameter is needed."))
    user = None if given.get("user") == "me" else key_in(given, "user")
    found = explain(
        request.db,
        request.registry.datamap,
        user or request.actor.id,
        (given.get("entity", ""), record),
        Action(action),
    )
    return answer(plain(found))


def plain(found: Explanation) -> dict[str, Any]:
    """An explanation as JSON; reasons are in English, as all texts of the API."""
    return {
        "user_id": found.user_id,
        "entity": found.entity,
        "record_id": found.record_id,
        "action": found.action.value,
        "allowed": found.allowed,
        "rules": [
            {**rule.plain(), "because": None if rule.because is None else rule.because.interpolate()}
            for rule in found.rules
        ],
        "fields": dict(found.fields),
        "field_rules": [asdict(one) for one in found.field_rules],
    }


def includeme_api(config: Configurator) -> None:
    """Add the address."""
    add_action(config, "api_explain", "access/explain", {"GET": (explained, Permission.LOGGED_IN)})
