"""Lists and records: /api/v1/{collection} and /api/v1/{collection}/{id}.

Reads go past the ORM in one prepared statement that also writes the audit event; changes go through the domain's
service in the request's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_server.api.answers import answer, empty, etag, expected_version, not_modified
from crm_server.api.body import json_object
from crm_server.api.context import flag, key_of, named, pairs, words
from crm_server.api.idempotency import Done, once
from crm_server.kernel.listing import fetch, parse_document, parse_parameters, read_one
from crm_server.kernel.presenter import present_record
from crm_server.permissions import Action, EntityContext
from crm_server.services import records

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap import EntityDef
    from crm_server.kernel.listing import ListQuery, Page
    from crm_server.kernel.records import RecordService

_READ_PARAMETERS = frozenset({"fields", "include", "deleted"})


def list_records(context: EntityContext, request: Request) -> Response:
    """GET a page of a collection."""
    return answer(page_document(_fetch(request, context.entity, parse_parameters(pairs(request)))))


def query_records(context: EntityContext, request: Request) -> Response:
    """POST a query, so that what is searched for does not stand in an address and in the logs of proxies."""
    return answer(page_document(_fetch(request, context.entity, parse_document(json_object(request)))))


def _fetch(request: Request, entity: EntityDef, query: ListQuery) -> Page:
    registry = request.registry
    return fetch(registry.hot, registry.datamap, entity, query, request.actor, custom=registry.custom_columns)


def page_document(page: Page) -> dict[str, Any]:
    """The body of a list. `count` stands there only when it was asked for."""
    document: dict[str, Any] = {
        "data": page.rows,
        "next_cursor": page.next_cursor,
        "previous_cursor": page.previous_cursor,
    }
    if page.count is not None:
        document["count"] = page.count
        document["count_capped"] = page.count_capped
    return document


def read_record(context: EntityContext, request: Request) -> Response:
    """GET one record."""
    given = named(request, _READ_PARAMETERS)
    registry = request.registry
    includes = words(given.get("include")) or ()
    row = read_one(
        registry.hot,
        registry.datamap,
        context.entity,
        key_of(request),
        request.actor,
        fields=words(given.get("fields")),
        includes=includes,
        deleted=flag(given, "deleted"),
        custom=registry.custom_columns,
    )
    headers = [("ETag", etag(row["version"]))]
    # The label of another record may have changed without this one.
    if not includes and not_modified(request, row["version"]):
        return empty(304, headers)
    return answer(row, headers=headers)


def create_record(context: EntityContext, request: Request) -> Response:
    """POST a new record."""
    service = records(request.db, context.entity.name)
    # The session holds its objects weakly: what was just made is kept here, so that it is not read back.
    made: list[Any] = []

    def act() -> Done:
        record = service.create(json_object(request))
        made.append(record)
        return Done(201, record_path(request, context.entity, record.id), record.id)

    return once(request, act, lambda done: _written(request, service, done))


def update_record(context: EntityContext, request: Request) -> Response:
    """PATCH a record; If-Match says which version the client had read."""
    service = records(request.db, context.entity.name)
    version = expected_version(request)
    record = service.update(key_of(request), json_object(request), version=version)
    return represent(request, service, record)


def delete_record(context: EntityContext, request: Request) -> Response:
    """DELETE puts a record into the bin; If-Match is heeded if it is there."""
    records(request.db, context.entity.name).delete(key_of(request), version=expected_version(request))
    return empty()


def restore_record(context: EntityContext, request: Request) -> Response:
    """POST takes a record out of the bin."""
    service = records(request.db, context.entity.name)
    return represent(request, service, service.restore(key_of(request)))


def purge_record(context: EntityContext, request: Request) -> Response:
    """POST removes a record in the bin for good."""
    records(request.db, context.entity.name).purge(key_of(request))
    return empty()


def record_path(request: Request, entity: EntityDef, key: UUID) -> str:
    """The address of a record, without host."""
    return f"/api/v1/{entity.policy.collection}/{key}"


def _written(request: Request, service: RecordService, done: Done) -> Response:
    assert done.record_id is not None  # noqa: S101 - what makes a record keeps its key
    record = service.session.get(service.entity.model, done.record_id)
    headers = [("Location", done.location or "")]
    if record is None:
        # It was purged between the first request and its repeat: what happened is still true.
        return answer({"id": str(done.record_id)}, done.status, headers)
    return represent(request, service, record, done.status, headers)


def represent(
    request: Request,
    service: RecordService,
    record: Any,
    status: int = 200,
    headers: list[tuple[str, str]] | None = None,
) -> Response:
    """A record as its reader may see it, with its entity tag."""
    shown = present_record(service.entity, record, request.actor)
    if service.custom is not None and service.entity.exposed:
        loaded = service.custom.load(service.entity, [record.id])
        shown |= {"custom": loaded[record.id]} if record.id in loaded else {}
    tags = [("ETag", etag(record.version))] if "version" in service.entity.fields else []
    return answer(shown, status, [*tags, *(headers or ())])


def includeme(config: Configurator) -> None:
    """Add the views; the routes stand in order in crm_server.api."""
    for view, route, method, action in (
        (read_record, "api_record", "GET", Action.READ),
        (list_records, "api_collection", "GET", Action.READ),
        (create_record, "api_collection", "POST", Action.CREATE),
        (update_record, "api_record", "PATCH", Action.UPDATE),
        (delete_record, "api_record", "DELETE", Action.DELETE),
        (query_records, "api_query", "POST", Action.READ),
        (restore_record, "api_restore", "POST", Action.DELETE),
        (purge_record, "api_purge", "POST", Action.PURGE),
    ):
        config.add_view(view, route_name=route, request_method=method, permission=action)
