"""`kontor demo`: fill an empty database with made-up data."""

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime
from pathlib import Path

import click
from sqlalchemy import create_engine

from crm_server.demo import load as loader
from crm_server.settings import load

LOGIN_FILE = "demo-login.json"


@click.command()
@click.option("--scale", type=click.Choice(list(loader.SCALES)), default="small", show_default=True)
@click.option("--if-empty", is_flag=True, help="Do nothing, successfully, when there is data already.")
@click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Day at which the history ends; the same day gives the same data.",
)
@click.option(
    "--processes", type=click.IntRange(1, 16), default=min(2, os.cpu_count() or 1), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def demo(scale: str, if_empty: bool, today: datetime | None, processes: int, as_json: bool) -> None:
    """Fill the database with made-up accounts, contacts, deals, activities and cases.

    The log-ins are printed and kept in the state folder, readable by this user alone.
    """
    settings = load()
    engine = create_engine(settings.database_url, hide_parameters=True)
    if not loader.missing(engine, loader.SCALES[scale]):
        if if_empty:
            return
        click.echo("There is data already. Demo data goes into an empty database: make reset", err=True)
        sys.exit(1)
    end: date | None = today.date() if today else None
    # The bar goes to standard error, so that --json stays clean.
    with click.progressbar(
        length=loader.SCALES[scale], label="Loading made-up data", file=sys.stderr, show_pos=True
    ) as bar:
        logins, password = loader.load(
            settings,
            loader.SCALES[scale],
            today=end,
            processes=processes,
            progress=lambda done, _all: bar.update(done - bar.pos),
        )
    kept = {"password": password, "users": [{"login": item.login, "role": item.role} for item in logins]}
    path = Path(settings.state_dir) / LOGIN_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(kept), encoding="utf-8")
    if as_json:
        click.echo(json.dumps({**kept, "rows": loader.count(engine)}))
        return
    for table, number in loader.count(engine).items():
        click.echo(f"  {number:>9,} {table.removeprefix('crm.')}")
    click.echo(f"Password of all demo users: {password}")
    for item in logins:
        click.echo(f"  {item.login:<10} {item.role}")
