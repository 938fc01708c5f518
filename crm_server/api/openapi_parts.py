"""The parts of the OpenAPI document that don't depend on the data map: parameters, problems, headers, security."""

from __future__ import annotations

from typing import Any

from crm_server.api.bulk import ACTIONS, MAX_ITEMS
from crm_server.api.changes import DEFAULT_LIMIT as DEFAULT_CHANGES
from crm_server.api.changes import MAX_LIMIT as MAX_CHANGES
from crm_server.kernel.listing.operators import OPERATORS
from crm_server.kernel.listing.query import DEFAULT_LIMIT, MAX_CONDITIONS, MAX_LIMIT

INTRODUCTION = (
    "The REST API of Kontor. Bodies are JSON in UTF-8; money is in minor units; times are RFC 3339 in UTC. "
    "Errors are problem+json (RFC 9457) with a stable `code`. Changes need the version that was read (If-Match); "
    "a POST may be repeated safely with an Idempotency-Key."
)
LIST_PARAMETERS = ("Filter", "Search", "Sort", "Fields", "Include", "Limit", "Cursor", "Deleted", "Count")
PROBLEM = "application/problem+json"
_NAME = "^[a-z][a-z0-9_]*$"


def _text(length: int, **more: Any) -> dict[str, Any]:
    return {"type": "string", "maxLength": length} | more


_OPERATORS = sorted({name for names in OPERATORS.values() for name in names})
_SCALAR = {"type": ["string", "integer", "boolean", "null"]}
_COUNT = {"type": "string", "enum": ["none", "exact"], "default": "none"}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_SORT = _text(101, pattern="^-?[a-z0-9_]{1,100}$", examples=["-created_at"])
_NAMES = {"type": "array", "maxItems": 100, "items": _text(100, pattern=_NAME)}

SCHEMAS: dict[str, Any] = {
    "Label": {
        "type": "object",
        "required": ["id", "name"],
        "properties": {"id": {"type": "string", "format": "uuid"}, "name": {"type": ["string", "null"]}},
    },
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "code", "request_id"],
        "properties": {
            "type": {"type": "string", "examples": ["urn:kontor:problem:validation"]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "examples": ["validation"]},
            "detail": {"type": "string"},
            "request_id": {"type": "string", "format": "uuid"},
            "parameter": {"type": "string", "description": "Which parameter of the query is wrong."},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
        },
    },
    "FieldProblem": {
        "type": "object",
        "required": ["pointer", "code", "message"],
        "properties": {
            "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the body."},
            "code": {"type": "string"},
            "message": {"type": "string"},
        },
    },
    "LostUpdate": {
        "description": "Somebody changed the record meanwhile: what you sent, what is there, and what you had read.",
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {
                "type": "object",
                "required": ["version", "mine", "theirs"],
                "properties": {
                    "version": {"type": "integer"},
                    "mine": {"type": "object"},
                    "theirs": {"type": "object"},
                    "original": {"type": ["object", "null"]},
                },
            },
        ],
    },
    "Filter": {
        "description": "A condition, or several joined by and, or, not; at most 5 deep with 50 conditions. Fields of "
        "referenced records are reached by a dot (account.name), custom fields as custom.name.",
        "oneOf": [
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["field", "value"],
                "properties": {
                    "field": _text(150, examples=["name", "account.name"]),
                    "op": {"type": "string", "enum": _OPERATORS, "default": "eq"},
                    "value": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "maxItems": 200}]},
                },
            },
            *(
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": [kind],
                    "properties": {
                        kind: {
                            "type": "array",
                            "maxItems": MAX_CONDITIONS,
                            "items": {"$ref": "#/components/schemas/Filter"},
                        }
                    },
                }
                for kind in ("and", "or")
            ),
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["not"],
                "properties": {"not": {"$ref": "#/components/schemas/Filter"}},
            },
        ],
    },
    "Query": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "filter": {"$ref": "#/components/schemas/Filter"},
            "q": _text(200, minLength=1),
            "sort": _SORT,
            "fields": _NAMES,
            "include": _NAMES,
            "limit": _LIMIT,
            "cursor": {"type": "string"},
            "deleted": {"type": "boolean", "default": False},
            "count": _COUNT,
        },
        "examples": [{"filter": {"field": "name", "op": "contains", "value": "Example"}, "limit": 20}],
    },
    "Bulk": {
        "type": "object",
        "additionalProperties": False,
        "required": ["items"],
        "properties": {
            "mode": {
                "type": "string",
                "enum": ["each", "all"],
                "default": "each",
                "description": "each: every item stands for itself; all: the first failure undoes everything.",
            },
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_ITEMS,
                "items": {
                    "oneOf": [
                        {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["action", *needed],
                            "properties": {
                                "action": {"const": action},
                                **members,
                            },
                        }
                        for action, needed, members in (
                            ("create", ["data"], {"data": {"type": "object"}}),
                            (
                                "update",
                                ["id", "version", "data"],
                                {
                                    "id": {"type": "string", "format": "uuid"},
                                    "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
                                    "data": {"type": "object"},
                                },
                            ),
                            (
                                "delete",
                                ["id"],
                                {
                                    "id": {"type": "string", "format": "uuid"},
                                    "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
                                },
                            ),
                        )
                    ]
                },
            },
        },
        "examples": [{"items": [{"action": ACTIONS[0], "data": {"name": "Example"}}]}],
    },
    "BulkResult": {
        "type": "object",
        "required": ["results", "succeeded", "failed"],
        "properties": {
            "succeeded": {"type": "integer"},
            "failed": {"type": "integer"},
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "status"],
                    "properties": {
                        "index": {"type": "integer"},
                        "status": {"type": "integer"},
                        "id": {"type": "string", "format": "uuid"},
                        "version": {"type": "integer"},
                        "error": {"type": "object", "required": ["code", "title"]},
                    },
                },
            },
        },
    },
    "Changes": {
        "type": "object",
        "required": ["data", "next_cursor", "more"],
        "properties": {
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["entity", "id", "operation", "version", "changed_at"],
                    "properties": {
                        "entity": {"type": "string"},
                        "id": {"type": "string", "format": "uuid"},
                        "operation": {"enum": ["create", "update", "delete", "restore", "purge"]},
                        "version": {"type": "integer"},
                        "changed_at": {"type": "string", "format": "date-time"},
                    },
                },
            },
            "next_cursor": {"type": "string"},
            "more": {"type": "boolean"},
        },
    },
    "Meta": {
        "type": "object",
        "required": ["entities", "periods"],
        "properties": {
            "entities": {"type": "array", "items": {"type": "object", "required": ["name", "fields"]}},
            "periods": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Me": {
        "type": "object",
        "required": ["id", "permissions"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "permissions": {"type": "array", "items": {"type": "string"}},
        },
    },
}


def list_schema(name: str) -> dict[str, Any]:
    """The schema of a page."""
    return {
        "type": "object",
        "required": ["data", "next_cursor", "previous_cursor"],
        "properties": {
            "data": {
                "type": "array",
                "items": {"$ref": f"#/components/schemas/{name}"},
                "maxItems": MAX_LIMIT,
            },
            "next_cursor": {"type": ["string", "null"]},
            "previous_cursor": {"type": ["string", "null"]},
            "count": {"type": "integer"},
            "count_capped": {"type": "boolean"},
        },
    }


def _query(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema} | more


def _header(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema} | more


PARAMETERS: dict[str, Any] = {
    "Filter": {
        "name": "filter",
        "in": "query",
        "description": "A filter as JSON. Short form, not listed here: filter[field]=value and "
        "filter[field][operator]=value.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Filter"}}},
    },
    "Search": _query("q", _text(200, minLength=1, pattern=r"\S"), "Text to find in searchable fields."),
    "Sort": _query("sort", _SORT, "Field to sort by; a minus sorts downwards. Without it, newest first."),
    "Fields": _query("fields", _NAMES, "Only these fields.", style="form", explode=False),
    "Include": _query("include", _NAMES, "Embed the label of these references.", style="form", explode=False),
    "Limit": _query("limit", _LIMIT, "Rows on a page."),
    "Cursor": _query("cursor", {"type": "string"}, "next_cursor or previous_cursor of an earlier page."),
    "Deleted": _query("deleted", {"type": "boolean", "default": False}, "Look into the bin."),
    "Count": _query("count", _COUNT, "Count the matches, up to 10,000."),
    "IfMatch": _header(
        "If-Match",
        _text(11, pattern='^"[0-9]{1,9}"$', examples=['"1"']),
        "The ETag that was read. Without it the answer is 428.",
        required=True,
    ),
    "IfMatchOptional": _header(
        "If-Match", _text(11, pattern='^"[0-9]{1,9}"$', examples=['"1"']), "Delete only this version."
    ),
    "IfNoneMatch": _header(
        "If-None-Match", {"type": "string"}, "Answer 304 if this version is the present one."
    ),
    "IdempotencyKey": _header(
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "Repeats with the same key get the first answer and do nothing twice; valid for a day.",
    ),
}
HEADERS: dict[str, Any] = {
    "ETag": {"schema": {"type": "string"}, "description": "The version of the record, in quotes."},
    "Location": {"schema": {"type": "string"}, "description": "Address of what was made."},
}
SECURITY: dict[str, Any] = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token of a user."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-kontor",
        "description": "A browser's session.",
    },
    "formToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRF-Token",
        "description": "Of our own pages.",
    },
}
_TITLES = {
    400: "The request can't be understood.",
    401: "Not logged in.",
    403: "Not allowed.",
    404: "No such record, or none that you may see.",
    405: "This address does not take this method.",
    409: "Contradicts the present state of the data.",
    412: "Somebody changed the record meanwhile.",
    413: "Too large.",
    415: "Not JSON.",
    422: "Some values can't be accepted; errors say where and why.",
    428: "If-Match is missing.",
    503: "The database can't be reached at the moment.",
}


def _problem(status: int) -> dict[str, Any]:
    schema = "LostUpdate" if status == 412 else "Problem"
    response: dict[str, Any] = {
        "description": _TITLES[status],
        "content": {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return response


RESPONSES: dict[str, Any] = {f"Problem{status}": _problem(status) for status in _TITLES}


def refs(*names: str) -> list[dict[str, str]]:
    """References to shared parameters."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def body(schema: str, *, patch: bool = False) -> dict[str, Any]:
    """A JSON body."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    if patch:
        content["application/merge-patch+json"] = content["application/json"]
    return {"required": True, "content": content}


def answers(
    good: int,
    schema: str | None,
    *problems: int,
    tagged: bool = False,
    made: bool = False,
    links: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The answers of an operation: the good one, its own problems, and those that every operation has."""
    response: dict[str, Any] = {"description": "Done." if schema is None else "Here it is."}
    if schema is not None:
        response["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    headers = (["ETag"] if tagged or made else []) + (["Location"] if made else [])
    if headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    if links:
        response["links"] = links
    found: dict[str, Any] = {str(good): response}
    for status in sorted({*problems, 401, 403, 503}):
        if status == 304:
            found["304"] = {"description": "The client has this version already."}
        else:
            found[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return found


def links(name: str, collection: str) -> dict[str, Any]:
    """What can be done with a record that was just made."""
    key = {"id": "$response.body#/id"}
    return {
        "read": {"operationId": f"read{name}", "parameters": key},
        "update": {
            "operationId": f"update{name}",
            "parameters": {**key, "If-Match": "$response.header.ETag"},
        },
        "delete": {"operationId": f"delete{name}", "parameters": key},
        "restore": {"operationId": f"restore{name}", "parameters": key},
        "purge": {"operationId": f"purge{name}", "parameters": key},
    }


OTHER_PATHS: dict[str, Any] = {
    "/api/v1/changes": {
        "get": {
            "tags": ["system"],
            "operationId": "listChanges",
            "summary": "Follow what changed",
            "parameters": [
                _query("cursor", {"type": "string"}, 'Where to go on; "now" starts at the present.'),
                _query(
                    "limit",
                    {"type": "integer", "minimum": 1, "maximum": MAX_CHANGES, "default": DEFAULT_CHANGES},
                    "Rows.",
                ),
                _query(
                    "entity",
                    {"type": "array", "items": _text(60, pattern=_NAME)},
                    "Only these kinds of records.",
                    style="form",
                    explode=False,
                ),
            ],
            "responses": answers(200, "Changes", 400),
        }
    },
    "/api/v1/meta": {
        "get": {
            "tags": ["system"],
            "operationId": "readMeta",
            "summary": "Kinds of records, their fields, labels and choices",
            "responses": answers(200, "Meta", 400),
        }
    },
    "/api/v1/me": {
        "get": {
            "tags": ["system"],
            "operationId": "readMe",
            "summary": "Who is asking",
            "responses": answers(200, "Me", 400),
        }
    },
}
