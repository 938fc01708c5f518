"""The audit event as a SIEM gets it: the leaf of the log, its index and hash, and how much of it a sink may
see.

The forwarder makes these from leaves; every format is a pure function of one.
"""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from compliance.audit.log.leaf import entry_hash, is_pruned, pruned_event_id

PRODUCT = "Kontor"
VENDOR = "Kontor"

# What a reader's terminal, a log file or a viewer could act on: controls, line separators, marks of
# direction.
_HAZARDS = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Policy(Enum):
    """How much a sink is told (SIEM-6)."""

    PSEUDONYM = "pseudonym"
    """References stay the random pseudonyms that they are in the log."""
    MINIMAL = "minimal"
    """What happened and how it ended; no references to records, subjects, sessions or requests."""
    FULL = "full"
    """As PSEUDONYM, with the actor's name resolved by the application."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event with its place in the log.

    Attributes:
        log: Origin of the log.
        index: Leaf index; dense, so a receiver sees a gap.
        leaf_hash: Leaf hash, hex.
        severity: 0 unknown, 1 informational, 2 low, 3 medium, 4 high, 5 critical, 6 fatal (as OCSF).
        actor_name: Only under the policy FULL.
        truncated: Whether something was left out because the sink takes only short messages.
    """

    log: str
    index: int
    leaf_hash: str
    event_id: str
    occurred_at: datetime
    tenant: str
    event_class: str
    action: str
    outcome: str
    reason: str | None
    severity: int
    actor_ref: str | None
    auth_method: str | None
    session_ref: str | None
    request_id: str | None
    origin: str
    object_type: str | None
    object_ref: str | None
    subject_ref: tuple[str, ...]
    purpose: str | None
    policy_version: str | None
    meta: Mapping[str, object]
    actor_name: str | None = None
    truncated: bool = False

    @classmethod
    def from_leaf(cls, log: str, index: int, leaf: bytes) -> AuditEvent:
        """Make the event of a leaf; stand-ins for an unsealable row and for a pruned leaf say what they are."""
        digest = entry_hash(leaf).hex()
        if is_pruned(leaf):
            return _stand_in(log, index, digest, pruned_event_id(leaf), "pruned")
        document = json.loads(leaf[1:])
        if "row_sha256" in document:
            field, told = f"field {document['field']}", {"row_sha256": document["row_sha256"]}
            event_id = document["event_id"]
            return _stand_in(log, index, digest, event_id, "unsealable_event", reason=field, meta=told)
        return cls(
            log=log,
            index=index,
            leaf_hash=digest,
            occurred_at=datetime.fromisoformat(document["occurred_at"]),
            event_class=document["class"],
            severity=document["severity"] if isinstance(document["severity"], int) else 1,
            object_type=_optional(document["object_type"]),
            policy_version=_optional(document["policy_version"]),
            subject_ref=tuple(document["subject_ref"]),
            **{name: document[name] for name in _SAME},
        )

    def under(self, policy: Policy, name_of: Callable[[str], str | None] = lambda _ref: None) -> AuditEvent:
        """Return what a sink with this policy may see."""
        if policy is Policy.MINIMAL:
            return dataclasses.replace(
                self,
                session_ref=None,
                request_id=None,
                object_ref=None,
                subject_ref=(),
                meta={},
                actor_name=None,
            )
        if policy is Policy.FULL and self.actor_ref is not None:
            return dataclasses.replace(self, actor_name=name_of(self.actor_ref))
        return dataclasses.replace(self, actor_name=None)

    def shortened(self, step: int) -> AuditEvent:
        """Return the event with less in it; larger steps drop more, and nothing is cut inside a value's
        meaning.
        """
        event = dataclasses.replace(self, truncated=True, meta={})
        if step > 1:
            event = dataclasses.replace(event, subject_ref=self.subject_ref[:1], reason=None)
        if step > 2:
            texts: dict[str, Any] = {
                name: short(getattr(self, name)) for name in _TEXTS if getattr(self, name) is not None
            }
            event = dataclasses.replace(event, subject_ref=(), purpose=None, **texts)
        return event

    @property
    def repeated(self) -> int | None:
        """How many refusals the event tells of, where it is about several (`since` and `until` are in `meta`)."""
        count = self.meta.get("count")
        return count if self.action == "deny" and isinstance(count, int) else None

    def flat(self) -> dict[str, str]:
        """Return the event as text by key, without what is absent; the keys are the field dictionary of the
        sinks.
        """
        values: dict[str, str | None] = {
            "log": self.log,
            "index": str(self.index),
            "leafHash": self.leaf_hash,
            "eventId": self.event_id,
            "time": timestamp(self.occurred_at),
            "tenant": self.tenant,
            "class": self.event_class,
            "action": self.action,
            "outcome": self.outcome,
            "reason": self.reason,
            "severity": str(self.severity),
            "actor": self.actor_ref,
            "actorName": self.actor_name,
            "authMethod": self.auth_method,
            "session": self.session_ref,
            "request": self.request_id,
            "origin": self.origin,
            "objectType": self.object_type,
            "object": self.object_ref,
            "subjects": ",".join(self.subject_ref) or None,
            "purpose": self.purpose,
            "policy": self.policy_version,
            "meta": as_json(self.meta) if self.meta else None,
            "truncated": "true" if self.truncated else None,
        }
        return {key: value for key, value in values.items() if value is not None}


_SAME = (
    *("event_id", "tenant", "action", "outcome", "reason", "actor_ref", "auth_method", "session_ref"),
    *("request_id", "origin", "object_ref", "purpose", "meta"),
)
_TEXTS = ("tenant", "event_class", "action", "outcome", "actor_ref", "auth_method", "session_ref", "request_id",
          "origin", "object_type", "object_ref", "policy_version", "actor_name", "log")  # fmt: skip


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def _stand_in(
    log: str,
    index: int,
    digest: str,
    event_id: str,
    action: str,
    *,
    reason: str | None = None,
    meta: Mapping[str, object] | None = None,
) -> AuditEvent:
    return AuditEvent(
        log=log, index=index, leaf_hash=digest, event_id=event_id, occurred_at=datetime.fromtimestamp(0, UTC),
        tenant="", event_class="audit", action=action, outcome="failure" if reason else "success", reason=reason,
        severity=5 if reason else 1, actor_ref=None, auth_method=None, session_ref=None,
        request_id=None, origin="sealer", object_type=None, object_ref=None, subject_ref=(), purpose=None,
        policy_version=None, meta=meta or {},
    )  # fmt: skip


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def short(value: str, limit: int = 48) -> str:
    """The first `limit` characters; never cuts inside a character or before a combining mark."""
    if len(value) <= limit:
        return value
    while limit and unicodedata.combining(value[limit]):
        limit -= 1  # An accent follows: its letter goes with it.
    return value[:limit] + "…"


def visible(value: str) -> str:
    r"""Replace controls, separators and marks of direction by their visible `\uXXXX` form.

    For formats that have no escapes of their own.
    """
    return _HAZARDS.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


def as_json(value: object) -> str:
    r"""Compact JSON in which hazards are `\uXXXX` escapes: one line, exact for any parser, readable for people."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return _HAZARDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
