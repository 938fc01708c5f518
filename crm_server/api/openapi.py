"""The OpenAPI 3.1 document at /api/v1/openapi.json, derived from the data map and complete enough for a fuzzer.

It describes the product and not a person's rights, holds no data, and is therefore public. It is built once per
process.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import crm_server.api.openapi_parts as part
from compliance.datamap import EntityKind
from crm_server.api.answers import answer
from crm_server.api.context import UUID_PATTERN, known_parts, named
from crm_server.api.openapi_access import access_paths, access_schemas
from crm_server.api.openapi_actions import ATTACHMENT_PATHS, action_paths, action_schemas
from crm_server.api.openapi_approvals import approval_paths, approval_schemas
from crm_server.api.openapi_audit import audit_paths, audit_schemas
from crm_server.api.openapi_domains import domain_paths, domain_schemas
from crm_server.api.openapi_imports import import_paths, import_schemas
from crm_server.api.openapi_keys import key_paths, key_schemas
from crm_server.api.openapi_roles import role_paths, role_schemas
from crm_server.api.openapi_sso import sso_paths, sso_schemas
from crm_server.api.schema import read_schema, write_schema
from crm_server.api.texts import localizer
from crm_server.models import datamap
from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap import EntityDef

VERSION = "1.0.0"
BASE = "/api/v1"


def openapi(request: Request) -> Response:
    """GET the document."""
    named(request, ())
    return answer(document(), headers=[("Cache-Control", "public, max-age=300")])


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    data = datamap()
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = dict(part.SCHEMAS)
    for entity in data.records():
        _schemas_of(entity, schemas)
        paths |= _record_paths(entity) | action_paths(entity.policy.collection, _class(entity))
    for (collection, name), (piece, link) in known_parts(data).items():
        owner = data.by_collection(collection)
        if owner is not None:
            _schemas_of(piece, schemas, without=link, suffix=_suffix(owner, piece, link))
            paths |= _part_paths(owner, name, piece, _suffix(owner, piece, link))
    paths |= (
        domain_paths(data)
        | access_paths(data)
        | import_paths(data)
        | approval_paths(data)
        | role_paths()
        | sso_paths()
        | key_paths()
        | audit_paths()
        | ATTACHMENT_PATHS
        | part.OTHER_PATHS
    )
    schemas["Attachment"] = read_schema(data["attachment"], _says)
    schemas |= action_schemas() | domain_schemas() | access_schemas() | import_schemas()
    schemas |= approval_schemas() | role_schemas() | sso_schemas() | key_schemas() | audit_schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kontor",
            "version": VERSION,
            "description": part.INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": [], "formToken": []}],
        "tags": [
            {"name": item.policy.collection, "description": _says(item.policy.label_plural)}
            for item in data.records()
        ]
        + [{"name": "roles", "description": "What people may do."}]
        + [{"name": "sso-providers", "description": "Who vouches for people at log-in."}]
        + [{"name": "approvals", "description": "What nobody may do alone."}]
        + [{"name": "keys", "description": "The keys of sealed data."}]
        + [{"name": "audit", "description": "What happened, and who is told."}]
        + [{"name": "imports", "description": "Files on their way in, and lists on their way out."}]
        + [{"name": "system", "description": "What there is, and what changed."}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": part.RESPONSES,
            "parameters": part.PARAMETERS,
            "headers": part.HEADERS,
            "securitySchemes": part.SECURITY,
        },
    }


def _says(text: Any) -> str:
    return str(localizer("en").translate(text))


def _class(entity: EntityDef) -> str:
    return "".join(word.capitalize() for word in entity.name.split("_"))


def _suffix(owner: EntityDef, piece: EntityDef, link: str) -> str:
    return "" if piece.policy.parent == link else f"Of{_class(owner)}"


def _schemas_of(entity: EntityDef, schemas: dict[str, Any], *, without: str = "", suffix: str = "") -> None:
    name = _class(entity)
    schemas.setdefault(name, read_schema(entity, _says))
    schemas.setdefault(f"{name}Page", part.list_schema(name))
    if entity.policy.kind is EntityKind.RECORD or "version" in entity.fields:
        schemas[f"{name}{suffix}Create"] = write_schema(entity, _says, create=True, without=without)
        schemas[f"{name}{suffix}Update"] = write_schema(entity, _says, create=False, without=without)


def _record_paths(entity: EntityDef) -> dict[str, Any]:
    name, collection = _class(entity), entity.policy.collection
    label, plural = _says(entity.policy.label), _says(entity.policy.label_plural)
    one = f"{BASE}/{collection}/{{id}}"
    tag = {"tags": [collection]}
    links = part.links(name, collection)
    return {
        f"{BASE}/{collection}": {
            "get": tag
            | {
                "operationId": f"list{name}",
                "summary": f"List {plural.lower()}",
                "parameters": part.refs(*part.LIST_PARAMETERS),
                "responses": part.answers(200, f"{name}Page", 400),
            },
            "post": tag
            | {
                "operationId": f"create{name}",
                "summary": f"Create: {label.lower()}",
                "parameters": part.refs("IdempotencyKey"),
                "requestBody": part.body(f"{name}Create"),
                "responses": part.answers(201, name, 400, 409, 413, 415, 422, made=True, links=links),
            },
        },
        f"{BASE}/{collection}/query": {
            "post": tag
            | {
                "operationId": f"query{name}",
                "summary": f"List {plural.lower()} by a query in the body",
                "requestBody": part.body("Query"),
                "responses": part.answers(200, f"{name}Page", 400, 413, 415),
            }
        },
        f"{BASE}/{collection}/bulk": {
            "post": tag
            | {
                "operationId": f"bulk{name}",
                "summary": "Create, change and delete up to 1,000 at once",
                "parameters": part.refs("IdempotencyKey"),
                "requestBody": part.body("Bulk"),
                "responses": part.answers(200, "BulkResult", 400, 404, 409, 412, 413, 415, 422, 428),
            }
        },
        one: {
            "parameters": [_key("id")],
            "get": tag
            | {
                "operationId": f"read{name}",
                "summary": f"Read: {label.lower()}",
                "parameters": part.refs("Fields", "Include", "Deleted", "IfNoneMatch"),
                "responses": part.answers(200, name, 304, 400, 404, tagged=True),
            },
            "patch": tag
            | {
                "operationId": f"update{name}",
                "summary": f"Change: {label.lower()}",
                "parameters": part.refs("IfMatch"),
                "requestBody": part.body(f"{name}Update", patch=True),
                "responses": part.answers(200, name, 400, 404, 409, 412, 413, 415, 422, 428, tagged=True),
            },
            "delete": tag
            | {
                "operationId": f"delete{name}",
                "summary": f"Put into the bin: {label.lower()}",
                "parameters": part.refs("IfMatchOptional"),
                "responses": part.answers(204, None, 400, 404, 409, 412),
            },
        },
        f"{one}/restore": {
            "parameters": [_key("id")],
            "post": tag
            | {
                "operationId": f"restore{name}",
                "summary": f"Take out of the bin: {label.lower()}",
                "responses": part.answers(200, name, 404, 409, 422, tagged=True),
            },
        },
        f"{one}/purge": {
            "parameters": [_key("id")],
            "post": tag
            | {
                "operationId": f"purge{name}",
                "summary": f"Remove from the bin for good: {label.lower()}",
                "responses": part.answers(204, None, 404, 409),
            },
        },
    }


def _part_paths(owner: EntityDef, collection: str, piece: EntityDef, suffix: str) -> dict[str, Any]:
    name = _class(piece)
    of = f"{name}Of{_class(owner)}"
    base = f"{BASE}/{owner.policy.collection}/{{id}}/{collection}"
    tag = {"tags": [owner.policy.collection]}
    plural = _says(piece.policy.label_plural).lower()
    many: dict[str, Any] = {
        "parameters": [_key("id")],
        "get": tag
        | {
            "operationId": f"list{of}",
            "summary": f"List {plural}",
            "parameters": part.refs(*part.LIST_PARAMETERS),
            "responses": part.answers(200, f"{name}Page", 400, 404),
        },
    }
    one: dict[str, Any] = {
        "parameters": [_key("id"), _key("part_id")],
        "get": tag
        | {
            "operationId": f"read{of}",
            "summary": f"Read one of the {plural}",
            "parameters": part.refs("Fields", "Include"),
            "responses": part.answers(200, name, 400, 404, tagged="version" in piece.fields),
        },
    }
    if "version" in piece.fields:
        many["post"] = tag | {
            "operationId": f"create{of}",
            "summary": f"Add to the {plural}",
            "parameters": part.refs("IdempotencyKey"),
            "requestBody": part.body(f"{name}{suffix}Create"),
            "responses": part.answers(201, name, 400, 404, 409, 413, 415, 422, made=True),
        }
        one["patch"] = tag | {
            "operationId": f"update{of}",
            "summary": f"Change one of the {plural}",
            "parameters": part.refs("IfMatch"),
            "requestBody": part.body(f"{name}{suffix}Update", patch=True),
            "responses": part.answers(200, name, 400, 404, 409, 412, 413, 415, 422, 428, tagged=True),
        }
        one["delete"] = tag | {
            "operationId": f"delete{of}",
            "summary": f"Remove one of the {plural}",
            "parameters": part.refs("IfMatchOptional"),
            "responses": part.answers(204, None, 400, 404, 409, 412),
        }
    return {base: many, f"{base}/{{part_id}}": one}


def _key(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "Key of the record." if name == "id" else "Key of the part.",
        "schema": {"type": "string", "format": "uuid", "pattern": f"^{UUID_PATTERN}$"},
    }


def includeme(config: Configurator) -> None:
    """Add the view."""
    config.add_view(openapi, route_name="api_openapi", request_method="GET", permission=PUBLIC)
