"""How fast the log seals, verifies and delivers, and how long a commit waits for its checkpoint. # AUD-3,
AUD-13

`run()` returns one row a measurement. Runs on a private PostgreSQL with fsync on, and a private rsyslog.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit import verify
from compliance.audit.log.bundle import export_log, read_history
from compliance.audit.log.note import Signer
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.sealer import Sealer, SealerConfig
from compliance.audit.log.tiles import Mirror
from compliance.audit.siem.formats import FORMATS, Sender, render
from compliance.audit.siem.forwarder import FileCursor, Forwarder, SinkSettings
from compliance.audit.siem.transport.stream import StreamTransport
from tests.bench import bench_audit_overhead
from tests.integration.audit.certificates import Authority
from tests.integration.audit.conftest import ORIGIN, Cluster, insert_events, prepare
from tests.integration.audit.test_siem import Rsyslog, tls
from tests.unit.audit.siem_events import siem_event

Row = dict[str, Any]
FILL = """
insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, auth_method,
session_ref,
    request_id, origin, object_type, object_ref, subject_ref, purpose, meta, payload_commit)
select encode(overlay(uuid_send(gen_random_uuid()) placing
        substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
        'hex')::uuid,
    clock_timestamp(), 'change', 'update', 'success', gen_random_uuid(), 'password',
    gen_random_uuid(), gen_random_uuid(), 'web', 3, gen_random_uuid(), array[gen_random_uuid()], 'sales',
    jsonb_build_object('fields', jsonb_build_array(2, 7, n), 'version', n), sha256(n::text::bytea)
from generate_series(1, %s) n"""


def row(name: str, value: float, unit: str, aim: str, met: bool) -> Row:
    return {"name": name, "value": round(value, 4), "unit": unit, "aim": aim, "met": met}


@contextmanager
def site() -> Iterator[tuple[Cluster, Path]]:
    """A cluster with durable commits and an empty log, and a folder."""
    folder = Path(tempfile.mkdtemp(prefix="kontor-bench-"))
    folder.chmod(0o755)
    (folder / "cluster").mkdir(mode=0o700)
    cluster = Cluster(folder / "cluster")
    cluster.create()
    cluster.configure("fsync = on", "shared_buffers = 256MB", "max_wal_size = 4GB")
    cluster.start()
    prepare(cluster, "postgres")
    try:
        yield cluster, folder
    finally:
        cluster.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def fill(cluster: Cluster, count: int) -> None:
    connection = cluster.connect()
    with connection.cursor() as sql:
        sql.execute(FILL, (count,))
    connection.commit()
    connection.close()


def sealing(cluster: Cluster, folder: Path, signer: Signer, count: int) -> Iterator[Row]:
    """Seal `count` events from the database, tiles, state file and checkpoints included."""
    fill(cluster, count)
    source = PostgresSource(cluster.connect, "t1")
    began, cpu = time.perf_counter(), time.process_time()
    with Sealer(source, signer, SealerConfig(folder / "mirror", folder / "state")) as sealer:
        while sealer.run_once().count:
            pass
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        yield row("sealing", count / wall, "events/s, wall", ">= 20000", count / wall >= 20_000)
        yield row("sealing, CPU of the sealer", count / cpu, "events/s", ">= 20000", count / cpu >= 20_000)
        bundle = export_log(
            folder / "bundle", sealer.mirror, source.leaves, read_history(folder / "mirror"), [signer.key]
        )
    source.close()
    size = sum(path.stat().st_size for path in (folder / "mirror").rglob("*") if path.is_file())
    yield row("mirror on disk", size / count, "bytes/event", "stated", True)
    connection = cluster.connect()
    with connection.cursor() as sql:
        sql.execute(
            "select sum(pg_total_relation_size(inhrelid)) from pg_inherits "
            "where inhparent in ('audit.event'::regclass, 'audit.leaf'::regclass)"
        )
        (stored,) = sql.fetchone() or (0,)
    connection.close()
    yield row("event and leaf in the database", stored / count, "bytes/event", "stated", True)
    best = 0.0
    for _ in range(3):
        cpu = time.process_time()
        assert verify.verify(bundle, [signer.key.text()]).ok
        best = max(best, count / (time.process_time() - cpu))
    yield row("verifying", best, "events/s on one core", ">= 200000", best >= 200_000)


def latency(cluster: Cluster, folder: Path, signer: Signer, seconds: float, rate: int) -> Iterator[Row]:
    """Time from commit to published checkpoint at a steady rate, beside a transaction that stays open."""
    open_one = cluster.connect()
    insert_events(open_one, 1)
    committed: dict[str, float] = {}
    stop = time.monotonic() + seconds

    def write(share: int) -> None:
        connection, due = cluster.connect(), time.monotonic()
        while time.monotonic() < stop:
            (identifier,) = insert_events(connection, 1)
            connection.commit()
            committed[identifier] = time.monotonic()
            due += 1 / share
            time.sleep(max(0, due - time.monotonic()))
        connection.close()

    writers = [threading.Thread(target=write, args=(rate // 2,)) for _ in range(2)]
    source = PostgresSource(cluster.connect, "t1")
    sealed: list[tuple[int, int, float]] = []
    with Sealer(source, signer, SealerConfig(folder / "mirror", folder / "state")) as sealer:
        sealer.run_once()
        first = sealer.mirror.size
        for thread in writers:
            thread.start()
        while any(thread.is_alive() for thread in writers) or sealer.run_once().count:
            before = sealer.mirror.size
            if sealer.run_once().count:
                sealed.append((before, sealer.mirror.size, time.monotonic()))
            source.wait(0.1)
        leaves = {
            item.index: json.loads(item.leaf[1:])["event_id"]
            for item in source.leaves(first, sealer.mirror.size)
        }
    source.close()
    open_one.rollback()
    open_one.close()
    delays = [
        moment - committed[leaves[index]]
        for start, end, moment in sealed
        for index in range(start, end)
        if leaves.get(index) in committed
    ]
    p99 = statistics.quantiles(delays, n=100)[98]
    yield row(
        "written beside an open transaction", len(committed) / seconds, "events/s", f"about {rate}", True
    )
    yield row("commit to signed checkpoint, p99", p99, "s", "<= 1", p99 <= 1)


def forwarding(folder: Path, mirror_size: int, leaves: Any) -> Iterator[Row]:
    """Deliver to rsyslog over mutual TLS and count what arrived."""
    authority = Authority(folder, "authority")
    for driver in ("gtls", "ossl"):
        place = folder / driver
        place.mkdir()
        receiver = Rsyslog(place, driver, authority, authority.issue("siem.example"))
        receiver.start()
        transport = StreamTransport("127.0.0.1", receiver.port, tls(authority))
        forwarder = Forwarder(
            ORIGIN,
            transport,
            FileCursor(place / "cursor"),
            SinkSettings("rfc5424", Sender("crm1.example", "1")),
        )
        began = time.perf_counter()
        while forwarder.step(leaves, mirror_size).backlog:
            pass
        forwarder.stop()
        rate = mirror_size / (time.perf_counter() - began)
        arrived = len({item["index"] for item in receiver.received(mirror_size, 60)})
        receiver.stop()
        yield row(f"forwarding, RFC 5424 over TLS ({driver})", rate, "events/s", ">= 5000", rate >= 5000)
        yield row(f"arrived ({driver})", arrived, "events", f"= {mirror_size}", arrived == mirror_size)


def rendering() -> Iterator[Row]:
    """Microseconds of CPU for one event in each format."""
    event, sender = siem_event(), Sender("crm1.example", "1")
    for name in FORMATS:
        began = time.process_time()
        for _ in range(3000):
            render(name, event, sender)
        yield row(f"rendering {name}", (time.process_time() - began) / 3000 * 1e6, "µs", "stated", True)


def run(count: int = 100_000, seconds: float = 10.0) -> list[Row]:
    """Run all measurements."""
    signer = Signer(ORIGIN, Ed25519PrivateKey.generate())
    rows: list[Row] = []
    with site() as (cluster, folder):
        rows += sealing(cluster, folder, signer, count)
        rows += latency(cluster, folder, signer, seconds, 500)
        rows += forwarding(folder, 20_000, Mirror(folder / "mirror", count).leaves)
    rows += rendering()
    return rows + bench_audit_overhead.run()


if __name__ == "__main__":
    for item in run():
        print(item)
