"""Rotation, escrow, destruction and what comes after a restore, on a real PostgreSQL and a real key ring."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from compliance.datamap import KeyClass
from crm_server import tasks
from crm_server.domain.approvals.services import Approval, ApprovalService
from crm_server.domain.keys import destruction, escrow, queries, rotation, services
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.domain.keys.replay import replay
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db, keyledger
from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.errors import NotAllowed
from crm_server.kernel.ids import new_id
from crm_server.kernel.keyring import horizon_of
from crm_server.kernel.keys import KeysRefused, keys_of
from crm_server.migrations import manage
from crm_server.settings import Settings
from monitoring import metrics
from security.crypto.document import document_kid
from security.crypto.errors import EpochDestroyed, KeyErased
from tests.integration.keys.conftest import Site

CHILD = Path(__file__).with_name("rotate_child.py")
ADA, BEN = (Actor(new_id(), name, origin=Origin.WEB, all_permissions=True) for name in ("Ada", "Ben"))


@pytest.fixture
def work(site: Site) -> KeyWork:
    return KeyWork(site.keys, site.engine, site.settings, system_actor(Origin.CLI))


def people(site: Site, number: int) -> list[tuple[UUID, bytes]]:
    """So many subjects, each with a sealed document."""
    with site.session() as session:
        keys = keys_of(session)
        subjects = [uuid4() for _ in range(number)]
        found = keys.for_sealing_many(subjects, KeyClass.IDENTITY)
        column = keys.column(2, KeyClass.IDENTITY)
        made = [(one, column.seal(found[one], {23: "Ann"}, one.bytes, one.bytes, 1)) for one in subjects]
        session.commit()
    return made


def readable(site: Site, subject: UUID, blob: bytes) -> bool:
    """Whether a document opens through the key table, and not through a cache."""
    site.keys.cache.clear()
    with site.session() as session:
        keys = keys_of(session)
        try:
            key = keys.by_id(document_kid(blob))
        except KeyErased:
            return False
        values = keys.column(2, KeyClass.IDENTITY).open(key, blob, subject.bytes, subject.bytes, 1)
        return values == {23: "Ann"}


def erase(site: Site, subject: UUID) -> services.SubjectKeys:
    with site.session() as session:
        done = services.erase_subject(session, subject)
        db.commit(session)
        for callback in session.info.pop(db.AFTER_COMMIT, ()):
            callback()
    return done


def events(site: Site, action: str) -> list[tuple[str, str | None]]:
    with site.engine.connect() as connection:
        rows = connection.execute(
            text("select outcome, reason from audit.event where action = :action order by event_id"),
            {"action": action},
        )
        return [(row.outcome, row.reason) for row in rows]


def ready_to_destroy(site: Site, work: KeyWork) -> None:
    """Rotate, and make and open an escrow."""
    rotation.rotate(work)
    escrow.open_scratch(work, escrow.export(work).file)


def ask(site: Site, epoch: int, actor: Actor = ADA) -> UUID:
    """Ask for a destruction, as a person who exists."""
    with site.engine.begin() as connection:
        for person in (ADA, BEN):
            connection.execute(
                text(
                    """insert into identity."user" (id, login, name) values (:id, :name, :name)
                    on conflict do nothing"""
                ),
                {"id": person.id, "name": person.name},
            )
    with db.open_session(site.factory, actor) as session:
        asked = destruction.request(session, epoch, "The epoch is over.")
        session.commit()
        return asked.id


def release(site: Site, request: UUID, actor: Actor = BEN) -> None:
    with db.open_session(site.factory, actor) as session:
        ApprovalService(session).release(request)
        session.commit()


class TestErasure:
    def test_all_keys_of_a_person_become_tombstones_with_an_event(self, site: Site):
        ((subject, blob), (other, theirs)) = people(site, 2)
        done = erase(site, subject)
        assert done.classes == {"identity": 1}
        assert done.epochs == (1,)
        assert not readable(site, subject, blob)
        assert readable(site, other, theirs)
        assert events(site, "keys_erased") == [("success", None)]
        with site.session() as session:
            row = session.execute(text("select erase_event from keys.data_key where state = 'erased'")).one()
            assert row.erase_event == done.event

    def test_a_preview_counts_and_changes_nothing(self, site: Site):
        ((subject, blob),) = people(site, 1)
        with site.session() as session:
            assert services.preview(session, subject).number == 1
            assert services.preview(session, subject, [KeyClass.HEALTH]).number == 0
            assert services.preview(session, uuid4()).number == 0
        assert readable(site, subject, blob)

    def test_one_class_alone_is_erased(self, site: Site):
        ((subject, blob),) = people(site, 1)
        with site.session() as session:
            keys_of(session).for_sealing(subject, KeyClass.MARKETING)
            session.commit()
        with site.session() as session:
            assert services.erase_subject(session, subject, [KeyClass.MARKETING]).classes == {"marketing": 1}
            session.commit()
        assert readable(site, subject, blob)

    def test_a_held_key_stands_against_it_until_it_is_released(self, site: Site):
        ((subject, blob),) = people(site, 1)
        with site.session() as session:
            assert services.hold(session, subject) == 1
            session.commit()
        with pytest.raises(KeyWorkRefused) as refused:
            erase(site, subject)
        assert refused.value.reason == "held"
        assert readable(site, subject, blob)
        with site.session() as session:
            assert services.release(session, subject) == 1
            session.commit()
        assert erase(site, subject).number == 1

    def test_a_rolled_back_erasure_erases_nothing_and_leaves_no_ledger(self, site: Site):
        ((subject, blob),) = people(site, 1)
        with site.session() as session:
            services.erase_subject(session, subject)
            session.rollback()
        assert readable(site, subject, blob)
        assert site.keys.ledger.read() == []


class TestRotation:
    def test_every_key_opens_under_the_new_epoch(self, site: Site, work: KeyWork):  # ENC-8
        made = people(site, 30)
        erase(site, made[0][0])
        with site.session() as session:
            services.hold(session, made[1][0])
            session.commit()
        done = rotation.rotate(work)
        assert (done.epoch, done.wrapped, done.left, done.corrupt) == (2, 29, 0, 0)
        assert not readable(site, *made[0])
        assert all(readable(site, *one) for one in made[1:])
        with site.engine.connect() as connection:
            state = queries.state_of(connection, site.keys, site.settings)
        assert (state.active, state.share, state.behind, state.held) == (2, 1.0, 0, 1)
        assert people(site, 1)
        assert events(site, "epoch_rotated") == [("success", None)]

    def test_a_killed_rotation_goes_on_where_it_stopped(self, site: Site, work: KeyWork):  # ENC-8
        made = people(site, 60)
        child = child_of(site, "rotate", "10")
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with site.engine.connect() as connection:
            left = rotation.count_behind(connection, 2)
        assert 0 < left < 60
        site.keys.forget_epochs()
        assert all(readable(site, *one) for one in made)
        done = rotation.rotate(work)
        assert (done.epoch, done.wrapped, done.left) == (2, left, 0)
        assert all(readable(site, *one) for one in made)

    def test_an_epoch_that_a_kill_left_between_ring_and_database_is_taken_over(
        self, site: Site, work: KeyWork
    ):
        people(site, 1)
        site.keys.ring.create_epoch(2)
        assert rotation.rotate(work).epoch == 2

    def test_none_of_many_is_a_failure(self, site: Site, work: KeyWork):  # ENC-8
        people(site, 3)
        with site.engine.begin() as connection:
            connection.execute(text("update keys.data_key set wrapped = decode(repeat('00', 40), 'hex')"))
        with pytest.raises(KeyWorkRefused) as refused:
            rotation.rotate(work)
        assert refused.value.reason == "zero_of_many"

    def test_a_damaged_key_is_left_and_told_and_the_others_are_wrapped(self, site: Site, work: KeyWork):
        made = people(site, 3)
        kid = document_kid(made[0][1])
        with site.engine.begin() as connection:
            connection.execute(
                text("update keys.data_key set wrapped = decode(repeat('00', 40), 'hex') where kid = :kid"),
                {"kid": kid},
            )
        done = rotation.rotate(work)
        assert (done.wrapped, done.left, done.corrupt) == (2, 1, 1)
        assert rotation.verify(work).damaged == (kid.hex(),)
        assert events(site, "epoch_rotated") == [("failure", None)]

    def test_an_erasure_in_the_middle_stays_an_erasure(self, site: Site, work: KeyWork):
        made = people(site, 20)

        def disturb(_done: int, _all: int) -> None:
            if readable(site, *made[0]):
                erase(site, made[0][0])

        rotation._BATCH, before = 5, rotation._BATCH
        try:
            assert rotation.rotate(work, disturb).complete
        finally:
            rotation._BATCH = before
        assert not readable(site, *made[0])


class TestDestruction:
    def test_each_precondition_has_its_own_refusal(self, site: Site, work: KeyWork):  # ENC-9
        ((subject, _blob), *_others) = people(site, 3)
        with site.session() as session:
            services.hold(session, subject)
            session.commit()
        assert self.refusal(site, 1) == "active"
        assert self.refusal(site, 7) == "unknown"
        site.keys.ring.create_epoch(2)
        self._swap_active(site)
        with site.engine.connect() as connection:
            reasons = [item.reason for item in destruction.obstacles(connection, 1)]
        assert reasons == ["held_keys", "live_keys", "no_escrow", "nodes"]
        site.keys.forget_epochs()
        rotation.rotate(work, fresh=False)
        made = escrow.export(work)
        assert self.refusal(site, 1) == "no_escrow", "it was never opened"
        escrow.open_scratch(work, made.file)
        with site.engine.begin() as connection:
            connection.execute(
                text(
                    "insert into keys.attestation (node, epoch, holds_at, seen_at) values ('away', 1, now(), now())"
                )
            )
        assert self.refusal(site, 1) == "nodes"
        assert destruction.forget_node(work, "away") == 1
        ask(site, 1)
        with pytest.raises(KeyWorkRefused) as refused:
            destruction.destroy(work, 1)
        assert refused.value.reason == "not_agreed"
        assert {reason for _outcome, reason in events(site, "destruction_refused")} == {
            "active",
            "unknown",
            "no_escrow",
            "nodes",
        }

    @staticmethod
    def refusal(site: Site, epoch: int) -> str:
        with pytest.raises(KeyWorkRefused) as refused:
            ask(site, epoch)
        return refused.value.reason

    @staticmethod
    def _swap_active(site: Site) -> None:
        """Epoch 2 becomes active and no key follows: what a rotation looks like right after its beginning."""
        from security.crypto.providers.ring import check_of

        print_of = check_of(site.keys.epoch_keys(2))
        with site.engine.begin() as connection:
            connection.execute(text("update keys.epoch set state = 'retired', retired_at = now()"))
            connection.execute(
                text(
                    "insert into keys.epoch (number, state, fingerprint, provider, created_at) "
                    "values (2, 'active', :fingerprint, 'passphrase', now())"
                ),
                {"fingerprint": print_of},
            )

    def test_two_persons_destroy_at_once_and_one_alone_does_not(self, site: Site, work: KeyWork):  # ENC-9
        made = people(site, 3)
        ready_to_destroy(site, work)
        request = ask(site, 1)
        with pytest.raises(NotAllowed):
            release(site, request, ADA)
        release(site, request)
        tasks.worker(site.settings).run(until_empty=True)
        with site.engine.connect() as connection:
            state = queries.state_of(connection, site.keys, site.settings)
            gone = connection.execute(text("select evidence from keys.epoch where number = 1")).scalar_one()
        assert [(epoch.number, epoch.state, epoch.proven) for epoch in state.epochs] == [
            (2, "active", None),
            (1, "destroyed", False),
        ]
        assert "can't prove" in gone["statement"]
        site.keys.forget_epochs()
        assert all(readable(site, *one) for one in made)
        with pytest.raises(EpochDestroyed):
            site.keys.epoch_keys(1)
        assert self.refusal(site, 1) == "destroyed"

    def test_without_a_second_person_it_waits_two_days_for_a_refusal(
        self, site: Site, work: KeyWork
    ):  # ENC-9
        people(site, 1)
        ready_to_destroy(site, work)
        first = ask(site, 1)
        with db.open_session(site.factory, BEN) as session:
            ApprovalService(session).veto(first)
            session.commit()
        self._tick(site, over=True)
        with pytest.raises(KeyWorkRefused) as refused:
            destruction.destroy(work, 1)
        assert refused.value.reason == "not_agreed", "it was refused"
        ask(site, 1)
        self._tick(site, over=False)
        with pytest.raises(KeyWorkRefused) as refused:
            destruction.destroy(work, 1)
        assert refused.value.reason == "not_agreed", "two days aren't over"
        self._tick(site, over=True)
        assert destruction.destroy(work, 1).epoch == 1

    @staticmethod
    def _tick(site: Site, *, over: bool) -> None:
        """What the worker does each minute; `over` lets the two days have passed."""
        owner = manage.owner_engine(site.settings.owner_database_url)
        with owner.begin() as connection:
            left = connection.execute(
                text("select min(due_at) - now() from identity.approval where state = 'pending'")
            ).scalar()
            assert left is None or timedelta(hours=47) < left <= timedelta(hours=48)
            if over:
                connection.execute(text("alter table identity.approval disable trigger user"))
                connection.execute(text("update identity.approval set due_at = now() - interval '1 minute'"))
                connection.execute(text("alter table identity.approval enable trigger user"))
        owner.dispose()
        with site.session() as session:
            ApprovalService(session).tick()
            session.commit()

    def test_what_stands_against_it_at_the_release_stops_it(self, site: Site, work: KeyWork):
        people(site, 1)
        ready_to_destroy(site, work)
        request = ask(site, 1)
        with site.engine.begin() as connection:
            connection.execute(text("update keys.escrow set gone_at = now()"))
        release(site, request)
        with site.session() as session:
            assert session.get_one(Approval, request).state == "failed"
        with pytest.raises(KeyWorkRefused) as refused:
            destruction.destroy(work, 1)
        assert refused.value.reason == "no_escrow"

    def test_nothing_is_wrapped_under_an_epoch_that_is_about_to_go(self, site: Site, work: KeyWork):
        people(site, 1)
        ready_to_destroy(site, work)
        with site.engine.begin() as connection:
            assert connection.execute(text("select keys.close_epoch(1)")).scalar() == 0
        with site.engine.begin() as connection, pytest.raises(Exception, match="this epoch is destroyed"):
            connection.execute(
                text(
                    "insert into keys.data_key (kid, tenant, subject, class, generation, epoch, state, wrapped, kcv, "
                    "created_at) values (decode(repeat('01', 16), 'hex'), gen_random_uuid(), gen_random_uuid(), 'x', "
                    "1, 1, 'active', decode(repeat('00', 40), 'hex'), decode(repeat('00', 8), 'hex'), now())"
                )
            )

    def test_a_killed_destruction_goes_on(self, site: Site, work: KeyWork):
        made = people(site, 2)
        ready_to_destroy(site, work)
        release(site, ask(site, 1))
        child = child_of(site, "destroy", "1")
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with site.engine.connect() as connection:
            state = connection.execute(text("select state from keys.epoch where number = 1")).scalar()
        assert state == "destroying"
        assert destruction.destroy(work, 1).epoch == 1
        assert all(readable(site, *one) for one in made)

    def test_a_node_that_was_away_keeps_the_certificate_pending(self, site: Site, work: KeyWork):  # ENC-13
        people(site, 1)
        ready_to_destroy(site, work)
        with site.engine.begin() as connection:
            connection.execute(
                text(
                    "insert into keys.attestation (node, epoch, holds_at, seen_at) "
                    "values ('b', 1, now(), now()), ('b', 2, now(), now())"
                )
            )
        release(site, ask(site, 1))
        assert destruction.destroy(work, 1).pending == ("b",)
        site.open(node_name="b")
        with site.engine.connect() as connection:
            assert destruction.pending_nodes(connection, 1) == ()


class TestEscrow:
    def test_it_is_bound_to_its_epoch_and_notices_damage(self, site: Site, work: KeyWork, tmp_path: Path):
        people(site, 25)
        escrow._SEGMENT, before = 10, escrow._SEGMENT
        try:
            made = escrow.export(work, tmp_path / "out")
        finally:
            escrow._SEGMENT = before
        assert (made.epoch, made.keys) == (1, 25)
        assert escrow.open_scratch(work, made.file).live == 25
        whole = made.file.read_bytes()
        body = whole.index(b"\n") + 1
        length = 4 + int.from_bytes(whole[body : body + 4], "big")
        damaged = {
            "flipped": whole[:-1] + bytes((whole[-1] ^ 1,)),
            "cut": whole[: body + length],
            "moved": whole[:body] + whole[body + length : body + 2 * length] + whole[body : body + length],
            "empty": b"",
        }
        for name, content in damaged.items():
            copy = tmp_path / name
            copy.write_bytes(content)
            with pytest.raises(KeyWorkRefused) as refused:
                escrow.open_scratch(work, copy)
            assert refused.value.reason == "escrow_unreadable", name

    def test_a_full_disk_leaves_no_half_file(self, site: Site, work: KeyWork, tmp_path: Path, monkeypatch):
        people(site, 1)

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(KeyWorkRefused) as refused:
                escrow.export(work, tmp_path / "out")
        assert refused.value.reason == "disk"
        assert list((tmp_path / "out").iterdir()) == []

    def test_old_ones_go_but_never_the_newest_that_opened(self, site: Site, work: KeyWork):
        people(site, 1)
        first, second = escrow.export(work), escrow.export(work)
        escrow.open_scratch(work, second.file)
        old = replace(work, settings=Settings({**site.settings.values, "key_escrow_days": 0}))
        assert escrow.remove_old(old) == 1
        assert not first.file.exists()
        assert second.file.exists()


class TestRestore:
    def test_erased_keys_that_come_back_put_the_database_into_quarantine(
        self, site: Site, work: KeyWork
    ):  # ENC-11
        ((subject, blob), (other, theirs)) = people(site, 2)
        backup = table_of(site)
        erase(site, subject)
        put_back(site, backup)
        with pytest.raises(KeysRefused, match=r"quarantine.*kontor keys replay"):
            site.open()
        done = replay(replace(work, keys=site.open(restored=True)))
        assert (done.restored, done.erased) == (0, 1)
        site.open()
        assert not readable(site, subject, blob)
        assert readable(site, other, theirs)

    def test_a_backup_of_a_destroyed_epoch_needs_the_escrow(
        self, site: Site, work: KeyWork
    ):  # ENC-10, ENC-11
        ((subject, blob), (other, theirs)) = people(site, 2)
        backup = table_of(site)
        erase(site, subject)
        rotation.rotate(work)
        made = escrow.export(work)
        escrow.open_scratch(work, made.file)
        release(site, ask(site, 1))
        destruction.destroy(work, 1)
        put_back(site, backup, epoch=1)
        with pytest.raises(KeysRefused, match=r"destroyed|quarantine"):
            site.open()
        restored = replace(work, keys=site.open(restored=True))
        with pytest.raises(KeyWorkRefused) as refused:
            replay(restored)
        assert refused.value.reason == "keys_lost"
        assert replay(restored, made.file).restored == 2
        site.keys = site.open()
        assert readable(site, other, theirs)
        assert not readable(site, subject, blob)

    def test_a_full_disk_stops_no_erasure_and_the_ledger_is_completed_later(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ):
        ((subject, blob),) = people(site, 1)
        before = metrics.KEY_ALARMS.labels("ring-storage")._value.get()

        def full(*_more: object, **_named: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch, site.session() as session:
            services.erase_subject(session, subject)
            db.commit(session)
            patch.setattr(keyledger.os, "open", full)
            for callback in session.info.pop(db.AFTER_COMMIT, ()):
                callback()
        assert metrics.KEY_ALARMS.labels("ring-storage")._value.get() == before + 1
        assert site.keys.ledger.read() == []
        assert not readable(site, subject, blob)
        with site.engine.begin() as connection:
            site.keys.ledger.complete(connection)
        assert len(site.keys.ledger.read()) == 1

    def test_the_ledger_makes_up_for_what_a_crash_left_out(self, site: Site):
        ((subject, _blob),) = people(site, 1)
        with site.session() as session:
            services.erase_subject(session, subject)
            session.commit()
        assert site.keys.ledger.read() == []
        with site.engine.connect() as connection:
            assert site.keys.ledger.complete(connection) == 1
            assert site.keys.ledger.complete(connection) == 0
        assert len(site.keys.ledger.read()) == 1


class TestHorizon:
    @pytest.mark.parametrize("wrong", [{"key_rotation_days": 20}, {"key_escrow_days": 28}])
    def test_a_configuration_that_breaks_it_is_refused(self, site: Site, wrong: dict[str, int]):  # ENC-12
        with pytest.raises(KeysRefused, match="Shorten"):
            site.open(**wrong)

    def test_the_defaults_fit(self, site: Site):
        assert horizon_of(site.settings) == 28


def table_of(site: Site) -> list[tuple[object, ...]]:
    """The rows of the key table, as a backup has them."""
    with site.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("select * from keys.data_key"))]


def put_back(site: Site, rows: list[tuple[object, ...]], epoch: int | None = None) -> None:
    """Restore the key table as the owner of the database would from a backup."""
    engine = manage.owner_engine(site.settings.owner_database_url)
    with engine.begin() as connection:
        connection.execute(text("alter table keys.data_key disable trigger user"))
        connection.execute(text("delete from keys.data_key"))
        if epoch is not None:
            connection.execute(text("delete from keys.epoch where number > :epoch"), {"epoch": epoch})
            connection.execute(
                text("update keys.epoch set state = 'active', destroyed_at = null, evidence = null")
            )
        for row in rows:
            connection.exec_driver_sql(
                f"insert into keys.data_key values ({', '.join(['%s'] * len(row))})", row
            )
        connection.execute(text("alter table keys.data_key enable trigger user"))
    engine.dispose()


def child_of(site: Site, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "KONTOR_DATABASE_URL": site.settings.database_url,
        "KONTOR_STATE_DIR": str(site.settings.state_dir),
    }
    return subprocess.Popen(
        [sys.executable, str(CHILD), *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
