"""The application with lists and single reads that write no audit event: what `bench_audit_overhead` compares with.

Their statements are the same but for the expressions that insert the event.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crm_server import serving
from crm_server.app import from_environment as product


def from_environment() -> Any:
    telling: Any = import_module("crm_server.kernel.listing.telling")
    telling.clauses = lambda *_arguments: []
    telling.Reading.tell = lambda *_arguments, **_options: None
    return product()


if __name__ == "__main__":
    serving.main("unseen:from_environment")
