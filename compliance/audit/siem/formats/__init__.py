"""The formats of the sinks, each a pure function from an event to one line or document. `render` picks one
by name.

A message longer than the sink takes is rendered again from a shortened event, so that it is never cut
inside a character, an escape or JSON, and says `truncated`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compliance.audit.siem.event import AuditEvent, as_json
from compliance.audit.siem.formats import cef, ecs, leef, ocsf, syslog


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: host name, version of the product, private enterprise number of the structured data."""

    host: str
    version: str
    enterprise: int = 32473
    """32473 is reserved for documentation (RFC 5612); a site with a number of its own sets it."""


Format = Callable[[AuditEvent, Sender], str]


def _json(document: Mapping[str, object]) -> str:
    return as_json(document)


FORMATS: Mapping[str, Format] = {
    "rfc5424": lambda event, sender: syslog.structured(event, sender.host, sender.enterprise),
    "rfc5424+json": lambda event, sender: syslog.message(event, sender.host, _json(event.flat())),
    "cef": lambda event, sender: syslog.message(event, sender.host, cef.render(event, sender.version)),
    "leef": lambda event, sender: syslog.message(event, sender.host, leef.render(event, sender.version)),
    "ocsf": lambda event, sender: _json(ocsf.document(event, sender.version)),
    "ecs": lambda event, sender: _json(ecs.document(event, sender.version)),
}


def render(name: str, event: AuditEvent, sender: Sender, limit: int = 65_536) -> str:
    """Return the event in a format, at most `limit` bytes of UTF-8. Raises `KeyError` for an unknown format.

    `limit` may not be below 4,096 bytes, which the shortest form of any event fits.
    """
    if limit < 4096:
        raise ValueError("a sink must take messages of at least 4,096 bytes")
    form = FORMATS[name]
    line = form(event, sender)
    for step in (1, 2, 3):
        if len(line.encode()) <= limit:
            break
        line = form(event.shortened(step), sender)
    return line


def parse_json(line: str) -> dict[str, object]:
    """Return the JSON object of a JSON line; for samples and the set-up page."""
    loaded: dict[str, object] = json.loads(line[line.index("{") :])
    return loaded
