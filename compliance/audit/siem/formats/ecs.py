"""Elastic Common Schema 8.11: the standard fields where they exist, everything else under `kontor`."""

from __future__ import annotations

from compliance.audit.siem.event import PRODUCT, VENDOR, AuditEvent, timestamp

_CATEGORY = {
    "authentication": ("authentication", "start"),
    "authorization": ("iam", "denied"),
    "change": ("database", "change"),
    "read": ("database", "access"),
    "export": ("database", "access"),
    "configuration": ("configuration", "change"),
    "job": ("process", "info"),
}
_OUTCOME = {"success": "success", "failure": "failure", "denied": "failure", "error": "failure"}


def document(event: AuditEvent, version: str) -> dict[str, object]:
    """Return the event as an ECS document."""
    category, kind = _CATEGORY.get(event.event_class, ("configuration", "info"))
    standard: dict[str, object] = {
        "@timestamp": timestamp(event.occurred_at),
        "ecs": {"version": "8.11.0"},
        "event": {
            "kind": "event",
            "category": [category],
            "type": [kind],
            "action": event.action,
            "outcome": _OUTCOME.get(event.outcome, "unknown"),
            "id": event.event_id,
            "sequence": event.index,
            "hash": event.leaf_hash,
            "severity": event.severity,
            "provider": "kontor",
            "dataset": f"kontor.{event.event_class}",
            **({} if event.reason is None else {"reason": event.reason}),
        },
        "observer": {"vendor": VENDOR, "product": PRODUCT, "version": version},
        "organization": {"id": event.tenant},
        "kontor": {key: value for key, value in event.flat().items() if key not in ("meta", "subjects")}
        | {"meta": dict(event.meta), "subjects": list(event.subject_ref)},
    }
    if event.actor_ref is not None:
        name = {} if event.actor_name is None else {"name": event.actor_name}
        standard["user"] = {"id": event.actor_ref, **name}
        standard["related"] = {"user": [event.actor_ref]}
    return standard
