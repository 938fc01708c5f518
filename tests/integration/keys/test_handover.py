"""Two nodes, each with a TPM and a key ring of its own: joining, rotating, serving, destroying (ENC-9, 13, 14)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from compliance.datamap import KeyClass
from crm_server.cli.keys import keys as command
from crm_server.domain.keys import destruction, escrow, rotation
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db, keylisten
from crm_server.kernel.actor import system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.keyring import open_ring
from crm_server.kernel.keys import Keys, KeysRefused, keys_of
from crm_server.local.postgres import Cluster
from crm_server.settings import Settings
from monitoring import metrics
from security.crypto.document import document_kid
from security.crypto.errors import EpochDestroyed
from tests.conftest import copy_database
from tests.integration.crypto.conftest import tpms
from tests.integration.keys.conftest import settings_of

__all__ = ["tpms"]
NAME = "kontor_nodes"


@dataclass
class Node:
    """One machine of a site."""

    settings: Settings
    engine: Engine

    def open(self, *, listen: bool = True) -> Keys:
        made = Keys.open(self.settings, self.engine, listen=listen)
        if listen:
            made.on(self.engine.connect)  # The first use of keys starts the listener.
            assert made._listener is not None
            assert made._listener.heard.wait(90)
        return made

    def environment(self) -> dict[str, str]:
        values = self.settings.values
        return {
            "KONTOR_DATABASE_URL": values["database_url"].replace("+psycopg2", ""),
            "KONTOR_STATE_DIR": str(values["state_dir"]),
            "KONTOR_KEY_PROVIDER": "tpm",
            "KONTOR_KEY_TPM": values["key_tpm"],
            "KONTOR_KEY_RING": str(values["key_ring"]),
            "KONTOR_NODE_NAME": values["node_name"],
        }


@pytest.fixture
def nodes(
    cluster: Cluster, template: str, tmp_path: Path, tpms: tuple[str, str]
) -> Iterator[Callable[[str], Node]]:
    """A site on TPMs; the keys of a node are asked for by its name, "a" or "b"."""
    copy_database(cluster, template, NAME)
    engines = []

    def node(name: str) -> Node:
        settings = settings_of(
            cluster,
            NAME,
            tmp_path / name,
            KONTOR_KEY_PROVIDER="tpm",
            KONTOR_KEY_TPM=tpms["ab".index(name)],
            KONTOR_KEY_RING=str(tmp_path / name / "ring"),
            KONTOR_NODE_NAME=name,
        )
        engines.append(db.create_app_engine(settings))
        return Node(settings, engines[-1])

    yield node
    for engine in engines:
        engine.dispose()


def run(node: Node, *words: str, **more: Any) -> Any:
    return CliRunner().invoke(command, list(words), env=node.environment(), **more)


def joined(first: Node, second: Node) -> None:
    """Admit the second node by the code that it shows."""
    child = subprocess.Popen(
        [sys.executable, "-c", "from crm_server.cli.keys import keys; keys()", "join"],
        env=second.environment() | {"PATH": "/usr/bin:/bin:/usr/local/bin"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert child.stderr is not None
    try:
        told = ""
        while "Code: " not in told:
            line = child.stderr.readline()
            assert line, told
            told += line
        wrong = run(first, "admit", "b", "--code", "AAAA-BBBB-CCCC-DDDD-EEEE")
        assert wrong.exit_code == 1
        assert "doesn't prove" in wrong.output
        admitted = run(first, "admit", "b", input=told.partition("Code: ")[2].strip() + "\n")
        assert admitted.exit_code == 0, admitted.output
        assert child.wait(90) == 0, child.stderr.read()
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def sealed(keys: Keys, node: Node) -> tuple[UUID, bytes]:
    subject = uuid4()
    with db.open_session(db.session_factory(node.engine, node.settings, keys), system_actor()) as session:
        column = keys.column(2, KeyClass.IDENTITY)
        key = keys_of(session).for_sealing(subject, KeyClass.IDENTITY)
        blob = column.seal(key, {23: "Ann"}, subject.bytes, subject.bytes, 1)
        session.commit()
    return subject, blob


def reads(keys: Keys, node: Node, subject: UUID, blob: bytes) -> bool:
    keys.cache.clear()
    with db.open_session(db.session_factory(node.engine, node.settings, keys), system_actor()) as session:
        key = keys_of(session).by_id(document_kid(blob))
        found = keys.column(2, KeyClass.IDENTITY).open(key, blob, subject.bytes, subject.bytes, 1)
    return bool(found == {23: "Ann"})


def test_two_nodes_with_tpms_from_the_first_epoch_to_a_destruction(
    nodes: Callable[[str], Node], tmp_path: Path
) -> None:
    a, b = nodes("a"), nodes("b")
    with pytest.raises(KeysRefused, match="kontor keys init"):
        a.open(listen=False)
    made = run(a, "init")
    assert made.exit_code == 0, made.output
    of_a = a.open()
    try:
        assert of_a.ring.capabilities.can_prove_destruction
        with pytest.raises(KeysRefused, match="kontor keys join"):
            b.open(listen=False)
        assert "kontor keys join" in run(b, "init").output
        joined(a, b)
        of_b = b.open()
        try:
            _rotated_and_destroyed(a, b, of_a, of_b, tmp_path)
        finally:
            of_b.close()
    finally:
        of_a.close()


def _rotated_and_destroyed(a: Node, b: Node, of_a: Keys, of_b: Keys, tmp_path: Path) -> None:
    person = sealed(of_a, a)
    assert reads(of_b, b, *person)
    shutil.copytree(b.settings.key_ring, tmp_path / "stolen")
    work = KeyWork(of_a, a.engine, a.settings, system_actor())
    assert rotation.rotate(work).complete
    # No node meets an epoch that it can't open: both held it before it was used.
    assert [info.number for info in of_b.ring.list()] == [1, 2]
    assert of_b.ring.open_epoch(2).material() == of_a.ring.open_epoch(2).material()
    assert of_b.ring.open_epoch(2) is not of_a.ring.open_epoch(2)
    assert reads(of_b, b, *person)
    assert reads(of_a, a, *sealed(of_b, b))
    # The second node goes away, and the certificate waits for it (ENC-13).
    of_b.close()
    escrow.open_scratch(work, escrow.export(work).file)
    with a.engine.begin() as connection:
        connection.execute(
            text(
                "insert into keys.destruction (id, epoch, agreed_at, released_by) values (:id, 1, now(), 2)"
            ),
            {"id": new_id()},
        )
    done = destruction.destroy(work, 1)
    assert (done.proven, done.pending) == (True, ("b",))
    assert done.details["method"] == "TPM counter incremented"
    again = b.open(listen=False)
    with a.engine.connect() as connection:
        assert destruction.pending_nodes(connection, 1) == ()
        assert connection.execute(text("select count(*) from keys.handover")).scalar() == 0
        handed = connection.execute(
            text(
                "select count(*) from audit.event where action = 'epoch_handed_over' and outcome = 'success'"
            )
        ).scalar()
    assert handed == 2
    assert reads(again, b, *person)
    # Not even the files of the second node from before open it on its own TPM.
    shutil.rmtree(b.settings.key_ring)
    shutil.copytree(tmp_path / "stolen", b.settings.key_ring)
    with pytest.raises(EpochDestroyed):
        open_ring(b.settings).open_epoch(1)


class TestWithPassphrases:
    """The same rules where the provider doesn't matter; a folder for each node."""

    @pytest.fixture
    def site(self, cluster: Cluster, template: str, tmp_path: Path) -> Iterator[Callable[[str], Node]]:
        copy_database(cluster, template, NAME)
        engines = []

        def node(name: str) -> Node:
            settings = settings_of(
                cluster,
                NAME,
                tmp_path / name,
                KONTOR_KEY_RING=str(tmp_path / name / "ring"),
                KONTOR_KEY_PASSPHRASE="one for each of the nodes",
                KONTOR_NODE_NAME=name,
            )
            engines.append(db.create_app_engine(settings))
            return Node(settings, engines[-1])

        yield node
        for engine in engines:
            engine.dispose()

    def test_a_node_that_is_busy_when_an_epoch_is_made_is_told_again(
        self, site: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = site("a"), site("b")
        of_a = a.open()
        open_ring(b.settings).create_epoch(1, of_a.epoch_keys(1))
        of_b = b.open()
        monkeypatch.setattr(rotation, "TELL_SECONDS", 0.1)
        work = KeyWork(of_a, a.engine, a.settings, system_actor())
        done: list[rotation.RotationResult] = []
        rotating = threading.Thread(target=lambda: done.append(rotation.rotate(work)), daemon=True)
        heard, look = threading.Event(), of_b._epochs_changed
        assert of_b._listener is not None
        monkeypatch.setattr(of_b._listener, "_on_epoch", lambda: (look(), heard.set()))
        with of_b._taking:
            rotating.start()
            assert heard.wait(90)
        rotating.join(90)
        assert done
        assert done[0].complete
        assert [info.number for info in of_b.ring.list()] == [1, 2]
        of_b.close()
        of_a.close()

    def test_a_node_that_was_away_at_a_rotation_takes_the_epoch_over_before_it_serves(
        self, site: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = site("a"), site("b")
        of_a = a.open()
        keys = of_a.epoch_keys(1)
        open_ring(b.settings).create_epoch(1, keys)
        b.open(listen=False).close()
        work = KeyWork(of_a, a.engine, a.settings, system_actor())
        monkeypatch.setattr(rotation, "NODES_SECONDS", 0.3)
        with pytest.raises(KeyWorkRefused) as refused:
            rotation.rotate(work)
        assert refused.value.reason == "nodes_behind"
        with a.engine.begin() as connection:
            states = connection.execute(text("select state from keys.epoch order by number")).scalars().all()
            assert states == ["active", "prepared"]
            # Nobody saw it for a while, so nobody waits for it.
            connection.execute(
                text("update keys.attestation set seen_at = now() - interval '1 hour' where node = 'b'")
            )
        assert rotation.rotate(work).epoch == 2
        person = sealed(of_a, a)
        of_b = b.open(listen=False)
        assert reads(of_b, b, *person)
        of_b.close()
        of_a.close()

    def test_a_node_attests_by_itself_as_long_as_it_runs(
        self, site: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keylisten, "_PROBE_SECONDS", 0.05)
        monkeypatch.setattr(keylisten, "_LOOK_SECONDS", 0.1)
        a = site("a")
        of_a = a.open()
        with a.engine.begin() as connection:
            connection.execute(text("update keys.attestation set seen_at = now() - interval '1 hour'"))
        until = time.monotonic() + 90
        late = 1
        while late and time.monotonic() < until:
            time.sleep(0.05)
            with a.engine.connect() as connection:
                late = connection.execute(
                    text("select count(*) from keys.attestation where seen_at < now() - interval '1 minute'")
                ).scalar()
        assert late == 0
        of_a.close()

    def test_a_node_that_nobody_answers_does_not_serve(
        self, site: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from crm_server.kernel import keys as module

        a, b = site("a"), site("b")
        of_a = a.open(listen=False)
        open_ring(b.settings).create_epoch(1, of_a.epoch_keys(1))
        rotation.rotate(KeyWork(of_a, a.engine, a.settings, system_actor()))
        monkeypatch.setattr(module.Keys.take_over, "__defaults__", (0.3,))
        with pytest.raises(KeysRefused, match="epoch 2, which isn't in this key ring"):
            b.open(listen=False)
        of_a.close()

    def test_somebody_who_writes_into_the_database_gets_no_epoch_and_raises_an_alarm(
        self, site: Callable[[str], Node]
    ) -> None:
        from security.crypto import handover

        a = site("a")
        of_a = a.open()
        before = metrics.KEY_ALARMS.labels("handover-refused")._value.get()
        forged = handover.Asking("intruder", 1, b"a guess").request
        with a.engine.begin() as connection:
            connection.execute(
                text(
                    "insert into keys.handover (node, epoch, held, public, proof, asked_at) "
                    "values ('intruder', 1, 1, :public, :proof, now())"
                ),
                {"public": forged.public, "proof": forged.proof},
            )
        until = time.monotonic() + 90
        while time.monotonic() < until:
            with a.engine.connect() as connection:
                told = connection.execute(
                    text("select outcome, reason from audit.event where action = 'epoch_handed_over'")
                ).one_or_none()
            if told is not None:
                break
            time.sleep(0.05)
        assert told is not None
        assert tuple(told) == ("denied", "handover-refused")
        with a.engine.connect() as connection:
            assert connection.execute(text("select count(*) from keys.handover")).scalar() == 0
        assert metrics.KEY_ALARMS.labels("handover-refused")._value.get() == before + 1
        of_a.close()
