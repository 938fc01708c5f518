"""The part of the OpenAPI document about acts that take two persons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_server.api import openapi_parts as part

if TYPE_CHECKING:
    from compliance.datamap import DataMap

_UUID = {"type": "string", "format": "uuid"}
_MAYBE_UUID = {"type": ["string", "null"], "format": "uuid"}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_STATES = ["pending", "released", "executed", "vetoed", "withdrawn", "expired", "failed"]
_REASON = {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "\\S"}
_KEY = {"name": "id", "in": "path", "required": True, "description": "Key of the request.", "schema": _UUID}


def approval_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    return {
        "Approval": {
            "type": "object",
            "required": ["id", "version", "kind", "state", "reason", "parameters", "digest", "may_decide"],
            "properties": {
                "id": _UUID,
                "version": {"type": "integer"},
                "kind": {"type": "string", "examples": ["records.export"]},
                "state": {"enum": _STATES},
                "reason": {"type": "string"},
                "parameters": {"type": "object"},
                "digest": {"type": "string", "description": "SHA-256 over kind and parameters."},
                "requested_by": _MAYBE_UUID,
                "requested_at": _TIME,
                "expires_at": _TIME,
                "due_at": _MAYBE_TIME,
                "persons_needed": {"type": "integer"},
                "persons_released": {"type": "integer"},
                "decided_at": _MAYBE_TIME,
                "remark": {"type": ["string", "null"]},
                "executed_at": _MAYBE_TIME,
                "result": {"type": ["object", "null"]},
                "mine": {"type": "boolean"},
                "may_decide": {"type": "boolean"},
            },
        },
        "Approvals": {
            "type": "object",
            "required": ["data", "waiting"],
            "properties": {
                "data": {"type": "array", "items": {"$ref": "#/components/schemas/Approval"}},
                "waiting": {"type": "integer", "description": "How many wait for the caller."},
            },
        },
        "ApprovalReason": {
            "type": "object",
            "required": ["reason"],
            "additionalProperties": False,
            "properties": {"reason": _REASON},
        },
        "ApprovalRemark": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"remark": {"type": "string", "maxLength": 1000}},
        },
    }


def _act(name: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"tags": ["approvals"], "operationId": name, "summary": summary} | more


def approval_paths(datamap: DataMap) -> dict[str, Any]:
    """The addresses; asking for a release stands beside the act itself."""
    base = "/api/v1/approvals"
    state = {"name": "state", "in": "query", "description": "Only these.", "schema": {"enum": _STATES}}
    one = {"parameters": [_KEY]}
    found: dict[str, Any] = {
        base: {
            "get": _act(
                "listApprovals",
                "The requests that concern the caller",
                parameters=[state],
                responses=part.answers(200, "Approvals", 400),
            )
        },
        f"{base}/{{id}}": one
        | {"get": _act("readApproval", "One request", responses=part.answers(200, "Approval", 400, 404))},
        f"{base}/{{id}}/release": one
        | {
            "post": _act(
                "releaseApproval",
                "Say yes as the second person; in a browser's session with a fresh proof only",
                responses=part.answers(200, "Approval", 404, 409),
            )
        },
        f"{base}/{{id}}/veto": one
        | {
            "post": _act(
                "vetoApproval",
                "Say no",
                requestBody=part.body("ApprovalRemark"),
                responses=part.answers(200, "Approval", 400, 404, 409, 413, 415, 422),
            )
        },
        f"{base}/{{id}}/withdraw": one
        | {
            "post": _act(
                "withdrawApproval",
                "Take back what one asked for",
                responses=part.answers(200, "Approval", 404, 409),
            )
        },
    }
    for entity in datamap.records():
        name = "".join(word.capitalize() for word in entity.name.split("_"))
        found[f"/api/v1/{entity.policy.collection}/export/release"] = {
            "post": _act(
                f"askForExportOf{name}",
                "Ask a second person to release an export of many records; the address says which",
                parameters=[
                    {
                        "name": "format",
                        "in": "query",
                        "description": "As in the export.",
                        "schema": {"type": "string"},
                    },
                    *part.refs("Filter", "Search", "Sort", "Fields", "Deleted"),
                ],
                requestBody=part.body("ApprovalReason"),
                responses=part.answers(201, "Approval", 400, 409, 413, 415, 422),
            )
        }
    return found
