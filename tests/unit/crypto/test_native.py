"""The native module of sealing gives what the reference gives, refuses what it refuses, and keeps nothing."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_server.kernel.keyring import open_ring
from crm_server.settings import load
from security.crypto import native, profile, reference
from security.crypto.document import DocumentKey
from security.crypto.errors import CryptoError, ProfileRefused
from security.crypto.profile import Profile, self_check
from tests.unit.crypto.conftest import require_native
from tests.unit.crypto.crypto_helpers import FIELDS, PATIENT, TENANT, column

KEY, AAD, KID, RANDOM = bytes(range(32)), b"place", b"k" * 16, bytes(28)
keys = st.binary(min_size=32, max_size=32)


@pytest.fixture(scope="module")
def fast():
    found = require_native()
    native.choose(native=True)
    return found


def pair(dek, kid=KID, subject=b"s" * 16):
    """The same data key for both ways."""
    made = []
    for chosen in (True, False):
        native.choose(native=chosen)
        made.append(DocumentKey(dek, kid, TENANT.bytes, subject, "identity"))
    native.choose(native=True)
    return made


@settings(PATIENT, max_examples=200)
@given(
    dek=keys,
    aad=st.binary(max_size=300),
    random=st.binary(min_size=28, max_size=28),
    content=st.binary(max_size=2000),
)
def test_both_ways_seal_to_the_same_bytes_and_open_each_others(fast, dek, aad, random, content):
    ways = fast.document_cipher(dek), reference.DocumentCipher(dek)
    sealed = {way.seal(KID, random, aad, content) for way in ways}
    assert len(sealed) == 1
    (blob,) = sealed
    assert [way.open(blob, aad) for way in ways] == [content, content]
    assert len({way.check_value() for way in ways}) == 1


@settings(PATIENT, max_examples=200)
@given(kek=keys, dek=keys, context=st.binary(max_size=200))
def test_both_ways_wrap_to_the_same_bytes_and_unwrap_each_others(fast, kek, dek, context):
    ways = fast.wrap_cipher(kek), reference.WrapCipher(kek)
    wrapped = {way.wrap(dek, context) for way in ways}
    assert len(wrapped) == 1
    (blob,) = wrapped
    kcv = reference.key_check_value(dek)
    assert [way.unwrap(blob, context, kcv) for way in ways] == [dek, dek]


@settings(PATIENT, max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=60), st.binary(max_size=10))
def test_noise_is_refused_by_both(fast, noise, wrapped, kcv):
    for way in (fast, native.REFERENCE):
        cipher, wrapping = way.document_cipher(KEY), way.wrap_cipher(KEY)
        assert cipher.open(noise, AAD) is None
        assert cipher.open(b"\1\1" + noise, AAD) is None
        assert wrapping.unwrap(wrapped, AAD, kcv) is None


def test_every_bit_of_a_document_counts_and_both_ways_say_the_same_of_it(fast):
    record, subject = b"r" * 16, b"s" * 16
    place, owners = column(), pair(KEY)
    blob = place.seal(owners[0], {1: "x"}, record, subject, 3)
    for bit in range(8 * len(blob)):
        broken = bytearray(blob)
        broken[bit // 8] ^= 1 << bit % 8
        refused = []
        for owner in owners:
            with pytest.raises(CryptoError) as caught:
                place.open(owner, bytes(broken), record, subject, 3)
            refused.append((type(caught.value), str(caught.value)))
        assert refused[0] == refused[1]


def test_every_bit_and_every_size_of_a_wrapped_key_counts(fast):
    for way in (fast, native.REFERENCE):
        cipher = way.wrap_cipher(KEY)
        wrapped, kcv = cipher.wrap(KEY, AAD), reference.key_check_value(KEY)
        assert cipher.unwrap(wrapped, AAD, kcv) == KEY
        for bit in range(8 * len(wrapped)):
            broken = bytearray(wrapped)
            broken[bit // 8] ^= 1 << bit % 8
            assert cipher.unwrap(bytes(broken), AAD, kcv) is None
        for bit in range(64):
            broken = bytearray(kcv)
            broken[bit // 8] ^= 1 << bit % 8
            assert cipher.unwrap(wrapped, AAD, bytes(broken)) is None
        for size in (*range(40), 41, 48, 80):
            assert cipher.unwrap((wrapped * 2)[:size], AAD, kcv) is None
        for size in (*range(8), 9, 32):
            assert cipher.unwrap(wrapped, AAD, (kcv * 4)[:size]) is None


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65_536, 5_000_001])
def test_contents_of_any_size_come_back_and_a_cut_or_longer_document_does_not(fast, size):
    ways = fast.document_cipher(KEY), reference.DocumentCipher(KEY)
    content = os.urandom(size)
    blob = ways[0].seal(KID, RANDOM, AAD, content)
    assert blob == ways[1].seal(KID, RANDOM, AAD, content)
    assert len(blob) == 94 + size
    for way in ways:
        assert way.open(blob, AAD) == content
        assert way.open(blob[:-1], AAD) is None
        assert way.open(blob + b"\0", AAD) is None


@pytest.mark.parametrize("size", range(0, 66, 13))
def test_a_key_of_another_size_is_refused(fast, size):
    for made in (fast.document_cipher, fast.wrap_cipher):
        with pytest.raises(ValueError, match="32 bytes"):
            made(bytes(size))


@pytest.mark.parametrize("wrong", [None, 1, "text", bytearray(94), memoryview(bytes(94)), [1], object()])
def test_what_is_not_bytes_is_refused_without_quoting_it(fast, wrong):
    cipher, wrapping = fast.document_cipher(KEY), fast.wrap_cipher(KEY)
    calls = [
        lambda: fast.document_cipher(wrong),
        lambda: fast.wrap_cipher(wrong),
        *(lambda place=place: cipher.open(*_with(wrong, place, bytes(94), AAD)) for place in range(2)),
        *(lambda place=place: cipher.seal(*_with(wrong, place, KID, RANDOM, AAD, AAD)) for place in range(4)),
        *(lambda place=place: wrapping.wrap(*_with(wrong, place, KEY, AAD)) for place in range(2)),
        *(
            lambda place=place: wrapping.unwrap(*_with(wrong, place, bytes(40), AAD, bytes(8)))
            for place in range(3)
        ),
    ]
    for call in calls:
        with pytest.raises(TypeError) as caught:
            call()
        assert "text" not in str(caught.value)


def _with(wrong, place, *arguments):
    return (*arguments[:place], wrong, *arguments[place + 1 :])


def test_a_wrong_number_or_size_of_arguments_is_refused(fast):
    cipher, wrapping = fast.document_cipher(KEY), fast.wrap_cipher(KEY)
    for call, arguments in (
        (cipher.open, (AAD,)),
        (cipher.open, (AAD, AAD, AAD)),
        (cipher.seal, (KID, RANDOM, AAD)),
        (wrapping.wrap, ()),
        (wrapping.unwrap, (AAD, AAD)),
        (fast.document_cipher, ()),
        (fast.document_cipher, (KEY, KEY)),
    ):
        with pytest.raises(TypeError):
            call(*arguments)
    with pytest.raises(TypeError):
        fast.document_cipher(dek=KEY)
    for kid, random in ((KID + b"1", RANDOM), (KID, RANDOM[1:]), (b"", b"")):
        with pytest.raises(ValueError, match="bytes were expected"):
            cipher.seal(kid, random, AAD, AAD)
    for dek in (b"", KEY[1:], KEY + b"1"):
        with pytest.raises(ValueError, match="32 bytes"):
            wrapping.wrap(dek, AAD)


def test_a_cipher_is_neither_shown_nor_pickled_nor_altered(fast):
    for cipher in (fast.document_cipher(KEY), fast.wrap_cipher(KEY)):
        assert KEY.hex()[:8] not in repr(cipher)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(cipher, protocol)
        with pytest.raises(AttributeError):
            cipher.key = KEY
        with pytest.raises(TypeError):
            type(cipher).open = None
        with pytest.raises(TypeError):
            type("Mine", (type(cipher),), {})


def test_many_threads_share_a_key(fast):
    cipher, wrapping, kcv = fast.document_cipher(KEY), fast.wrap_cipher(KEY), reference.key_check_value(KEY)

    def work(number):
        content = bytes((number,)) * (number + 1)
        for _ in range(300):
            blob = cipher.seal(KID, os.urandom(28), content, content)
            assert cipher.open(blob, content) == content
            assert cipher.open(blob, content + b"1") is None
            assert wrapping.unwrap(wrapping.wrap(KEY, content), content, kcv) == KEY
        return number

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(32))) == list(range(32))


def test_neither_success_nor_refusal_keeps_memory(fast):
    cipher, wrapping, kcv = fast.document_cipher(KEY), fast.wrap_cipher(KEY), reference.key_check_value(KEY)
    blob, wrapped = cipher.seal(KID, RANDOM, AAD, bytes(5000)), wrapping.wrap(KEY, AAD)

    def work(rounds):
        for _ in range(rounds):
            fast.document_cipher(KEY).check_value()
            cipher.seal(KID, RANDOM, AAD, blob)
            assert cipher.open(blob, AAD)
            assert cipher.open(blob, KEY) is None
            assert cipher.open(blob[:-1], AAD) is None
            assert wrapping.unwrap(wrapped, AAD, kcv)
            assert wrapping.unwrap(wrapped, KEY, kcv) is None
            with pytest.raises(ValueError, match="bytes"):
                wrapping.wrap(b"", AAD)
            with pytest.raises(TypeError):
                cipher.open(blob, None)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    work(200)
    gc.collect()
    before = resident()
    work(5_000)
    assert resident() - before < 5_000_000, (
        "5,000 lost documents would be 25 MB, lost contexts of OpenSSL more"
    )
    tracemalloc.start()
    work(500)
    gc.collect()
    kept = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, __file__)])
    tracemalloc.stop()
    assert sum(trace.size for trace in kept.traces) < 50_000, "500 lost ciphers would be 120 KB"


# Which way is chosen --------------------------------------------------------------------------------------------------


def test_the_native_way_is_in_use_where_it_was_built(fast):
    assert native.in_use()
    assert native.PROBLEM == ""
    assert isinstance(DocumentKey(KEY, KID, KID, KID, "identity").cipher, type(fast.document_cipher(KEY)))


def test_a_native_module_that_gives_another_byte_is_put_aside_loudly(fast, monkeypatch):
    class Wrong(reference.DocumentCipher):
        def open(self, blob, aad):
            return super().open(blob, aad) or b""  # What doesn't open gives an empty content.

    odd = SimpleNamespace(DocumentCipher=Wrong, WrapCipher=fast.wrap_cipher, LIBRARY="OpenSSL 9")
    monkeypatch.setattr(native, "import_module", lambda _name: odd)
    with pytest.warns(RuntimeWarning, match="OpenSSL 9 gives other answers"):
        way, problem = native.load()
    assert way is None
    assert "other answers" in problem


def test_a_native_module_that_is_not_there_says_why(monkeypatch):
    way, problem = native.load("security.crypto._nothing")
    assert way is None
    assert "_nothing" in problem


def test_the_self_check_lists_the_native_module_with_its_library_and_refuses_one_that_errs(fast):
    modules = {item.module for item in self_check(Profile.STANDARD)}
    assert f"{native.NAME} with {fast.library}" in modules
    assert fast.library.startswith("OpenSSL 3")
    assert not any(native.NAME in item.module for item in self_check(Profile.STRICT))
    with (
        mock.patch.object(profile.native, "agrees", return_value=False),
        pytest.raises(ProfileRefused, match="_native"),
    ):
        self_check(Profile.STANDARD)


def test_the_strict_profile_computes_by_the_libraries_alone(fast, tmp_path):
    for chosen, used in (("strict", False), ("standard", True)):
        environment = {"KONTOR_DATABASE_URL": "postgresql://kontor_app@localhost/kontor"}
        environment |= {"KONTOR_STATE_DIR": str(tmp_path), "KONTOR_CRYPTO_PROFILE": chosen}
        open_ring(load(environment))
        assert native.in_use() is used


def test_a_key_of_one_way_opens_what_the_other_sealed(fast):
    record, subject = os.urandom(16), b"s" * 16
    owners, place = pair(os.urandom(32)), column()
    for sealing in owners:
        blob = place.seal(sealing, FIELDS, record, subject, 9)
        assert [place.open(opening, blob, record, subject, 9) for opening in owners] == [FIELDS, FIELDS]
