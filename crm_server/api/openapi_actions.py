"""The part of the OpenAPI document about actions: convert, move, tags, attachments."""

from __future__ import annotations

from typing import Any

from crm_server.api import openapi_parts as part

_UUID = {"type": "string", "format": "uuid"}
_MAYBE_UUID = {"type": ["string", "null"], "format": "uuid"}
_KEY = {"name": "id", "in": "path", "required": True, "description": "Key of the record.", "schema": _UUID}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"\S"}

_FILENAME = {
    "name": "filename",
    "in": "query",
    "required": True,
    "description": "What the file is called.",
    "schema": _NAME,
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return found | {"required": required} if required else found


def _data(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": item}}}


def action_schemas() -> dict[str, Any]:
    """Bodies and answers of actions."""
    return {
        "Convert": _object(
            [], account_id=_MAYBE_UUID, contact_id=_MAYBE_UUID, opportunity={"type": ["object", "null"]}
        ),
        "Conversion": {
            "type": "object",
            "required": ["lead_id", "account_id", "contact_id", "opportunity_id"],
            "properties": {
                "lead_id": _UUID,
                "contact_id": _UUID,
                "account_id": _MAYBE_UUID,
                "opportunity_id": _MAYBE_UUID,
            },
        },
        "Move": _object(
            ["stage_id"],
            stage_id=_UUID,
            lost_reason={"type": ["string", "null"], "maxLength": 200, "pattern": r"\S"},
        ),
        "AddTag": {
            "oneOf": [_object(["tag_id"], tag_id=_UUID), _object(["name"], name=_NAME | {"maxLength": 60})]
        },
        "TagsOfRecord": _data({"type": "object", "required": ["id", "name"]}),
        "Attachments": _data({"$ref": "#/components/schemas/Attachment"}),
    }


def action_paths(collection: str, name: str) -> dict[str, Any]:
    """The addresses below a record."""
    one = f"/api/v1/{collection}/{{id}}"
    tag = {"tags": [collection]}
    found: dict[str, Any] = {
        f"{one}/tags": {
            "parameters": [_KEY],
            "get": tag
            | {
                "operationId": f"listTagsOf{name}",
                "summary": "List tags",
                "responses": part.answers(200, "TagsOfRecord", 400, 404),
            },
            "post": tag
            | {
                "operationId": f"addTagTo{name}",
                "summary": "Add a tag",
                "requestBody": part.body("AddTag"),
                "responses": part.answers(200, "Tag", 400, 404, 413, 415, 422),
            },
        },
        f"{one}/tags/{{tag_id}}": {
            "parameters": [_KEY, _KEY | {"name": "tag_id", "description": "Key of the tag."}],
            "delete": tag
            | {
                "operationId": f"removeTagFrom{name}",
                "summary": "Remove a tag",
                "responses": part.answers(204, None, 404),
            },
        },
        f"{one}/attachments": {
            "parameters": [_KEY],
            "get": tag
            | {
                "operationId": f"listAttachmentsOf{name}",
                "summary": "List files",
                "responses": part.answers(200, "Attachments", 400, 404),
            },
            "post": tag
            | {
                "operationId": f"attachTo{name}",
                "summary": "Attach a file; its type is found from its content",
                "parameters": [_FILENAME],
                "requestBody": {"required": True, "content": {"application/octet-stream": {}}},
                "responses": part.answers(201, "Attachment", 400, 404, 413, 415, 422),
            },
        },
    }
    if collection == "leads":
        found[f"{one}/convert"] = {
            "parameters": [_KEY],
            "post": tag
            | {
                "operationId": "convertLead",
                "summary": "Make an account, a contact and, if wanted, an opportunity from a lead",
                "parameters": part.refs("IfMatchOptional", "IdempotencyKey"),
                "requestBody": part.body("Convert"),
                "responses": part.answers(200, "Conversion", 400, 404, 409, 412, 413, 415, 422),
            },
        }
        found[f"{one}/revert-conversion"] = {
            "parameters": [_KEY],
            "post": tag
            | {
                "operationId": "revertLeadConversion",
                "summary": "Take a conversion back: what was made of the lead goes into the bin",
                "parameters": part.refs("IfMatchOptional"),
                "responses": part.answers(200, "Lead", 400, 404, 409, 412, tagged=True),
            },
        }
    if collection == "opportunities":
        found[f"{one}/move"] = {
            "parameters": [_KEY],
            "post": tag
            | {
                "operationId": "moveOpportunity",
                "summary": "Bring an opportunity to another stage",
                "parameters": part.refs("IfMatch"),
                "requestBody": part.body("Move"),
                "responses": part.answers(
                    200, "Opportunity", 400, 404, 409, 412, 413, 415, 422, 428, tagged=True
                ),
            },
        }
    return found


_FILE = _KEY | {"description": "Key of the file."}
ATTACHMENT_PATHS: dict[str, Any] = {
    "/api/v1/attachments/{id}/content": {
        "parameters": [_FILE],
        "get": {
            "tags": ["system"],
            "operationId": "downloadAttachment",
            "summary": "Get the content of a file",
            "responses": part.answers(200, None, 400, 404)
            | {"200": {"description": "The file.", "content": {"*/*": {}}}},
        },
    },
    "/api/v1/attachments/{id}": {
        "parameters": [_FILE],
        "delete": {
            "tags": ["system"],
            "operationId": "removeAttachment",
            "summary": "Put a file into the bin",
            "responses": part.answers(204, None, 404),
        },
    },
}
