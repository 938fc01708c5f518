"""API: the custom fields of a kind of record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.api.answers import answer, empty, expected_version
from crm_server.api.body import json_object
from crm_server.api.context import key_of, named
from crm_server.api.idempotency import Done, once
from crm_server.domain.actions import COLLECTION, add_action, key_pattern
from crm_server.domain.custom_fields.services import CustomFieldService
from crm_server.kernel.errors import NotFound
from crm_server.permissions import Action, EntityContext, Permission
from crm_server.services import service

if TYPE_CHECKING:
    from typing import Any

    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

_SHOWN = ("id", "version", "number", "name", "label_en", "label_zh", "semantic", "policy", "position")


def _document(field: Any) -> dict[str, Any]:
    return {name: getattr(field, name) for name in _SHOWN}


def list_fields(context: EntityContext, request: Request) -> Response:
    """GET the custom fields of a kind of record, in order."""
    named(request, ())
    found = service(request.db, CustomFieldService).listed(context.entity.name)
    return answer({"data": [_document(field) for field in found]})


def declare(context: EntityContext, request: Request) -> Response:
    """POST a new custom field with its complete declaration."""
    own = service(request.db, CustomFieldService)

    def act() -> Done:
        field = own.declare(context.entity.name, json_object(request))
        return Done(201, f"{request.path}/{field.id}", field.id)

    def respond(done: Done) -> Response:
        assert done.record_id is not None  # noqa: S101 - what makes a record keeps its key
        return answer(_document(own.get(done.record_id)), done.status, [("Location", done.location or "")])

    response = once(request, act, respond)
    request.registry.custom_columns.forget()
    return response


def change(context: EntityContext, request: Request) -> Response:
    """PATCH label, help and place; name, type and declaration stay."""
    own = service(request.db, CustomFieldService)
    key = _of_kind(own, context, request).id
    field = own.update(key, json_object(request), version=expected_version(request))
    request.registry.custom_columns.forget()
    return answer(_document(field))


def retire(context: EntityContext, request: Request) -> Response:
    """DELETE takes a field out of use; its number is never used again."""
    own = service(request.db, CustomFieldService)
    own.retire(_of_kind(own, context, request).id, version=expected_version(request))
    request.registry.custom_columns.forget()
    return empty()


def _of_kind(own: Any, context: EntityContext, request: Request) -> Any:
    field = own.get(key_of(request, "field_id"))
    if field.entity != context.entity.number:
        raise NotFound
    return field


def includeme_api(config: Configurator) -> None:
    """Add the addresses."""
    managing = Permission.CUSTOM_FIELDS_MANAGE
    add_action(
        config,
        "api_custom_fields",
        f"{COLLECTION}/custom-fields",
        {"GET": (list_fields, Action.READ), "POST": (declare, managing)},
    )
    add_action(
        config,
        "api_custom_field",
        f"{COLLECTION}/custom-fields/{key_pattern('field_id')}",
        {"PATCH": (change, managing), "DELETE": (retire, managing)},
    )
