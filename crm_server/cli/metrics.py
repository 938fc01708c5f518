"""`kontor metrics`: answer /metrics for all processes of this machine, on a port of its own."""

from __future__ import annotations

import os
import signal
import threading

import click

from crm_server.settings import SettingsError, load
from monitoring import metrics as exposition


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
def metrics(address: str) -> None:
    """Serve Prometheus metrics until stopped.

    The other processes write theirs into the folder that PROMETHEUS_MULTIPROC_DIR names for all of them.
    """
    port: int = load().metrics_port
    if not port:
        raise SettingsError("KONTOR_METRICS_PORT is 0, which switches metrics off. Set a port, such as 9464.")
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        raise SettingsError("PROMETHEUS_MULTIPROC_DIR is not set. Name the folder that all processes share.")
    server, thread = exposition.serve(port, address)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    stop.wait()
    server.shutdown()
    thread.join()
