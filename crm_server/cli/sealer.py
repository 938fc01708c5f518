"""`kontor sealer`: indexes and signs what was committed, as a process and a database role of its own."""

from __future__ import annotations

import os
import signal
import threading

import click

from crm_server.settings import load


@click.command()
def sealer() -> None:
    """Seal the audit log until stopped.

    The first start makes the signing key and opens the log. SIGTERM lets the round that is running end.
    Exit code 1: the database contradicts what was signed, or the key can't be used; a person has to decide.
    """
    from compliance.audit.log.keyfile import KeyFileError
    from compliance.audit.log.sealer import LogContradiction
    from compliance.audit.log.state import StateError
    from crm_server.domain.audit.sealing import seal
    from monitoring import logs, metrics

    # The sealer has no business with the application's role, so its address isn't needed here.
    settings = load(database_url="")
    logs.configure(settings.log_level, settings.log_format)
    if settings.metrics_port and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        metrics.serve(settings.metrics_port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        seal(settings, stop)
    except KeyFileError as error:
        raise click.ClickException(f"{error}.") from error
    except (LogContradiction, StateError) as error:
        raise click.ClickException(f"Nothing more is signed: {error}. See docs/audit.md.") from error
