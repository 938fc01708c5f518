"""Metrics are served on a port of their own, and no label can hold a person."""

from __future__ import annotations

import urllib.request

from prometheus_client import Counter, Gauge, Histogram

from monitoring import metrics


class TestMetrics:
    def test_they_are_served_in_the_exposition_format(self) -> None:
        metrics.LOGINS.labels("success").inc()
        server, thread = metrics.serve(0)
        try:
            address = f"http://127.0.0.1:{server.server_port}/metrics"
            text = urllib.request.urlopen(address, timeout=5).read().decode()
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        assert 'kontor_logins_total{outcome="success"}' in text

    def test_no_label_is_named_after_a_person_or_a_record(self) -> None:
        kinds = (Counter, Gauge, Histogram)
        labels = {
            label for item in vars(metrics).values() if isinstance(item, kinds) for label in item._labelnames
        }
        about_the_system = {"route", "method", "status", "outcome", "permission", "job", "state", "entity"}
        kinds_of_events = {"code", "step", "reason", "action", "kind", "rule", "sink"}
        assert labels <= about_the_system | kinds_of_events
