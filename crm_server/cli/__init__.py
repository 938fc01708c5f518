"""The `kontor` command. One file a group, loaded when it is called: help and completion stay quick.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 settings or surroundings don't fit (the message says what to
do), 4 done in part.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

# Command → (module, attribute, first line of help). The help text stands here so that it needs no import.
COMMANDS = {
    "up": ("crm_server.cli.up", "up", "Run all processes on this machine."),
    "stop": ("crm_server.cli.up", "stop", "Stop what `kontor up` started."),
    "logs": ("crm_server.cli.up", "logs", "Show the logs of all processes."),
    "db": ("crm_server.cli.db", "db", "Make, migrate and check the database."),
    "user": ("crm_server.cli.user", "user", "Manage users."),
    "directory": ("crm_server.cli.directory", "directory", "Connect a company directory."),
    "sso": ("crm_server.cli.sso", "sso", "Connect a provider of single sign-on."),
    "emergency": (
        "crm_server.cli.emergency",
        "emergency",
        "Take a role in an emergency, and review who did.",
    ),
    "approvals": ("crm_server.cli.approvals", "approvals", "See requests that take two persons."),
    "import": ("crm_server.cli.importing", "import_command", "Import a file."),
    "export": ("crm_server.cli.export", "export", "Export records."),
    "demo": ("crm_server.cli.demo", "demo", "Fill the database with made-up data."),
    "doctor": ("crm_server.cli.doctor", "doctor", "Say what is wrong and what to do."),
    "search": ("crm_server.cli.search", "search", "Find and sort by sealed fields."),
    "sealer": ("crm_server.cli.sealer", "sealer", "Seal the audit log."),
    "audit": ("crm_server.cli.audit", "audit", "Export, verify and look at the audit log."),
    "siem": ("crm_server.cli.siem", "siem", "Send audit events to a SIEM."),
    "worker": ("crm_server.cli.worker", "worker", "Run background jobs."),
    "metrics": ("crm_server.cli.metrics", "metrics", "Serve metrics on a port of its own."),
    "keys": ("crm_server.cli.keys", "keys", "See, rotate, copy and destroy the keys."),
    "jobs": ("crm_server.cli.jobs", "jobs", "See background jobs, and run failed ones again."),
    "tokens": ("crm_server.cli.tokens", "tokens", "See and rebuild the blind indexes of sealed fields."),
    "settings": ("crm_server.cli.settings", "settings", "List the settings."),
    "completion": ("crm_server.cli.completion", "completion", "Print shell completion."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _help = COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Kontor: an on-premise CRM for regulated enterprises."""


def main(name: str | None = None) -> None:
    """Entry point: turns errors that an operator can act on into one sentence and an exit code.

    Args:
        name: What help and errors call the command; None means as it was called.
    """
    from sqlalchemy.exc import OperationalError

    from crm_server.kernel.errors import AppError
    from crm_server.local.errors import LocalError
    from crm_server.settings import SettingsError

    try:
        cli(prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except (SettingsError, LocalError) as error:
        click.echo(f"kontor: {error}", err=True)
        sys.exit(3)
    except AppError as error:
        words = [text.interpolate() for text in (error.title, error.detail) if text is not None]
        click.echo(f"kontor: {' '.join(words)}", err=True)
        sys.exit(1)
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        click.echo(f"kontor: The database can't be reached: {reason}", err=True)
        click.echo("  Check KONTOR_DATABASE_URL, and that PostgreSQL runs: kontor doctor", err=True)
        sys.exit(3)
    except OSError as error:
        click.echo(f"kontor: {error.filename or 'A file'}: {error.strerror}.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
