"""The sealer on a real PostgreSQL: order, kills, two at once, restores, standbys."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit.log import checkpoint, note, tree
from compliance.audit.log.bundle import read_history
from compliance.audit.log.leaf import leaf_hash
from compliance.audit.log.note import Signer
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.sealer import LogContradiction, Sealer, SealerConfig
from compliance.audit.log.source import SourceError
from compliance.audit.log.state import StateError

from .conftest import ORIGIN, Cluster, insert_events, prepare

KEY = bytes(range(32))
STEPS = ("read", "assigned", "confirmed", "mirrored", "remembered", "signed", "shown", "published")


class Site:
    """One node: database, folder of the sealer, and a memory of every checkpoint that ever became visible."""

    def __init__(self, cluster: Cluster, database: str, folder: Path, key: bytes = KEY) -> None:
        self.cluster, self.database, self.folder = cluster, database, folder
        self.signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(key))
        self.seen: dict[int, set[bytes]] = {}
        self.opened: list[PostgresSource] = []

    def connect(self) -> psycopg2.extensions.connection:
        return self.cluster.connect(self.database)

    def source(self, **options: float) -> PostgresSource:
        give_up = time.monotonic() + 30
        while True:
            try:
                self.opened.append(PostgresSource(self.connect, "tenant-1", **options))
            except SourceError as error:
                # PostgreSQL notices a moment later that the sealer before this one is gone.
                before = "another sealer" in str(error) and all(one.connection.closed for one in self.opened)
                if not before or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
            else:
                return self.opened[-1]

    def config(self, **options: object) -> SealerConfig:
        return SealerConfig(self.folder / "mirror", self.folder / "state.json", **options)  # type: ignore[arg-type]

    def write(self, count: int) -> list[str]:
        connection = self.connect()
        identifiers = insert_events(connection, count)
        connection.commit()
        connection.close()
        return identifiers

    def seal(self, **options: float) -> int:
        """Seal all, return the size."""
        source = self.source(**options)
        try:
            with Sealer(source, self.signer, self.config(batch=100)) as sealer:
                while sealer.run_once().count:
                    self.look()
                self.look()
                return sealer.mirror.size
        finally:
            source.close()

    def look(self) -> None:
        """Remember what an observer outside can see."""
        visible = [self.folder / "mirror" / "checkpoint"]
        found = [path.read_bytes() for path in visible if path.exists()]
        history = self.folder / "mirror" / "checkpoints"
        if history.exists():
            parts = history.read_text().split("\n\n")
            found += [f"{parts[at]}\n\n{parts[at + 1]}\n".encode() for at in range(0, len(parts) - 1, 2)]
        for content in found:
            parsed, signed = checkpoint.parse(content)
            assert signed.verified([self.signer.key])
            self.seen.setdefault(parsed.size, set()).add(parsed.root)

    def check(self, expected: set[str] | None = None) -> int:
        """All that was ever visible agrees with the log as it is now; indexes are dense; returns the size."""
        self.look()
        connection = self.connect()
        with connection.cursor() as sql:
            sql.execute("select index, leaf_hash, event_id::text from audit.leaf order by index")
            rows = sql.fetchall()
            sql.execute("select note from audit.checkpoint")
            for (text,) in sql.fetchall():
                parsed, _ = checkpoint.parse(text.encode())
                self.seen.setdefault(parsed.size, set()).add(parsed.root)
        connection.close()
        assert [row[0] for row in rows] == list(range(len(rows)))
        if expected is not None:
            assert {row[2] for row in rows} == expected
        hashes = [bytes(row[1]) for row in rows]
        for size, roots in self.seen.items():
            assert roots == {tree.root_at(size, tree.list_reader(hashes))}, f"two histories of {size} leaves"
        return len(rows)


@pytest.fixture
def site(cluster: Cluster, database: str, tmp_path: Path) -> Site:
    """A node with an empty log."""
    return Site(cluster, database, tmp_path)


def child(site: Site, fatal: str, passes: int) -> int:
    """Run a sealer process that kills itself at a step; returns its exit code."""
    root = Path(__file__).parents[3]
    return subprocess.run(
        (
            *(sys.executable, str(Path(__file__).with_name("sealer_child.py")), str(site.cluster.port)),
            *(site.database, str(site.folder), KEY.hex(), fatal, str(passes)),
        ),
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
        timeout=60,
    ).returncode


class TestOrder:
    def test_every_committed_event_gets_one_index_and_the_leaf_of_its_row(self, site: Site) -> None:
        written = set(site.write(150))
        assert site.seal() == 150
        assert site.check(written) == 150
        source = site.source()
        for stored in source.leaves(0, 150):
            assert leaf_hash(stored.leaf) == stored.leaf_hash
        source.close()

    def test_a_transaction_that_stays_open_delays_nobody_and_is_taken_when_it_ends(
        self, site: Site
    ) -> None:  # AUD-3
        slow = site.connect()
        late = insert_events(slow, 250)
        written = set(site.write(30))
        assert site.seal() == 30
        written |= set(site.write(5))
        assert site.seal() == 35
        slow.commit()
        slow.close()
        written |= set(late) | set(site.write(3))
        assert site.seal() == 288
        assert site.check(written) == 288

    def test_rolled_back_and_prepared_transactions_are_handled_as_they_end(self, site: Site) -> None:
        undone, prepared = site.connect(), site.connect()
        insert_events(undone, 3)
        prepared.tpc_begin(prepared.xid(1, secrets.token_hex(4), "audit"))
        kept = insert_events(prepared, 4)
        prepared.tpc_prepare()
        assert site.seal() == 0
        undone.rollback()
        undone.close()
        assert site.seal() == 0
        prepared.tpc_commit()
        prepared.close()
        assert site.seal() == 4
        assert site.check(set(kept)) == 4

    def test_savepoints_do_not_hide_events(self, site: Site) -> None:
        connection = site.connect()
        with connection.cursor() as sql:
            sql.execute("savepoint one")
        kept = insert_events(connection, 2)
        with connection.cursor() as sql:
            sql.execute("release savepoint one")
            sql.execute("savepoint two")
        insert_events(connection, 2)
        with connection.cursor() as sql:
            sql.execute("rollback to savepoint two")
        assert site.seal() == 0
        connection.commit()
        connection.close()
        assert site.seal() == 2
        assert site.check(set(kept)) == 2

    def test_many_writers_at_once_lose_and_repeat_nothing(self, site: Site) -> None:
        written: set[str] = set()
        stop = threading.Event()

        def work(seed: int) -> None:
            connection = site.connect()
            for turn in range(40):
                identifiers = insert_events(connection, 1 + (seed + turn) % 4)
                time.sleep(0.001 * ((seed * turn) % 7))
                if (seed + turn) % 5:
                    connection.commit()
                    written.update(identifiers)
                else:
                    connection.rollback()
            connection.close()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        source = site.source()
        with Sealer(source, site.signer, site.config(batch=7)) as sealer:
            while any(thread.is_alive() for thread in threads):
                sealer.run_once()
            stop.set()
            while sealer.run_once().count:
                pass
        source.close()
        assert site.check(written) == len(written)

    def test_clock_steps_do_not_change_the_order_of_sealing(self, site: Site) -> None:
        connection = site.connect()
        for moment in ("2031-01-01", "1999-12-31 23:59:59.5+00", "2026-01-01"):
            (identifier,) = insert_events(connection, 1)
            with connection.cursor() as sql:
                sql.execute(
                    "update audit.event set occurred_at = %s where event_id = %s", (moment, identifier)
                )
            connection.commit()
            site.seal()
        connection.close()
        assert site.check() == 3

    def test_a_row_that_cannot_be_a_leaf_is_replaced_by_one_that_says_so(self, site: Site) -> None:
        connection = site.connect()
        identifiers = insert_events(connection, 3)
        with connection.cursor() as sql:
            sql.execute("update audit.event set meta = '{\"x\": 1.5}' where event_id = %s", (identifiers[1],))
        connection.commit()
        connection.close()
        source = site.source()
        with Sealer(source, site.signer, site.config()) as sealer:
            result = sealer.run_once()
            assert result.count == 3
            assert [index for index, _ in result.substituted] == [1]
            assert b"unsealable_event" in dict(sealer.mirror.leaves(0, 3))[1]
        source.close()
        assert site.check(set(identifiers)) == 3

    def test_a_copy_in_another_cluster_is_swept_since_transaction_numbers_mean_nothing_there(
        self, site: Site
    ) -> None:
        written = set(site.write(10))
        site.seal()
        connection = site.connect()
        with connection.cursor() as sql:
            sql.execute("update audit.log set cursor = jsonb_set(cursor, '{system_id}', '\"1\"')")
        written |= set(insert_events(connection, 250))
        connection.commit()
        connection.close()
        assert site.seal() == 260
        assert site.check(written) == 260

    def test_a_sweep_in_rounds_finds_what_comes_in_behind_it(self, site: Site) -> None:
        site.write(250)
        source, connection = site.source(), site.connect()
        with Sealer(source, site.signer, site.config(batch=100)) as sealer:
            assert sealer.run_once().count == 100
            with connection.cursor() as sql:
                sql.execute(
                    "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin) "
                    "values ('00000000-0000-7000-8000-000000000001', now(), 'job', 'import', 'success', "
                    "gen_random_uuid(), 'job')"
                )
            connection.commit()
            counts = []
            while found := sealer.run_once().count:
                counts.append(found)
            assert counts == [100, 51]
        connection.close()
        source.close()


class TestKill:
    @pytest.mark.parametrize("passes", [0, 1])
    @pytest.mark.parametrize("step", STEPS)
    def test_a_sealer_killed_at_any_step_goes_on_without_a_second_history(
        self, site: Site, step: str, passes: int
    ) -> None:
        written = set(site.write(250))
        assert child(site, step, passes) == -signal.SIGKILL
        site.look()
        written |= set(site.write(5))
        assert site.seal() == 255
        assert site.check(written) == 255

    def test_a_kill_during_recovery_is_recovered_as_well(self, site: Site) -> None:
        written = set(site.write(250))
        assert child(site, "assigned", 0) == -signal.SIGKILL
        assert child(site, "caught_up", 0) == -signal.SIGKILL
        assert child(site, "shown", 0) == -signal.SIGKILL
        assert site.seal() == 250
        assert site.check(written) == 250

    def test_a_full_disk_stops_the_sealer_and_leaves_a_log_that_goes_on(self, site: Site) -> None:
        written = set(site.write(40))
        assert site.seal() == 40
        written |= set(site.write(200))
        script = (
            "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
            "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        done = subprocess.run(
            (
                *(sys.executable, "-c", script, str(Path(__file__).with_name("sealer_child.py"))),
                *(str(site.cluster.port), site.database, str(site.folder), KEY.hex(), "-", "0"),
            ),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "File too large" in done.stderr
        assert site.seal() == 240
        assert site.check(written) == 240


class TestTwo:
    def test_a_second_sealer_is_refused_by_the_database_and_by_the_state_file(
        self, site: Site, tmp_path: Path
    ) -> None:
        first = site.source()
        with pytest.raises(SourceError, match="another sealer"):
            site.source()
        with Sealer(first, site.signer, site.config()), pytest.raises(StateError, match="another sealer"):
            Sealer(first, site.signer, site.config()).__enter__()
        first.close()

    def test_the_other_node_takes_over_when_the_lock_is_lost_and_the_first_one_fails(
        self, site: Site, tmp_path: Path
    ) -> None:
        written = set(site.write(10))
        first = site.source()
        sealer = Sealer(first, site.signer, site.config())
        sealer.__enter__()
        sealer.run_once()
        admin = site.connect()
        admin.autocommit = True
        with admin.cursor() as sql:
            sql.execute("select pg_terminate_backend(%s)", (first.connection.info.backend_pid,))
        admin.close()
        site.look()
        other = Site(site.cluster, site.database, tmp_path / "b", bytes(reversed(KEY)))
        written |= set(site.write(10))
        source = other.source()
        config = other.config(trusted=(site.signer.key,))
        with Sealer(source, other.signer, config) as successor:
            assert successor.run_once().count == 10
            assert successor.mirror.size == 20
        source.close()
        with pytest.raises(SourceError):
            sealer.run_once()
        sealer.close()
        assert site.check(written) == 20

    def test_two_sessions_that_both_believe_to_be_the_sealer_cannot_share_an_index(self, site: Site) -> None:
        site.write(10)
        first = site.source()
        with first.connection.cursor() as sql:
            sql.execute("select pg_advisory_unlock_all()")
        first.connection.commit()
        second = site.source()
        batch = first.read(5)
        taken = threading.Thread(target=lambda: batch.assign([b"\1" * 32] * 5, b"\2" * 32))
        timer = threading.Timer(0.3, taken.start)
        timer.start()
        with pytest.raises(SourceError, match="40001"):
            second.read(5)
        taken.join()
        first.close()
        second.close()


class TestRestore:
    def test_a_database_restored_to_yesterday_gets_its_leaves_back_from_the_mirror(
        self, new_cluster: Callable[[], Cluster], tmp_path: Path
    ) -> None:  # AUD-8
        cluster = new_cluster()
        cluster.create()
        cluster.start()
        prepare(cluster, "postgres")
        site = Site(cluster, "postgres", tmp_path)
        written = set(site.write(120))
        site.seal()
        unsealed = site.write(7)
        cluster.stop()
        shutil.copytree(cluster.data, cluster.root / "yesterday")
        cluster.start()
        written |= set(unsealed) | set(site.write(300))
        assert site.seal() == 427
        cluster.stop()
        shutil.rmtree(cluster.data)
        (cluster.root / "yesterday").rename(cluster.data)
        if os.geteuid() == 0:
            subprocess.run(("chown", "-R", "postgres", str(cluster.data)), check=True)
        cluster.data.chmod(0o700)
        cluster.start()
        written |= set(site.write(9))
        assert site.seal() == 436
        assert site.check(written) == 436

    def test_a_crash_of_the_database_server_changes_nothing(
        self, new_cluster: Callable[[], Cluster], tmp_path: Path
    ) -> None:
        cluster = new_cluster()
        cluster.create()
        cluster.configure("fsync = on")
        cluster.start()
        prepare(cluster, "postgres")
        site = Site(cluster, "postgres", tmp_path)
        written = set(site.write(60))
        site.seal()
        written |= set(site.write(20))
        cluster.stop("immediate")
        cluster.start()
        written |= set(site.write(5))
        assert site.seal() == 85
        assert site.check(written) == 85

    def test_a_lost_mirror_is_rebuilt_from_the_database(self, site: Site) -> None:
        written = set(site.write(300))
        site.seal()
        shutil.rmtree(site.folder / "mirror")
        written |= set(site.write(4))
        assert site.seal() == 304
        assert site.check(written) == 304

    def test_leaves_missing_in_database_and_mirror_stop_the_sealer(self, site: Site) -> None:
        site.write(30)
        site.seal()
        connection = site.connect()
        with connection.cursor() as sql:
            sql.execute("delete from audit.leaf where index >= 20")
            sql.execute("update audit.log set size = 20")
        connection.commit()
        connection.close()
        shutil.rmtree(site.folder / "mirror")
        with pytest.raises(LogContradiction, match="fork the log"):
            site.seal()

    def test_another_history_in_the_database_is_refused(self, site: Site) -> None:
        site.write(30)
        site.seal()
        connection = site.connect()
        with connection.cursor() as sql:
            sql.execute("delete from audit.leaf")
            sql.execute("delete from audit.checkpoint")
            sql.execute("update audit.log set size = 0, root = sha256(''), cursor = null")
            sql.execute(
                "delete from audit.event where event_id = (select min(event_id::text)::uuid from audit.event)"
            )
        connection.commit()
        connection.close()
        fresh = Site(site.cluster, site.database, site.folder / "fresh")
        fresh.seal()
        with pytest.raises(LogContradiction):
            site.seal()

    @pytest.mark.parametrize("torn", [1, 2, 20, 100, 130, 200])
    def test_a_torn_record_of_the_history_is_cut_off(self, site: Site, torn: int) -> None:
        for _ in range(3):
            site.write(2)
            site.seal()
        path = site.folder / "mirror" / "checkpoints"
        path.write_bytes(path.read_bytes()[:-torn])
        site.write(2)
        site.seal()
        sizes = [checkpoint.parse(content)[0].size for content in read_history(site.folder / "mirror")]
        assert sizes in ([2, 8], [2, 4, 8], [2, 4, 6, 8])
        assert checkpoint.parse((site.folder / "mirror" / "checkpoint").read_bytes())[0].size == 8

    def test_a_damaged_state_file_is_refused(self, site: Site) -> None:
        site.write(3)
        site.seal()
        path = site.folder / "state.json"
        path.write_bytes(path.read_bytes().replace(b'"size": 3', b'"size": 2'))
        with pytest.raises(StateError, match="damaged"):
            site.seal()


class TestStandby:
    def test_nothing_is_signed_that_no_synchronous_standby_has_flushed(
        self, new_cluster: Callable[[], Cluster], tmp_path: Path
    ) -> None:  # AUD-7
        primary = new_cluster()
        primary.create()
        primary.start()
        prepare(primary, "postgres")
        site = Site(primary, "postgres", tmp_path)
        written = set(site.write(10))
        with pytest.raises(SourceError, match="no synchronous standby"):
            site.seal(standbys=1, confirm_timeout=0.3)
        assert not (tmp_path / "mirror" / "checkpoint").exists()
        standby = primary.standby(new_cluster().root)
        standby.start()
        primary.configure("synchronous_standby_names = 'FIRST 1 (standby)'")
        primary._as_user(str(primary._bin / "pg_ctl"), "-D", str(primary.data), "reload")
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            connection = primary.connect()
            with connection.cursor() as sql:
                sql.execute("select count(*) from pg_stat_replication where sync_state = 'sync'")
                ready = sql.fetchone() == (1,)
            connection.close()
            if ready:
                break
            time.sleep(0.1)
        assert site.seal(standbys=1) == 10
        with pytest.raises(SourceError, match="standby"):
            PostgresSource(standby.connect, "tenant-1")
        primary.kill()
        standby._as_user(str(standby._bin / "pg_ctl"), "-D", str(standby.data), "-w", "promote")
        other = Site(standby, "postgres", tmp_path / "b", bytes(reversed(KEY)))
        written |= set(other.write(6))
        source = other.source()
        with Sealer(source, other.signer, other.config(trusted=(site.signer.key,))) as sealer:
            assert sealer.run_once().count == 6
        source.close()
        other.seen = site.seen
        other.signer = site.signer
        shutil.rmtree(tmp_path / "b")
        assert other.check(written) == 16
        standby.stop("immediate")


def test_checkpoints_hold_exactly_origin_size_and_root(site: Site) -> None:
    site.write(2)
    site.seal()
    content = (site.folder / "mirror" / "checkpoint").read_bytes()
    parsed, signed = checkpoint.parse(content)
    assert (parsed.origin, parsed.size) == (ORIGIN, 2)
    assert signed.encode() == content
    with pytest.raises(note.NoteError, match="false"):
        checkpoint.parse(content.replace(b"\n2\n", b"\n3\n"))[1].verified([site.signer.key])


@pytest.fixture(autouse=True)
def _no_leftover_threads() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() < before + 8
