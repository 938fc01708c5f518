"""The content pack for whoever runs the SIEM: field dictionary, a JSON Schema and a sample for each event
type.

Written by `kontor siem pack --out DIR`. A receiver's engineer gets everything without reading the
product: what fields mean, what each type looks like in each format, rules to start with, and queries that
find missing indexes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from compliance.audit.siem.event import AuditEvent
from compliance.audit.siem.formats import FORMATS, Sender, render
from compliance.audit.vocabulary import EVENT_TYPES

SCHEMA_VERSION = 1
CONTENT = Path(__file__).with_name("content")

FIELDS: Mapping[str, tuple[str, str]] = {
    "log": ("text", "Name of the log; changes only when a log was forked with an explanation"),
    "index": ("number", "Place in the log, without gaps: a missing number is a missing event"),
    "leafHash": ("hex, 64", "SHA-256 leaf hash of the event (RFC 6962); compare it with an exported log"),
    "eventId": ("uuid", "Identifier of the event; the same when an event is delivered twice"),
    "time": ("RFC 3339, UTC", "When it happened, with microseconds"),
    "tenant": ("text", "Installation or tenant"),
    "class": (
        "word",
        "What kind of event: change, read, authentication, authorization, export, configuration, job …",
    ),
    "action": ("word", "What was done: create, update, login, list …"),
    "outcome": ("word", "success, failure, denied or error"),
    "reason": ("text", "Why it failed or was denied; a code, never a value"),
    "severity": ("number", "1 informational, 2 low, 3 medium, 4 high, 5 critical, 6 fatal; 0 unknown"),
    "actor": ("pseudonym", "Who acted"),
    "actorName": ("text", "Name of the actor, only for sinks with the policy full"),
    "authMethod": ("word", "How the actor had logged in"),
    "session": ("pseudonym", "Session"),
    "request": ("uuid", "Request; joins all events of one request"),
    "origin": ("word", "web, api, cli, job or sealer"),
    "objectType": ("number", "Kind of record, by its number in the data map"),
    "object": ("pseudonym", "Record"),
    "subjects": ("pseudonyms", "Persons whom the record is about, separated by commas"),
    "purpose": ("word", "Stated purpose of the access"),
    "policy": ("number", "Version of the access policy"),
    "meta": ("JSON", "Further facts without personal data: field numbers, counts, versions"),
    "truncated": ("true", "The sink takes only short messages, and something was left out"),
}


def schema(event_class: str, action: str) -> dict[str, object]:
    """Return the JSON Schema (2020-12) of an event type in the form `rfc5424+json`. Raises `KeyError`."""
    if action not in EVENT_TYPES[event_class]:
        raise KeyError(action)
    properties: dict[str, object] = {
        name: {"type": "string", "description": text} for name, (_, text) in FIELDS.items()
    }
    properties |= {
        "class": {"const": event_class},
        "action": {"const": action},
        "index": {"type": "string", "pattern": "^(0|[1-9][0-9]*)$", "description": FIELDS["index"][1]},
        "leafHash": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": FIELDS["leafHash"][1]},
        "severity": {"type": "string", "pattern": "^[0-6]$", "description": FIELDS["severity"][1]},
        "time": {"type": "string", "format": "date-time", "description": FIELDS["time"][1]},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:kontor:audit:{event_class}:{action}:v{SCHEMA_VERSION}",
        "title": f"{event_class} {action}",
        "type": "object",
        "properties": properties,
        "required": [
            "log",
            "index",
            "leafHash",
            "eventId",
            "time",
            "class",
            "action",
            "outcome",
            "severity",
            "origin",
        ],
        "additionalProperties": False,
    }


def sample(event_class: str, action: str, index: int = 0) -> AuditEvent:
    """Return a made-up event of a type."""
    return AuditEvent(
        log="crm.example/audit",
        index=index,
        leaf_hash=f"{index:064x}",
        event_id=f"01934a6b-7c1e-7a3b-8f00-{index:012x}",
        occurred_at=datetime(2026, 11, 21, 8, 15, 30, 123456, tzinfo=UTC),
        tenant="main",
        event_class=event_class,
        action=action,
        outcome="denied" if action == "check" else "success",
        reason="no_permission" if action == "check" else None,
        severity=3 if action == "check" else 1,
        actor_ref="6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        auth_method="password+totp",
        session_ref="1c7d5c0e-54b6-4b0b-9d3f-0d8f6f1f7b11",
        request_id="0a4be2f1-6f4c-4a53-8a39-0ef5b3f0a0aa",
        origin="web",
        object_type="3",
        object_ref="e2b7c2ad-0f0b-4a8e-8a53-b3a1b2f6c0de",
        subject_ref=("5d1f8f0a-39a2-4a1e-9c0a-8d7c6b5a4f3e",),
        purpose="sales",
        policy_version="1",
        meta={"fields": [2, 7]},
    )


def reconciliation_meta(log: str, first: int, last: int, root: bytes) -> dict[str, object]:
    """Return `meta` of the nightly event audit/reconciliation (SIEM-7).

    The receiver counts what it has between both indexes and raises an alarm if the number differs.

    Args:
        log: Origin of the log.
        first: First index since the last reconciliation.
        last: Last index of a published checkpoint.
        root: Root of that checkpoint, 32 bytes.
    """
    return {
        "log": log,
        "first_index": first,
        "last_index": last,
        "count": last - first + 1,
        "tree_size": last + 1,
        "root": root.hex(),
    }


def types() -> Iterator[tuple[str, str]]:
    """Yield every event type."""
    for event_class, actions in EVENT_TYPES.items():
        for action in actions:
            yield event_class, action


def write_pack(directory: Path, version: str) -> None:
    """Write the content pack into a new folder. Raises `FileExistsError`."""
    directory.mkdir(parents=True)
    for name in ("schemas", "samples", "sigma"):
        (directory / name).mkdir()
    sender = Sender("crm1.example", version)
    samples: dict[str, list[str]] = {name: [] for name in FORMATS}
    for index, (event_class, action) in enumerate(types()):
        document = json.dumps(schema(event_class, action), indent=2, ensure_ascii=False)
        (directory / "schemas" / f"{event_class}.{action}.v{SCHEMA_VERSION}.json").write_text(document + "\n")
        for name in FORMATS:
            samples[name].append(render(name, sample(event_class, action, index), sender))
    for name, lines in samples.items():
        (directory / "samples" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(("field", "type", "meaning"))
    rows.writerows((name, kind, text) for name, (kind, text) in FIELDS.items())
    (directory / "fields.csv").write_text(table.getvalue())
    for source in sorted(CONTENT.rglob("*.*")):
        target = directory / source.relative_to(CONTENT)
        target.write_bytes(source.read_bytes())
