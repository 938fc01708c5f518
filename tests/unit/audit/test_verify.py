"""The verifier against every single changed byte, and against people who hold more than a pencil. # AUD-5"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit import verify
from compliance.audit.log.bundle import OpenPayload, export_log, export_selection
from compliance.audit.log.note import COSIGNATURE, Signer, parse
from compliance.audit.log.source import StoredLeaf

from .helpers import SmallLog, event


@pytest.fixture
def log(tmp_path: Path) -> SmallLog:
    """Seven events, four checkpoints, one with a witness, two payloads."""
    made = SmallLog(tmp_path / "mirror")
    made.add([event(action="create"), event(meta={"note": "Ω\u2028\u0000\u202e☂"})])
    made.add_with_payload({"name": ["Müller", "Meier"]})
    made.add([event(), event(outcome="denied", reason="no_permission"), event()])
    made.add_with_payload({"query": "a"})
    return made


def export(log: SmallLog, directory: Path) -> Path:
    payloads = [OpenPayload(index, body, salt) for index, (body, salt) in log.payloads.items()]
    return export_log(directory, log.mirror, log.leaves, log.checkpoints, [log.signer.key], payloads=payloads)


def line_of(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position)


class TestUntouched:
    def test_a_bundle_verifies_and_the_report_says_what_was_checked(
        self, log: SmallLog, tmp_path: Path
    ) -> None:
        report = verify.verify(export(log, tmp_path / "b"), [log.signer.key.text()])
        assert report.findings == []
        assert report.facts["events"] == 7
        assert report.facts["checkpoints"] == 4
        assert report.facts["payloads"] == 2

    def test_it_runs_alone_without_network_project_or_site_configuration(
        self, log: SmallLog, tmp_path: Path
    ) -> None:
        bundle = export(log, tmp_path / "b")
        done = subprocess.run(
            (sys.executable, "-I", "verify.py", "."), cwd=bundle, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "RESULT: verified" in done.stdout
        assert "the keys are those in the bundle" in done.stdout
        assert not (
            set(re.findall(r"^(?:from|import) (\w+)", (bundle / "verify.py").read_text(), re.MULTILINE))
            & {"compliance", "security", "crm_server", "socket", "urllib", "http", "orjson"}
        )

    def test_exit_codes_and_json(self, log: SmallLog, tmp_path: Path) -> None:
        bundle = export(log, tmp_path / "b")
        command = (sys.executable, "-I", str(bundle / "verify.py"), "--json")
        good = subprocess.run((*command, str(bundle)), capture_output=True, text=True, check=False)
        assert (good.returncode, json.loads(good.stdout)["ok"]) == (0, True)
        content = (bundle / "events.jsonl").read_bytes()
        (bundle / "events.jsonl").write_bytes(content.replace(b"denied", b"failed"))
        bad = subprocess.run((*command, str(bundle)), capture_output=True, text=True, check=False)
        assert bad.returncode == 1
        assert any(finding.startswith("event 4 ") for finding in json.loads(bad.stdout)["findings"])
        (bundle / "bundle.json").unlink()
        assert subprocess.run((*command, str(bundle)), capture_output=True, check=False).returncode == 2

    @pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 700])
    def test_logs_of_any_size_verify_with_a_checkpoint_anywhere(self, size: int, tmp_path: Path) -> None:
        made = SmallLog(tmp_path / "mirror")
        done = 0
        for step in (1, 99, 156, 1, 255, 188):
            count = min(step, size - done)
            if count > 0:
                made.add([event() for _ in range(count)])
                done += count
        assert done == size
        report = verify.verify(export(made, tmp_path / "b"), [made.signer.key.text()])
        assert report.findings == []
        assert report.facts["events"] == size

    def test_pruned_events_keep_their_place_by_their_hash_and_a_sealed_event_tells_of_it(
        self, log: SmallLog, tmp_path: Path
    ) -> None:  # AUD-11
        for index in (1, 3, 4):
            log.stored[index] = StoredLeaf(index, b"", log.stored[index].leaf_hash)
        findings = verify.verify(export(log, tmp_path / "a"), [log.signer.key.text()]).findings
        assert [item.split(":")[0] for item in findings] == ["event 1", "event 3 and all up to 4"]
        log.add([event(**{"class": "audit", "action": "prune", "meta": {"ranges": [[1, 1], [4, 6]]}})])
        findings = verify.verify(export(log, tmp_path / "b"), [log.signer.key.text()]).findings
        assert [item.split(":")[0] for item in findings] == ["event 3"]
        log.add([event(**{"class": "audit", "action": "prune", "meta": {"ranges": [[0, 3]]}})])
        report = verify.verify(export(log, tmp_path / "c"), [log.signer.key.text()])
        assert report.findings == []
        assert report.facts["pruned events (hash only)"] == 3

    def test_erased_payloads_leave_everything_else_valid(
        self, log: SmallLog, tmp_path: Path
    ) -> None:  # AUD-6
        log.payloads.clear()
        bundle = export(log, tmp_path / "b")
        assert verify.verify(bundle, [log.signer.key.text()]).ok
        assert not (bundle / "payloads.jsonl").exists()

    def test_witnesses_are_checked_as_well(self, log: SmallLog, tmp_path: Path) -> None:
        witness = Signer("witness.example/w", Ed25519PrivateKey.generate(), COSIGNATURE)
        signed = parse(log.checkpoints[-1])
        log.checkpoints[-1] = signed.with_signatures([witness.sign(signed.text, 1_790_000_000)]).encode()
        keys = [log.signer.key.text(), witness.key.text()]
        bundle = export_log(
            tmp_path / "b", log.mirror, log.leaves, log.checkpoints, [log.signer.key, witness.key]
        )
        assert verify.verify(bundle, keys).findings == []
        other = Signer("witness.example/w", Ed25519PrivateKey.generate(), COSIGNATURE)
        assert "unknown key" in " ".join(verify.verify(bundle, [keys[0], other.key.text()]).findings)


class TestEveryByte:
    @pytest.mark.parametrize("change, stride", [(0x01, 1), (0x80, 7), (0x0A, 5)])
    def test_a_changed_byte_of_an_event_names_that_event(
        self, log: SmallLog, tmp_path: Path, change: int, stride: int
    ) -> None:
        path = export(log, tmp_path / "b") / "events.jsonl"
        content = path.read_bytes()
        for position, value in list(enumerate(content))[::stride]:
            mutated = bytearray(content)
            mutated[position] = value ^ change if change != 0x0A else 0x0A
            if mutated[position] == value:
                continue
            path.write_bytes(mutated)
            findings = verify.verify(path.parent, [log.signer.key.text()]).findings
            wanted = re.compile(rf"event {line_of(content, position)} \(.*(changed|removed)")
            assert any(wanted.match(finding) for finding in findings), (position, findings)

    def test_a_changed_byte_of_any_other_file_is_found(self, log: SmallLog, tmp_path: Path) -> None:
        bundle = export(log, tmp_path / "b")
        for path in sorted(
            path for path in bundle.rglob("*") if path.is_file() and path.name != "events.jsonl"
        ):
            content = path.read_bytes()
            step = 211 if path.name in ("verify.py", "README.txt") else 1
            for position in range(0, len(content), step):
                mutated = bytearray(content)
                mutated[position] ^= 1
                path.write_bytes(mutated)
                try:
                    findings = verify.verify(bundle, [log.signer.key.text()]).findings
                except verify.Unreadable:
                    continue
                assert findings, (path.name, position)
            path.write_bytes(content)
        assert verify.verify(bundle, [log.signer.key.text()]).ok

    def test_a_changed_sealed_hash_names_the_event_and_says_that_the_event_is_as_signed(
        self, log: SmallLog, tmp_path: Path
    ) -> None:
        bundle = export(log, tmp_path / "b")
        tile = bundle / "tile/0/000.p/7"
        content = bytearray(tile.read_bytes())
        content[32 * 3] ^= 4
        tile.write_bytes(content)
        findings = verify.verify(bundle, [log.signer.key.text()]).findings
        assert any("event 3" in item and "the event itself is as it was signed" in item for item in findings)

    def test_a_changed_hash_in_the_database_names_the_event(self, log: SmallLog, tmp_path: Path) -> None:
        log.stored[5] = dataclasses.replace(log.stored[5], leaf_hash=b"\0" * 32)
        findings = verify.verify(export(log, tmp_path / "b"), [log.signer.key.text()]).findings
        assert findings == ["event 5: the database's leaf hash is not the one that was sealed"]

    def test_a_changed_payload_names_the_event(self, log: SmallLog, tmp_path: Path) -> None:
        body, salt = log.payloads[2]
        log.payloads[2] = (body.replace(b"Meier", b"Maier"), salt)
        (finding,) = verify.verify(export(log, tmp_path / "b"), [log.signer.key.text()]).findings
        assert finding.startswith("event 2 (")
        assert "payload" in finding


class TestWholeLines:
    def bundle(self, tmp_path: Path, edit: object) -> tuple[SmallLog, list[str]]:
        made = SmallLog(tmp_path / "mirror")
        made.add([event() for _ in range(300)])
        original = list(made.stored)
        lines = edit(list(original))  # type: ignore[operator]
        made.stored = original
        path = export(made, tmp_path / "b") / "events.jsonl"
        path.write_bytes(b"".join(item.leaf[1:] + b"\n" for item in lines))
        return made, verify.verify(path.parent, [made.signer.key.text()]).findings

    @staticmethod
    def named(findings: list[str]) -> set[int]:
        return {int(number) for item in findings for number in re.findall(r"^event (\d+)", item)}

    def test_a_removed_event_is_the_only_one_that_is_named(self, tmp_path: Path) -> None:
        _, findings = self.bundle(tmp_path, lambda rows: [*rows[:100], *rows[101:]])
        assert self.named(findings) == {100}
        assert "(missing)" in findings[0]

    def test_an_event_that_was_added_is_named_by_its_place(self, tmp_path: Path) -> None:
        _, findings = self.bundle(tmp_path, lambda rows: [*rows[:100], rows[7], *rows[100:]])
        assert self.named(findings) == {100}
        assert "never sealed" in findings[0]

    def test_exchanged_events_are_both_named(self, tmp_path: Path) -> None:
        _, findings = self.bundle(tmp_path, lambda rows: [*rows[:50], rows[51], rows[50], *rows[52:]])
        assert self.named(findings) >= {50}
        assert self.named(findings) <= {50, 51, 52}

    def test_a_cut_log_names_the_first_and_last_lost_event(self, tmp_path: Path) -> None:
        _, findings = self.bundle(tmp_path, lambda rows: rows[:290])
        assert self.named(findings) == set(range(290, 300))


class TestAttackers:
    def rewritten(self, tmp_path: Path, seed: int) -> tuple[SmallLog, SmallLog]:
        """A true log, and one in which event 4 is another one and everything was recomputed."""
        true, false = SmallLog(tmp_path / "true"), SmallLog(tmp_path / "false", seed)
        events = [event(action=f"a{number}") for number in range(9)]
        for part in (events[:3], events[3:6], events[6:]):
            true.add(part)
        events[4] = event(action="nothing_happened")
        for part in (events[:3], events[3:6], events[6:]):
            false.add(part)
        return true, false

    def test_a_superuser_who_rewrites_events_tiles_and_hashes_is_caught_by_the_signatures(
        self, tmp_path: Path
    ) -> None:
        true, false = self.rewritten(tmp_path, 1)
        false.checkpoints = true.checkpoints
        findings = verify.verify(export(false, tmp_path / "b"), [true.signer.key.text()]).findings
        assert "events 3 to 5: do not lead to the root that was signed for 6 events" in findings

    def test_another_key_is_caught_by_whoever_knows_the_true_one(self, tmp_path: Path) -> None:
        true, false = self.rewritten(tmp_path, 2)
        bundle = export(false, tmp_path / "b")
        assert verify.verify(bundle).ok
        findings = verify.verify(bundle, [true.signer.key.text()]).findings
        assert "checkpoint of 9 events is not signed by the log" in findings

    def test_a_stolen_signing_key_is_caught_by_any_checkpoint_that_was_kept_elsewhere(
        self, tmp_path: Path
    ) -> None:
        true, false = self.rewritten(tmp_path, 1)
        kept = tmp_path / "kept"
        kept.write_bytes(true.checkpoints[1])
        bundle = export(false, tmp_path / "b")
        assert verify.verify(bundle, [true.signer.key.text()]).ok
        findings = verify.verify(bundle, [true.signer.key.text()], [kept]).findings
        assert any("signed for 6 events" in item for item in findings)

    def test_a_log_that_was_cut_is_caught_by_a_later_checkpoint(self, tmp_path: Path) -> None:
        true, _ = self.rewritten(tmp_path, 1)
        short = SmallLog(tmp_path / "short")
        short.add_leaves([item.leaf for item in true.stored[:6]])
        kept = tmp_path / "kept"
        kept.write_bytes(true.checkpoints[2])
        findings = verify.verify(export(short, tmp_path / "b"), [true.signer.key.text()], [kept]).findings
        assert any("the log was cut" in item for item in findings)

    def test_two_roots_for_one_size_are_found(self, tmp_path: Path) -> None:
        true, false = self.rewritten(tmp_path, 1)
        bundle = export(true, tmp_path / "b")
        path = bundle / "checkpoints"
        path.write_bytes(path.read_bytes() + false.checkpoints[2] + b"\n")
        manifest = json.loads((bundle / "bundle.json").read_bytes())
        manifest.pop("digest")
        manifest["files"]["checkpoints"] = hashlib.sha256(path.read_bytes()).hexdigest()
        body = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        whole = json.dumps(
            {**manifest, "digest": hashlib.sha256(body).hexdigest()}, sort_keys=True, separators=(",", ":")
        )
        (bundle / "bundle.json").write_text(whole + "\n")
        findings = verify.verify(bundle, [true.signer.key.text()]).findings
        assert "checkpoints: not in rising order of size" in findings
        assert any("signed for 9 events" in item for item in findings)


class TestSelection:
    @pytest.fixture
    def selection(self, log: SmallLog, tmp_path: Path) -> Path:
        body, salt = log.payloads[2]
        return export_selection(
            tmp_path / "s",
            log.mirror,
            [log.stored[6], log.stored[2]],
            log.checkpoints[-1],
            [log.signer.key],
            payloads=[OpenPayload(2, body, salt)],
        )

    def test_the_history_of_one_record_verifies_without_the_rest(
        self, log: SmallLog, selection: Path
    ) -> None:
        report = verify.verify(selection, [log.signer.key.text()])
        assert report.findings == []
        assert (report.facts["events"], report.facts["payloads"]) == (2, 1)

    def test_every_changed_byte_is_found_and_events_are_named(self, log: SmallLog, selection: Path) -> None:
        for path in sorted(
            p for p in selection.rglob("*") if p.is_file() and p.name not in ("verify.py", "README.txt")
        ):
            content = path.read_bytes()
            for position in range(len(content)):
                mutated = bytearray(content)
                mutated[position] ^= 1
                path.write_bytes(mutated)
                try:
                    findings = verify.verify(selection, [log.signer.key.text()]).findings
                except verify.Unreadable:
                    continue
                assert findings, (path.name, position)
                if path.name == "events.jsonl":
                    index = (2, 6)[line_of(content, position)]
                    assert any(item.startswith(f"event {index} ") for item in findings), (position, findings)
            path.write_bytes(content)

    def test_a_proof_of_another_event_is_refused(self, log: SmallLog, selection: Path) -> None:
        shutil.copy(selection / "proofs/2.tlog-proof", selection / "proofs/6.tlog-proof")
        findings = verify.verify(selection, [log.signer.key.text()]).findings
        assert any(item.startswith("event 6 ") and "its place in the log" in item for item in findings)
