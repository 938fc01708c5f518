from __future__ import annotations

import hmac
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from security.crypto.kdf import PreparedKdf, kbkdf
from tests.unit.crypto.crypto_helpers import PATIENT

VECTORS = json.loads((Path(__file__).parent / "vectors/kbkdf-ctr-hmac-sha256.json").read_text())["vectors"]


def counter_mode(key, fixed, length):
    """SP 800-108r1, section 4.1, word by word."""
    blocks = (
        hmac.digest(key, i.to_bytes(4, "big") + fixed, "sha256") for i in range(1, -(-length // 32) + 1)
    )
    return b"".join(blocks)[:length]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['bits']}-{vector['ko'][:8]}")
def test_the_library_and_the_text_of_the_standard_give_the_answers_of_nist(vector):
    key, fixed, expected = (bytes.fromhex(vector[name]) for name in ("ki", "fixed", "ko"))
    library = KBKDFHMAC(
        hashes.SHA256(),
        Mode.CounterMode,
        len(expected),
        4,
        None,
        CounterLocation.BeforeFixed,
        None,
        None,
        fixed,
    )
    assert library.derive(key) == expected
    assert counter_mode(key, fixed, len(expected)) == expected


@PATIENT
@given(
    st.binary(min_size=1, max_size=64), st.binary(max_size=40), st.binary(max_size=200), st.integers(1, 200)
)
def test_both_ways_to_derive_are_equal_to_the_standard(key, label, context, length):
    fixed = label + b"\0" + context + (length * 8).to_bytes(4, "big")
    expected = counter_mode(key, fixed, length)
    assert kbkdf(key, label, context, length) == expected
    assert PreparedKdf(key, label, length).derive(context) == expected


def test_a_prepared_derivation_gives_the_same_answer_each_time():
    prepared = PreparedKdf(os.urandom(32), b"label", 64)
    assert prepared.derive(b"a") == prepared.derive(b"a") != prepared.derive(b"b")


def test_key_material_is_neither_shown_nor_pickled():
    import pickle

    key = os.urandom(32)
    prepared = PreparedKdf(key, b"label", 64)
    assert key.hex() not in repr(prepared)
    with pytest.raises(TypeError):
        pickle.dumps(prepared)


@pytest.mark.parametrize("length", [0, -1, 9000])
def test_a_length_that_nobody_needs_is_refused(length):
    with pytest.raises(ValueError, match="length"):
        PreparedKdf(b"k" * 32, b"l", length)


def test_a_passphrase_is_stretched_as_rfc_9106_recommends(tmp_path: Path) -> None:  # ENC-19
    # In a process of its own: other tests of this one may make stretching cheap.
    make = (
        "import sys; from pathlib import Path; from security.crypto.providers.passphrase import PassphraseRing; "
        "PassphraseRing(Path(sys.argv[1]), lambda: b'long enough now').create_epoch(1)"
    )
    subprocess.run([sys.executable, "-c", make, str(tmp_path)], check=True, timeout=120)
    made = json.loads((tmp_path / "ring.json").read_text())["parameters"]
    assert (made["kdf"], made["memory_kib"], made["passes"], made["lanes"]) == ("argon2id", 65_536, 3, 4)
