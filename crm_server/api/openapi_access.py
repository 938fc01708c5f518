"""The part of the OpenAPI document about sharing records and explaining access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_server.api import openapi_parts as part
from crm_server.kernel.rowrules import GUARDED, Scope

if TYPE_CHECKING:
    from compliance.datamap import DataMap

_UUID = {"type": "string", "format": "uuid"}
_MAYBE_UUID = {"type": ["string", "null"], "format": "uuid"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_LEVEL = {"enum": ["read", "write"]}
_ACTS = ["read", "update", "delete", "purge", "export"]


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def access_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    share = {
        "id": _UUID,
        "user_id": _MAYBE_UUID,
        "team_id": _MAYBE_UUID,
        "name": {"type": "string"},
        "level": _LEVEL,
        "until": _MAYBE_TIME,
        "over": {"type": "boolean"},
    }
    rule = _object(
        "rule",
        "allows",
        "role",
        "scope",
        "because",
        rule={"enum": ["account", "permission", "row", "bin"]},
        allows={"type": ["boolean", "null"]},
        role=_MAYBE_TEXT,
        scope={"enum": [*(scope.value for scope in Scope), None]},
        because=_MAYBE_TEXT,
    )
    return {
        "ShareNew": {
            "type": "object",
            "additionalProperties": False,
            "description": "Either a user or a team; until is a time with its zone, or nothing for good.",
            "properties": {
                "user_id": _MAYBE_UUID,
                "team_id": _MAYBE_UUID,
                "level": _LEVEL,
                "until": _MAYBE_TIME,
            },
        },
        "Share": _object(*share, **share),
        "Shares": _object("data", data={"type": "array", "items": {"$ref": "#/components/schemas/Share"}}),
        "Explanation": _object(
            "user_id",
            "entity",
            "record_id",
            "action",
            "allowed",
            "rules",
            "fields",
            "field_rules",
            user_id=_UUID,
            entity={"type": "string"},
            record_id=_UUID,
            action={"enum": _ACTS},
            allowed={"type": "boolean"},
            rules={"type": "array", "items": rule},
            fields={"type": "object", "additionalProperties": {"type": "string"}},
            field_rules={
                "type": "array",
                "items": _object(
                    "group",
                    "level",
                    "role",
                    "decides",
                    group={"type": "string"},
                    level={"enum": ["hidden", "masked", "read", "write"]},
                    role=_MAYBE_TEXT,
                    decides={"type": "boolean"},
                ),
            },
        ),
    }


def access_paths(datamap: DataMap) -> dict[str, Any]:
    """The addresses."""
    found: dict[str, Any] = {"/api/v1/access/explain": {"get": _explain()}}
    for name in GUARDED:
        collection = datamap[name].policy.collection
        base = f"/api/v1/{collection}/{{id}}/shares"
        key = _parameter("path", "id", _UUID, "Key of the record.")
        found[base] = {
            "parameters": [key],
            "get": {
                "tags": [collection],
                "operationId": f"sharesOf{name.title()}",
                "summary": "Whom it is shared with",
                "responses": part.answers(200, "Shares", 404),
            },
            "post": {
                "tags": [collection],
                "operationId": f"share{name.title()}",
                "summary": "Share it with a user or a team",
                "requestBody": part.body("ShareNew"),
                "responses": part.answers(201, "Share", 400, 404, 413, 415, 422),
            },
        }
        found[f"{base}/{{share_id}}"] = {
            "parameters": [key, _parameter("path", "share_id", _UUID, "Key of the share.")],
            "delete": {
                "tags": [collection],
                "operationId": f"unshare{name.title()}",
                "summary": "End a share",
                "responses": part.answers(204, None, 404),
            },
        }
    return found


def _explain() -> dict[str, Any]:
    return {
        "tags": ["system"],
        "operationId": "explainAccess",
        "summary": "Why somebody may or may not do something with a record, rule by rule",
        "parameters": [
            _parameter("query", "entity", {"enum": list(GUARDED)}, "Kind of the record.", required=True),
            _parameter("query", "record", _UUID, "Key of the record.", required=True),
            _parameter("query", "action", {"enum": _ACTS}, "What is to be done; reading by default."),
            _parameter("query", "user", _UUID, "Whom it is about; oneself by default."),
        ],
        "responses": part.answers(200, "Explanation", 400, 404),
    }


def _parameter(
    place: str, name: str, schema: dict[str, Any], text: str, *, required: bool = False
) -> dict[str, Any]:
    needed = required or place == "path"
    return {"name": name, "in": place, "required": needed, "description": text, "schema": schema}
