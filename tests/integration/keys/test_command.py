"""`kontor keys` as an operator uses it, and what the doctor says of keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from compliance.datamap import KeyClass
from crm_server import tasks
from crm_server.cli.keys import keys as command
from crm_server.domain.approvals.services import ApprovalService
from crm_server.domain.identity.models import User
from crm_server.domain.keys import drill, escrow, health, rotation
from crm_server.domain.keys.queries import state_of
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db, jobs
from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import KeysRefused, keys_of
from crm_server.settings import Settings
from monitoring import metrics
from security.crypto import profile
from security.crypto.profile import Profile
from tests.integration.keys.conftest import Site


@pytest.fixture
def kontor(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("KONTOR_DATABASE_URL", site.settings.database_url.replace("+psycopg2", ""))
    monkeypatch.setenv("KONTOR_STATE_DIR", str(site.settings.state_dir))
    monkeypatch.delenv("KONTOR_KEY_RING", raising=False)
    return lambda *words, **more: CliRunner().invoke(command, [str(word) for word in words], **more)


def subject_of(site: Site) -> str:
    with site.session() as session:
        subject = uuid4()
        keys_of(session).for_sealing(subject, KeyClass.IDENTITY)
        session.commit()
    return str(subject)


def state_after(site: Site, asked: dict[str, str], permission: str, *, releases: int) -> str:
    """The state of a request after so many more persons who hold a permission have released it."""
    for _person in range(releases):
        with site.session() as session:
            person = User(id=new_id(), login=f"second-{new_id()}", name="Second")
            session.add(person)
            session.commit()
        actor = Actor(person.id, "Second", Origin.WEB, permissions=frozenset({permission}))
        with db.open_session(site.factory, actor) as session:
            state = ApprovalService(session).release(UUID(asked["request"])).state
            db.commit(session)
            for callback in session.info.pop(db.AFTER_COMMIT, ()):
                callback()
    return state


class TestCommand:
    def test_a_whole_life_of_an_epoch(self, site: Site, kontor: Any):
        subject_of(site)
        state = json.loads(kontor("status", "--json").output)
        assert (state["active"], state["live"]) == (1, 1)
        assert "passphrase" in kontor("status").output
        done = json.loads(kontor("rotate", "--json").output)
        assert (done["epoch"], done["wrapped"], done["complete"]) == (2, 1, True)
        dry = kontor("destroy", 1, "--dry-run")
        assert dry.exit_code == 1
        assert "No escrow" in dry.output
        made = json.loads(kontor("escrow", "--check", "--json").output)
        assert made["keys"] == 1
        assert kontor("escrow", "--open", made["file"]).exit_code == 0
        assert kontor("destroy", 1, "--dry-run").exit_code == 0
        assert "Nothing was destroyed" in kontor("destroy", 1, "--confirm", "yes").output
        asked = kontor("destroy", 1, "--request", "The epoch is over.")
        assert "can be refused" in asked.output, asked.output
        assert kontor("verify").exit_code == 0

    def test_the_keys_of_a_person_are_counted_and_erased_by_two_others_alone(self, site: Site, kontor: Any):
        subject = subject_of(site)
        dry = json.loads(kontor("erase", subject, "--dry-run", "--json").output)
        assert dry["keys"] == {"identity": 1}
        assert "takes two persons" in kontor("erase", subject).output
        assert "Give a reason" in kontor("erase", subject, "--request", " ").output
        asked = json.loads(kontor("erase", subject, "--request", "Asked for by the person", "--json").output)
        assert "asked for the same" in kontor("erase", subject, "--request", "Once more").output
        assert state_after(site, asked, "release:persons:erase", releases=1) == "pending"
        assert not site.keys.ledger.read()
        assert state_after(site, asked, "release:persons:erase", releases=1) == "executed"
        assert len(site.keys.ledger.read()) == 1
        assert "has no keys" in kontor("erase", subject, "--request", "Once more").output

    def test_a_hold_is_quick_to_begin_and_takes_two_persons_to_end(self, site: Site, kontor: Any):
        subject = subject_of(site)
        early = json.loads(kontor("erase", subject, "--request", "Asked for by the person", "--json").output)
        assert "No keys" in kontor("end-hold", subject, "--request", "The case is closed").output
        assert "1 keys" in kontor("hold", subject).output
        assert kontor("hold", subject).exit_code == 1
        assert "legal hold" in kontor("erase", subject, "--request", "Once more").output
        # What was asked for before the hold does nothing any more, and says why.
        assert state_after(site, early, "release:persons:erase", releases=2) == "failed"
        asked = json.loads(kontor("end-hold", subject, "--request", "The case is closed", "--json").output)
        assert state_after(site, asked, "release:holds:end", releases=2) == "executed"
        again = json.loads(kontor("erase", subject, "--request", "Once more", "--json").output)
        assert state_after(site, again, "release:persons:erase", releases=2) == "executed"

    def test_a_restore_begins_when_two_persons_have_released_that_one(self, site: Site, kontor: Any):
        subject_of(site)
        assert "takes a second person" in kontor("restore", "nightly 2026-11-21").output
        assert kontor("status").exit_code == 0
        # As a process of its own, which has imported nothing but what the command imports.
        words = ["keys", "restore", "nightly 2026-11-21", "--request", "Disk", "--json"]
        kontor_itself = Path(sys.executable).parent / "kontor"
        asked = json.loads(subprocess.check_output([kontor_itself, *words], timeout=300))
        assert state_after(site, asked, "release:restores:run", releases=2) == "released"
        assert kontor("restore", "nightly 2026-11-20").exit_code == 1
        assert "kontor keys replay" in kontor("restore", "nightly 2026-11-21").output
        assert isinstance(kontor("status").exception, KeysRefused)
        assert kontor("replay").exit_code == 0
        assert kontor("restore", "nightly 2026-11-21").exit_code == 1

    def test_damage_is_found_and_makes_the_exit_code(self, site: Site, kontor: Any):
        subject_of(site)
        with site.engine.begin() as connection:
            connection.execute(text("update keys.data_key set wrapped = decode(repeat('00', 40), 'hex')"))
        found = kontor("verify", "--json")
        assert found.exit_code == 1
        assert json.loads(found.output)["corrupt"] == 1

    def test_a_quarantine_stops_everything_until_the_replay(self, site: Site, kontor: Any):
        subject_of(site)
        kontor("quarantine", "--reason", "restored for a test")
        with pytest.raises(KeysRefused, match="restored for a test"):
            site.open()
        assert kontor("replay").exit_code == 0
        site.open()

    def test_an_unknown_node_is_told(self, kontor: Any):
        assert "no such node" in kontor("forget-node", "nowhere").output

    def test_the_inventory_is_a_cyclonedx_document_with_the_epochs(
        self, kontor: Any, tmp_path: Path
    ):  # ENC-20
        assert kontor("inventory", "-o", tmp_path / "cbom.json").exit_code == 0
        made = json.loads((tmp_path / "cbom.json").read_text())
        assert made["bomFormat"] == "CycloneDX"
        assert any("epoch" in item["name"].lower() for item in made["components"])

    def test_the_drill_proves_erasure_across_a_restore_and_leaves_evidence(
        self, site: Site, kontor: Any
    ):  # ENC-10
        done = json.loads(kontor("drill", "--people", 12, "--erased", 4, "--json").output)
        assert (done["passed"], done["unreadable"], done["readable"]) == (True, 4, 8)
        (kept,) = (site.settings.state_dir / "drills").iterdir()
        assert json.loads(kept.read_text())["passed"]
        assert json.loads(kontor("status", "--json").output)["drill"]["passed"]
        assert "drill     passed" in kontor("status").output
        assert "drill" not in str(health_of(site))

    def test_a_drill_that_is_due_runs_by_itself_and_one_that_fails_is_told_everywhere(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ):  # ENC-10
        runs = []

        def broken(folder: Path, *_more: object) -> None:
            runs.append(folder)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(drill, "_run", broken)
        before = metrics.KEY_ALARMS.labels("drill-failed")._value.get()
        worker = tasks.worker(site.settings)
        with site.session() as session:
            jobs.defer(session, "keys_drill")
            session.commit()
        worker.run(until_empty=True)
        assert len(runs) == 1
        with site.engine.connect() as connection:
            state = state_of(connection, site.keys, site.settings)
            told = connection.execute(
                text("select action, outcome from audit.event where action = 'drill_failed'")
            ).one()
        assert state.drill is not None
        assert not state.drill.passed
        assert tuple(told) == ("drill_failed", "failure")
        assert metrics.KEY_ALARMS.labels("drill-failed")._value.get() == before + 1
        assert ("error", True) in [
            (one.level, "drill of erasure failed" in one.text) for one in health_of(site)
        ]


class TestStart:
    def test_the_strict_profile_uses_suite_2_and_its_own_ring(self, site: Site, tmp_path: Path):
        with pytest.raises(KeysRefused, match=r"strict|pbkdf2"):
            site.open(crypto_profile="strict")

    def test_a_wrong_answer_of_an_algorithm_refuses_the_start(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ):
        from crm_server.kernel import keys

        keys._checked.cache_clear()
        monkeypatch.setitem(profile._TESTS, "AES-256-KW", (lambda: False, False))
        broken = next(iter(profile._TESTS))
        monkeypatch.setitem(profile._TESTS, broken, (lambda: False, False))
        with pytest.raises(KeysRefused, match=r"self-check"):
            site.open()
        keys._checked.cache_clear()
        assert Profile.STANDARD.suite == 1


def health_of(site: Site) -> list[health.Trouble]:
    with site.engine.connect() as connection:
        return list(health.troubles(site.settings, connection))


class TestDoctor:
    def lines(self, site: Site, **changed: Any) -> list[tuple[str, str]]:
        settings = Settings({**site.settings.values, **changed})
        with site.engine.connect() as connection:
            return [(one.level, one.text) for one in health.troubles(settings, connection)]

    def test_all_is_well_with_an_escrow(self, site: Site):
        subject_of(site)
        work = KeyWork(site.keys, site.engine, site.settings, system_actor())
        escrow.open_scratch(work, escrow.export(work).file)
        assert self.lines(site) == [("ok", "Epoch 1 protects 1 keys (passphrase).")]

    def test_what_is_late_or_missing_is_told(self, site: Site):
        subject_of(site)
        assert self.lines(site) == [("warning", "There is no escrow of the keys.")]
        work = KeyWork(site.keys, site.engine, site.settings, system_actor())
        rotation.rotate(work)
        site.keys.ledger.quarantine("restored")
        with site.engine.begin() as connection:
            connection.execute(
                text("update keys.epoch set retired_at = now() - interval '30 days' where number = 1")
            )
        told = [word for _level, word in self.lines(site)]
        assert "in quarantine" in told[0]
        assert "Epoch 1 should be destroyed" in told[1]

    def test_a_ring_that_does_not_answer_is_an_error(self, site: Site):
        (only, *_rest) = self.lines(site, key_passphrase="not the right one")
        assert only[0] == "error"
        assert "passphrase" in only[1]
