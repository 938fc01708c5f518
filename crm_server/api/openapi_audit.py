"""The part of the OpenAPI document about the audit log: events, histories, alerts, retention, sinks."""

from __future__ import annotations

from typing import Any

from crm_server.api import openapi_parts as part

_UUID = {"type": "string", "format": "uuid"}
_MAYBE_UUID = {"type": ["string", "null"], "format": "uuid"}
_TIME = {"type": "string", "format": "date-time"}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_NUMBER = {"type": ["integer", "null"]}
_REASON = {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "\\S"}
_TEXT = {"type": "string"}
_SHORT = {"type": "string", "maxLength": 100}
_FILTERS = {
    "since": "A day or a time; events from then on.",
    "until": "A day, which is included, or a time.",
    "person": "Who acted.",
    "record": "What it was done to.",
    "subject": "The data subject whom it concerns.",
    "action": "What was done, such as update.",
    "class": "What kind of event, such as read.",
    "outcome": "success, failure or denied.",
    "purpose": "What for.",
}
_KEYS = frozenset({"person", "record", "subject"})
_RULE: dict[str, Any] = {
    "enabled": {"type": "boolean"},
    "threshold": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "minutes": {"type": "integer", "minimum": 1, "maximum": 1440},
    "from": {"type": "integer", "minimum": 0, "maximum": 23},
    "to": {"type": "integer", "minimum": 1, "maximum": 24},
    "records": {"type": "array", "maxItems": 200, "items": _UUID},
}
_SINK: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 100},
    "transport": {"enum": ["tls", "https", "hec", "file", "tcp", "udp"]},
    "address": {"type": "string", "maxLength": 1000},
    "server_name": {"type": ["string", "null"], "maxLength": 253},
    "format": {"enum": ["rfc5424", "rfc5424+json", "cef", "leef", "ocsf", "ecs"]},
    "policy": {"enum": ["pseudonym", "minimal", "full"]},
    "message_limit": {"type": "integer", "minimum": 4096, "maximum": 1_000_000},
    "enterprise": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "authorities": {"type": ["string", "null"], "description": "PEM."},
    "certificate": {"type": ["string", "null"], "description": "PEM, with its chain."},
    "enabled": {"type": "boolean"},
}
_SECRETS: dict[str, Any] = {
    "key": {
        "type": ["string", "null"],
        "writeOnly": True,
        "description": "PEM; kept sealed and never shown.",
    },
    "token": {"type": ["string", "null"], "writeOnly": True, "description": "Kept sealed and never shown."},
}
_NEW_SINK = _SINK | _SECRETS | {"from_now": {"type": "boolean", "description": "Leave out what was before."}}


def _key(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema or _UUID,
    }


def _object(required: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties} | more


def _asked(required: str, properties: dict[str, Any]) -> dict[str, Any]:
    return _object(required, properties, additionalProperties=False)


def _list(name: str, **more: Any) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return _object("data", {"data": items, **more})


def audit_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    series = {"type": "array", "items": {"type": "integer"}}
    counted = dict.fromkeys(("failed_logins", "denials", "exports", "alerts"), series)
    filters = {"type": "object", "minProperties": 1, "additionalProperties": False}
    filters["properties"] = {name: {"type": "string", "minLength": 1, "maxLength": 100} for name in _FILTERS}
    return {
        "AuditEvent": _object(
            "id occurred_at class action outcome severity actor_id origin fields changes facts withheld",
            {
                "id": _UUID,
                "occurred_at": _TIME,
                **dict.fromkeys(("class", "action", "outcome", "origin"), _TEXT),
                **dict.fromkeys(("reason", "actor", "auth_method", "purpose", "entity"), _MAYBE_TEXT),
                "severity": {"type": "integer"},
                "actor_id": _UUID,
                **dict.fromkeys(("session", "request", "record_id"), _MAYBE_UUID),
                "fields": {"type": "array", "items": {"type": "string"}},
                "changes": {"type": "object", "description": "Old and new values that the caller may see."},
                "facts": {"type": "object"},
                "details": {"type": ["object", "null"]},
                "withheld": {"type": "boolean", "description": "There is more than the caller may see."},
                "index": _MAYBE_NUMBER | {"description": "Place in the sealed log."},
            },
        ),
        "AuditEvents": _list("AuditEvent", next=_MAYBE_UUID),
        "AuditHistory": _list("AuditEvent"),
        "AuditAlerts": _list(
            "AuditEvent",
            figures=_object(
                "days failed_logins denials exports alerts",
                {"days": {"type": "array", "items": {"type": "string", "format": "date"}}, **counted},
            ),
        ),
        "AuditRule": _object("code enabled threshold minutes", {"code": {"type": "string"}, **_RULE}),
        "AuditRules": _list("AuditRule"),
        "AuditRuleChange": _asked("", _RULE),
        "AuditRuleRelease": _asked("reason", _RULE | {"reason": _REASON}),
        "AuditRetention": _list("AuditRetentionClass"),
        "AuditRetentionClass": _object(
            "class months before events",
            {
                "class": {"type": "string"},
                "months": {"type": "integer"},
                "before": _TIME,
                "events": {"type": "integer", "description": "How many are due now."},
            },
        ),
        "AuditRetentionRelease": _asked(
            "months reason",
            {
                "months": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": "integer", "minimum": 6, "maximum": 1200},
                    "examples": [{"read": 24}],
                },
                "reason": _REASON,
            },
        ),
        "AuditSearch": _object(
            "id name filters", {"id": _UUID, "name": _SHORT, "filters": {"type": "object"}}
        ),
        "AuditSearches": _list("AuditSearch"),
        "AuditSearchNew": _asked("name filters", {"name": _SHORT | {"minLength": 1}, "filters": filters}),
        "AuditAsked": _object(
            "id", {"id": _UUID | {"description": "Key of the request; see /api/v1/approvals."}}
        ),
        "AuditSinkNew": _asked("name transport address format", _NEW_SINK),
        "AuditSinkChange": _asked("", _NEW_SINK),
        "AuditSinkRelease": _asked("act reason", {"act": {"enum": ["disable", "remove"]}, "reason": _REASON}),
        "AuditSinkResend": _asked("index", {"index": {"type": "integer", "minimum": 0, "maximum": 2**62}}),
        "AuditSink": _object(
            "id version enabled name transport address format policy has_secrets",
            {
                "id": _UUID,
                "version": {"type": "integer"},
                **_SINK,
                "has_secrets": {"type": "boolean"},
                **dict.fromkeys(("backlog", "position"), _MAYBE_NUMBER),
                **dict.fromkeys(("error", "cause", "peer"), _MAYBE_TEXT),
                **dict.fromkeys(("failing_since", "certificates_until"), _MAYBE_TIME),
            },
        ),
        "AuditSinks": _list("AuditSink"),
        "AuditSinkTest": _object(
            "taken",
            {
                "taken": {"type": "boolean"},
                **dict.fromkeys(("line", "peer", "error", "cause"), _MAYBE_TEXT),
            },
        ),
    }


def _act(
    name: str, summary: str, schema: str | None, *problems: int, status: int = 200, **more: Any
) -> dict[str, Any]:
    answers = part.answers(status, schema, 400, *problems)
    return {"tags": ["audit"], "operationId": name, "summary": summary, "responses": answers} | more


def _sent(name: str, summary: str, body: str, schema: str, *problems: int, **more: Any) -> dict[str, Any]:
    return _act(name, summary, schema, 413, 415, 422, *problems, requestBody=part.body(body), **more)


def audit_paths() -> dict[str, Any]:
    """The addresses. Settings are changed in a browser's session with a fresh proof."""
    base = "/api/v1/audit"
    asked = [
        {
            "name": name,
            "in": "query",
            "description": text,
            "schema": _UUID if name in _KEYS else {"type": "string", "minLength": 1, "maxLength": 100},
        }
        for name, text in _FILTERS.items()
    ]
    paging = [
        {"name": "after", "in": "query", "description": "`next` of the page before.", "schema": _UUID},
        {
            "name": "limit",
            "in": "query",
            "description": "Events of a page.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        },
    ]
    event, code = [_key("id", "Key of the event.")], [_key("code", "Name of the rule.", {"type": "string"})]
    record = [_key("entity", "Kind of the record.", {"type": "string"}), _key("id", "Key of the record.")]
    proof = _act("proveAuditEvent", "The event with its inclusion proof and the verifier", None, 404, 409)
    proof["responses"]["200"]["content"] = {
        "application/zip": {"schema": {"type": "string", "format": "binary"}}
    }
    return {
        f"{base}/events": {
            "get": _act("listAuditEvents", "Events, newest first", "AuditEvents", parameters=asked + paging)
        },
        f"{base}/events/{{id}}": {
            "parameters": event,
            "get": _act("readAuditEvent", "One event", "AuditEvent", 404),
        },
        f"{base}/events/{{id}}/proof": {"parameters": event, "get": proof},
        f"{base}/history/{{entity}}/{{id}}": {
            "parameters": record,
            "get": _act("readHistory", "Changes of one record, newest first", "AuditHistory", 404),
        },
        f"{base}/alerts": {
            "get": _act("listAlerts", "Figures of the week and the newest alerts", "AuditAlerts")
        },
        f"{base}/rules": {"get": _act("listAlertRules", "The rules that raise alerts", "AuditRules")},
        f"{base}/rules/{{code}}": {
            "parameters": code,
            "patch": _sent("updateAlertRule", "Change a rule", "AuditRuleChange", "AuditRule", 404),
        },
        f"{base}/rules/{{code}}/release": {
            "parameters": code,
            "post": _sent(
                "askForMilderRule",
                "Ask a second person to let a rule find less",
                "AuditRuleRelease",
                "AuditAsked",
                404,
                409,
                status=201,
            ),
        },
        f"{base}/retention": {"get": _act("readRetention", "How long events are kept", "AuditRetention")},
        f"{base}/retention/release": {
            "post": _sent(
                "askForRetention",
                "Ask a second person to keep classes for other times",
                "AuditRetentionRelease",
                "AuditAsked",
                409,
                status=201,
            )
        },
        f"{base}/searches": {
            "get": _act("listAuditSearches", "The caller's saved searches", "AuditSearches"),
            "post": _sent(
                "keepAuditSearch", "Keep a search", "AuditSearchNew", "AuditSearch", 409, status=201
            ),
        },
        f"{base}/searches/{{id}}": {
            "parameters": [_key("id", "Key of the search.")],
            "delete": _act("forgetAuditSearch", "Remove a search of one's own", None, 404, status=204),
        },
        **_sink_paths(f"{base}/sinks"),
    }


def _sink_paths(base: str) -> dict[str, Any]:
    one, key = f"{base}/{{id}}", [_key("id", "Key of the sink.")]
    return {
        base: {
            "get": _act("listSinks", "Where events are sent", "AuditSinks"),
            "post": _sent("createSink", "Set a sink up", "AuditSinkNew", "AuditSink", status=201),
        },
        one: {
            "parameters": key,
            "get": _act("readSink", "One sink", "AuditSink", 404),
            "patch": _sent("updateSink", "Change a sink", "AuditSinkChange", "AuditSink", 404),
            "delete": _act("deleteSink", "Forget a sink that is not enabled", None, 404, status=204),
        },
        f"{one}/test": {
            "parameters": key,
            "post": _act("testSink", "Send a test event", "AuditSinkTest", 404),
        },
        f"{one}/resend": {
            "parameters": key,
            "post": _sent(
                "resendToSink", "Deliver again from an index on", "AuditSinkResend", "AuditSink", 404
            ),
        },
        f"{one}/release": {
            "parameters": key,
            "post": _sent(
                "askToStopSink",
                "Ask a second person to disable or remove an enabled sink",
                "AuditSinkRelease",
                "AuditAsked",
                404,
                409,
                status=201,
            ),
        },
    }
