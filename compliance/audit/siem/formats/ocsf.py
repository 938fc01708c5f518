"""Open Cybersecurity Schema Framework 1.8: one mapper a version, because classes change between them.

Each event class of ours goes to the OCSF class whose required attributes it really has; what has no place
of its own is under `unmapped`, with the index and leaf hash of the log in `metadata`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compliance.audit.siem.event import PRODUCT, VENDOR, AuditEvent

_STATUS = {
    "success": (1, "Success"),
    "failure": (2, "Failure"),
    "denied": (2, "Failure"),
    "error": (2, "Failure"),
}
_SEVERITIES = ("Unknown", "Informational", "Low", "Medium", "High", "Critical", "Fatal")
OTHER = 99

# OCSF class: uid, category and the activities by our actions.
AUTHENTICATION = (3002, 3, {"login": 1, "logon": 1, "logout": 2, "logoff": 2, "switch": 7})
ACCOUNT_CHANGE = (
    3001,
    3,
    {
        "account_create": 1,
        "account_enable": 2,
        "password_change": 3,
        "password_reset": 4,
        "account_disable": 5,
        "account_delete": 6,
        "account_lock": 9,
        "factor_enable": 10,
        "factor_disable": 11,
        "account_unlock": 12,
    },
)
USER_ACCESS = (3005, 3, {"grant": 1, "assign": 1, "revoke": 2})
ENTITY_MANAGEMENT = (
    3004,
    3,
    {"create": 1, "read": 2, "update": 3, "delete": 4, "move": 5, "enable": 8, "disable": 9, "restrict": 12},
)
API = (6003, 6, {"create": 1, "read": 2, "list": 2, "search": 2, "update": 3, "delete": 4})
DATASTORE = (
    6005,
    6,
    {
        "read": 1,
        "view": 1,
        "update": 2,
        "connect": 3,
        "search": 4,
        "query": 4,
        "write": 5,
        "import": 5,
        "create": 6,
        "delete": 7,
        "list": 8,
        "export": 1,
        "print": 1,
    },
)
APPLICATION = (6002, 6, {"install": 1, "remove": 2, "start": 3, "stop": 4, "restart": 5, "enable": 6, "disable": 7,
                         "update": 8, "configure": 8})  # fmt: skip
COMPLIANCE_FINDING = (2003, 2, {"create": 1, "update": 2, "close": 3})
DETECTION_FINDING = (2004, 2, {"create": 1, "update": 2, "close": 3})

_Class = tuple[int, int, Mapping[str, int]]


def ocsf_class(event: AuditEvent) -> _Class:
    """Return the OCSF class of an event."""
    if event.event_class == "authentication":
        return (
            ACCOUNT_CHANGE
            if event.action in ACCOUNT_CHANGE[2] and event.action not in AUTHENTICATION[2]
            else (AUTHENTICATION)
        )
    if event.event_class == "account":
        return ACCOUNT_CHANGE
    if event.event_class in ("authorization", "access"):
        return USER_ACCESS if event.action in USER_ACCESS[2] else API
    if event.event_class == "change":
        return ENTITY_MANAGEMENT
    if event.event_class in ("read", "export"):
        return API if event.origin == "api" else DATASTORE
    return {
        "compliance": COMPLIANCE_FINDING,
        "rights": COMPLIANCE_FINDING,
        "detection": DETECTION_FINDING,
        "audit": DETECTION_FINDING,
    }.get(event.event_class, APPLICATION)


def document_1_8(event: AuditEvent, version: str) -> dict[str, object]:
    """Return the event as an OCSF 1.8.0 document."""
    uid, category, activities = ocsf_class(event)
    activity = activities.get(event.action, OTHER)
    status_id, status = _STATUS.get(event.outcome, (OTHER, event.outcome))
    severity = event.severity if 0 <= event.severity < len(_SEVERITIES) else 0
    document: dict[str, object] = {
        "class_uid": uid,
        "category_uid": category,
        "activity_id": activity,
        "type_uid": uid * 100 + activity,
        "time": int(event.occurred_at.timestamp() * 1000),
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "status_id": status_id,
        "status": status,
        "message": f"{event.event_class} {event.action}: {event.outcome}",
        "metadata": {
            "version": "1.8.0",
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": version},
            "uid": event.event_id,
            "sequence": event.index,
            "log_name": event.log,
            "tenant_uid": event.tenant,
            "labels": [f"leaf_hash:{event.leaf_hash}"],
        },
        "unmapped": {key: value for key, value in event.flat().items() if key not in _HAS_A_PLACE},
        **_BODY[uid](event),
    }
    if activity == OTHER:
        document["activity_name"] = event.action
    if event.reason is not None:
        document["status_detail"] = event.reason
    return document


_HAS_A_PLACE = frozenset({"eventId", "index", "log", "tenant", "time", "severity", "reason"})

MAPPERS: Mapping[str, Callable[[AuditEvent, str], dict[str, object]]] = {"1.8.0": document_1_8}


def document(event: AuditEvent, version: str, schema: str = "1.8.0") -> dict[str, object]:
    """Return the event for a version of OCSF; raises `KeyError` for one that has no mapper."""
    return MAPPERS[schema](event, version)


def _user(event: AuditEvent) -> dict[str, object]:
    name = {} if event.actor_name is None else {"name": event.actor_name}
    return {"uid": event.actor_ref or "unknown", **name}


def _actor(event: AuditEvent) -> dict[str, object]:
    session = {} if event.session_ref is None else {"session": {"uid": event.session_ref}}
    return {"user": _user(event), "app_name": PRODUCT, **session}


def _target(event: AuditEvent) -> str:
    return event.object_ref or f"type {event.object_type}"


def _endpoint(event: AuditEvent) -> dict[str, object]:
    # The address itself is personal data and lies in the sealed payload; what is known here is the way in.
    return {"name": event.origin}


def _authentication(event: AuditEvent) -> dict[str, object]:
    return {
        "user": _user(event),
        "service": {"name": PRODUCT},
        "auth_protocol": event.auth_method or "unknown",
    }


def _account(event: AuditEvent) -> dict[str, object]:
    return {"user": {"uid": event.object_ref or event.actor_ref or "unknown"}, "actor": _actor(event)}


def _entity(event: AuditEvent) -> dict[str, object]:
    return {"entity": {"uid": _target(event), "type": event.object_type or "unknown"}, "actor": _actor(event)}


def _privileges(event: AuditEvent) -> dict[str, object]:
    return {
        "user": {"uid": event.object_ref or "unknown"},
        "privileges": [event.action],
        "actor": _actor(event),
    }


def _api(event: AuditEvent) -> dict[str, object]:
    request = {} if event.request_id is None else {"request": {"uid": event.request_id}}
    return {
        "actor": _actor(event),
        "api": {"operation": event.action, **request},
        "src_endpoint": _endpoint(event),
        "resources": [{"uid": _target(event), "type": event.object_type or "unknown"}],
    }


def _datastore(event: AuditEvent) -> dict[str, object]:
    return {
        "actor": _actor(event),
        "src_endpoint": _endpoint(event),
        "database": {"name": PRODUCT, "type_id": 1, "uid": event.tenant or "unknown"},
    }


def _application(event: AuditEvent) -> dict[str, object]:
    return {"app": {"name": PRODUCT, "vendor_name": VENDOR}}


def _finding(event: AuditEvent) -> dict[str, object]:
    return {"finding_info": {"uid": event.event_id, "title": f"{event.event_class} {event.action}"}}


def _compliance(event: AuditEvent) -> dict[str, object]:
    return {**_finding(event), "compliance": {"control": event.action}}


_BODY: Mapping[int, Callable[[AuditEvent], dict[str, object]]] = {
    3001: _account,
    3002: _authentication,
    3004: _entity,
    3005: _privileges,
    6003: _api,
    6005: _datastore,
    6002: _application,
    2003: _compliance,
    2004: _finding,
}
