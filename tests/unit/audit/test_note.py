"""Signed notes, checkpoints, proofs and the state file, byte for byte. # AUD-9"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from compliance.audit.log import checkpoint, note
from compliance.audit.log.checkpoint import Checkpoint, InclusionProof
from compliance.audit.log.note import COSIGNATURE, NoteError, Signer, VerifierKey
from compliance.audit.log.state import SignedHead, StateError, StateFile
from compliance.audit.log.tree import EMPTY_ROOT, ProofError

# The example of the C2SP signed-note specification.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72"
    "IneyaQM=\n"
).encode()
SIGNER = Signer("kontor.example/audit", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = Signer("witness.example/w", Ed25519PrivateKey.from_private_bytes(bytes(32)), COSIGNATURE)


def signed(
    text: str = "kontor.example/audit\n1\n" + base64.b64encode(b"r" * 32).decode() + "\n",
) -> note.Note:
    return note.Note(text, (SIGNER.sign(text),))


class TestNotes:
    def test_the_published_example_verifies_and_is_written_back_byte_for_byte(self) -> None:
        parsed = note.parse(NOTE)
        assert parsed.verified([VerifierKey.parse(VKEY)]) == {VerifierKey.parse(VKEY): None}
        assert parsed.encode() == NOTE
        assert VerifierKey.parse(VKEY).text() == VKEY

    def test_several_signatures_and_a_cosignature_live_side_by_side(self) -> None:
        whole = signed().with_signatures(
            [WITNESS.sign(signed().text, 1_790_000_000), SIGNER.sign(signed().text)]
        )
        again = note.parse(whole.encode())
        assert len(again.signatures) == 2
        assert again.verified([SIGNER.key, WITNESS.key]) == {SIGNER.key: None, WITNESS.key: 1_790_000_000}
        assert again.verified([]) == {}

    def test_a_cosignature_covers_its_time(self) -> None:
        line = WITNESS.sign(signed().text, 1_790_000_000)
        later = note.Signature(line.name, line.key_id, (1_790_000_001).to_bytes(8, "big") + line.value[8:])
        with pytest.raises(NoteError, match="false"):
            note.Note(signed().text, (later,)).verified([WITNESS.key])

    @given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
    def test_any_changed_byte_is_refused_or_the_signature_is_unknown(
        self, position: int, change: int
    ) -> None:
        content = bytearray(NOTE)
        content[position] ^= change
        with contextlib.suppress(NoteError):
            assert note.parse(bytes(content)).verified([VerifierKey.parse(VKEY)]) == {}

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"text\n",
            b"text\n\n",
            b"text\n\n\xe2\x80\x94 name AAAAAAA=",
            "text\n\n— name AAAAAA==\n".encode(),
            "text\n\n— name  AAAAAAA=\n".encode(),
            b"text\n\n- name AAAAAAA=\n",
            "text\n\n— na+me AAAAAAA=\n".encode(),
            "text\n\n— name AAAAAAB=\n".encode(),
            "te\rxt\n\n— name AAAAAAA=\n".encode(),
            b"\xff\n\n",
        ],
    )
    def test_malformed_notes_are_refused(self, content: bytes) -> None:
        with pytest.raises(NoteError):
            note.parse(content)

    @pytest.mark.parametrize(
        "text", ["", "a+b", VKEY[:-1], VKEY.replace("530d903a", "530d903b"), "x+00000000+AA=="]
    )
    def test_malformed_keys_are_refused(self, text: str) -> None:
        with pytest.raises(NoteError):
            VerifierKey.parse(text)

    def test_private_keys_are_not_shown(self) -> None:
        assert bytes(range(32)).hex() not in repr(SIGNER)


class TestCheckpoints:
    def test_three_lines_with_the_root_in_base64(self) -> None:
        text = Checkpoint("example.com/behind-the-sofa", 20852163, b"\n" * 32).text()
        assert text == "example.com/behind-the-sofa\n20852163\nCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo=\n"
        assert Checkpoint.parse_text(text) == Checkpoint("example.com/behind-the-sofa", 20852163, b"\n" * 32)

    @pytest.mark.parametrize(
        "text",
        [
            "o\n1\n",
            "o\n01\n" + "A" * 43 + "=\n",
            "o\n-1\n" + "A" * 43 + "=\n",
            "o\n١\n" + "A" * 43 + "=\n",
            "o\n9223372036854775808\n" + "A" * 43 + "=\n",
            "o\n1\nAAAA\n",
            "o\n1\n" + "A" * 42 + "B=\n",
            "\n1\n" + "A" * 43 + "=\n",
            "o\n1\n" + "A" * 43 + "=\n\n",
            "o\n1\n" + "A" * 43 + "=",
        ],
    )
    def test_malformed_checkpoints_are_refused(self, text: str) -> None:
        with pytest.raises(NoteError):
            Checkpoint.parse_text(text)

    def test_extension_lines_are_kept(self) -> None:
        made = Checkpoint("o", 1, b"r" * 32, ("one", "two"))
        assert Checkpoint.parse_text(made.text()) == made

    def test_an_empty_log_has_the_empty_root_and_roots_are_never_short(self) -> None:
        assert Checkpoint("o", 0, EMPTY_ROOT).text()
        with pytest.raises(NoteError):
            Checkpoint("o", 0, b"r" * 32).text()
        for root in (b"", b"r" * 31):
            with pytest.raises(ProofError):
                Checkpoint("o", 1, root).text()

    def test_a_proof_file_is_read_as_it_was_written(self) -> None:
        for extra in (None, b"hint"):
            proof = InclusionProof(0, (b"a" * 32, b"b" * 32), signed().encode(), extra)
            assert InclusionProof.parse(proof.encode()) == proof
        with pytest.raises((NoteError, ProofError)):
            InclusionProof.parse(InclusionProof(1, (), signed().encode()).encode())
        assert checkpoint.parse(signed().encode())[0].size == 1


class TestState:
    def head(self, size: int, mark: bytes = b"r") -> SignedHead:
        return SignedHead("o", size, mark * 32)

    def test_it_never_goes_back_and_never_takes_a_second_root(self, tmp_path: Path) -> None:
        with StateFile(tmp_path / "s") as state:
            assert state.read() is None
            state.create("o")
            state.write(self.head(5))
            state.write(self.head(5))
            for head in (self.head(4), self.head(5, b"x")):
                with pytest.raises(StateError, match="refusing"):
                    state.write(head)
            with pytest.raises(StateError):
                state.create("o")
            assert state.read() == self.head(5)

    def test_every_changed_byte_makes_it_unreadable_and_never_empty(self, tmp_path: Path) -> None:
        with StateFile(tmp_path / "s") as state:
            state.write(self.head(5))
            content = state.path.read_bytes()
            for position in range(len(content)):
                state.path.write_bytes(
                    content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
                )
                with pytest.raises(StateError, match="damaged"):
                    state.read()
            for length in range(len(content)):
                state.path.write_bytes(content[:length])
                with pytest.raises(StateError, match="damaged"):
                    state.read()

    def test_without_its_lock_nothing_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(StateError, match="locked"):
            StateFile(tmp_path / "s").write(self.head(1))
