r"""ArcSight Common Event Format, version 0.

Header: `\` and `|` are escaped. Extension: `\` and `=` are escaped, line feed is `\n` and carriage return `\r`. Other
controls have no form in CEF and become visible text.
"""

from __future__ import annotations

import re

from compliance.audit.siem.event import PRODUCT, VENDOR, AuditEvent, visible

_LINE = re.compile(r"[\r\n]+")
_SEVERITY = {0: 0, 1: 1, 2: 3, 3: 5, 4: 7, 5: 9, 6: 10}
_LABELLED = (
    ("cs1", "leafHash"),
    ("cs2", "object"),
    ("cs3", "subjects"),
    ("cs4", "purpose"),
    ("cs5", "session"),
    ("cs6", "meta"),
)
_NAMED = {
    "externalId": "eventId",
    "act": "action",
    "outcome": "outcome",
    "reason": "reason",
    "suid": "actor",
    "suser": "actorName",
    "cat": "class",
    "dvchost": "log",
    "fileType": "objectType",
    "KontorTenant": "tenant",
    "KontorAuthMethod": "authMethod",
    "KontorRequest": "request",
    "KontorOrigin": "origin",
    "KontorPolicy": "policy",
    "KontorTruncated": "truncated",
}


def render(event: AuditEvent, version: str) -> str:
    """Return one CEF line, without a syslog header."""
    flat = event.flat()
    head = "|".join(
        escape_header(part)
        for part in (
            VENDOR,
            PRODUCT,
            version,
            f"{event.event_class}:{event.action}",
            f"{event.event_class} {event.action}",
            str(_SEVERITY.get(event.severity, 0)),
        )
    )
    fields = {
        "rt": str(int(event.occurred_at.timestamp() * 1000)),
        "cn1Label": "logIndex",
        "cn1": flat["index"],
    }
    fields |= {name: flat[key] for name, key in _NAMED.items() if key in flat}
    if event.repeated is not None:
        fields["cnt"] = str(event.repeated)
    for name, key in _LABELLED:
        if key in flat:
            fields |= {f"{name}Label": key, name: flat[key]}
    extension = " ".join(f"{name}={escape_value(value)}" for name, value in fields.items())
    return f"CEF:0|{head}|{extension}"


def escape_header(value: str) -> str:
    """Escape a part of the header, which has no line ends at all."""
    return visible(_LINE.sub(" ", value)).replace("\\", "\\\\").replace("|", "\\|")


def escape_value(value: str) -> str:
    """Escape a value of the extension."""
    parts = (visible(part).replace("\\", "\\\\").replace("=", "\\=") for part in _LINE.split(value))
    ends = (end.replace("\r", "\\r").replace("\n", "\\n") for end in (*_LINE.findall(value), ""))
    return "".join(part + end for part, end in zip(parts, ends, strict=True))
