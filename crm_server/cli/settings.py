"""`kontor settings`: the table of settings, as text, JSON or the page docs/settings.md."""

from __future__ import annotations

import json

import click

from crm_server.settings import TABLE


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--markdown", is_flag=True, help="The page docs/settings.md.")
def settings(as_json: bool, markdown: bool) -> None:
    """List the settings with default, unit and meaning."""
    rows: list[dict[str, object]] = [
        {
            "variable": f"KONTOR_{item.name.upper()}",
            "default": item.default,
            "unit": item.unit,
            "meaning": item.doc,
            "secret": item.secret,
        }
        for item in TABLE
    ]
    if as_json:
        click.echo(json.dumps(rows))
    elif markdown:
        click.echo(page(rows), nl=False)
    else:
        for row in rows:
            click.echo(f"{row['variable']} = {row['default']} ({row['unit']})\n    {row['meaning']}")


def page(rows: list[dict[str, object]]) -> str:
    """The table as Markdown."""
    head = (
        "# Settings\n\nEach is an environment variable; add `_FILE` to read the value from a file. "
        "This page is made by `kontor settings --markdown`.\n\n"
        "| variable | default | unit | meaning |\n| --- | --- | --- | --- |\n"
    )
    lines = [
        f"| `{row['variable']}` | {'required' if row['default'] is None else row['default'] or 'none'} "
        f"| {row['unit']} | {row['meaning']} |\n"
        for row in rows
    ]
    return head + "".join(lines)
