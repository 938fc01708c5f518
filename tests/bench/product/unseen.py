"""The application whose reads and changes write no audit event: what `bench_audit_overhead` compares with.

Statements that read are the same but for the expressions that insert the event. Changes renew `event_id`, so that the
trigger's substitute isn't written either, and make no key for the payload of an event.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from uuid_utils.compat import uuid7

from crm_server import serving
from crm_server.app import from_environment as product


def from_environment() -> Any:
    telling: Any = import_module("crm_server.kernel.listing.telling")
    telling.clauses = lambda *_arguments: []
    telling.Reading.tell = lambda *_arguments, **_options: None
    capture: Any = import_module("compliance.audit.capture")
    capture._note = lambda _pending, instance, _action: setattr(instance, "event_id", uuid7())
    capture.write = lambda *_arguments: None
    firstkeys: Any = import_module("crm_server.kernel.firstkeys")
    firstkeys._TOGETHER.clear()
    return product()


if __name__ == "__main__":
    serving.main("unseen:from_environment")
