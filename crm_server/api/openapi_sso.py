"""The part of the OpenAPI document about providers of single sign-on."""

from __future__ import annotations

from typing import Any

from crm_server.api import openapi_parts as part

_UUID = {"type": "string", "format": "uuid"}
_KEY = {"name": "id", "in": "path", "required": True, "description": "Key of the provider.", "schema": _UUID}
_ADDRESS = {"type": "string", "format": "uri"}
_CLAIM = {"type": "string", "minLength": 1, "maxLength": 100}
_SETTABLE: dict[str, Any] = {
    "name": _CLAIM | {"description": "It stands on the button of the log-in page."},
    "issuer": {"type": "string", "maxLength": 500, "examples": ["https://sso.example.com/realms/main"]},
    "client_id": {"type": "string", "minLength": 1, "maxLength": 300, "examples": ["kontor"]},
    "scopes": {"type": "string", "minLength": 1, "maxLength": 500},
    "identity_claim": _CLAIM,
    "login_claim": _CLAIM,
    "groups_claim": _CLAIM,
    "provisioning": {"enum": ["login", "scim"]},
    "trusted_methods": {
        "type": "array",
        "maxItems": 50,
        "items": {"type": "string", "maxLength": 500},
        "description": "Values of amr or acr that count as a second factor.",
    },
    "authorities": {
        "type": ["string", "null"],
        "maxLength": 20_000,
        "description": "PEM; those of the operating system otherwise.",
    },
}
_SECRET = {
    "client_secret": {
        "type": ["string", "null"],
        "maxLength": 1000,
        "writeOnly": True,
        "description": "Stored sealed, never shown; the present one stays when it is missing.",
    }
}


def sso_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    written = {"type": "object", "additionalProperties": False, "properties": _SETTABLE | _SECRET}
    read = {
        "id": _UUID,
        "version": {"type": "integer"},
        "enabled": {"type": "boolean"},
        "protocol": {"enum": ["oidc"]},
        **_SETTABLE,
        "has_secret": {"type": "boolean"},
        "redirect_uri": _ADDRESS,
        "back_channel_logout_uri": _ADDRESS,
    }
    step = {
        "step": {"type": "string"},
        "passed": {"type": "boolean"},
        "detail": {"type": "string"},
        "ms": {"type": "integer"},
    }
    return {
        "SsoProviderNew": written | {"required": ["name", "issuer", "client_id"]},
        "SsoProviderChange": written,
        "SsoProvider": _object(read),
        "SsoProviders": _object(
            {"data": {"type": "array", "items": {"$ref": "#/components/schemas/SsoProvider"}}}
        ),
        "SsoTest": _object(
            {"passed": {"type": "boolean"}, "steps": {"type": "array", "items": _object(step)}}
        ),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _operation(name: str, summary: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"tags": ["sso-providers"], "operationId": name, "summary": summary, "responses": responses} | more


def sso_paths() -> dict[str, Any]:
    """The addresses. Changes need a browser's session with a fresh proof."""
    base, one = "/api/v1/sso-providers", "/api/v1/sso-providers/{id}"
    written = (400, 404, 409, 413, 415, 422)
    acted = part.answers(200, "SsoProvider", *written, tagged=True)
    return {
        base: {
            "get": _operation("listSsoProviders", "All providers", part.answers(200, "SsoProviders", 400)),
            "post": _operation(
                "createSsoProvider",
                "Set a provider up",
                part.answers(201, "SsoProvider", 400, 413, 415, 422, made=True),
                requestBody=part.body("SsoProviderNew"),
            ),
        },
        one: {
            "parameters": [_KEY],
            "get": _operation(
                "readSsoProvider", "One provider", part.answers(200, "SsoProvider", 400, 404, tagged=True)
            ),
            "patch": _operation(
                "updateSsoProvider",
                "Change a provider",
                part.answers(200, "SsoProvider", *written, 412, 428, tagged=True),
                parameters=part.refs("IfMatch"),
                requestBody=part.body("SsoProviderChange", patch=True),
            ),
        },
        f"{one}/enable": {
            "parameters": [_KEY],
            "post": _operation("enableSsoProvider", "Offer a provider at log-in", acted),
        },
        f"{one}/disable": {
            "parameters": [_KEY],
            "post": _operation(
                "disableSsoProvider", "Leave a provider out, and end the sessions that began there", acted
            ),
        },
        f"{one}/test": {
            "parameters": [_KEY],
            "post": _operation(
                "testSsoProvider",
                "Ask a provider what a log-in would ask, step by step",
                part.answers(200, "SsoTest", *written),
            ),
        },
    }
