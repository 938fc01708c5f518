"""`kontor up`, `stop` and `logs`: the whole CRM on one machine, for a trial or for development.

`make run`, `make stop` and `make logs` call them. A production site runs the same processes under systemd.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import click

from crm_server import settings
from crm_server.local import certificate, database, postgres, supervisor, trial
from crm_server.local.errors import LocalError

LOGIN_FILE = "demo-login.json"  # written by `kontor demo`

_log = logging.getLogger(__name__)


class Places:
    """The folders below the state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state.absolute()
        self.logs = self.state / "logs"
        self.run = self.state / "run"
        self.tls = self.state / "tls"

    @classmethod
    def here(cls) -> Places:
        """Those of KONTOR_STATE_DIR."""
        return cls(Path(os.environ.get("KONTOR_STATE_DIR") or "var"))

    def make(self) -> None:
        """Make the folders that are missing.

        Raises:
            LocalError: the state folder belongs to somebody else.
        """
        try:
            for folder in (self.state, self.logs, self.run):
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            (self.run / ".writable").touch()
        except OSError as error:
            raise LocalError(
                f"{error.filename or self.state} can't be written: {error.strerror}.",
                "It may stem from a run as another user. Give it back to this one, or name another folder in "
                "KONTOR_STATE_DIR.",
            ) from error

    def fresh_metrics(self) -> Path:
        """An empty folder for the figures of the processes: those of an earlier start must not be added."""
        folder = self.run / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


@click.command()
@click.option("--detach", is_flag=True, help="Return when Kontor answers and leave it running.")
@click.option(
    "--demo/--no-demo", default=True, show_default=True, help="Fill an empty database with made-up data."
)
def up(*, detach: bool, demo: bool) -> None:
    """Start database, application and worker on this machine."""
    if os.geteuid() == 0:
        raise LocalError(
            "PostgreSQL does not run as root, and neither should a server.",
            "Use `make run`, which switches to an ordinary user, or log in as one.",
        )
    # Before anything is made: a mistyped setting is no reason to begin afresh later.
    settings.load(database_url=os.environ.get("KONTOR_DATABASE_URL", ""))
    places = Places.here()
    places.make()
    trial.need_room(places.state)
    described = {"fingerprint": trial.fingerprint()}
    earlier = supervisor.running(places.run)
    if earlier and detach and is_what_is_asked(earlier, described):
        found = database.prepare(places.state, os.environ)
        tls = certificate.ensure(places.tls)
        trial.wait_until_ready(earlier["port"], tls.authority, places.logs, os.environ | found.environment)
        _announce(earlier["port"], tls, places)
        return
    if earlier is not None:
        click.echo("Stopping the processes of the earlier start …")
        supervisor.stop(places.run)
    _start(places, described, detach=detach, demo=demo)


def _start(places: Places, described: dict[str, Any], *, detach: bool, demo: bool) -> None:
    port = trial.choose_port("KONTOR_PORT", os.environ.get("KONTOR_PORT"), trial.FIRST_PORT)
    metrics = trial.choose_port(
        "KONTOR_METRICS_PORT", os.environ.get("KONTOR_METRICS_PORT"), trial.FIRST_METRICS_PORT
    )
    click.echo("Preparing the database …")
    found = database.prepare(places.state, os.environ)
    tls = certificate.ensure(places.tls)
    environment = {
        **os.environ,
        **found.environment,
        "KONTOR_STATE_DIR": str(places.state),
        "KONTOR_METRICS_PORT": str(metrics),
        "KONTOR_DEMO": "true" if demo else "false",
        # Threads share two heaps instead of growing one each.
        "MALLOC_ARENA_MAX": "2",
        "PROMETHEUS_MULTIPROC_DIR": str(places.fresh_metrics()),
    }
    if demo:
        _fill(environment)
    processes = trial.processes(port, tls, environment)
    watcher = supervisor.Supervisor(processes, places.logs, places.run)
    ports = {"KONTOR_PORT": str(port), "KONTOR_METRICS_PORT": str(metrics)}
    described |= {"port": port, "metrics_port": metrics, "settings": _settings_of(environment | ports)}
    if not detach:
        _log_to(logging.StreamHandler())
        _announce(port, tls, places)
        watcher.run(described, when_stopped=lambda: postgres.stop(places.state))
        return
    if os.fork() == 0:
        try:
            _become_daemon(places)
            watcher.run(described, when_stopped=lambda: postgres.stop(places.state))
        except Exception:  # noqa: BLE001 - nobody is above who could log it
            _log.exception("The supervisor ends because of a mistake in it")
        finally:
            os._exit(0)
    click.echo("Starting …")
    trial.wait_until_ready(port, tls.authority, places.logs, environment)
    _announce(port, tls, places)


def _settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What other commands need to work with the same database and keys (`crm_server.cli.here`)."""
    return {name: text for name, text in environment.items() if name.startswith("KONTOR_")}


def is_what_is_asked(running: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
    """Whether what runs has this code, and each setting that the environment names now."""
    had = running.get("settings", {})
    asked = _settings_of(os.environ)
    return running.get("fingerprint") == described["fingerprint"] and all(
        had.get(name) == text for name, text in asked.items()
    )


def _fill(environment: Mapping[str, str]) -> None:
    """Load the demo data unless there is data already; the bar of its progress is on the screen.

    Raises:
        LocalError: it could not be loaded.
    """
    kontor = Path(sys.executable).parent / "kontor"
    filled = subprocess.run(
        [kontor, "demo", "--scale", "small", "--if-empty"],
        env=dict(environment),
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if filled.returncode != 0:
        raise LocalError(
            "The demo data could not be loaded; the reason stands above.",
            "Mend it and run the same command again: loading goes on where it ended. Or begin afresh: make reset",
        )


def _become_daemon(places: Places) -> None:
    """Leave the terminal: no input, output to the supervisor's log."""
    os.setsid()
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - a device, not a path of ours
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    _log_to(
        RotatingFileHandler(
            places.logs / "supervisor.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8"
        )
    )


def _log_to(handler: logging.Handler) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=[handler], force=True)


def _announce(port: int, tls: certificate.Certificate, places: Places) -> None:
    click.echo(f"\nKontor answers at https://localhost:{port}\n")
    try:
        login = json.loads((places.state / LOGIN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        click.echo("  Make the first user: bin/kontor user add --help")
    else:
        click.echo(f"  Log in with the password  {login['password']}  as")
        for user in login["users"]:
            click.echo(f"    {user['login']:<10} {user['role']}")
    click.echo(f"""
  The browser warns once about the certificate of this machine; you may import its authority instead:
  {tls.authority}
  Data and logs are in {places.state}.
  Next: make logs follows the logs, make stop ends it, make reset deletes the data.
""")


@click.command()
def stop() -> None:
    """Stop what `kontor up` started; the data stays."""
    places = Places.here()
    try:
        stopped = places.run.exists() and supervisor.stop(places.run)
    except TimeoutError:
        raise LocalError("Kontor does not stop.", f"See {places.logs / 'supervisor.log'}.") from None
    stopped = postgres.stop(places.state) or stopped
    click.echo("Kontor has stopped; its data stays." if stopped else "Kontor was not running.")


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Keep showing what is written.")
@click.option("--lines", "-n", default=50, show_default=True, help="Lines of each log to begin with.")
@click.argument("process", required=False)
def logs(*, follow: bool, lines: int, process: str | None) -> None:
    """Show the logs of all processes, or of PROCESS (app, worker, search, postgres, supervisor, setup)."""
    places = Places.here()
    found = sorted(places.logs.glob(f"{process or '*'}.log"))
    if not found:
        raise LocalError(f"There is no such log in {places.logs}.", "Start Kontor first: make run")
    tail = shutil.which("tail") or "tail"
    os.execv(tail, [tail, f"--lines={lines}", *(["-F"] if follow else []), *map(str, found)])
