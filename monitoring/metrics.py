"""Metrics of all processes, by name. Labels never hold ids or names of persons.

With `PROMETHEUS_MULTIPROC_DIR` set, several worker processes share one exposition (`serve`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

REQUESTS = Histogram(
    "kontor_http_request_seconds",
    "Time from the first byte of a request to its answer.",
    ("route", "method", "status"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
TRANSACTIONS = Counter(
    "kontor_transactions_total", "Transactions that ran again or were given up.", ("outcome",)
)
LOGINS = Counter("kontor_logins_total", "Log-ins by outcome.", ("outcome",))
DENIALS = Counter("kontor_denials_total", "Requests refused for want of a permission.", ("permission",))
JOBS = Counter("kontor_jobs_total", "Jobs by name and outcome.", ("job", "outcome"))
JOB_QUEUE = Gauge("kontor_job_queue", "Jobs by state.", ("state",), multiprocess_mode="mostrecent")
IMPORT_ROWS = Counter("kontor_import_rows_total", "Rows of imports by outcome.", ("entity", "outcome"))

SEALED = Gauge(
    "kontor_audit_sealed_events",
    "Events that have their place in the signed log.",
    multiprocess_mode="mostrecent",
)
SEALING_LAG = Gauge(
    "kontor_audit_sealing_lag_seconds",
    "Age of the oldest committed event without a place in the log.",
    multiprocess_mode="mostrecent",
)
SEALER_WORKS = Gauge(
    "kontor_audit_sealer_works",
    "1 while the sealer signs, 0 while something keeps it.",
    multiprocess_mode="mostrecent",
)

SEARCH_SECONDS = Histogram(
    "kontor_search_seconds",
    "Time of the search service for a request, by kind.",
    ("kind",),
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
SEARCH_REFUSED = Counter(
    "kontor_search_refused_total", "Requests that the search service did not answer, by reason.", ("reason",)
)
SEARCH_RECORDS = Gauge(
    "kontor_search_records", "Records that the search service holds.", multiprocess_mode="mostrecent"
)
SEARCH_LAG = Gauge(
    "kontor_search_lag_seconds",
    "Seconds since the search service knew everything that was committed.",
    multiprocess_mode="mostrecent",
)


def registry() -> CollectorRegistry:
    """The registry to expose: of this process, or of all processes of this installation."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


def serve(port: int, address: str = "127.0.0.1") -> tuple[WSGIServer, Thread]:
    """Answer `/metrics` on a port of its own.

    Args:
        port: TCP port.
        address: Address to listen on; loopback unless the operator says otherwise.
    """
    return start_http_server(port, address, registry())
