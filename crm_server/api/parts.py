"""Parts of a record as sub-collections: /api/v1/opportunities/{id}/opportunity-lines and the like.

Who may read the record may read its parts; who may change the record may change them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.api.answers import answer, empty, etag, expected_version
from crm_server.api.body import json_object
from crm_server.api.context import PartContext, key_of, named, pairs, words
from crm_server.api.idempotency import Done, once
from crm_server.api.problems import READ_ONLY, MethodNotAllowed
from crm_server.api.records import page_document, represent
from crm_server.kernel.errors import Errors, NotFound
from crm_server.kernel.listing import Condition, Group, fetch, parse_parameters, read_one
from crm_server.permissions import Action
from crm_server.services import records

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def list_parts(context: PartContext, request: Request) -> Response:
    """GET the parts of a record, page by page."""
    registry = request.registry
    owner = key_of(request)
    # Reading the parts of a record is reading the record; this also tells an empty list from no record.
    read_one(registry.hot, registry.datamap, context.entity, owner, request.actor, fields=("id",))
    query = parse_parameters(pairs(request))
    of_owner = Condition(context.link, "eq", str(owner))
    chosen = of_owner if query.filter is None else Group("and", (of_owner, query.filter))
    page = fetch(registry.hot, registry.datamap, context.part, replace(query, filter=chosen), request.actor)
    return answer(page_document(page))


def read_part(context: PartContext, request: Request) -> Response:
    """GET one part."""
    given = named(request, {"fields", "include"})
    registry = request.registry
    fields = words(given.get("fields"))
    row = read_one(
        registry.hot,
        registry.datamap,
        context.part,
        key_of(request, "part_id"),
        request.actor,
        fields=None if fields is None else (*fields, context.link),
        includes=words(given.get("include")) or (),
    )
    if row.get(context.link) != str(key_of(request)):
        raise NotFound
    if fields is not None and context.link not in fields:
        del row[context.link]
    return answer(row, headers=[("ETag", etag(row["version"]))] if "version" in row else [])


def create_part(context: PartContext, request: Request) -> Response:
    """POST a new part."""
    service = records(request.db, _changeable(context).part.name)

    def act() -> Done:
        owner = _owner(context, request)
        record = service.create({context.link: str(owner)} | _without_link(context, request))
        return Done(201, f"{request.path}/{record.id}", record.id)

    def respond(done: Done) -> Response:
        record = request.db.get(context.part.model, done.record_id)
        headers = [("Location", done.location or "")]
        if record is None:
            return answer({"id": str(done.record_id)}, done.status, headers)
        return represent(request, service, record, done.status, headers)

    return once(request, act, respond)


def update_part(context: PartContext, request: Request) -> Response:
    """PATCH a part."""
    service = records(request.db, _changeable(context).part.name)
    version = expected_version(request)
    record = _part(context, request)
    changed = service.update(record.id, _without_link(context, request), version=version)
    return represent(request, service, changed)


def delete_part(context: PartContext, request: Request) -> Response:
    """DELETE a part."""
    service = records(request.db, _changeable(context).part.name)
    service.delete(_part(context, request).id, version=expected_version(request))
    return empty()


def _changeable(context: PartContext) -> PartContext:
    """Refuse changes of parts that are only ever added by the system, such as the history of stages."""
    if "version" not in context.part.fields:
        raise MethodNotAllowed(READ_ONLY)
    return context


def _owner(context: PartContext, request: Request) -> UUID:
    owner = key_of(request)
    records(request.db, context.entity.name).get(owner)
    return owner


def _part(context: PartContext, request: Request) -> Any:
    owner = _owner(context, request)
    record = records(request.db, context.part.name).get(key_of(request, "part_id"))
    if getattr(record, context.link) != owner:
        raise NotFound
    return record


def _without_link(context: PartContext, request: Request) -> dict[str, Any]:
    """The body; the record stands in the address and not in the body."""
    raw = json_object(request)
    errors = Errors()
    if context.link in raw:
        errors.add(f"/{context.link}", "read_only", _("The address says which record this belongs to."))
    errors.raise_if_any()
    return raw


def includeme(config: Configurator) -> None:
    """Add the views; the routes stand in order in crm_server.api."""
    for view, route, method, action in (
        (list_parts, "api_parts", "GET", Action.READ),
        (create_part, "api_parts", "POST", Action.UPDATE),
        (read_part, "api_part", "GET", Action.READ),
        (update_part, "api_part", "PATCH", Action.UPDATE),
        (delete_part, "api_part", "DELETE", Action.UPDATE),
    ):
        config.add_view(view, route_name=route, request_method=method, permission=action)
