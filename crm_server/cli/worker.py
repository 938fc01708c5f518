"""`kontor worker`: runs background jobs until it is told to stop."""

from __future__ import annotations

import os

import click

from crm_server.settings import load


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), help="Jobs at the same time; default from the settings."
)
@click.option("--heartbeat", type=float, default=10, show_default=True, help="Seconds between signs of life.")
@click.option(
    "--stalled",
    type=float,
    default=30,
    show_default=True,
    help="Seconds without a sign of life after which a worker counts as dead and its jobs run again.",
)
@click.option(
    "--graceful", type=float, default=25, show_default=True, help="Seconds that jobs get to end on SIGTERM."
)
@click.option("--until-empty", is_flag=True, help="Stop when no job waits.")
def worker(
    *, concurrency: int | None, heartbeat: float, stalled: float, graceful: float, until_empty: bool
) -> None:
    """Run background jobs.

    SIGTERM lets the jobs that run end first. A worker that is killed loses nothing: its jobs run again.
    """
    from crm_server import tasks
    from crm_server.kernel.worker import Pace
    from monitoring import logs, metrics

    settings = load()
    logs.configure(settings.log_level, settings.log_format)
    if settings.metrics_port and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        metrics.serve(settings.metrics_port)
    pace = Pace(heartbeat=heartbeat, stalled=stalled, polling=min(5.0, stalled), graceful=graceful)
    tasks.worker(settings, concurrency=concurrency, pace=pace).run(until_empty=until_empty)
