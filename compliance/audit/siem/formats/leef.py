"""IBM LEEF 2.0 with a tab between attributes. LEEF has no escapes, so delimiters in values are replaced by
a space.
"""

from __future__ import annotations

import re

from compliance.audit.siem.event import PRODUCT, VENDOR, AuditEvent, visible

_SEVERITY = {0: 1, 1: 1, 2: 3, 3: 5, 4: 7, 5: 9, 6: 10}
_LINE = re.compile(r"[\t\r\n]+")
_NAMED = {
    "usrName": "actor",
    "accountName": "actorName",
    "identSrc": "log",
    "resource": "object",
    "policy": "policy",
    "externalId": "eventId",
}


def render(event: AuditEvent, version: str) -> str:
    """Return one LEEF line, without a syslog header."""
    flat = event.flat()
    taken = set(_NAMED.values()) | {"time", "severity"}
    moment = (
        event.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{event.occurred_at.microsecond // 1000:03d}+0000"
    )
    fields = {"devTime": moment, "devTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSZ", "cat": event.event_class}
    fields["sev"] = str(_SEVERITY.get(event.severity, 1))
    fields |= {name: flat[key] for name, key in _NAMED.items() if key in flat}
    fields |= {key: value for key, value in flat.items() if key not in taken}
    head = "|".join(
        header(part) for part in (VENDOR, PRODUCT, version, f"{event.event_class}:{event.action}")
    )
    return f"LEEF:2.0|{head}|x09|" + "\t".join(f"{name}={value_of(value)}" for name, value in fields.items())


def header(value: str) -> str:
    """A part of the header: pipes become slashes."""
    return value_of(value).replace("|", "/")


def value_of(value: str) -> str:
    """A value: tabs and line ends become a space, other controls visible text."""
    return visible(_LINE.sub(" ", value))
