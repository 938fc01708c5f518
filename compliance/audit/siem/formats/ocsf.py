"""Open Cybersecurity Schema Framework 1.8: one mapper a version, because classes change between them.

Each event class of ours goes to the OCSF class whose required attributes it really has; what has no place
of its own is under `unmapped`, with the index and leaf hash of the log in `metadata`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

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
AUTHENTICATION = (
    3002,
    3,
    {
        **dict.fromkeys(("login", "second_step", "passkey", "sso"), 1),
        "session_ended": 2,
        **dict.fromkeys(("step_up", "step_up_password", "step_up_code", "step_up_passkey", "step_up_sso"), 6),
    },
)
ACCOUNT_CHANGE = (
    3001,
    3,
    {
        **dict.fromkeys(("user_made_by_directory", "user_made_by_sso", "scim_user_added"), 1),
        "user_enabled": 2,
        "password_changed": 3,
        **dict.fromkeys(("password_set", "link_made"), 4),
        **dict.fromkeys(("user_disabled", "scim_user_removed"), 5),
        **dict.fromkeys(("factor_added", "recovery_codes_made"), 10),
        "factor_removed": 11,
        **dict.fromkeys(("recovery_code_used", "password_expired"), 99),
    },
)
USER_ACCESS = (
    3005,
    3,
    {
        **dict.fromkeys(
            ("role_given", "team_joined", "territory_joined", "emergency_begun", "token_created"), 1
        ),
        **dict.fromkeys(("role_taken", "team_left", "territory_left", "emergency_ended", "token_revoked"), 2),
    },
)
ENTITY_MANAGEMENT = (
    3004,
    3,
    {
        **dict.fromkeys(("create", "role_created", "scim_token_created", "epoch_created"), 1),
        **dict.fromkeys(("update", "tag", "untag", "share", "unshare", "role_changed", "epoch_rotated"), 3),
        **dict.fromkeys(("delete", "purge", "role_deleted", "scim_token_revoked", "epoch_destroyed"), 4),
    },
)
API = (6003, 6, {**dict.fromkeys(("read", "list", "view", "changes", "download", "export"), 2)})
DATASTORE = (6005, 6, {**dict.fromkeys(("read", "view", "download", "export"), 1), "list": 8})
_Class = tuple[int, int, Mapping[str, int]]
APPLICATION: _Class = (6002, 6, {})
COMPLIANCE_FINDING: _Class = (2003, 2, {})
DETECTION_FINDING: _Class = (2004, 2, {})
_BY_ACTION: Mapping[str, _Class] = {
    action: found for found in (ACCOUNT_CHANGE, USER_ACCESS, ENTITY_MANAGEMENT) for action in found[2]
}
_BY_CLASS: Mapping[str, _Class] = {
    "authentication": AUTHENTICATION,
    "authorization": API,
    "change": ENTITY_MANAGEMENT,
    "detection": DETECTION_FINDING,
    "audit": DETECTION_FINDING,
}
# What an auditor asks for: that keys and persons' data were erased, that drills and comparisons went well.
_FINDINGS = frozenset(
    {
        *("keys_erased", "keys_held", "keys_released", "erasures_replayed", "drill_passed", "drill_failed"),
        *("directory_comparison_held", "directory_comparison_failed", "scim_deprovisioning_held"),
        *("reconciliation", "prune", "prune_closed", "destruction_refused"),
    }
)


def ocsf_class(event: AuditEvent) -> _Class:
    """Return the OCSF class of an event."""
    if event.action in _FINDINGS:
        return COMPLIANCE_FINDING
    if event.event_class in ("read", "export"):
        return API if event.origin == "api" else DATASTORE
    if event.event_class == "configuration":
        return _BY_ACTION.get(event.action, APPLICATION)
    if event.event_class == "authorization" and event.action in USER_ACCESS[2]:
        return USER_ACCESS
    return _BY_CLASS.get(event.event_class, APPLICATION)


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
    if event.repeated is not None:
        document["count"] = event.repeated
        document |= _span(event)
    if event.reason is not None:
        document["status_detail"] = event.reason
    return document


def _span(event: AuditEvent) -> dict[str, int]:
    """From when to when what happened several times happened, in milliseconds."""
    told = {"start_time": event.meta.get("since"), "end_time": event.meta.get("until")}
    return {
        name: int(datetime.fromisoformat(moment).timestamp() * 1000)
        for name, moment in told.items()
        if isinstance(moment, str)
    }


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
