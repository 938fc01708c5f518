"""A whole site with its sealer: the application, a database built by migration, and `kontor sealer` as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from crm_server.app import main
from crm_server.domain.audit.places import connect
from crm_server.local.postgres import SUPERUSER, Cluster
from crm_server.migrations import manage
from crm_server.settings import load

# The tests of the log have a bare cluster of their own; these need the one of the product.
from tests.conftest import close, cluster, copy_database, template
from tests.integration.api.conftest import Client, make_token

__all__ = ["cluster", "template"]

KONTOR = str(Path(sys.executable).parent / "kontor")


@dataclass
class Site:
    """One installation on a database and a state folder of its own."""

    cluster: Cluster
    name: str
    state: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("KONTOR_")}
        return plain | {
            "KONTOR_DATABASE_URL": self.cluster.url_for(manage.APP, self.name),
            "KONTOR_OWNER_DATABASE_URL": self.cluster.url_for(manage.OWNER, self.name),
            "KONTOR_STATE_DIR": str(self.state),
            "KONTOR_LOG_LEVEL": "warning",
            "KONTOR_LOG_FORMAT": "text",
        }

    @property
    def sealers(self) -> dict[str, str]:
        """The environment of the sealer, which knows its own role alone."""
        urls = {"KONTOR_DATABASE_URL": "", "KONTOR_OWNER_DATABASE_URL": ""}
        return (
            self.environment
            | urls
            | {"KONTOR_SEALER_DATABASE_URL": self.cluster.url_for(manage.SEALER, self.name)}
        )

    def start_sealer(self, **more: str) -> subprocess.Popen[bytes]:
        with (self.state / "sealer.log").open("ab") as log:
            made = subprocess.Popen([KONTOR, "sealer"], env=self.sealers | more, stdout=log, stderr=log)
        self.processes.append(made)
        return made

    def kontor(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KONTOR, *words], env=self.environment, capture_output=True, text=True, check=False
        )

    def run(self, statement: str, role: str = SUPERUSER) -> list[Any]:
        """A statement as a role; the cluster's superuser unless said."""
        connection = connect(self.cluster.url_for(role, self.name), "test", 5)
        connection.autocommit = True
        try:
            with connection.cursor() as sql:
                sql.execute(statement)
                return sql.fetchall() if sql.description else []
        finally:
            connection.close()

    def wait_until_sealed(self, seconds: float = 90) -> int:
        """Return the size of the log when every event is in it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ((waiting, leaves),) = self.run(
                "select (select count(*) from audit.event e where not exists "
                "(select from audit.leaf l where l.event_id = e.event_id)), (select count(*) from audit.leaf)"
            )
            ((signed,),) = self.run("select coalesce(max(size), 0) from audit.checkpoint")
            if not waiting and leaves == signed:
                return int(signed)
            time.sleep(0.1)
        raise AssertionError((self.state / "sealer.log").read_text())

    def wait_until_signed(self, origin: str, seconds: float = 90) -> int:
        """Return the size of a log of this name when every event has a leaf in some log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ((waiting, size, signed),) = self.run(
                "select (select count(*) from audit.event e where not exists "
                "(select from audit.leaf l where l.event_id = e.event_id)), g.size, "
                "(select coalesce(max(c.size), 0) from audit.checkpoint c where c.log = g.number) "
                f"from audit.log g where origin = '{origin}'"
            )
            if not waiting and size == signed:
                return int(signed)
            time.sleep(0.1)
        raise AssertionError((self.state / "sealer.log").read_text())


@pytest.fixture
def site(cluster: Cluster, template: str, tmp_path: Path) -> Iterator[Site]:
    """A site without a sealer; a test starts it."""
    name = f"audit_{tmp_path.name}"[:60].lower().replace("-", "_")
    copy_database(cluster, template, name)
    made = Site(cluster, name, tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def login(site: Site) -> Iterator[Callable[..., Client]]:
    """`login("Manager")`: a client of the site with a fresh user of these roles."""
    app = main(load({name: text for name, text in site.environment.items() if name.startswith("KONTOR_")}))
    wsgi = TestApp(app, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})

    def make(*roles: str, **more: Any) -> Client:
        token, user_id = make_token(app.registry.engine, *roles, **more)
        return Client(wsgi, token, user_id)

    yield make
    close(app)
