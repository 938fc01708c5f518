"""The part of the OpenAPI document about the keys of sealed data."""

from __future__ import annotations

from typing import Any

from crm_server.api import openapi_parts as part

_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}
_EPOCH = {
    "name": "epoch",
    "in": "path",
    "required": True,
    "description": "Number of the epoch.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,9}$", "examples": ["1"]},
}


def _object(*optional: str, **properties: Any) -> dict[str, Any]:
    """An object whose every property is always there, but for those named."""
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def key_schemas() -> dict[str, Any]:
    """Bodies and answers. No key material is in any of them."""
    epoch = _object(
        number={"type": "integer", "minimum": 1},
        state={"enum": ["prepared", "active", "retired", "destroying", "destroyed"]},
        created_at=_TIME,
        retired_at=_MAYBE_TIME,
        destroyed_at=_MAYBE_TIME,
        due=_MAYBE_TIME | {"description": "When it is to be followed, or destroyed."},
        live=_COUNT,
        held=_COUNT,
        proven={"type": ["boolean", "null"], "description": "Whether the device confirmed the destruction."},
        veto_until=_MAYBE_TIME
        | {"description": "Until when a destruction that was asked for can be refused."},
        approved={"type": "boolean"},
        pending=_TEXTS | {"description": "Nodes that haven't attested that it is gone."},
        obstacles=_TEXTS | {"description": "What stands against its destruction, as stable words."},
    )
    escrow = _object(epoch={"type": "integer"}, file=_TEXT, keys=_COUNT, made_at=_TIME, opened_at=_MAYBE_TIME)
    drill = _object(
        at=_TIME,
        node=_TEXT,
        passed={"type": "boolean"},
        erased=_COUNT,
        unreadable=_COUNT,
        readable=_COUNT,
        due=_TIME,
    )
    return {
        "Keys": _object(
            provider=_TEXT,
            statement=_TEXT | {"description": "What the provider of the key ring promises, word by word."},
            proves_destruction={"type": "boolean"},
            profile={"enum": ["standard", "strict"]},
            modules=_TEXTS | {"description": "What computes the algorithms, with versions."},
            away=_MAYBE_TEXT | {"description": "Why the provider doesn't answer."},
            active={"type": ["integer", "null"]},
            live=_COUNT,
            held=_COUNT,
            erased=_COUNT,
            behind=_COUNT | {"description": "Keys that a rotation still has to wrap anew."},
            share={"type": "number", "minimum": 0, "maximum": 1},
            by_class={
                "type": "object",
                "additionalProperties": _object(active=_COUNT, held=_COUNT, erased=_COUNT),
            },
            epochs={"type": "array", "items": epoch},
            nodes={
                "type": "array",
                "items": _object(
                    name=_TEXT, seen_at=_TIME, holds={"type": "array", "items": {"type": "integer"}}
                ),
            },
            escrow={"oneOf": [{"type": "null"}, escrow]},
            drill={"oneOf": [{"type": "null"}, drill]},
            horizon_days=_COUNT,
            horizon_limit=_COUNT,
        ),
        "KeysAsked": _object(asked={"enum": ["rotate", "escrow"]}),
        "KeysDestroy": {
            "type": "object",
            "required": ["confirm", "reason"],
            "additionalProperties": False,
            "properties": {
                "confirm": {
                    "type": "string",
                    "maxLength": 200,
                    "description": "The sentence that says what happens.",
                    "examples": ["destroy epoch 1, 4711 keys stay readable"],
                },
                "reason": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "\\S"},
            },
        },
        "KeysDestroyAsked": _object(request={"type": "string", "format": "uuid"}, due_at=_MAYBE_TIME),
    }


def _operation(name: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"tags": ["keys"], "operationId": name, "summary": summary} | more


def key_paths() -> dict[str, Any]:
    """The addresses."""
    base = "/api/v1/keys"
    return {
        base: {
            "get": _operation(
                "readKeys", "The state of all keys of sealed data", responses=part.answers(200, "Keys", 400)
            )
        },
        f"{base}/rotate": {
            "post": _operation(
                "rotateKeys",
                "Make a new epoch now and wrap every key under it; the state shows how far it is",
                responses=part.answers(202, "KeysAsked", 400),
            )
        },
        f"{base}/escrow": {
            "post": _operation(
                "escrowKeys",
                "Write the key table to a sealed file and open it in a scratch place",
                responses=part.answers(202, "KeysAsked", 400),
            )
        },
        f"{base}/epochs/{{epoch}}/destroy": {
            "parameters": [_EPOCH],
            "post": _operation(
                "destroyEpoch",
                "Ask for the destruction of an epoch; in a browser's session with a fresh proof only. It waits for a "
                "second person, or two days without a refusal",
                requestBody=part.body("KeysDestroy"),
                responses=part.answers(202, "KeysDestroyAsked", 400, 404, 409, 413, 415, 422),
            ),
        },
    }
