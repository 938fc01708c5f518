"""`kontor completion`: shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from crm_server.cli import cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script: eval "$(kontor completion bash)"."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"No completion for {shell}.")
    click.echo(found(cli, {}, "kontor", "_KONTOR_COMPLETE").source())
