"""What there is, for clients that build forms and lists: /api/v1/meta, and /api/v1/me for who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap import Semantic
from crm_server.api.answers import answer
from crm_server.api.context import named
from crm_server.api.schema import required_fields
from crm_server.api.texts import language_tag, translate
from crm_server.kernel.listing import OPERATORS, SORTABLE, includable
from crm_server.kernel.listing.periods import NAMES
from crm_server.kernel.presenter import presentation
from crm_server.permissions import Action, Permission, record_permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap import EntityDef, FieldDef
    from crm_server.kernel.listing import CustomColumn
    from crm_server.kernel.presenter import Presentation


def meta(request: Request) -> Response:
    """GET the entities that the actor may read, with their fields, labels, choices and operators."""
    named(request, ())
    actor = request.actor
    entities = [
        _entity(item, request)
        for item in request.registry.datamap.records()
        if actor.may(record_permission(item.name, Action.READ))
    ]
    headers = [("Content-Language", language_tag(request))]
    return answer({"entities": entities, "periods": list(NAMES)}, headers=headers)


def me(request: Request) -> Response:
    """GET who is asking, and what they may do."""
    named(request, ())
    actor = request.actor
    return answer(
        {
            "id": str(actor.id),
            "name": actor.name,
            "locale": actor.locale,
            "timezone": actor.timezone,
            "roles": sorted(actor.roles),
            "permissions": sorted(actor.permissions),
            "fields": dict(actor.fields),
        }
    )


def _entity(entity: EntityDef, request: Request) -> dict[str, Any]:
    actor, policy = request.actor, entity.policy
    shown = presentation(entity, actor)
    required = set(required_fields(entity))
    fields = [_field(item, shown, required, request) for item in shown.fields.values()]
    custom = [_custom(entity, item, request) for item in request.registry.custom_columns(entity).values()]
    owned = sorted(part for collection, part in request.registry.api_parts if collection == policy.collection)
    return {
        "name": policy.name,
        "collection": policy.collection,
        "label": translate(request, policy.label),
        "label_plural": translate(request, policy.label_plural),
        "title_field": policy.title,
        "list_fields": [name for name in policy.list_fields if name in shown.fields],
        "includes": list(includable(request.registry.datamap, entity, actor)),
        "parts": owned,
        "actions": [str(action) for action in Action if actor.may(record_permission(entity.name, action))],
        "fields": fields,
        "custom_fields": [item for item in custom if item["access"] != "hidden"],
    }


def _field(item: FieldDef, shown: Presentation, required: set[str], request: Request) -> dict[str, Any]:
    readable = item.name in shown.readable
    access = "write" if item.name in shown.writable else ("read" if readable else "masked")
    return _described(item.name, item.policy, request) | {
        "required": item.name in required,
        "access": access,
        "operators": list(OPERATORS[item.semantic]) if readable else [],
        "sortable": readable and item.semantic in SORTABLE,
    }


def _custom(entity: EntityDef, item: CustomColumn, request: Request) -> dict[str, Any]:
    access = request.actor.field_level(item.policy.handling.access, f"{entity.name}.custom.{item.name}")
    return _described(item.name, item.policy, request) | {
        "required": item.policy.required,
        "access": access,
        "operators": list(OPERATORS[item.policy.semantic]) if access in {"read", "write"} else [],
        "sortable": False,
    }


def _described(name: str, policy: Any, request: Request) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name,
        "label": translate(request, policy.label),
        "type": str(policy.semantic),
        "personal": policy.personal,
    }
    if policy.help is not None:
        described["help"] = translate(request, policy.help)
    if policy.max_length is not None and not policy.choices:
        described["max_length"] = policy.max_length
    if policy.minimum is not None:
        described["minimum"], described["maximum"] = policy.minimum, policy.maximum
    if policy.choices:
        described["choices"] = [
            {"key": key, "label": translate(request, label)} for key, label in policy.choices.items()
        ]
    if policy.semantic is Semantic.REFERENCE:
        described["target"] = policy.target
    if policy.currency_field:
        described["currency_field"] = policy.currency_field
    return described


def includeme(config: Configurator) -> None:
    """Add the views."""
    config.add_view(meta, route_name="api_meta", request_method="GET", permission=Permission.LOGGED_IN)
    config.add_view(me, route_name="api_me", request_method="GET", permission=Permission.LOGGED_IN)
