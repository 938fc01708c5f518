"""From a click to a proof: what happens in the product is sealed, exported and verified by others. # AUD-2 … AUD-7"""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2.errors
import pytest

from crm_server.migrations import manage
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site


def work(client: Client) -> str:
    """Create, change and delete in bulk through the product; returns the key of a record that was changed."""
    made = [
        client.post("/accounts", {"name": f"Example {number} GmbH"}, status=201).json for number in range(3)
    ]
    client.patch(f"/accounts/{made[0]['id']}", {"name": "Renamed GmbH"}, made[0]["version"], status=200)
    items = [{"action": "delete", "id": item["id"], "version": item["version"]} for item in made[1:]]
    answer = client.post("/accounts/bulk", {"mode": "all", "items": items}, status=200).json
    assert answer["succeeded"] == 2
    return str(made[0]["id"])


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    """As an auditor does it: the one file out of the bundle, isolated from the product."""
    return subprocess.run(
        [sys.executable, "-I", "verify.py", "."], cwd=folder, capture_output=True, text=True, check=False
    )


class TestTrail:
    def test_work_is_sealed_exported_and_verified_and_a_superusers_change_is_named(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        site.start_sealer()
        record = work(login("Manager"))
        size = site.wait_until_sealed()
        assert size > 6
        exported = site.kontor("audit", "export", "--out", str(tmp_path / "good"), "--json")
        assert exported.returncode == 0, exported.stderr
        assert json.loads(exported.stdout)["events"] == size
        checked = verify(tmp_path / "good")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert site.kontor("audit", "verify", str(tmp_path / "good"), "--json").returncode == 0

        after = site.wait_until_sealed()
        assert after == size + 1, "the export is an event itself"
        ((victim,),) = site.run(
            f"select event_id::text from audit.event where object_ref = '{record}' and action = 'update'"
        )
        site.run(f"update audit.event set outcome = 'failure' where event_id = '{victim}'")
        assert site.kontor("audit", "export", "--out", str(tmp_path / "bad")).returncode == 0
        checked = verify(tmp_path / "bad")
        assert checked.returncode == 1
        assert victim in checked.stdout
        assert site.kontor("audit", "verify", str(tmp_path / "bad")).returncode == 1

    def test_status_says_how_far_the_log_is(self, site: Site, login: Callable[..., Client]) -> None:
        before = json.loads(site.kontor("audit", "status", "--json").stdout)
        assert before["origin"] is None
        site.start_sealer()
        work(login("Manager"))
        size = site.wait_until_sealed()
        after = json.loads(site.kontor("audit", "status", "--json").stdout)
        assert after["size"] == after["signed_size"] == size
        assert after["lag"] == 0
        assert after["origin"].startswith("kontor/")
        assert len(after["root"]) == 64
        text = site.kontor("audit", "status").stdout
        assert f"{size:,} events" in text

    def test_without_a_sealer_an_export_says_what_is_missing(self, site: Site, tmp_path: Path) -> None:
        refused = site.kontor("audit", "export", "--out", str(tmp_path / "none"))
        assert refused.returncode == 1
        assert "Nothing is signed yet" in refused.stderr


class TestDoctor:
    def test_it_tells_lag_and_checkpoint_and_what_to_do(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        def sealing() -> dict[str, dict[str, str]]:
            told = json.loads(site.kontor("doctor", "--json").stdout)["findings"]
            return {item["check"]: item for item in told if item["check"] in {"sealing", "checkpoint"}}

        assert "not sealed yet" in sealing()["sealing"]["text"]
        sealer = site.start_sealer()
        work(login("Manager"))
        size = site.wait_until_sealed()
        found = sealing()
        assert {item["level"] for item in found.values()} == {"ok"}
        assert f"covers {size:,} events" in found["checkpoint"]["text"]
        sealer.terminate()
        sealer.wait(90)
        site.run(
            "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin) "
            "values (gen_random_uuid(), now() - interval '2 minutes', 'x', 'x', 'success', gen_random_uuid(), 'web')"
        )
        found = sealing()
        assert found["sealing"]["level"] == "error"
        assert "kontor-sealer" in found["sealing"]["remedy"]


class TestProcess:
    def test_the_key_is_made_once_and_is_its_owners_alone(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        first = site.start_sealer()
        client = login("Manager")
        work(client)
        site.wait_until_sealed()
        key = site.state / "sealer" / "key.pem"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        before = key.read_bytes()
        first.send_signal(signal.SIGTERM)
        assert first.wait(90) == 0
        site.start_sealer()
        work(client)
        site.wait_until_sealed()
        assert key.read_bytes() == before

    def test_it_ends_cleanly_and_goes_on_where_it_was(self, site: Site, login: Callable[..., Client]) -> None:
        client = login("Manager")
        first = site.start_sealer()
        work(client)
        size = site.wait_until_sealed()
        first.send_signal(signal.SIGTERM)
        assert first.wait(90) == 0
        work(client)
        site.start_sealer()
        assert site.wait_until_sealed() > size

    def test_a_key_that_others_may_read_is_refused(self, site: Site, login: Callable[..., Client]) -> None:
        first = site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        first.terminate()
        first.wait(90)
        (site.state / "sealer" / "key.pem").chmod(0o644)
        assert site.start_sealer().wait(90) == 1
        assert "chmod 600" in (site.state / "sealer.log").read_text()

    def test_a_lost_key_is_never_replaced_in_silence(self, site: Site, login: Callable[..., Client]) -> None:
        first = site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        first.terminate()
        first.wait(90)
        (site.state / "sealer" / "key.pem").unlink()
        assert site.start_sealer().wait(90) == 1
        assert "is gone" in (site.state / "sealer.log").read_text()

    def test_a_database_that_contradicts_the_signature_ends_it(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        first = site.start_sealer()
        work(login("Manager"))
        site.wait_until_sealed()
        first.terminate()
        first.wait(90)
        site.run("update audit.log set root = sha256('x')")
        assert site.start_sealer().wait(90) == 1
        assert "Nothing more is signed" in (site.state / "sealer.log").read_text()


@pytest.mark.parametrize(
    "statement",
    [
        "update audit.event set action = 'x'",
        "delete from audit.event",
        "insert into audit.leaf values (1, 0, gen_random_uuid(), sha256('x'))",
        "update audit.log set size = 0",
        "delete from audit.checkpoint",
        """insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin, xid)
           values (gen_random_uuid(), now(), 'x', 'x', 'x', gen_random_uuid(), 'web', '3')""",
    ],
)
def test_the_application_can_touch_nothing_that_is_signed(site: Site, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        site.run(statement, manage.APP)
