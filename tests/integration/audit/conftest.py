"""A private PostgreSQL for the tests of the log: they stop it, copy its files and restore them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from sqlalchemy import create_engine, pool

LOG = Path(__file__).parents[3] / "compliance" / "audit" / "log"


def binaries() -> Path:
    """The newest PostgreSQL server on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql", pytrace=False)
    return found[-1].parent


class Cluster:
    """A PostgreSQL cluster of its own, as an ordinary user, on a free loopback port."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        self._bin = binaries()
        self._killed = False
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    def _as_user(self, *command: str) -> subprocess.CompletedProcess[str]:
        prefix = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        return subprocess.run((*prefix, *command), check=True, capture_output=True, text=True, cwd="/")

    def create(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.root, "postgres")
        self._as_user(
            str(self._bin / "initdb"), "-D", str(self.data), "-A", "trust", "-U", "kontor", "--no-sync"
        )
        self.configure("fsync = off", "listen_addresses = '127.0.0.1'", f"port = {self.port}")
        self.configure(f"unix_socket_directories = '{self.root}'", "max_prepared_transactions = 5")

    def configure(self, *lines: str) -> None:
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("".join(line + "\n" for line in lines))

    def start(self) -> None:
        self._as_user(
            str(self._bin / "pg_ctl"),
            "-D",
            str(self.data),
            "-w",
            "-t",
            "60",
            "-l",
            str(self.root / "log"),
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        self._as_user(str(self._bin / "pg_ctl"), "-D", str(self.data), "-w", "-m", mode, "stop")

    def running(self) -> bool:
        return not self._killed and (self.data / "postmaster.pid").exists()

    def kill(self) -> None:
        """Power loss: no shutdown, the next start recovers from WAL."""
        self._killed = True
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def standby(self, root: Path) -> Cluster:
        """Clone into a streaming standby called `standby`; the caller starts it."""
        other = Cluster(root)
        if os.geteuid() == 0:
            shutil.chown(root, "postgres")
        self._as_user(
            *(str(self._bin / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "kontor"),
            *("-D", str(other.data), "-R", "-c", "fast"),
        )
        other.configure(f"port = {other.port}", f"unix_socket_directories = '{root}'")
        other.configure(
            f"primary_conninfo = 'host=127.0.0.1 port={self.port} user=kontor application_name=standby'"
        )
        return other

    def connect(self, database: str = "postgres") -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="kontor", dbname=database, connect_timeout=5
        )


@pytest.fixture
def new_cluster() -> Iterator[Callable[[], Cluster]]:
    """Make clusters that this test may stop, copy and destroy."""
    made: list[Cluster] = []

    def make() -> Cluster:
        root = Path(tempfile.mkdtemp(prefix="kontor-audit-"))
        root.chmod(0o700)
        cluster = Cluster(root)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        if cluster.running():
            cluster.stop("immediate")
        shutil.rmtree(cluster.root, ignore_errors=True)


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """One cluster for the tests that only need a database."""
    root = Path(tempfile.mkdtemp(prefix="kontor-audit-"))
    root.chmod(0o700)
    made = Cluster(root)
    made.create()
    made.start()
    yield made
    made.stop("immediate")
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """A fresh database with the tables of the log, dropped afterwards."""
    name = "t" + secrets.token_hex(6)
    admin = cluster.connect()
    admin.autocommit = True
    with admin.cursor() as sql:
        sql.execute(f"create database {name}")
    prepare(cluster, name)
    yield name
    with admin.cursor() as sql:
        sql.execute(f"drop database {name} with (force)")
    admin.close()


@pytest.fixture
def guarded(cluster: Cluster, database: str) -> str:
    """A database with the roles and the grants of the product."""
    connection = cluster.connect(database)
    with connection.cursor() as sql:
        for role in ("kontor_app", "kontor_sealer"):
            sql.execute("select count(*) from pg_roles where rolname = %s", (role,))
            if sql.fetchone() == (0,):
                sql.execute(f"create role {role}")
        sql.execute("grant usage on schema audit to kontor_app")
        sql.execute("grant select, insert on audit.event, audit.event_payload to kontor_app")
        sql.execute((LOG / "grants.sql").read_text())
        sql.execute((LOG / "grants.sql").read_text())
    connection.commit()
    connection.close()
    return database


def as_role(cluster: Cluster, database: str, role: str) -> psycopg2.extensions.connection:
    """A connection with the rights of one role of the product."""
    return psycopg2.connect(
        host="127.0.0.1", port=cluster.port, user="kontor", dbname=database, options=f"-c role={role}"
    )


def prepare(cluster: Cluster, database: str) -> None:
    """Create the tables and open a log."""
    from compliance.audit import models
    from compliance.audit.log.postgres import open_log

    engine = create_engine(
        "postgresql+psycopg2://", creator=lambda: cluster.connect(database), poolclass=pool.NullPool
    )
    with engine.begin() as schema:
        schema.exec_driver_sql("create schema audit")
        tables = [
            table
            for table in models.Base.metadata.sorted_tables
            if table.schema == "audit" and table.name in OF_THE_LOG
        ]
        models.Base.metadata.create_all(schema, tables=tables)
        for name in ("partitions.sql", "retention.sql"):
            schema.exec_driver_sql((LOG / name).read_text().replace("%", "%%"))
    connection = cluster.connect(database)
    open_log(connection, ORIGIN)
    connection.close()


OF_THE_LOG = {"event", "event_payload", "log", "leaf", "checkpoint"}
ORIGIN = "kontor.example/audit"


def insert_events(
    connection: psycopg2.extensions.connection, count: int, action: str = "update"
) -> list[str]:
    """Insert events in the open transaction; the caller commits. Returns their ids."""
    from uuid_utils.compat import uuid7

    identifiers = [str(uuid7()) for _ in range(count)]
    with connection.cursor() as sql:
        for identifier in identifiers:
            sql.execute(
                "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref,"
                " origin, object_type, object_ref, subject_ref, purpose, meta, payload_commit)"
                " values (%s, %s, 'change', %s, 'success', %s, 'web', 3, %s, %s::uuid[], 'sales', %s, %s)",
                (
                    *(identifier, datetime.now(UTC), action, str(uuid.uuid4()), str(uuid.uuid4())),
                    *(
                        [str(uuid.uuid4())],
                        '{"fields": [2, 7], "note": "Ω\\u2028 ☂"}',
                        secrets.token_bytes(32),
                    ),
                ),
            )
    return identifiers
