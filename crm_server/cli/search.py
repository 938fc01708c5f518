"""`kontor search`: the service that finds and sorts by sealed fields, and how it is."""

from __future__ import annotations

import json
import os
import signal
import threading

import click

from crm_server.settings import load


@click.group()
def search() -> None:
    """Find and sort by sealed fields."""


@search.command()
def serve() -> None:
    """Hold the index in memory and answer the application until stopped.

    Nothing is written to a disk: a start reads and opens all records anew. Exit code 1: the socket can't be made.
    """
    from crm_server.search.server import SocketRefused, build
    from monitoring import logs, metrics

    settings = load()
    logs.configure(settings.log_level, settings.log_format)
    if settings.metrics_port and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        metrics.serve(settings.metrics_port)
    try:
        server = build(settings)
    except SocketRefused as error:
        raise click.ClickException(str(error)) from error

    def stop(_number: int, _frame: object) -> None:
        # `shutdown` waits for the loop, which this very thread runs.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.server_close()
        server.service.stop()


@search.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def status(*, as_json: bool) -> None:
    """Say how complete the index is. Exit code 1: nobody answers. 4: it is still loading."""
    from crm_server.models import datamap
    from crm_server.search.client import SearchClient, SearchUnavailable
    from crm_server.search.places import socket_path

    settings = load()
    try:
        found = SearchClient(socket_path(settings)).state()
    except SearchUnavailable as error:
        raise click.ClickException(
            f"No search service answers at {socket_path(settings)}. Start it: kontor search serve"
        ) from error
    names = {entity.number: str(entity.policy.collection) for entity in datamap()}
    counts = {names[number]: count for number, count in found.entities.items() if count}
    if as_json:
        click.echo(
            json.dumps(
                {
                    "complete": found.complete,
                    "percent": found.percent,
                    "lag_seconds": round(found.lag, 3),
                    "kept_out_of_swap": found.locked,
                    "records": counts,
                }
            )
        )
    else:
        click.echo(f"{found.percent} % loaded, {found.lag:.1f} seconds behind.")
        for name, count in counts.items():
            click.echo(f"  {count:>12,}  {name}")
        if not found.locked:
            click.echo("  The memory may be swapped out: set LimitMEMLOCK=infinity, or switch swap off.")
    if not found.complete:
        raise click.exceptions.Exit(4)
