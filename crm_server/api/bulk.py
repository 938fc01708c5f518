"""Up to 1,000 changes in one request, with a result for each: /api/v1/{collection}/bulk.

With mode "each" every item stands for itself, in a savepoint of its own. With mode "all" the first failure undoes
everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.body import json_object
from crm_server.api.idempotency import Done, once
from crm_server.api.problems import problem_document
from crm_server.kernel.errors import (
    AppError,
    Errors,
    FieldError,
    OutcomeUnknown,
    Unavailable,
    ValidationFailed,
)
from crm_server.permissions import EntityContext, Permission
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from crm_server.kernel.records import RecordService

MAX_ITEMS = 1000
ACTIONS = ("create", "update", "delete")
_MEMBERS = {"create": {"data"}, "update": {"id", "version", "data"}, "delete": {"id", "version"}}
_NEEDED = {"create": {"data"}, "update": {"id", "version", "data"}, "delete": {"id"}}


def bulk(context: EntityContext, request: Request) -> Response:
    """POST {"mode": "each" | "all", "items": [{"action", "id", "version", "data"}, …]}."""
    document = json_object(request)
    items = _checked(document)
    every = document.get("mode", "each") == "all"
    service = records(request.db, context.entity.name)

    def act() -> Done:
        _lock(service, items)
        results = [_one(request, service, index, item, every=every) for index, item in enumerate(items)]
        failed = sum(result["status"] >= 400 for result in results)
        return Done(200, answer={"results": results, "succeeded": len(results) - failed, "failed": failed})

    return once(request, act, lambda done: answer(done.answer, done.status))


def _one(
    request: Request, service: RecordService, index: int, item: dict[str, Any], *, every: bool
) -> dict[str, Any]:
    if every:
        try:
            return {"index": index} | _apply(service, item)
        except ValidationFailed as error:
            raise ValidationFailed(
                [
                    FieldError(f"/items/{index}/data{one.pointer}", one.code, one.message)
                    for one in error.errors
                ]
            ) from None
        except AppError as error:
            error.extra.setdefault("index", index)
            raise
    savepoint = request.db.begin_nested()
    try:
        result = _apply(service, item)
        savepoint.commit()
        return {"index": index} | result
    except (Unavailable, OutcomeUnknown):
        raise
    except AppError as error:
        # A failed flush leaves the savepoint inactive but in place: it is rolled back in either state.
        savepoint.rollback()
        # The error tells codes and places; values that a lost update carries are for single changes.
        document = problem_document(error, request)
        kept = ("type", "code", "title", "detail", "errors", "version", "reason")
        return {
            "index": index,
            "status": error.status,
            "error": {name: document[name] for name in kept if name in document},
        }


def _apply(service: RecordService, item: dict[str, Any]) -> dict[str, Any]:
    if item["action"] == "create":
        record = service.create(item["data"])
        return {"status": 201, "id": str(record.id), "version": record.version}
    key = UUID(item["id"])
    if item["action"] == "update":
        record = service.update(key, item["data"], version=item["version"])
        return {"status": 200, "id": str(key), "version": record.version}
    service.delete(key, version=item.get("version"))
    return {"status": 204, "id": str(key)}


def _lock(service: RecordService, items: list[dict[str, Any]]) -> None:
    """Lock all rows in the order of their keys: two bulk requests can't wait for each other in a circle, and no
    version changes between the check and the change.
    """
    keys = sorted({UUID(item["id"]) for item in items if "id" in item})
    if keys:
        table = service.entity.table
        service.session.execute(
            select(table.c.id).where(table.c.id.in_(keys)).order_by(table.c.id).with_for_update()
        )


def _checked(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The items, their form checked; every problem is told at once."""
    errors = Errors()
    for name in document.keys() - {"mode", "items"}:
        errors.add(f"/{_pointer(name)}", "unknown_field", _("There is no such field."))
    if document.get("mode", "each") not in ("each", "all"):
        errors.add("/mode", "choice", _("each or all is expected here."))
    items = document.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        errors.add(
            "/items", "type", _("A list of 1 to ${n} items is expected here.", mapping={"n": MAX_ITEMS})
        )
        items = []
    for index, item in enumerate(items):
        _check_item(item, f"/items/{index}", errors)
    errors.raise_if_any()
    return items


def _check_item(item: Any, pointer: str, errors: Errors) -> None:
    action = item.get("action") if isinstance(item, dict) else None
    if not isinstance(action, str) or action not in ACTIONS:
        errors.add(f"{pointer}/action", "choice", _("create, update or delete is expected here."))
        return
    for name in item.keys() - _MEMBERS[action] - {"action"}:
        errors.add(f"{pointer}/{_pointer(name)}", "unknown_field", _("There is no such field."))
    for name in _NEEDED[action] - item.keys():
        errors.add(f"{pointer}/{name}", "required", _("This field must be filled in."))
    if "data" in item and not isinstance(item["data"], dict):
        errors.add(f"{pointer}/data", "type", _("An object is expected here."))
    if "id" in item and not _is_uuid(item["id"]):
        errors.add(f"{pointer}/id", "id", _("An id (UUID) is expected here."))
    version = item.get("version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31:
        errors.add(f"{pointer}/version", "type", _("A whole number is expected here."))


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 36 and bool(UUID(value))
    except ValueError:
        return False


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def includeme(config: Configurator) -> None:
    """Add the view. What each item may do is asked of the service, item by item."""
    config.add_view(bulk, route_name="api_bulk", request_method="POST", permission=Permission.LOGGED_IN)
