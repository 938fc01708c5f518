"""The key table, and the keys of a process on a real PostgreSQL."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from compliance.datamap import KeyClass
from crm_server.kernel.keys import KeysAway, KeysRefused, keys_of
from security.crypto.document import DocumentKey, document_kid
from security.crypto.errors import KeyErased, KeyHeld, KeyMissing, ProviderUnavailable
from tests.integration.keys.conftest import Site

CHILD = Path(__file__).with_name("keys_child.py")
PLACE = (2, KeyClass.IDENTITY)
REVIVALS = (
    """update keys.data_key set state = 'active', wrapped = decode(repeat('00', 40), 'hex'), erased_at = null
       where kid = :kid""",
    "update keys.data_key set epoch = 7 where kid = :kid",
    "delete from keys.data_key where kid = :kid",
    """insert into keys.data_key (kid, tenant, subject, class, generation, epoch, state, wrapped, kcv, created_at)
       select kid, tenant, gen_random_uuid(), class, 1, epoch, 'active', decode(repeat('00', 40), 'hex'), kcv, now()
         from keys.data_key where kid = :kid""",
)


def seal(site: Site, subject=None, *, commit=True):
    """A sealed document of a subject, and the id of its key."""
    subject = subject or uuid4()
    with site.session() as session:
        keys = keys_of(session)
        key = keys.for_sealing(subject, KeyClass.IDENTITY)
        blob = keys.column(*PLACE).seal(key, {23: "Ann"}, subject.bytes, subject.bytes, 1)
        if commit:
            session.commit()
    return subject, blob


def unseal(site: Site, subject, blob):
    with site.session() as session:
        keys = keys_of(session)
        key = keys.by_id(document_kid(blob))
        return keys.column(*PLACE).open(key, blob, subject.bytes, subject.bytes, 1)


def erase(site: Site, blob):
    with site.session() as session:
        keys_of(session).data.erase(document_kid(blob), uuid4())
        session.commit()


class TestTransactions:
    def test_a_document_opens_in_another_session_with_the_key_of_its_owner(self, site: Site):
        assert unseal(site, *seal(site)) == {23: "Ann"}

    def test_the_key_is_rolled_back_with_the_row_that_needed_it(self, site: Site):  # ENC-7
        subject, blob = seal(site, commit=False)
        with pytest.raises(KeyMissing):
            unseal(site, subject, blob)

    def test_a_killed_process_leaves_no_key_and_no_row(self, site: Site):  # ENC-7
        with site.engine.begin() as connection:
            before = connection.execute(text("select count(*) from keys.data_key")).scalar()
        child = _child(site, "hang")
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with site.engine.begin() as connection:
            assert connection.execute(text("select count(*) from keys.data_key")).scalar() == before

    def test_two_transactions_that_need_the_first_key_get_the_same_one(self, site: Site):
        subject, kids = uuid4(), []

        def second():
            with site.session() as session:
                kids.append(keys_of(session).for_sealing(subject, KeyClass.IDENTITY).kid)
                session.commit()

        with site.session() as session:
            kids.append(keys_of(session).for_sealing(subject, KeyClass.IDENTITY).kid)
            thread = threading.Thread(target=second)
            thread.start()
            time.sleep(0.2)
            session.commit()
        thread.join(10)
        assert len(kids) == 2
        assert kids[0] == kids[1]

    def test_many_subjects_take_two_statements(self, site: Site):
        known, blob = seal(site)
        gone, lost = seal(site)
        erase(site, lost)
        fresh = [uuid4() for _ in range(3)]
        with site.session() as session:
            keys = keys_of(session)
            found = keys.for_sealing_many([known, gone, *fresh, fresh[0]], KeyClass.IDENTITY)
            assert found[gone] is None
            assert isinstance(found[known], DocumentKey)
            assert found[known].kid == document_kid(blob)
            again = keys.for_sealing_many(fresh, KeyClass.IDENTITY)
            assert {key.kid for key in again.values() if key} == {
                found[subject].kid for subject in fresh if found[subject]
            }
            opened = keys.by_ids([document_kid(blob), document_kid(lost), os.urandom(16)])
            assert {kid: key is None for kid, key in opened.items()} == {
                document_kid(blob): False,
                document_kid(lost): True,
            }


class TestTombstones:
    def test_erased_and_unknown_never_mix(self, site: Site):  # ENC-6
        subject, blob = seal(site)
        erase(site, blob)
        with pytest.raises(KeyErased):
            unseal(site, subject, blob)
        with site.session() as session, pytest.raises(KeyMissing):
            keys_of(session).by_id(os.urandom(16))

    @pytest.mark.parametrize("statement", REVIVALS)
    def test_nothing_brings_an_erased_key_back(self, site: Site, statement: str):  # ENC-6
        _subject, blob = seal(site)
        erase(site, blob)
        with site.session() as session, pytest.raises((IntegrityError, ProgrammingError)):
            session.execute(text(statement), {"kid": document_kid(blob)})

    def test_a_mistake_can_not_shred_many_keys_in_one_transaction(self, site: Site):
        with site.session() as session:
            keys_of(session).for_sealing_many([uuid4() for _ in range(1600)], KeyClass.IDENTITY)
            session.commit()
        self._shred(site, 400)
        with pytest.raises(DBAPIError, match="1,000 keys at most"):
            self._shred(site, 1001)
        with pytest.raises(DBAPIError, match="1,000 keys at most"):
            self._shred(site, 600, 401)
        with site.engine.connect() as connection:
            erased = connection.execute(
                text("select count(*) from keys.data_key where state = 'erased'")
            ).scalar()
        assert erased == 400

    @staticmethod
    def _shred(site: Site, *numbers: int) -> None:
        statement = text(
            "update keys.data_key set state = 'erased', wrapped = null, erased_at = now() where kid in ("
            "select kid from keys.data_key where state = 'active' limit :number)"
        )
        with site.engine.begin() as connection:
            for number in numbers:
                connection.execute(statement, {"number": number})

    def test_a_held_key_is_not_erased_by_anybody(self, site: Site):
        subject, blob = seal(site)
        with site.session() as session:
            session.execute(
                text("update keys.data_key set state = 'held' where kid = :kid"), {"kid": document_kid(blob)}
            )
            session.commit()
        with pytest.raises(KeyHeld):
            erase(site, blob)
        with site.session() as session, pytest.raises(IntegrityError, match="held key"):
            session.execute(
                text(
                    "update keys.data_key set state = 'erased', wrapped = null, erased_at = now() where kid = :kid"
                ),
                {"kid": document_kid(blob)},
            )
        assert unseal(site, subject, blob)

    @pytest.mark.parametrize("column", ["subject", "class", "kcv", "kid", "created_at"])
    def test_the_application_can_not_give_a_key_to_somebody_else(self, site: Site, column: str):
        seal(site)
        with site.session() as session, pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text(f"update keys.data_key set {column} = {column}"))


class TestErasureElsewhere:
    def test_another_process_forgets_an_erased_key_within_a_second(self, site: Site):  # ENC-15
        subject, blob = seal(site)
        child = _child(site, "watch", subject.hex, blob.hex())
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "cached\n"
            erase(site, blob)
            told = time.monotonic()
            assert child.stdout.readline() == "dropped\n"
            assert time.monotonic() - told < 1
        finally:
            child.kill()
            child.wait()
            child.stdout.close()

    def test_nothing_is_cached_while_erasures_can_not_be_heard(self, site: Site):
        subject, blob = seal(site)
        keys = site.open(listen=True)
        listener = keys._listener
        assert listener is not None
        with site.session() as session:
            session.info["kontor.keys"] = keys
            keys_of(session)
            assert listener.heard.wait(90)
            keys_of(session).by_id(document_kid(blob))
            assert len(keys.cache) == 1
            self._cut(site)
            deadline = time.monotonic() + 90
            while len(keys.cache) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(keys.cache) == 0
            assert listener.heard.wait(90), "it connects again"
        keys.close()
        del subject

    @staticmethod
    def _cut(site: Site) -> None:
        with site.engine.connect() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kontor-keys'"
                )
            )


class TestStart:
    def test_a_wrong_passphrase_refuses_the_start_and_says_so(self, site: Site):
        with pytest.raises(KeysRefused, match=r"passphrase of the key ring is wrong.*Nothing was changed"):
            site.open(key_passphrase="not the right one")

    def test_another_sites_ring_refuses_the_start(self, site: Site, tmp_path: Path):
        other = site.open  # A second ring with an epoch of the same number, but other material.
        foreign = tmp_path / "foreign"
        from crm_server.kernel.keyring import open_ring
        from crm_server.settings import Settings

        open_ring(Settings({**site.settings.values, "key_ring": foreign})).create_epoch(1)
        with pytest.raises(KeysRefused, match="another site's ring"):
            other(key_ring=foreign)

    def test_an_empty_ring_for_a_full_database_refuses_the_start(self, site: Site, tmp_path: Path):
        with pytest.raises(KeysRefused, match="epoch 1, which isn't in this key ring"):
            site.open(key_ring=tmp_path / "empty")

    def test_a_missing_device_refuses_the_start_and_names_the_way_out(self, site: Site, tmp_path: Path):
        with pytest.raises(KeysRefused, match="Bring the device back"):
            site.open(key_provider="pkcs11", key_pkcs11_module=tmp_path / "none.so", key_pkcs11_pin="1234")

    def test_a_process_with_keys_leaves_no_core_dump(self, site: Site):  # ENC-15
        assert site.keys.node
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)

    def test_the_passphrase_of_a_trial_is_readable_by_its_user_alone(self, site: Site):
        path = site.settings.state_dir / "keyring.passphrase"
        assert path.stat().st_mode & 0o077 == 0


class TestProviderAway:
    def test_a_running_process_goes_on_until_its_limit_and_then_refuses(self, site: Site, monkeypatch):
        subject, blob = seal(site)
        clock = [time.monotonic()]
        monkeypatch.setattr("crm_server.kernel.keys.time.monotonic", lambda: clock[0])
        keys = site.open(key_away_seconds=600)

        def away(number: int) -> None:
            raise ProviderUnavailable("The HSM doesn't answer.")

        monkeypatch.setattr(keys.ring, "open_epoch", away)
        clock[0] += 500
        assert keys.epoch_keys(1).epoch == 1
        clock[0] += 200
        with pytest.raises(KeysAway):
            keys.epoch_keys(1)
        monkeypatch.undo()
        assert keys.epoch_keys(1).epoch == 1
        assert unseal(site, subject, blob)


def _child(site: Site, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "KONTOR_DATABASE_URL": site.settings.database_url,
        "KONTOR_STATE_DIR": str(site.settings.state_dir),
    }
    return subprocess.Popen(
        [sys.executable, str(CHILD), *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
