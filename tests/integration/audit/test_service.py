"""The sealer as it runs: on and on, through faults of the database, with a witness. # AUD-7, AUD-9, AUD-12"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit.log import checkpoint
from compliance.audit.log.note import COSIGNATURE, Signer
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.sealer import LogContradiction, SealerConfig
from compliance.audit.log.service import SealerStatus, WitnessAddress, run_sealer, sealing_lag
from compliance.audit.log.source import SourceError
from compliance.audit.witness.protocol import Witness
from compliance.audit.witness.server import serve

from .conftest import ORIGIN, Cluster, insert_events, prepare


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Running:
    """A sealer in a thread."""

    def __init__(
        self, cluster: Cluster, database: str, folder: Path, witnesses: tuple[WitnessAddress, ...] = ()
    ) -> None:
        self.signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
        self.stop, self.status, self.config = (
            threading.Event(),
            SealerStatus(),
            SealerConfig(folder / "m", folder / "s"),
        )
        self.failure: Exception | None = None
        self.witnesses = witnesses
        self._make = lambda: PostgresSource(lambda: cluster.connect(database), "t1")
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            run_sealer(
                self._make,
                self.signer,
                self.config,
                self.stop,
                witnesses=self.witnesses,
                status=self.status,
                pause=0.05,
            )
        except LogContradiction as error:
            self.failure = error

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(20)


def write(cluster: Cluster, database: str, count: int) -> None:
    connection = cluster.connect(database)
    insert_events(connection, count)
    connection.commit()
    connection.close()


def test_it_seals_what_comes_and_gets_the_witnesss_cosignature(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    witness_key = Signer("witness.example/w", Ed25519PrivateKey.generate(), COSIGNATURE)
    running = Running(cluster, database, tmp_path)
    witness = Witness(witness_key, {ORIGIN: [running.signer.key]}, tmp_path / "w")
    server = serve(witness, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    running.witnesses = (WitnessAddress(f"http://127.0.0.1:{server.server_address[1]}", witness_key.key),)
    with running:
        for total in (5, 12, 13):
            write(cluster, database, total - running.status.size)
            wait_for(lambda total=total: running.status.witnessed.get("witness.example/w") == total)
    # A sealer that was restarted does not know what the witness saw last; the witness tells it.
    again = Running(cluster, database, tmp_path, running.witnesses)
    with again:
        write(cluster, database, 2)
        wait_for(lambda: again.status.witnessed.get("witness.example/w") == 15)
    server.shutdown()
    server.server_close()
    thread.join()
    parsed, signed = checkpoint.parse((tmp_path / "m" / "checkpoint").read_bytes())
    assert parsed.size == 15
    assert set(signed.verified([running.signer.key, witness_key.key])) == {
        running.signer.key,
        witness_key.key,
    }


def waiting(cluster: Cluster, database: str) -> int:
    """Pages of the index of data subjects that waited to be filed, by filing them."""
    connection = cluster.connect(database)
    with connection.cursor() as sql:
        sql.execute(
            "select sum(gin_clean_pending_list(inhrelid)) from pg_inherits "
            "where inhparent = 'audit.ix_event_subject'::regclass"
        )
        found = sql.fetchone()
    connection.close()
    return 0 if found is None else int(found[0])


def test_it_files_whom_events_are_about_so_that_no_request_has_to(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    write(cluster, database, 5)
    assert waiting(cluster, database) > 0
    write(cluster, database, 5)
    with Running(cluster, database, tmp_path) as running:
        wait_for(lambda: running.status.rounds > 0)
    assert waiting(cluster, database) == 0


def test_a_connection_that_breaks_while_there_is_nothing_to_seal_is_a_fault_of_the_source(
    cluster: Cluster, database: str
) -> None:
    source = PostgresSource(lambda: cluster.connect(database), "t1")
    batch = source.read(10)
    with cluster.connect(database) as other, other.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(%s)", (source.connection.info.backend_pid,))
    other.close()
    with pytest.raises(SourceError):
        batch.abandon()
    source.close()


def test_a_database_that_is_away_is_waited_for(new_cluster: Callable[[], Cluster], tmp_path: Path) -> None:
    cluster = new_cluster()
    cluster.create()
    cluster.start()
    prepare(cluster, "postgres")
    with Running(cluster, "postgres", tmp_path) as running:
        write(cluster, "postgres", 4)
        wait_for(lambda: running.status.size == 4)
        cluster.stop("immediate")
        wait_for(lambda: running.status.error is not None)
        cluster.start()
        write(cluster, "postgres", 4)
        wait_for(lambda: running.status.size == 8)
        assert running.status.error is None


def test_a_contradiction_ends_the_loop(cluster: Cluster, database: str, tmp_path: Path) -> None:
    with Running(cluster, database, tmp_path) as running:
        write(cluster, database, 4)
        wait_for(lambda: running.status.size == 4)
    connection = cluster.connect(database)
    with connection.cursor() as sql:
        sql.execute("update audit.log set root = sha256('x')")
    connection.commit()
    connection.close()
    again = Running(cluster, database, tmp_path)
    with again:
        again.thread.join(10)
    assert isinstance(again.failure, LogContradiction)


def test_the_lag_is_the_age_of_the_oldest_event_that_could_be_sealed(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    connection = cluster.connect(database)
    connection.autocommit = True
    assert sealing_lag(connection) == 0
    with Running(cluster, database, tmp_path) as running:
        write(cluster, database, 4)
        wait_for(lambda: running.status.size == 4)
    assert sealing_lag(connection) == 0
    unfinished = cluster.connect(database)
    insert_events(unfinished, 1)
    assert sealing_lag(connection) == 0
    unfinished.commit()
    unfinished.close()
    time.sleep(0.1)
    assert sealing_lag(connection) == pytest.approx(0.1, abs=5)
    assert sealing_lag(connection) > 0.05
    connection.close()
