"""A superuser who changes any column of any table of the log is found, and the event is named. # AUD-2,
AUD-5, AUD-8
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit import verify
from compliance.audit.log import checkpoint
from compliance.audit.log.bundle import OpenPayload, export_log, export_selection, read_history
from compliance.audit.log.fork import ForkRefusedError, fork_log
from compliance.audit.log.leaf import canonical, payload_commit
from compliance.audit.log.note import Signer
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.sealer import LogContradiction, Sealer, SealerConfig
from compliance.audit.log.state import StateFile
from compliance.audit.log.tiles import Mirror

from .conftest import ORIGIN, Cluster, insert_events

RELEASE = {"request": "6f9619ff-8b86-4d01-b42d-00cf4fc964f1", "digest": "ab" * 32}

SALT = b"s" * 32
VICTIM = 7
EVENT_COLUMNS = {
    "event_id": "gen_random_uuid()",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "event_class": "'other'",
    "action": "'other'",
    "outcome": "'denied'",
    "reason": "'other'",
    "severity": "severity + 1",
    "actor_ref": "gen_random_uuid()",
    "auth_method": "'other'",
    "session_ref": "gen_random_uuid()",
    "request_id": "gen_random_uuid()",
    "origin": "'other'",
    "object_type": "object_type + 1",
    "object_ref": "gen_random_uuid()",
    "subject_ref": "array[gen_random_uuid()]",
    "purpose": "null",
    "policy_version": "policy_version + 1",
    "meta": "meta || '{\"x\": 1}'",
    "payload_commit": "null",
}


class Log:
    """Twelve sealed events in a database; the eighth has a payload."""

    def __init__(self, cluster: Cluster, database: str, folder: Path) -> None:
        self.cluster, self.database, self.folder = cluster, database, folder
        self.signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
        self.payload = canonical({"name": ["Müller", "Meier"]})
        connection = cluster.connect(database)
        self.identifiers = insert_events(connection, 12)
        with connection.cursor() as sql:
            commit = bytes.fromhex(payload_commit(SALT, self.payload))
            sql.execute(
                "update audit.event set payload_commit = %s where event_id = %s",
                (commit, self.identifiers[VICTIM]),
            )
            sql.execute(
                "insert into audit.event_payload values (%s, 0, %s)",
                (self.identifiers[VICTIM], SALT + self.payload),
            )
        connection.commit()
        connection.close()
        source = self.source()
        with Sealer(
            source, self.signer, SealerConfig(folder / "mirror", folder / "state", batch=5)
        ) as sealer:
            while sealer.run_once().count:
                pass
        source.close()

    def source(self) -> PostgresSource:
        return PostgresSource(lambda: self.cluster.connect(self.database), "tenant-1")

    def run(self, statement: str) -> None:
        connection = self.cluster.connect(self.database)
        with connection.cursor() as sql:
            sql.execute(statement)
        connection.commit()
        connection.close()

    def findings(self) -> list[str]:
        """Export from the database as it is now, and verify."""
        source = self.source()
        connection = self.cluster.connect(self.database)
        with connection.cursor() as sql:
            sql.execute(
                "select l.index, p.body from audit.event_payload p join audit.leaf l using (event_id)"
            )
            payloads = [
                OpenPayload(index, bytes(body)[32:], bytes(body)[:32]) for index, body in sql.fetchall()
            ]
            sql.execute("select note from audit.checkpoint order by size")
            history = [note.encode() for (note,) in sql.fetchall()]
        connection.close()
        bundle = self.folder / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        export_log(
            bundle,
            Mirror(self.folder / "mirror", 12),
            source.leaves,
            history,
            [self.signer.key],
            payloads=payloads,
        )
        source.close()
        return verify.verify(bundle, [self.signer.key.text()]).findings


@pytest.fixture
def log(cluster: Cluster, database: str, tmp_path: Path) -> Log:
    return Log(cluster, database, tmp_path)


class TestTampering:
    def test_an_untouched_log_has_no_findings(self, log: Log) -> None:
        assert log.findings() == []

    @pytest.mark.parametrize("column", EVENT_COLUMNS)
    def test_a_changed_column_of_an_event_names_it(self, log: Log, column: str) -> None:
        victim = log.identifiers[VICTIM]
        log.run(f"update audit.event set {column} = {EVENT_COLUMNS[column]} where event_id = '{victim}'")
        findings = log.findings()
        assert any(item.startswith(f"event {VICTIM}") for item in findings), findings

    def test_every_column_of_the_table_is_covered(self, log: Log) -> None:
        connection = log.cluster.connect(log.database)
        with connection.cursor() as sql:
            sql.execute(
                "select column_name from information_schema.columns "
                "where table_schema = 'audit' and table_name = 'event'"
            )
            columns = {name for (name,) in sql.fetchall()}
        connection.close()
        # `xid` says when to index and is not part of what happened; after indexing it means nothing any more.
        assert columns - {"xid"} == set(EVENT_COLUMNS)

    @pytest.mark.parametrize(
        "statement, named",
        [
            ("delete from audit.event where event_id = '{victim}'", VICTIM),
            ("update audit.leaf set leaf_hash = sha256('x') where index = 7", VICTIM),
            ("update audit.leaf set event_id = gen_random_uuid() where index = 7", VICTIM),
            ("update audit.leaf set index = 12 where index = 7", VICTIM),
            (
                """update audit.leaf set index = -1 where index = 3;
                update audit.leaf set index = 3 where index = 4;
                update audit.leaf set index = 4 where index = -1""",
                3,
            ),
            ("delete from audit.leaf where index = 11", 11),
            ("update audit.event_payload set body = body || 'x'", VICTIM),
        ],
    )
    def test_changes_of_leaves_rows_and_payloads_name_the_event(
        self, log: Log, statement: str, named: int
    ) -> None:
        if "index = -1" in statement:
            log.run("alter table audit.leaf drop constraint ck_leaf_index_positive")
        log.run(statement.format(victim=log.identifiers[VICTIM]))
        findings = log.findings()
        assert any(item.startswith(f"event {named}") for item in findings), findings

    @pytest.mark.parametrize(
        "statement",
        [
            "update audit.checkpoint set note = replace(note, E'\\n12\\n', E'\\n11\\n') where size = 12",
            "delete from audit.checkpoint where size = 12",
            "update audit.checkpoint set note = overlay(note placing 'AAAA' from length(note) - 40) where size = 5",
        ],
    )
    def test_changed_or_removed_checkpoints_are_found(self, log: Log, statement: str) -> None:
        log.run(statement)
        assert log.findings()

    def test_a_head_that_was_set_back_or_forward_stops_the_sealer(self, log: Log) -> None:
        for statement in (
            "update audit.log set root = sha256('x')",
            "update audit.log set size = size + 1",
            "update audit.log set size = 11",
        ):
            log.run(statement)
            source = log.source()
            with pytest.raises(LogContradiction):
                Sealer(
                    source, log.signer, SealerConfig(log.folder / "mirror", log.folder / "state")
                ).__enter__()
            source.close()

    def test_an_event_that_changed_between_index_and_signature_stops_the_sealer(self, log: Log) -> None:
        connection = log.cluster.connect(log.database)
        insert_events(connection, 2)
        connection.commit()
        connection.close()
        source = log.source()

        def die(step: str) -> None:
            if step == "assigned":
                raise InterruptedError

        config = SealerConfig(log.folder / "mirror", log.folder / "state")
        with pytest.raises(InterruptedError), Sealer(source, log.signer, config, on_step=die) as sealer:
            sealer.run_once()
        source.close()
        log.run(
            """update audit.event set action = 'nothing'
            where event_id = (select event_id from audit.leaf where index = 13)"""
        )
        source = log.source()
        with pytest.raises(LogContradiction, match="leaf 13"):
            Sealer(source, log.signer, config).__enter__()
        source.close()


class TestErasure:
    def test_payloads_go_and_everything_else_still_verifies(self, log: Log) -> None:  # AUD-6
        log.run("delete from audit.event_payload")
        assert log.findings() == []

    def test_the_history_of_one_record_is_proven_without_the_rest(self, log: Log) -> None:
        source = log.source()
        selected = [item for item in source.leaves(0, 12) if item.index in (2, 7, 11)]
        source.close()
        mirror = Mirror(log.folder / "mirror", 12)
        newest = (log.folder / "mirror" / "checkpoint").read_bytes()
        bundle = export_selection(log.folder / "selection", mirror, selected, newest, [log.signer.key])
        assert verify.verify(bundle, [log.signer.key.text()]).findings == []


class TestFork:
    def test_a_log_that_cannot_go_on_is_succeeded_by_one_that_says_why(self, log: Log) -> None:
        last = (log.folder / "mirror" / "checkpoint").read_bytes()
        log.run("delete from audit.leaf where index >= 9; update audit.log set size = 9")
        shutil.rmtree(log.folder / "mirror")
        source = log.source()
        successor = Signer(ORIGIN + "/2", Ed25519PrivateKey.generate())
        config = SealerConfig(log.folder / "mirror-2", log.folder / "state")
        with pytest.raises(LogContradiction):
            Sealer(source, log.signer, SealerConfig(log.folder / "mirror", log.folder / "state")).__enter__()
        with StateFile(log.folder / "state") as state:
            old = checkpoint.parse(last)[0]
            for reason, approvals in (("", ["a", "b"]), ("restore", ["a", "a"])):
                with pytest.raises(ForkRefusedError):
                    fork_log(
                        source,
                        state,
                        ORIGIN + "/2",
                        last,
                        reason=reason,
                        approvals=approvals,
                        release=RELEASE,
                        tenant="tenant-1",
                    )
            approvers = ["6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "6f9619ff-8b86-4d01-b42d-00cf4fc964f0"]
            why = "restored, mirror lost"
            fork_log(
                source,
                state,
                ORIGIN + "/2",
                last,
                reason=why,
                approvals=approvers,
                release=RELEASE,
                tenant="tenant-1",
            )
        with Sealer(source, successor, config) as sealer:
            assert sealer.run_once().count == 3
            leaves = dict(sealer.mirror.leaves(0, 4))
            bundle = export_log(
                log.folder / "b2",
                sealer.mirror,
                source.leaves,
                read_history(log.folder / "mirror-2"),
                [successor.key],
            )
        source.close()
        first = json.loads(leaves[0][1:])
        assert first["action"] == "log_fork"
        assert checkpoint.parse(first["meta"]["previous_checkpoint"].encode())[0] == old
        assert first["meta"]["approvals"] == approvers
        assert verify.verify(bundle, [successor.key.text()]).findings == []
