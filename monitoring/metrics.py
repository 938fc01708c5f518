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
EMERGENCIES = Counter("kontor_emergency_access_total", "Emergency access by step.", ("step",))
APPROVALS = Counter("kontor_approvals_total", "Requests that take two persons, by step.", ("kind", "step"))
IMPORT_ROWS = Counter("kontor_import_rows_total", "Rows of imports by outcome.", ("entity", "outcome"))

KEY_ALARMS = Counter(
    "kontor_key_alarms_total", "Errors of keys and sealed documents that are alarms.", ("code",)
)
KEY_EVENTS = Counter("kontor_key_events_total", "Work on keys by kind and outcome.", ("action", "outcome"))
KEY_EPOCH = Gauge("kontor_key_epoch", "Number of the active epoch of keys.", multiprocess_mode="mostrecent")
KEY_EPOCH_AGE = Gauge(
    "kontor_key_epoch_age_seconds", "Age of the active epoch of keys.", multiprocess_mode="mostrecent"
)
KEYS_BEHIND = Gauge(
    "kontor_keys_behind",
    "Live data keys under an epoch that isn't the active one.",
    multiprocess_mode="mostrecent",
)
KEY_RING_AWAY = Gauge(
    "kontor_key_ring_away",
    "1 while the provider of the key ring doesn't answer.",
    multiprocess_mode="mostrecent",
)
KEY_DRILL_AGE = Gauge(
    "kontor_key_drill_age_seconds", "Age of the newest drill of erasure.", multiprocess_mode="mostrecent"
)
KEY_DRILL_PASSED = Gauge(
    "kontor_key_drill_passed", "1 if the newest drill of erasure passed.", multiprocess_mode="mostrecent"
)
BLIND_INDEX = Gauge(
    "kontor_blind_index_alarm",
    "Blind indexes that break the bit budget (kind budget), and tokens that cover over 5 % of a field (kind overfull).",
    ("entity", "kind"),
    multiprocess_mode="mostrecent",
)
DOCUMENT_TROUBLES = Counter(
    "kontor_document_troubles_total",
    "Sealed documents that did not open though nobody erased their key, by reason. Any is an alarm.",
    ("reason",),
)

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
AUDIT_OPEN = Gauge(
    "kontor_audit_open",
    "1 while privileged acts are open, 0 while the audit log can't prove them.",
    multiprocess_mode="mostrecent",
)
AUDIT_SPACE = Gauge(
    "kontor_audit_space_free_ratio",
    "Free part of the file system of the audit log's files.",
    multiprocess_mode="mostrecent",
)
PARTITIONS_AHEAD = Gauge(
    "kontor_audit_partitions_ahead",
    "Months for which the tables of the audit log have room.",
    multiprocess_mode="mostrecent",
)
PARTITIONS_MISPLACED = Gauge(
    "kontor_audit_events_outside_months",
    "Events whose time fits no month of the log.",
    multiprocess_mode="mostrecent",
)
SIEM_BACKLOG = Gauge(
    "kontor_siem_backlog_events",
    "Events that a sink is not certain to have.",
    ("sink",),
    multiprocess_mode="mostrecent",
)
SIEM_FAILING = Gauge(
    "kontor_siem_failing_seconds",
    "For how long nothing could be delivered to a sink; 0 while it works.",
    ("sink",),
    multiprocess_mode="mostrecent",
)
SIEM_CERTIFICATE = Gauge(
    "kontor_siem_certificate_seconds",
    "Seconds until the first of the certificates of a sink and of ours ends.",
    ("sink",),
    multiprocess_mode="mostrecent",
)
SIEM_SENT = Counter(
    "kontor_siem_events_total", "Events that were handed to a sink, repeats included.", ("sink",)
)
AUDIT_ALERTS = Counter("kontor_audit_alerts_total", "Alerts of the rules over the audit log.", ("rule",))


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
