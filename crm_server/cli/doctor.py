"""`kontor doctor`: says what is wrong and what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from crm_server.settings import load


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def doctor(*, as_json: bool) -> None:
    """Say what is wrong and what to do.

    Exit code 0: nothing that stops the work (warnings may stand there). 1: something does.
    """
    from crm_server.doctor import Level, examine

    findings = examine(load())
    failed = any(item.level is Level.ERROR for item in findings)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "findings": [asdict(item) for item in findings]}))
    else:
        signs = {Level.OK: "ok     ", Level.WARNING: "warning", Level.ERROR: "ERROR  "}
        for item in findings:
            click.echo(f"{signs[item.level]}  {item.text}")
            if item.remedy:
                click.echo(f"         → {item.remedy}")
    if failed:
        sys.exit(1)
