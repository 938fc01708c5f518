"""The witness: every status code of C2SP tlog-witness, and what it must never cosign. # AUD-9"""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit.log import checkpoint, note
from compliance.audit.log.checkpoint import Checkpoint
from compliance.audit.log.note import COSIGNATURE, Signer
from compliance.audit.log.sealer import add_cosignatures
from compliance.audit.log.tree import EMPTY_ROOT, consistency_proof
from compliance.audit.witness.__main__ import main
from compliance.audit.witness.protocol import Witness, request_body
from compliance.audit.witness.server import serve

from .helpers import ORIGIN, SmallLog, event


@pytest.fixture
def log(tmp_path: Path) -> SmallLog:
    made = SmallLog(tmp_path / "mirror")
    for count in (3, 5, 1):
        made.add([event() for _ in range(count)])
    return made


@pytest.fixture
def signer() -> Signer:
    return Signer("witness.example/w", Ed25519PrivateKey.generate(), COSIGNATURE)


@pytest.fixture
def witness(log: SmallLog, signer: Signer, tmp_path: Path) -> Witness:
    return Witness(signer, {ORIGIN: [log.signer.key]}, tmp_path / "witness", lambda: 1_790_000_000.5)


def body(log: SmallLog, old: int, which: int) -> bytes:
    size = checkpoint.parse(log.checkpoints[which])[0].size
    return request_body(old, consistency_proof(old, size, log.mirror.reader()), log.checkpoints[which])


class TestStatusCodes:
    def test_200_with_a_cosignature_that_verifies_and_is_remembered(
        self, log: SmallLog, witness: Witness, signer: Signer
    ) -> None:
        for old, which in ((0, 0), (3, 1), (8, 2), (9, 2)):
            answer = witness.add_checkpoint(body(log, old, which))
            assert answer.status == HTTPStatus.OK
            signed = note.parse(log.checkpoints[which])
            merged = signed.with_signatures(note.parse_signatures(answer.body.decode()))
            assert merged.verified([signer.key, log.signer.key])[signer.key] == 1_790_000_000
        kept = witness.last_checkpoint(hashlib.sha256(ORIGIN.encode()).hexdigest())
        parsed, signed = checkpoint.parse(kept.body)
        assert parsed.size == 9
        assert set(signed.verified([signer.key, log.signer.key])) == {signer.key, log.signer.key}

    def test_404_for_an_unknown_log_and_for_one_that_was_never_cosigned(self, witness: Witness) -> None:
        other = Signer("other.example", Ed25519PrivateKey.generate())
        text = Checkpoint("other.example", 0, EMPTY_ROOT).text()
        answer = witness.add_checkpoint(request_body(0, [], note.Note(text, (other.sign(text),)).encode()))
        assert answer.status == HTTPStatus.NOT_FOUND
        assert (
            witness.last_checkpoint(hashlib.sha256(ORIGIN.encode()).hexdigest()).status
            == HTTPStatus.NOT_FOUND
        )

    def test_403_without_a_true_signature_of_the_log(self, log: SmallLog, witness: Witness) -> None:
        stranger = Signer(ORIGIN, Ed25519PrivateKey.generate())
        text = note.parse(log.checkpoints[0]).text
        unknown = note.Note(text, (stranger.sign(text),)).encode()
        false = log.checkpoints[0].replace(b"\n3\n", b"\n4\n")
        for signed in (unknown, false):
            assert witness.add_checkpoint(request_body(0, [], signed)).status == HTTPStatus.FORBIDDEN

    def test_400_for_malformed_requests_and_an_old_size_above_the_new_one(
        self, log: SmallLog, witness: Witness
    ) -> None:
        good = body(log, 0, 0)
        for bad in (
            b"",
            b"old 0\n\n",
            good.replace(b"old 0", b"old 00"),
            good.replace(b"old 0", b"old -1"),
            good.replace(b"old 0", b"old 4"),
            good.replace(b"old 0\n", b"old 0\nAAAA\n"),
            request_body(0, [b"x" * 32] * 64, log.checkpoints[0]),
            b"\xff" + good,
        ):
            assert witness.add_checkpoint(bad).status == HTTPStatus.BAD_REQUEST

    def test_409_tells_the_size_that_was_cosigned_last(self, log: SmallLog, witness: Witness) -> None:
        witness.add_checkpoint(body(log, 0, 0))
        answer = witness.add_checkpoint(body(log, 0, 1))
        assert (answer.status, answer.body, answer.kind) == (HTTPStatus.CONFLICT, b"3\n", "text/x.tlog.size")

    def test_422_for_proofs_that_do_not_hold(self, log: SmallLog, witness: Witness) -> None:
        assert (
            witness.add_checkpoint(request_body(0, [b"x" * 32], log.checkpoints[0])).status
            == HTTPStatus.UNPROCESSABLE_ENTITY
        )
        witness.add_checkpoint(body(log, 0, 0))
        assert (
            witness.add_checkpoint(request_body(3, [], log.checkpoints[1])).status
            == HTTPStatus.UNPROCESSABLE_ENTITY
        )

    def test_422_for_another_history_that_the_same_key_signed(
        self, log: SmallLog, witness: Witness, tmp_path: Path
    ) -> None:
        witness.add_checkpoint(body(log, 0, 0))
        false = SmallLog(tmp_path / "false")
        false.add([event() for _ in range(3)])
        false.add([event() for _ in range(5)])
        for which in (0, 1):
            assert witness.add_checkpoint(body(false, 3, which)).status == HTTPStatus.UNPROCESSABLE_ENTITY
        text = Checkpoint(ORIGIN, 3, log.tree.root()).text()
        forged = note.Note(text, (log.signer.sign(text),)).encode()
        assert witness.add_checkpoint(request_body(3, [], forged)).status == HTTPStatus.UNPROCESSABLE_ENTITY


class TestParallel:
    def test_requests_at_once_never_roll_the_witness_back(self, log: SmallLog, witness: Witness) -> None:
        answers: list[HTTPStatus] = []
        threads = [
            threading.Thread(
                target=lambda which=which: answers.append(witness.add_checkpoint(body(log, 0, which)).status)
            )
            for which in (0, 1, 2) * 4
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers.count(HTTPStatus.OK) == 1
        assert set(answers) == {HTTPStatus.OK, HTTPStatus.CONFLICT}


class TestHttp:
    @pytest.fixture
    def port(self, witness: Witness) -> Iterator[int]:
        server = serve(witness, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        server.server_close()
        thread.join()

    def test_a_sealers_checkpoint_gets_its_cosignature_over_http(
        self, log: SmallLog, port: int, signer: Signer, tmp_path: Path
    ) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/add-checkpoint", body(log, 0, 2))
        answer = connection.getresponse()
        assert answer.status == 200
        (tmp_path / "mirror" / "checkpoint").write_bytes(log.checkpoints[2])
        assert add_cosignatures(tmp_path / "mirror", [answer.read().decode()], [signer.key]) == 1
        for method, path, status in (
            ("GET", f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint", 200),
            ("GET", "/", 404),
            ("POST", "/other", 404),
        ):
            connection.request(method, path, b"" if method == "POST" else None)
            answer = connection.getresponse()
            assert answer.status == status
            answer.read()
        connection.request("POST", "/add-checkpoint", b"x" * 70_000)
        assert connection.getresponse().status == 413
        connection.close()


class TestCommand:
    def test_it_makes_its_key_once_and_serves_what_its_configuration_says(self, tmp_path: Path) -> None:
        runner, path = CliRunner(), tmp_path / "witness.pem"
        made = runner.invoke(main, ["keygen", "--name", "w.example", "--key", str(path)])
        assert made.output.startswith("w.example+")
        assert runner.invoke(main, ["keygen", "--name", "w.example", "--key", str(path)]).exit_code == 1
        config = tmp_path / "witness.json"
        config.write_text(json.dumps({"name": "w.example", "key": str(path), "directory": str(tmp_path)}))
        refused = runner.invoke(main, ["serve", "--config", str(config)])
        assert "lacks logs" in refused.output
        config.write_text("no")
        assert "no JSON object" in runner.invoke(main, ["serve", "--config", str(config)]).output
