"""Pruning leaves the hashes and a sealed event that says so, and only what is old enough goes. # AUD-11"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.orm import Session

from crm_server.domain.audit import retention
from crm_server.domain.audit.retention import ranges_of
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.errors import Errors
from crm_server.migrations import manage
from crm_server.settings import load
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site
from tests.integration.audit.product.test_forwarder import until
from tests.integration.audit.product.test_trail import verify, work

OLD = """
insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin)
select (left(audit.key_at(now() - make_interval(months => {months}))::text, 14)
       || right(gen_random_uuid()::text, 22))::uuid,
       now() - make_interval(months => {months}), '{name}', 'x', 'success', gen_random_uuid(), 'web'
  from generate_series(1, {count})
"""


def add_old(site: Site, name: str, months: int, count: int) -> None:
    site.run(OLD.format(name=name, months=months, count=count))


CLOSED = """
insert into audit.leaf (log, index, event_id, leaf_hash)
select 1, row_number() over (order by event_id) - 1, event_id, sha256(event_id::text::bytea)
  from audit.event where action = 'x';
insert into audit.log (number, origin, size, root, closed_at)
select 1, 'kontor/first', count(*), sha256('first'), now() from audit.leaf;
insert into audit.checkpoint (log, size, note) select 1, count(*), 'kept elsewhere' from audit.leaf;
insert into audit.log (number, origin, size, root) values (2, 'kontor/second', 0, sha256(''));
"""


class TestPruning:
    def test_a_closed_log_is_pruned_and_its_successor_says_so(self, site: Site, tmp_path: Path) -> None:
        add_old(site, "read", 80, 30)
        add_old(site, "read", 8, 3)
        site.run(CLOSED)
        site.start_sealer(KONTOR_AUDIT_LOG_NAME="kontor/second")
        done = site.kontor("audit", "prune", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"removed": 30, "due": 30}
        assert site.run("select count(*) from audit.event where action = 'x'") == [(3,)]
        assert site.run("select count(*) from audit.leaf where log = 1") == [(33,)]
        ((told,),) = site.run("select meta from audit.event where action = 'prune_closed'")
        assert (told["log"], told["events"]) == (1, 30)
        assert site.kontor("audit", "export", "--out", str(tmp_path / "b")).returncode == 0
        assert verify(tmp_path / "b").returncode == 0, "the successor itself has lost nothing"

    def test_what_is_due_goes_its_hashes_stay_and_the_verifier_agrees(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        add_old(site, "read", 30, 300)
        add_old(site, "change", 30, 5)
        add_old(site, "read", 8, 7)
        site.run(
            "insert into audit.event_payload select event_id, 0, 'x' from audit.event where event_class = 'read'"
        )
        site.start_sealer()
        work(login("Manager"))
        size = site.wait_until_sealed()
        asked = site.kontor(
            "audit", "retention", "read", "24", "--reason", "Agreed with the works council", "--json"
        )
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["months"]["read"] == 72, "it counts when it is released"
        # As the release does it.
        site.run(
            "insert into audit.retention (id, event_class, months) values (gen_random_uuid(), 'read', 24)"
        )
        told = json.loads(site.kontor("audit", "prune", "--dry-run", "--json").stdout)
        assert told["events"] == 300
        assert site.run("select count(*) from audit.event where event_class = 'read' and action = 'x'") == [
            (307,)
        ]

        done = site.kontor("audit", "prune", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"removed": 300, "due": 300}
        left = site.run(
            "select event_class, count(*) from audit.event where action = 'x' group by 1 order by 1"
        )
        assert left == [("change", 5), ("read", 7)]
        ((leaves,),) = site.run("select count(*) from audit.leaf")
        assert leaves > size, "every leaf stays, and the pruning is an event itself"
        assert site.run("select count(*) from audit.event_payload where body = 'x'") == [(7,)]

        assert site.kontor("audit", "export", "--out", str(tmp_path / "good")).returncode == 0
        checked = verify(tmp_path / "good")
        assert checked.returncode == 0, checked.stdout
        assert "pruned events (hash only): 300" in checked.stdout

        ((victim,),) = site.run(
            "select event_id from audit.event where event_class = 'change' and action = 'x' limit 1"
        )
        site.run(f"delete from audit.event where event_id = '{victim}'")
        assert site.kontor("audit", "export", "--out", str(tmp_path / "bad")).returncode == 0
        checked = verify(tmp_path / "bad")
        assert checked.returncode == 1
        assert "no sealed event tells of its pruning" in checked.stdout

    def test_the_mirror_forgets_too_and_a_sealer_without_mirror_builds_it_again(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        add_old(site, "read", 80, 600)
        sealer = site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        assert site.kontor("audit", "prune").returncode == 0
        site.wait_until_sealed()
        sealer.terminate()
        sealer.wait(90)
        before = _entries(site)
        sealer = site.start_sealer()  # It looks for what was pruned when it starts and each minute.
        until(lambda: _entries(site) < before - 100_000)
        sealer.terminate()
        sealer.wait(90)
        for path in sorted((site.state / "audit" / "tile").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        assert site.kontor("audit", "export", "--out", str(tmp_path / "good")).returncode == 0
        checked = verify(tmp_path / "good")
        assert checked.returncode == 0, checked.stdout
        assert "pruned events (hash only): 600" in checked.stdout

    def test_nothing_is_removed_before_the_log_has_sealed_that_it_goes(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        add_old(site, "read", 80, 10)
        sealer = site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        sealer.terminate()
        sealer.wait(90)
        engine = db.create_app_engine(
            load({name: text for name, text in site.environment.items() if name.startswith("KONTOR_")})
        )
        try:
            factory = db.session_factory(engine)

            @contextmanager
            def transaction() -> Iterator[Session]:
                with db.open_session(factory, system_actor()) as session:
                    yield session
                    session.commit()

            assert retention.prune(transaction, patience=0.1) == 0
            left = "select count(*) from audit.event where event_class = 'read' and action = 'x'"
            assert site.run(left) == [(10,)]
            site.start_sealer()
            site.wait_until_sealed()
            # The next run carries on what the one before had told.
            assert retention.prune(transaction, patience=10) == 10
            assert site.run(left) == [(0,)]
        finally:
            engine.dispose()


def _entries(site: Site) -> int:
    folder = site.state / "audit" / "tile" / "entries"
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class TestLimits:
    @pytest.mark.parametrize("months,wrong", [(0, True), (5, True), (6, False), (1200, False), (9999, True)])
    def test_a_time_that_is_too_short_or_endless_is_refused(self, months: int, wrong: bool) -> None:
        errors = Errors()
        retention.check("read", months, errors)
        assert bool(errors.items) is wrong

    def test_less_than_six_months_is_refused_by_the_database_as_well(self, site: Site) -> None:
        assert site.kontor("audit", "retention", "read", "5").returncode == 1
        with pytest.raises(psycopg2.errors.CheckViolation):
            site.run(
                "insert into audit.retention (id, event_class, months) values (gen_random_uuid(), 'x', 5)"
            )

    def test_what_the_log_tells_of_itself_is_never_pruned(self, site: Site) -> None:
        assert site.kontor("audit", "retention", "audit", "12").returncode == 1

    def test_the_database_removes_nothing_that_is_young_or_untold(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        """The application's role alone, with a forged event audit/prune over young events."""
        site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        with pytest.raises(psycopg2.errors.NoDataFound):
            site.run("select audit.delete_pruned(gen_random_uuid())", manage.APP)
        site.run(
            "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin, meta) "
            "values (kontor.uuid7(), now(), 'audit', 'prune', 'success', gen_random_uuid(), 'web', "
            "'{\"ranges\": [[0, 3]]}')",
            manage.APP,
        )
        site.wait_until_sealed()
        with pytest.raises(psycopg2.errors.CheckViolation, match="six months"):
            site.run(
                "select audit.delete_pruned(event_id) from audit.event where action = 'prune'", manage.APP
            )


@pytest.mark.parametrize(
    "indexes, ranges",
    [([], []), ([4], [[4, 4]]), ([1, 2, 3], [[1, 3]]), ([1, 3, 4, 9], [[1, 1], [3, 4], [9, 9]])],
)
def test_ranges(indexes: list[int], ranges: list[list[int]]) -> None:
    assert ranges_of(indexes) == ranges
