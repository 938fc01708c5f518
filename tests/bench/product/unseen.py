"""The application with lists and single reads that write no audit event: what `bench_audit_overhead` compares with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crm_server import serving
from crm_server.app import from_environment as product


def from_environment() -> Any:
    fetch: Any = import_module("crm_server.kernel.listing.fetch")
    fetch.audit_clauses = lambda *_arguments, **_options: []
    return product()


if __name__ == "__main__":
    serving.main("unseen:from_environment")
