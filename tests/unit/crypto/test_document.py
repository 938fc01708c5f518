from __future__ import annotations

import hashlib
import hmac
import json
import os
import pickle
from pathlib import Path
from uuid import UUID, uuid4

import cbor2
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from security.crypto import cbor, document, reference
from security.crypto.document import DocumentKey, SealedColumn, check_suite, document_kid
from security.crypto.errors import (
    CommitmentMismatch,
    CryptoError,
    DocumentAltered,
    DocumentMoved,
    DocumentRolledBack,
    MalformedDocument,
    UnknownSuite,
    UnsealableValue,
    WrongKey,
)
from security.crypto.padding import pad
from tests.unit.crypto.crypto_helpers import FIELDS, PATIENT, TENANT, column, key

RECORD, SUBJECT = b"r" * 16, b"s" * 16
SUITES = pytest.mark.parametrize("suite", [1, 2])
pytestmark = pytest.mark.usefixtures("way")
FROZEN = json.loads((Path(__file__).parent / "vectors/documents.json").read_text())["vectors"]


def spelled_out_open(dek, blob, place):
    """Open a document by primitives alone, written from docs/cryptography.md and not from the code."""
    suite = blob[1]
    aad = cbor2.dumps([1, suite, *place], canonical=True)
    length = 64 if suite == 1 else 96
    fixed = b"kontor/doc/v1\0" + blob[18:34] + hashlib.sha256(aad).digest() + (length * 8).to_bytes(4, "big")
    okm = b"".join(
        hmac.digest(dek, i.to_bytes(4, "big") + fixed, "sha256") for i in range(1, length // 32 + 1)
    )
    assert blob[34:66] == okm[32:64]
    if suite == 1:
        padded = AESGCM(okm[:32]).decrypt(blob[66:78], blob[78:], aad)
    else:
        body, tag = blob[66:-32], blob[-32:]
        expected = hmac.digest(okm[64:96], aad + body + (len(aad) * 8).to_bytes(8, "big"), "sha512")
        assert tag == expected[:32]
        decryptor = Cipher(algorithms.AES(okm[:32]), modes.CBC(body[:16])).decryptor()
        padded = decryptor.update(body[16:]) + decryptor.finalize()
    content = padded.rstrip(b"\0")
    assert content.endswith(b"\x80")
    return cbor2.loads(content[:-1])


@SUITES
def test_a_sealed_document_opens_to_the_same_fields(suite):
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column(suite)
    blob = place.seal(owner, FIELDS, record, subject, 3)
    assert place.open(owner, blob, record, subject, 3) == FIELDS
    assert document_kid(blob) == owner.kid
    assert check_suite(blob) == suite
    spelled = [TENANT.bytes, 12, record, subject, "identity", owner.kid, 3]
    assert spelled_out_open(owner._dek, blob, spelled) == FIELDS


@pytest.mark.parametrize("vector", FROZEN, ids=lambda vector: vector["name"])
def test_documents_of_the_first_release_still_open_and_are_still_written_the_same_way(vector, monkeypatch):
    record, subject, kid, dek, blob = (
        bytes.fromhex(vector[k]) for k in ("record", "subject", "kid", "dek", "blob")
    )
    owner = DocumentKey(dek, kid, UUID(vector["tenant"]).bytes, subject, vector["class"])
    place = SealedColumn(UUID(vector["tenant"]), vector["table"], vector["class"], suite=vector["suite"])
    fields = {int(number): value for number, value in vector["fields"].items()}
    assert place.open(owner, blob, record, subject, vector["version"]) == fields
    stream = bytes.fromhex(vector["random"])
    position = 0

    def urandom(size):
        nonlocal position
        position += size
        return stream[position - size : position]

    monkeypatch.setattr(os, "urandom", urandom)
    assert place.seal(owner, fields, record, subject, vector["version"]).hex() == vector["blob"]


@SUITES
@PATIENT
@given(
    fields=st.dictionaries(
        st.integers(0, 2000), st.text(max_size=200) | st.integers() | st.none(), max_size=20
    ),
    version=st.integers(0, 2**64 - 1),
)
def test_any_fields_and_versions_come_back(suite, fields, version):
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column(suite)
    blob = place.seal(owner, fields, record, subject, version)
    assert place.open(owner, blob, record, subject, version) == fields


# ENC-3: the worlds are small on purpose, so that two documents often share all but one part of their place.
places = st.fixed_dictionaries(
    {
        "tenant": st.integers(1, 2),
        "table": st.sampled_from([1, 300]),
        "record": st.integers(1, 2),
        "subject": st.integers(1, 2),
        "class": st.sampled_from(["identity", "health"]),
        "version": st.sampled_from([1, 2, 300]),
        "suite": st.sampled_from([1, 2]),
    }
)
DEKS = {
    (t, s, c): hashlib.sha256(f"{t}{s}{c}".encode()).digest()
    for t in (1, 2)
    for s in (1, 2)
    for c in ("identity", "health")
}


def seal_at(place):
    owner_of = (place["tenant"], place["subject"], place["class"])
    dek = DEKS[owner_of]
    tenant, subject = UUID(int=place["tenant"]), place["subject"].to_bytes(16, "big")
    owner = DocumentKey(
        dek, hashlib.sha256(b"kid" + dek).digest()[:16], tenant.bytes, subject, place["class"]
    )
    where = SealedColumn(tenant, place["table"], place["class"], suite=place["suite"])
    record = place["record"].to_bytes(16, "big")
    return where, owner, where.seal(owner, {1: "x"}, record, subject, place["version"]), record, subject


@settings(PATIENT, max_examples=300)
@given(places, places)
def test_enc_3_any_two_documents_that_are_swapped_fail_with_an_error_of_their_own(here, there):
    _home, other_owner, blob, _record, _subject = seal_at(there)
    where, owner, _blob, record, subject = seal_at(here)
    # The suite is no part of the place: both may be there while a change of profile re-seals.
    same = all(here[part] == there[part] for part in here if part != "suite")
    # As the store does it: the key that the document itself names.
    for offered in (other_owner, owner):
        if same:
            assert where.open(offered, blob, record, subject, here["version"]) == {1: "x"}
            continue
        with pytest.raises((DocumentMoved, DocumentRolledBack, WrongKey)) as caught:
            where.open(offered, blob, record, subject, here["version"])
        assert caught.value.alarm
        only_version = all(here[part] == there[part] for part in here if part not in ("suite", "version"))
        near = abs(here["version"] - there["version"]) <= document.ROLLBACK_SEARCH
        if only_version and near:
            assert isinstance(caught.value, DocumentRolledBack)
            assert caught.value.found == there["version"]
        elif offered.kid == document_kid(blob):
            assert isinstance(caught.value, DocumentMoved)


# ENC-4 ---------------------------------------------------------------------------------------------------------------

_R = 0xE1 << 120


def gf_multiply(x, y):
    """Multiply in GF(2**128) with the bit order of GCM (SP 800-38D, 6.3)."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = (y >> 1) ^ (_R if y & 1 else 0)
    return z


def gf_power(x, exponent):
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = gf_multiply(result, x)
        x = gf_multiply(x, x)
        exponent >>= 1
    return result


def blocks(data):
    return [int.from_bytes(data[i : i + 16].ljust(16, b"\0"), "big") for i in range(0, len(data), 16)]


def aes_block(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(block), "big")


def ghash(h, aad, ciphertext):
    y = 0
    lengths = [(len(aad) * 8) << 64 | len(ciphertext) * 8]
    for block in [*blocks(aad), *blocks(ciphertext), *lengths]:
        y = gf_multiply(y ^ block, h)
    return y


def accepted_by_both(first, second, nonce, aad, ciphertext):
    """Change the last block of a ciphertext so that one tag fits under both keys (the "invisible salamander")."""
    h = [aes_block(k, bytes(16)) for k in (first, second)]
    mask = [aes_block(k, nonce + b"\0\0\0\1") for k in (first, second)]
    body = ciphertext[:-16] + bytes(16)
    rest = [mask[i] ^ ghash(h[i], aad, body) for i in (0, 1)]
    # The last block is multiplied by H**2: once for itself, once for the block of lengths.
    slope = gf_power(h[0], 2) ^ gf_power(h[1], 2)
    free = gf_multiply(rest[0] ^ rest[1], gf_power(slope, 2**128 - 2))
    tag = rest[0] ^ gf_multiply(free, gf_power(h[0], 2))
    return body[:-16] + free.to_bytes(16, "big") + tag.to_bytes(16, "big")


def test_enc_4_a_ciphertext_that_raw_gcm_accepts_under_two_keys_fails_at_the_commitment():
    record, subject, kid, salt, nonce = (os.urandom(n) for n in (16, 16, 16, 16, 12))
    # Two data keys that claim the same id, as a dishonest key table might hold them.
    alice, mallory = key(subject, kid=kid), key(subject, kid=kid)
    place = column()
    aad = place.aad(1, kid, record, subject, 1)
    okm = [owner.okm(reference.DOCUMENT_LABEL, salt, aad, 64) for owner in (alice, mallory)]
    plain = pad(cbor.encode_fields({1: "Pay 100"}) + bytes(20))
    honest = AESGCM(okm[0][:32]).encrypt(nonce, plain, aad)[:-16]
    sealed = accepted_by_both(okm[0][:32], okm[1][:32], nonce, aad, honest)
    opened = [AESGCM(o[:32]).decrypt(nonce, sealed, aad) for o in okm]  # Raw GCM takes it under both keys …
    assert opened[0] != opened[1]
    assert opened[0].startswith(cbor.encode_fields({1: "Pay 100"}))
    for committed, other in ((0, mallory), (1, alice)):
        blob = b"\1\1" + kid + salt + okm[committed][32:64] + nonce + sealed
        with pytest.raises(CommitmentMismatch):  # … and the document opens under none but its own.
            place.open(other, blob, record, subject, 1)


def test_enc_4_nothing_is_decrypted_before_the_commitment_fits(monkeypatch):
    record, subject = os.urandom(16), os.urandom(16)
    place, other = column(), key(subject)
    other.cipher = reference.DocumentCipher(other._dek)
    blob = place.seal(key(subject), FIELDS, record, subject, 1)

    def forbidden(*_args):
        raise AssertionError("The document was decrypted.")

    monkeypatch.setattr(reference, "AESGCM", forbidden)
    with pytest.raises(WrongKey):
        place.open(other, blob, record, subject, 1)


@SUITES
def test_enc_4_any_other_key_fails_at_the_commitment(suite):
    record, subject = os.urandom(16), os.urandom(16)
    place = column(suite)
    owner = key(subject)
    blob = place.seal(owner, FIELDS, record, subject, 1)
    for other in (key(subject), key(subject, kid=owner.kid)):
        with pytest.raises(CommitmentMismatch):
            place.open(other, blob, record, subject, 1)


# ENC-5 ---------------------------------------------------------------------------------------------------------------


@SUITES
def test_enc_5_salt_and_nonce_are_the_bytes_that_the_operating_system_gave(suite, monkeypatch):
    drawn = []
    real = os.urandom

    def urandom(size):
        drawn.append(real(size))
        return drawn[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    record, subject = real(16), real(16)
    owner = key(subject, dek=real(32), kid=real(16))
    blob = column(suite).seal(owner, FIELDS, record, subject, 1)
    assert b"".join(drawn) == blob[18:34] + (blob[66:78] if suite == 1 else blob[66:82])


def test_enc_5_no_salt_and_no_nonce_comes_twice():
    # Ten million full documents would take minutes. Two parts say more in seconds: real documents, and two million
    # draws cut to 64 bits, where already a generator with less than about 2**41 states would repeat itself.
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column()
    documents = [place.seal(owner, {1: "x"}, record, subject, 1) for _ in range(50_000)]
    assert len({blob[18:34] for blob in documents}) == len(documents)
    assert len({blob[66:78] for blob in documents}) == len(documents)
    draws = 2_000_000
    assert len(set(memoryview(os.urandom(8 * draws)).cast("Q"))) == draws


# What is malformed, altered, unknown ---------------------------------------------------------------------------------


@SUITES
def test_a_flipped_bit_anywhere_is_noticed(suite):
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column(suite)
    blob = place.seal(owner, FIELDS, record, subject, 1)
    for position in range(len(blob)):
        broken = bytearray(blob)
        broken[position] ^= 1 << position % 8
        with pytest.raises(CryptoError) as caught:
            place.open(owner, bytes(broken), record, subject, 1)
        expected = UnknownSuite if position < 1 else CommitmentMismatch if 2 <= position < 66 else CryptoError
        assert isinstance(caught.value, expected if position < 66 else DocumentAltered)


@SUITES
def test_a_document_cut_anywhere_is_noticed(suite):
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column(suite)
    blob = place.seal(owner, FIELDS, record, subject, 1)
    for length in range(len(blob)):
        with pytest.raises((MalformedDocument, DocumentAltered)):
            place.open(owner, blob[:length], record, subject, 1)


@PATIENT
@given(st.binary(max_size=400))
def test_random_bytes_never_do_more_than_raise_an_error_of_ours(noise):
    record = subject = bytes(16)
    for blob in (noise, b"\1\1" + noise, b"\1\2" + noise):
        with pytest.raises(CryptoError):
            column().open(key(subject), blob, record, subject, 1)


@pytest.mark.parametrize("header", [b"\0\1", b"\2\1", b"\1\0", b"\1\3", b"\1\4", b"\xff\xff"])
def test_an_unknown_version_or_suite_has_its_own_error(header):
    with pytest.raises(UnknownSuite):
        column().open(key(bytes(16)), header + bytes(200), bytes(16), bytes(16), 1)


def test_the_strict_profile_opens_suite_2_only():
    record, subject = os.urandom(16), os.urandom(16)
    owner = key(subject)
    strict = SealedColumn(TENANT, 12, "identity", suite=2, suites=frozenset({2}))
    blob = column(1).seal(owner, FIELDS, record, subject, 1)
    with pytest.raises(UnknownSuite, match="Re-seal"):
        strict.open(owner, blob, record, subject, 1)
    assert strict.open(owner, strict.seal(owner, FIELDS, record, subject, 1), record, subject, 1) == FIELDS


def test_a_genuine_document_whose_content_is_no_map_is_malformed(monkeypatch):
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column()
    monkeypatch.setattr(document, "encode_fields", lambda _values: b"\x62\xc3\x28")
    blob = place.seal(owner, {}, record, subject, 1)
    with pytest.raises(MalformedDocument) as caught:
        place.open(owner, blob, record, subject, 1)
    assert caught.value.__context__ is None


def test_a_key_of_another_owner_cannot_seal():
    record, subject = os.urandom(16), os.urandom(16)
    for other in (key(os.urandom(16)), key(subject, tenant=uuid4()), key(subject, key_class="health")):
        with pytest.raises(WrongKey):
            column().seal(other, FIELDS, record, subject, 1)


@SUITES
def test_no_error_carries_a_value(suite):
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column(suite)
    with pytest.raises(UnsealableValue) as caught:
        place.seal(owner, {3: "Mustermann", 4: "Erika\ud800"}, record, subject, 1)
    chain = repr(caught.value) + str(caught.value.args) + str(caught.value.__context__)
    assert "Erika" not in chain
    assert "Mustermann" not in chain


def test_the_size_of_a_document_tells_its_bucket_only():
    record, subject = os.urandom(16), os.urandom(16)
    owner, place = key(subject), column()
    sizes = {len(place.seal(owner, {1: "x" * n}, record, subject, 1)) for n in range(600)}
    assert sizes == {94 + bucket for bucket in (32, 64, 128, 256, 512, 544, 576, 608)}


@SUITES
@pytest.mark.parametrize("version", [-1, -1023, 2**64])
def test_a_version_that_cannot_be_is_refused(suite, version):
    owner, place = key(SUBJECT), column(suite)
    with pytest.raises(ValueError, match="unsigned"):
        place.seal(owner, FIELDS, RECORD, SUBJECT, version)
    blob = place.seal(owner, FIELDS, RECORD, SUBJECT, version % 1024)
    with pytest.raises(ValueError, match="unsigned"):
        place.open(owner, blob, RECORD, SUBJECT, version)


def test_a_key_is_neither_shown_nor_pickled():
    owner = key(bytes(16), dek=b"\xab" * 32)
    assert "abab" not in repr(owner)
    with pytest.raises(TypeError):
        pickle.dumps(owner)


def test_the_check_value_is_that_of_the_format():
    expected = hmac.digest(b"\1" * 32, b"kontor/kcv/v1", "sha256")[:8]
    assert reference.key_check_value(b"\1" * 32) == key(SUBJECT, dek=b"\1" * 32).check_value() == expected


def test_the_construction_of_the_enc_4_test_is_sound():
    # If our GHASH were wrong, the test above would prove nothing.
    k, nonce, aad = os.urandom(32), os.urandom(12), os.urandom(40)
    sealed = AESGCM(k).encrypt(nonce, b"p" * 48, aad)
    tag = ghash(aes_block(k, bytes(16)), aad, sealed[:-16]) ^ aes_block(k, nonce + b"\0\0\0\1")
    assert tag.to_bytes(16, "big") == sealed[-16:]
    with pytest.raises(InvalidTag):
        AESGCM(os.urandom(32)).decrypt(nonce, sealed, aad)
