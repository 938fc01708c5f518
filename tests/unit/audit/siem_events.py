"""One event of every kind for the tests of the formats, and any event at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from compliance.audit.siem.event import AuditEvent

# Of each OCSF class a few, and one that the product doesn't write.
KINDS = [
    ("authentication", "login"),
    ("authentication", "session_ended"),
    ("authentication", "unheard_of"),
    ("authorization", "deny"),
    ("authorization", "emergency_begun"),
    ("change", "create"),
    ("change", "share"),
    ("read", "list"),
    ("export", "export"),
    ("configuration", "user_disabled"),
    ("configuration", "role_given"),
    ("configuration", "keys_erased"),
    ("configuration", "sink_test"),
    ("job", "import"),
    ("detection", "alert_honey"),
    ("audit", "reconciliation"),
]


def siem_event(**changes: Any) -> AuditEvent:
    values: dict[str, Any] = {
        "log": "kontor.example/audit",
        "index": 41,
        "leaf_hash": "ab" * 32,
        "event_id": "01934a6b-7c1e-7a3b-8f00-0123456789ab",
        "occurred_at": datetime(2026, 11, 21, 8, 15, 30, 123456, tzinfo=UTC),
        "tenant": "t1",
        "event_class": "change",
        "action": "update",
        "outcome": "success",
        "reason": None,
        "severity": 1,
        "actor_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        "auth_method": "password",
        "session_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964f0",
        "request_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964f9",
        "origin": "web",
        "object_type": "3",
        "object_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964f1",
        "subject_ref": ("6f9619ff-8b86-4d01-b42d-00cf4fc964f2",),
        "purpose": "sales",
        "policy_version": "1",
        "meta": {"fields": [2, 7]},
    }
    return AuditEvent(**values | changes)


def everything() -> list[AuditEvent]:
    """Every kind with every outcome, full and nearly empty, from the web and the API."""
    found = []
    for event_class, action in KINDS:
        found += [
            siem_event(event_class=event_class, action=action, outcome=outcome, origin=origin)
            for outcome in ("success", "failure", "denied", "partial")
            for origin in ("web", "api")
        ]
        found.append(
            siem_event(
                event_class=event_class,
                action=action,
                actor_ref=None,
                session_ref=None,
                object_ref=None,
                object_type=None,
                request_id=None,
                auth_method=None,
                subject_ref=(),
                purpose=None,
                meta={},
                reason="because",
                severity=9,
                policy_version=None,
                tenant="",
            )
        )
    return found


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
NASTY = st.one_of(
    ANY_TEXT,
    st.sampled_from(
        ["a|b", "a=b c=d", "a\\", "\\n", "line\nline", "\r\n", "\0", "\u2028", "\u202eevil", "שלום", "]", '"', '\\"]',
         "tab\tkey=value", "^", "😀" * 9, "é\u0301\u0301", "\x1b[31m", "<134>1", "CEF:0|", " ", "\ufeff"]
    ),
)  # fmt: skip
TEXT_FIELDS = (
    "action",
    "outcome",
    "reason",
    "purpose",
    "object_ref",
    "tenant",
    "origin",
    "event_class",
    "actor_ref",
)


def any_event() -> st.SearchStrategy[AuditEvent]:
    return st.builds(
        lambda texts, meta, subjects: siem_event(**texts, meta=meta, subject_ref=tuple(subjects)),
        st.fixed_dictionaries(dict.fromkeys(TEXT_FIELDS, NASTY)),
        st.dictionaries(ANY_TEXT, NASTY, max_size=3),
        st.lists(NASTY, max_size=3),
    )
