"""What the log does by itself: room for the months to come, and the nightly reconciliation. # SIEM-7"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from crm_server.domain.audit.jobs import audit_reconciliation
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.jobs import Job
from crm_server.settings import load
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site
from tests.integration.audit.product.test_trail import work


def run(site: Site, task: Callable[[Job], None]) -> None:
    """Run a task of the worker here and now."""
    settings = load({name: text for name, text in site.environment.items() if name.startswith("KONTOR_")})
    engine = db.create_app_engine(settings)
    try:
        task(Job(1, 1, system_actor(), db.session_factory(engine, settings), settings))
    finally:
        engine.dispose()


class TestJobs:
    def test_the_nightly_reconciliation_states_what_a_receiver_should_have(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        site.start_sealer()
        work(login("Manager"))
        size = site.wait_until_sealed()
        for _ in range(2):
            run(site, audit_reconciliation)
            site.wait_until_sealed()
        told = [
            meta
            for (meta,) in site.run(
                "select meta from audit.event where action = 'reconciliation' order by event_id"
            )
        ]
        first, second = told
        assert (first["first_index"], first["last_index"], first["count"]) == (0, size - 1, size)
        assert len(first["root"]) == 64
        assert second["first_index"] == size
        ((root,),) = site.run(f"select note from audit.checkpoint where size = {size}")
        assert base64.b64encode(bytes.fromhex(first["root"])).decode() in root

    def test_room_for_the_months_to_come_is_made_and_doctor_says_so(self, site: Site) -> None:
        site.run("drop table audit_part.event_other; select audit.make_partitions(3)")
        done = json.loads(site.kontor("audit", "partitions", "--ahead", "5", "--json").stdout)
        assert done["months_ahead"] == 5
        assert len(done["made"]) == 6
        told = json.loads(site.kontor("doctor", "--json").stdout)["findings"]
        assert {item["level"] for item in told if item["check"] == "partitions"} == {"ok"}

    def test_an_event_of_a_wrong_clock_is_kept_and_moved_when_its_month_is_made(self, site: Site) -> None:
        site.run(
            "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin) values "
            "(audit.key_at(now() + interval '4 months'), now() + interval '4 months', 'x', 'x', 'success', "
            "gen_random_uuid(), 'web')"
        )
        told = json.loads(site.kontor("audit", "partitions", "--json").stdout)
        assert told["misplaced"] == 1
        told = json.loads(site.kontor("audit", "partitions", "--ahead", "6", "--json").stdout)
        assert told["misplaced"] == 0
        assert site.run("select count(*) from audit.event where event_class = 'x'") == [(1,)]
