"""The part of the OpenAPI document about roles."""

from __future__ import annotations

from typing import Any

from crm_server.api import openapi_parts as part

_UUID = {"type": "string", "format": "uuid"}
_NAMES = {"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": 200}}
_LEVEL = {"enum": ["hidden", "masked", "read", "write"]}
_KEY = {"name": "id", "in": "path", "required": True, "description": "Key of the role.", "schema": _UUID}
_WRITABLE: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 100},
    "description": {"type": "string", "maxLength": 500},
    "permissions": _NAMES | {"examples": [["crm:contact:read"]]},
    "fields": {
        "type": "object",
        "properties": dict.fromkeys(("general", "personal", "financial", "special"), _LEVEL),
        "additionalProperties": False,
    },
    "scopes": {
        "type": "object",
        "additionalProperties": _NAMES,
        "examples": [{"contact:read": ["own", "team"]}],
    },
    "factors": {"enum": ["none", "any", "passkey"]},
    "factor_grace": {"type": "integer", "minimum": 0, "maximum": 90, "description": "Days."},
    "networks": _NAMES | {"description": "CIDR; empty means everywhere."},
    "emergency_minutes": {"type": "integer", "minimum": 0, "maximum": 480},
}


def role_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    grants = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["permission", "people"],
            "properties": {"permission": {"type": "string"}, "people": {"type": "integer"}},
        },
    }
    changes = {
        "type": "array",
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    }
    return {
        "RoleNew": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": _WRITABLE,
        },
        "RoleChange": {"type": "object", "additionalProperties": False, "properties": _WRITABLE},
        "Role": {
            "type": "object",
            "required": ["id", "version", "built_in", "name", "permissions"],
            "properties": {
                "id": _UUID,
                "version": {"type": "integer"},
                "built_in": {"type": "boolean"},
                "members": {"type": "integer"},
                **_WRITABLE,
            },
        },
        "Roles": _list({"$ref": "#/components/schemas/Role"}),
        "RoleMembers": _list(
            {
                "type": "object",
                "required": ["id", "login", "name"],
                "properties": {"id": _UUID, "login": {"type": "string"}, "name": {"type": "string"}},
            }
        ),
        "RoleDifference": {
            "type": "object",
            "required": ["members", "gained", "lost", "fields", "scopes", "others"],
            "properties": {
                "members": {"type": "integer"},
                "gained": grants,
                "lost": grants,
                "fields": changes,
                "scopes": changes,
                "others": changes,
            },
        },
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": items}}}


def _operation(name: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"tags": ["roles"], "operationId": name, "summary": summary} | more


def role_paths() -> dict[str, Any]:
    """The addresses. Changes need a browser's session with a fresh proof."""
    base, one = "/api/v1/roles", "/api/v1/roles/{id}"
    return {
        base: {
            "get": _operation("listRoles", "All roles", responses=part.answers(200, "Roles", 400)),
            "post": _operation(
                "createRole",
                "Make a role",
                requestBody=part.body("RoleNew"),
                responses=part.answers(201, "Role", 400, 413, 415, 422, made=True),
            ),
        },
        one: {
            "parameters": [_KEY],
            "get": _operation(
                "readRole", "One role", responses=part.answers(200, "Role", 400, 404, tagged=True)
            ),
            "patch": _operation(
                "updateRole",
                "Change a role; it counts at once",
                parameters=part.refs("IfMatch"),
                requestBody=part.body("RoleChange", patch=True),
                responses=part.answers(200, "Role", 400, 404, 409, 412, 413, 415, 422, 428, tagged=True),
            ),
            "delete": _operation(
                "deleteRole",
                "Remove a role that nobody holds",
                parameters=part.refs("IfMatch"),
                responses=part.answers(204, None, 400, 404, 409, 412, 428),
            ),
        },
        f"{one}/members": {
            "parameters": [_KEY],
            "get": _operation(
                "listMembersOfRole", "Who holds a role", responses=part.answers(200, "RoleMembers", 400, 404)
            ),
        },
        f"{one}/preview": {
            "parameters": [_KEY],
            "post": _operation(
                "previewRole",
                "What a change would do, and for how many",
                requestBody=part.body("RoleChange"),
                responses=part.answers(200, "RoleDifference", 400, 404, 409, 413, 415, 422),
            ),
        },
    }
