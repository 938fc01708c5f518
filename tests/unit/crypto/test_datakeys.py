from __future__ import annotations

import os
import pickle
import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from security.crypto import datakeys as datakeys_module
from security.crypto.cache import BoundedCache
from security.crypto.datakeys import DataKeyRecord, DataKeys, KeyOwner, KeyState
from security.crypto.document import DocumentKey
from security.crypto.errors import KeyCorrupt, KeyErased, KeyHeld, KeyIdReused, KeyMissing
from security.crypto.kdf import kbkdf
from security.crypto.reference import key_check_value
from security.crypto.wrap import KeyContext, KeyWrapper, wrap_context
from tests.unit.crypto.crypto_helpers import FIELDS, TENANT, column

pytestmark = pytest.mark.usefixtures("way")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
EVENT = UUID(int=99)


class MemoryStore:
    """A key table in memory that keeps the contract of KeyStore, tombstones included."""

    def __init__(self):
        self.rows: dict[bytes, DataKeyRecord] = {}
        self.reads = 0

    def get(self, kid):
        self.reads += 1
        return self.rows.get(kid)

    def current(self, owner):
        rows = [row for row in self.rows.values() if row.owner == owner]
        return max(rows, key=lambda row: row.generation, default=None)

    def add(self, record):
        if record.kid in self.rows:
            raise KeyIdReused(record.kid)
        for row in self.rows.values():
            if (row.owner, row.generation) == (record.owner, record.generation):
                return row
        self.rows[record.kid] = record
        return record

    def put(self, record):
        if record.kid not in self.rows:
            raise KeyMissing(record.kid)
        self.rows[record.kid] = record


class Site:
    def __init__(self):
        self.store = MemoryStore()
        self.wrappers = {1: KeyWrapper(os.urandom(32)), 2: KeyWrapper(os.urandom(32))}
        self.epoch = 1
        self.keys = DataKeys(self.store, self.wrappers.__getitem__, lambda: self.epoch, lambda: NOW)


@pytest.fixture
def site():
    return Site()


def owner(key_class="identity"):
    return KeyOwner(TENANT, uuid4(), key_class)


# RFC 3394, section 4: (KEK, data, wrapped).
RFC3394 = [
    ("000102030405060708090A0B0C0D0E0F", "00112233445566778899AABBCCDDEEFF",
     "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"),
    ("000102030405060708090A0B0C0D0E0F1011121314151617", "00112233445566778899AABBCCDDEEFF",
     "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"),
    ("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "00112233445566778899AABBCCDDEEFF",
     "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"),
    ("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
     "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
     "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"),
]  # fmt: skip


@pytest.mark.parametrize("kek, data, wrapped", RFC3394)
def test_key_wrap_gives_the_answers_of_rfc_3394(kek, data, wrapped):
    kek, data, wrapped = (bytes.fromhex(item) for item in (kek, data, wrapped))
    assert aes_key_wrap(kek, data) == wrapped
    assert aes_key_unwrap(kek, wrapped) == data


def test_a_data_key_is_wrapped_as_the_format_says():
    kek, dek, kid, subject = os.urandom(32), os.urandom(32), os.urandom(16), os.urandom(16)
    context = wrap_context(TENANT.bytes, subject, "identity", 3, kid)
    wrapped = KeyWrapper(kek).wrap(dek, context)
    assert wrapped == aes_key_wrap(kbkdf(kek, b"kontor/dek-wrap/v1", context, 32), dek)
    assert len(wrapped) == 40
    assert KeyWrapper(kek).unwrap(wrapped, context, kid, key_check_value(dek)) == dek


def test_a_wrapped_key_opens_at_its_own_place_only():
    wrapper, dek, kid, subject = KeyWrapper(os.urandom(32)), os.urandom(32), os.urandom(16), os.urandom(16)
    kcv = key_check_value(dek)
    context = wrap_context(TENANT.bytes, subject, "identity", 1, kid)
    wrapped = wrapper.wrap(dek, context)
    elsewhere = [
        wrap_context(uuid4().bytes, subject, "identity", 1, kid),
        wrap_context(TENANT.bytes, os.urandom(16), "identity", 1, kid),
        wrap_context(TENANT.bytes, subject, "health", 1, kid),
        wrap_context(TENANT.bytes, subject, "identity", 2, kid),
        wrap_context(TENANT.bytes, subject, "identity", 1, os.urandom(16)),
    ]
    for other in elsewhere:
        with pytest.raises(KeyCorrupt):
            wrapper.unwrap(wrapped, other, kid, kcv)
    for broken in (b"", wrapped[:-1], wrapped + bytes(8), bytes(40)):
        with pytest.raises(KeyCorrupt):
            wrapper.unwrap(broken, context, kid, kcv)
    with pytest.raises(KeyCorrupt, match="epoch"):
        KeyWrapper(os.urandom(32)).unwrap(wrapped, context, kid, kcv)
    with pytest.raises(KeyCorrupt, match="check value"):
        wrapper.unwrap(wrapped, context, kid, bytes(8))


def test_a_reader_of_everything_gets_the_same_key_and_the_same_refusals():
    wrapper, dek, kid, subject = KeyWrapper(os.urandom(32)), os.urandom(32), os.urandom(16), os.urandom(16)
    kcv, context = key_check_value(dek), KeyContext(TENANT.bytes, "identity", 3)
    wrapped = wrapper.wrap(dek, wrap_context(TENANT.bytes, subject, "identity", 3, kid))
    key = wrapper.open(wrapped, context, subject, kid, kcv)
    assert (key.kid, key.subject, key.tenant, key.key_class, key.generation) == (
        kid, subject, TENANT.bytes, "identity", 3,
    )  # fmt: skip
    assert key.okm(b"label", bytes(16), b"place", 64) == DocumentKey(
        dek, kid, TENANT.bytes, subject, "identity", 3
    ).okm(b"label", bytes(16), b"place", 64)
    for other in (KeyContext(uuid4().bytes, "identity", 3), KeyContext(TENANT.bytes, "health", 3)):
        with pytest.raises(KeyCorrupt):
            wrapper.open(wrapped, other, subject, kid, kcv)
    with pytest.raises(KeyCorrupt):
        wrapper.open(wrapped, context, os.urandom(16), kid, kcv)
    with pytest.raises(KeyCorrupt, match="check value"):
        wrapper.open(wrapped, context, subject, kid, bytes(8))


def test_enc_8_a_rewrapped_key_is_the_same_key_verified_under_the_new_epoch(site):
    key = site.keys.for_sealing(owner())
    record = site.store.get(key.kid)
    moved = record.rewrapped(site.wrappers[1], site.wrappers[2], 2)
    assert (moved.epoch, moved.kcv, moved.kid) == (2, record.kcv, record.kid)
    assert moved.wrapped != record.wrapped
    site.store.put(moved)
    assert site.keys.by_id(key.kid).check_value() == key.check_value()
    with pytest.raises(ValueError, match="later epoch"):
        moved.rewrapped(site.wrappers[2], site.wrappers[1], 1)
    with pytest.raises(KeyCorrupt):
        replace(record, kcv=bytes(8)).rewrapped(site.wrappers[1], site.wrappers[2], 2)


def test_a_document_opens_with_the_key_that_its_id_finds(site):
    who = owner()
    record = os.urandom(16)
    key = site.keys.for_sealing(who)
    blob = column().seal(key, FIELDS, record, who.subject.bytes, 1)
    found = site.keys.by_id(blob[2:18])
    assert column().open(found, blob, record, who.subject.bytes, 1) == FIELDS
    assert site.keys.for_sealing(who).kid == key.kid


def test_each_owner_and_class_has_a_key_of_its_own(site):
    who = owner()
    kids = {
        site.keys.for_sealing(item).kid for item in (who, KeyOwner(TENANT, who.subject, "health"), owner())
    }
    assert len(kids) == 3


def test_enc_6_a_key_that_never_was_is_an_alarm_and_an_erased_one_is_a_tombstone(site):
    who = owner()
    key = site.keys.for_sealing(who)
    site.keys.by_id(key.kid)
    site.keys.erase(key.kid, EVENT)
    with pytest.raises(KeyErased) as erased:
        site.keys.by_id(key.kid)
    with pytest.raises(KeyMissing) as missing:
        site.keys.by_id(os.urandom(16))
    assert missing.value.alarm
    assert not erased.value.alarm
    assert not isinstance(missing.value, KeyErased)
    assert not isinstance(erased.value, KeyMissing)
    # Also after the table lost a row: the tombstone doesn't turn into a missing key, nor a missing key into one.
    del site.store.rows[key.kid]
    with pytest.raises(KeyMissing):
        site.keys.by_id(key.kid)
    with pytest.raises(KeyMissing):
        site.keys.erase(os.urandom(16), EVENT)


def test_enc_6_who_was_erased_does_not_get_the_old_key_back(site):
    who = owner()
    first = site.keys.for_sealing(who)
    site.keys.erase(first.kid, EVENT)
    with pytest.raises(KeyErased):
        site.keys.for_sealing(who)
    second = site.keys.renew(who)
    assert second.kid != first.kid
    assert second.generation == 2
    assert site.keys.for_sealing(who).kid == second.kid


def test_an_erased_key_id_is_never_created_again(site, monkeypatch):
    key = site.keys.for_sealing(owner())
    site.keys.erase(key.kid, EVENT)
    real = os.urandom
    monkeypatch.setattr(datakeys_module.os, "urandom", lambda size: key.kid if size == 16 else real(size))
    with pytest.raises(KeyIdReused) as caught:
        site.keys.for_sealing(owner())
    assert caught.value.alarm


def test_a_held_key_works_and_cannot_be_erased_until_released(site):
    key = site.keys.for_sealing(owner())
    held = site.store.get(key.kid).hold()
    site.store.put(held)
    assert site.keys.by_id(key.kid).check_value() == key.check_value()
    with pytest.raises(KeyHeld):
        site.keys.erase(key.kid, EVENT)
    site.store.put(held.hold().release())
    assert site.keys.erase(key.kid, EVENT).state is KeyState.ERASED


def test_a_tombstone_has_no_wrapped_key_and_stays_one(site):
    key = site.keys.for_sealing(owner())
    tombstone = site.keys.erase(key.kid, EVENT)
    assert tombstone.wrapped is None
    assert (tombstone.erased_at, tombstone.erase_event) == (NOW, EVENT)
    assert tombstone.erase(datetime(2027, 1, 1, tzinfo=UTC), uuid4()) == tombstone
    assert tombstone.rewrapped(site.wrappers[1], site.wrappers[2], 2) == tombstone
    for act in (tombstone.hold, tombstone.release):
        with pytest.raises(KeyErased):
            act()
    for change in ({"state": KeyState.ACTIVE}, {"wrapped": bytes(40)}, {"erased_at": None}):
        with pytest.raises(ValueError, match="erased"):
            replace(tombstone, **change)


@pytest.mark.parametrize(
    "change", [{"kid": b"x"}, {"kcv": b""}, {"generation": 0}, {"epoch": 0}, {"wrapped": b"x" * 39}]
)
def test_a_row_that_cannot_be_is_refused(site, change):
    record = site.store.get(site.keys.for_sealing(owner()).kid)
    with pytest.raises(ValueError, match="data key"):
        replace(record, **change)


def test_a_row_shows_no_key_material(site):
    record = site.store.get(site.keys.for_sealing(owner()).kid)
    assert record.wrapped.hex() not in repr(record)
    assert repr(record.wrapped) not in repr(record)


# ENC-15: the cache ---------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_enc_15_the_cache_saves_the_second_read(site):
    key = site.keys.for_sealing(owner())
    site.keys.by_id(key.kid)
    reads = site.store.reads
    site.keys.by_id(key.kid)
    assert site.store.reads == reads


def test_enc_15_the_cache_is_bounded_in_entries_the_least_used_goes_first():
    cache = BoundedCache(3)
    for number in range(3):
        cache.put(number, str(number), cache.mark())
    cache.get(0)
    cache.put(3, "3", cache.mark())
    assert [cache.get(number) for number in range(4)] == ["0", None, "2", "3"]
    assert len(cache) == 3


def test_enc_15_an_entry_dies_in_time_however_often_it_is_used():
    clock = Clock()
    cache = BoundedCache(3, 300.0, clock)
    cache.put("k", "v", cache.mark())
    for clock.now in (100.0, 200.0, 299.0):
        assert cache.get("k") == "v"
    clock.now = 300.0
    assert cache.get("k") is None
    assert len(cache) == 0


def test_enc_15_what_nobody_asks_for_is_purged():
    clock = Clock()
    cache = BoundedCache(3, 300.0, clock)
    cache.put("k", "v", cache.mark())
    clock.now = 301.0
    assert (cache.purge(), len(cache)) == (1, 0)


@pytest.mark.parametrize("entries, seconds", [(0, 300), (1, 0), (1, 600.1), (-1, 1)])
def test_enc_15_no_configuration_exceeds_ten_minutes(entries, seconds):
    with pytest.raises(ValueError, match="600 seconds"):
        BoundedCache(entries, seconds)


def test_enc_15_a_dropped_key_is_gone_at_once_and_a_late_reader_cannot_bring_it_back(site):
    key = site.keys.for_sealing(owner())
    site.keys.by_id(key.kid)
    real = site.store.get

    def slow(kid):
        record = real(kid)
        site.store.get = real
        site.keys.erase(key.kid, EVENT)  # An erasure commits between the read and the put.
        return record

    site.keys.cache.clear()
    site.store.get = slow
    site.keys.by_id(key.kid)
    assert site.keys.cache.get(key.kid) is None
    with pytest.raises(KeyErased):
        site.keys.by_id(key.kid)


def test_enc_15_the_cache_holds_its_bounds_under_many_threads():
    cache = BoundedCache(50)
    errors = []

    def work(seed):
        try:
            for number in range(2000):
                item = (number * 7 + seed) % 200
                cache.put(item, item, cache.mark())
                found = cache.get((item * 3) % 200)
                assert found is None or found == (item * 3) % 200
                if number % 50 == 0:
                    cache.drop(item)
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(cache) <= 50


def test_the_cache_and_the_wrapper_are_not_pickled():
    for thing in (BoundedCache(), KeyWrapper(bytes(32))):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
