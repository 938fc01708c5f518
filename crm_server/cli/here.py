"""The `kontor` command for a trial: `bin/kontor` calls it, and names no database.

A site sets KONTOR_DATABASE_URL for its commands. Those of a trial take the settings of the processes that
`kontor up` keeps running, which the supervisor describes in the state folder.
"""

from __future__ import annotations

import os
import sys

from crm_server.cli import COMMANDS, main
from crm_server.cli.up import Places
from crm_server.local import supervisor
from crm_server.local.errors import LocalError

_WITHOUT_DATABASE = frozenset({"up", "stop", "logs", "settings", "completion"})
_HELP = frozenset({"-h", "--help"})


def adopt() -> None:
    """Take the settings of the trial that runs here; what the environment says already stays.

    Raises:
        LocalError: none runs here.
    """
    trial = supervisor.running(Places.here().run)
    if not trial:
        raise LocalError("Kontor does not run here.", "Start it: make run")
    for name, value in trial["settings"].items():
        os.environ.setdefault(name, value)


def _here() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in COMMANDS.keys() - _WITHOUT_DATABASE and _HELP.isdisjoint(sys.argv):
        try:
            adopt()
        except LocalError as error:
            sys.stderr.write(f"kontor: {error}\n")
            sys.exit(3)
    main("kontor")


if __name__ == "__main__":
    _here()
