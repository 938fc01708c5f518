r"""RFC 5424 syslog: the event as structured data, or as the message behind a plain header.

Structured data knows three escapes, `\"`, `\\` and `\]` (§6.3.3). Everything a receiver could act on, line ends and
NUL first of all, is written as visible `\uXXXX` text before, because not every receiver keeps octet counts.
"""

from __future__ import annotations

import re

from compliance.audit.siem.event import AuditEvent, timestamp, visible

FACILITY_AUDIT = 13
_SEVERITY = {0: 6, 1: 6, 2: 5, 3: 4, 4: 3, 5: 2, 6: 1}
_ESCAPED = re.compile(r'(["\\\]])')
_NOT_PRINTABLE = re.compile(r"[^!-~]")


def header(event: AuditEvent, host: str) -> str:
    """Return PRI, version, time, host, application and message id; the message id is the event's class."""
    priority = FACILITY_AUDIT * 8 + _SEVERITY.get(event.severity, 6)
    return f"<{priority}>1 {timestamp(event.occurred_at)} {_word(host, 255)} kontor - {_word(event.event_class, 32)}"


def structured(event: AuditEvent, host: str, enterprise: int) -> str:
    """Return the event as one structured data element `kontor@<enterprise>`."""
    parameters = " ".join(f'{key}="{escape(value)}"' for key, value in event.flat().items())
    return f"{header(event, host)} [kontor@{enterprise} {parameters}]"


def message(event: AuditEvent, host: str, body: str) -> str:
    """Return a body (JSON, CEF or LEEF, one line) behind the header."""
    return f"{header(event, host)} - {body}"


def escape(value: str) -> str:
    """Escape a PARAM-VALUE."""
    return _ESCAPED.sub(r"\\\1", visible(value))


def _word(value: str, limit: int) -> str:
    return _NOT_PRINTABLE.sub("_", value)[:limit] or "-"
