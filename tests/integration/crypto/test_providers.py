"""ENC-14: one conformance suite for all key ring providers, on real devices."""

from __future__ import annotations

import json
import os
import shutil
import stat

import pytest

from security.crypto.errors import (
    EpochDestroyed,
    EpochExists,
    EpochUnknown,
    KeyRingError,
    ProviderRefused,
    ProviderUnavailable,
    RingCorrupt,
    RingStorage,
)
from security.crypto.keyring import EpochKeys, EpochState, KeyRingProvider
from security.crypto.profile import Profile
from security.crypto.providers import ring as ring_module
from security.crypto.providers.hsm import HsmRing
from tests.integration.crypto.conftest import PIN


@pytest.fixture
def ring(device, tmp_path):
    ring = device.ring(tmp_path / "ring")
    yield ring
    # Counters of a TPM are few: leave no live epoch behind.
    for info in ring.list():
        if info.state is not EpochState.DESTROYED:
            try:
                ring.destroy(info.number)
            except KeyRingError:
                continue


def test_every_provider_keeps_the_contract(ring):
    assert isinstance(ring, KeyRingProvider)


def test_an_epoch_opens_to_the_same_keys_each_time_also_in_another_process(device, ring, first, tmp_path):
    info = ring.create_epoch(first)
    assert info.state is EpochState.LIVE
    material = ring.open_epoch(first).material()
    assert len(material) == 64
    assert ring.open_epoch(first).material() == material
    assert device.ring(tmp_path / "ring").open_epoch(first).material() == material


def test_epochs_have_keys_of_their_own(ring, first):
    ring.create_epoch(first)
    ring.create_epoch(first + 1)
    assert ring.open_epoch(first).material() != ring.open_epoch(first + 1).material()
    assert [info.number for info in ring.list()] == [first, first + 1]


def test_numbers_of_epochs_only_grow(ring, first):
    ring.create_epoch(first + 1)
    for number in (first + 1, first, 0, -1):
        with pytest.raises(EpochExists):
            ring.create_epoch(number)
    ring.destroy(first + 1)
    with pytest.raises(EpochExists):
        ring.create_epoch(first + 1)


def test_an_epoch_that_never_was_is_unknown_and_not_destroyed(ring, first):
    for act in (ring.open_epoch, ring.destroy):
        with pytest.raises(EpochUnknown):
            act(first)


def test_enc_14_destroyed_is_destroyed_even_for_a_copy_of_all_files_taken_before(
    device, ring, first, tmp_path
):
    ring.create_epoch(first)
    ring.create_epoch(first + 1)
    before, survivor = ring.open_epoch(first).material(), ring.open_epoch(first + 1).material()
    shutil.copytree(tmp_path / "ring", tmp_path / "copy")
    evidence = ring.destroy(first)
    assert evidence.epoch == first
    assert evidence.proven is ring.capabilities.can_prove_destruction
    assert evidence.statement == ring.capabilities.statement

    with pytest.raises(EpochDestroyed):
        ring.open_epoch(first)
    assert ring.open_epoch(first + 1).material() == survivor

    copied = device.ring(tmp_path / "copy")
    if ring.capabilities.can_prove_destruction:
        with pytest.raises(EpochDestroyed):
            copied.open_epoch(first)
        # And with the old file put back into the ring that still has all else.
        for file in (tmp_path / "copy").iterdir():
            shutil.copy(file, tmp_path / "ring")
        with pytest.raises(EpochDestroyed):
            device.ring(tmp_path / "ring").open_epoch(first)
        assert device.ring(tmp_path / "ring").open_epoch(first + 1).material() == survivor
    else:
        # It declares that it can't, in words that a person understands, and indeed it can't.
        assert "can't prove" in ring.capabilities.statement
        assert "passphrase" in ring.capabilities.statement
        assert evidence.proven is False
        assert copied.open_epoch(first).material() == before


def test_a_destruction_leaves_no_sealed_bytes_in_the_ring(ring, first, tmp_path):
    ring.create_epoch(first)
    path = next((tmp_path / "ring").glob("epoch-*.json"))
    protected = json.loads(path.read_text())["protected"]
    ring.destroy(first)
    secrets = [value for value in protected.values() if len(value) > 32]
    assert secrets
    for file in (tmp_path / "ring").iterdir():
        assert not any(value in file.read_text() for value in secrets)


def test_destroying_twice_gives_the_first_evidence_again(ring, first):
    ring.create_epoch(first)
    assert ring.destroy(first) == ring.destroy(first)
    assert ring.list()[0].state is EpochState.DESTROYED
    assert ring.list()[0].destroyed_at is not None


def test_a_destruction_proves_nothing_when_the_epoch_did_not_open_before(ring, first, tmp_path):
    ring.create_epoch(first)
    path = next((tmp_path / "ring").glob("epoch-*.json"))
    record = json.loads(path.read_text())
    name = max(record["protected"], key=lambda key: len(record["protected"][key]))
    path.write_text(json.dumps({**record, "protected": {**record["protected"], name: "00" * 72}}))
    assert ring.destroy(first).proven is False
    assert ring.destroy(first).proven is False


@pytest.mark.timeout(60)
def test_a_process_that_never_opened_the_ring_can_destroy(device, ring, first, tmp_path):
    ring.create_epoch(first)
    evidence = device.ring(tmp_path / "ring").destroy(first)
    assert evidence.proven is ring.capabilities.can_prove_destruction


@pytest.mark.parametrize("step", ["_annihilate", "_scrub", "tombstone"])
def test_a_destruction_that_was_killed_is_run_to_its_end(device, ring, first, tmp_path, monkeypatch, step):
    ring.create_epoch(first)

    class Killed(BaseException):
        pass

    def die(*_args):
        raise Killed

    if step == "tombstone":
        real = ring._write
        monkeypatch.setattr(
            ring, "_write", lambda path, record: die() if "details" in record else real(path, record)
        )
    else:
        real_step = getattr(ring, step)
        # Killed after the step was done, before anybody wrote it down.
        monkeypatch.setattr(ring, step, lambda *args: (real_step(*args), die()))
    with pytest.raises(Killed):
        ring.destroy(first)
    again = device.ring(tmp_path / "ring")
    assert again.list()[0].state is EpochState.DESTROYING
    with pytest.raises(EpochDestroyed):
        again.open_epoch(first)
    assert again.destroy(first).epoch == first
    assert again.list()[0].state is EpochState.DESTROYED


def test_a_creation_that_was_killed_before_its_file_can_be_repeated(
    device, ring, first, tmp_path, monkeypatch
):
    monkeypatch.setattr(ring, "_write", lambda *_args: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        ring.create_epoch(first)
    again = device.ring(tmp_path / "ring")
    assert again.list() == ()
    again.create_epoch(first)
    assert len(again.open_epoch(first).material()) == 64


def test_a_full_disk_leaves_the_earlier_state(ring, first, monkeypatch, tmp_path):
    ring.create_epoch(first)
    material = ring.open_epoch(first).material()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ring_module.os, "fsync", full)
        with pytest.raises(RingStorage, match="No space left"):
            ring.destroy(first)
        with pytest.raises(RingStorage, match="earlier state is intact"):
            ring.create_epoch(first + 1)
    assert ring.open_epoch(first).material() == material
    assert [info.state for info in ring.list()] == [EpochState.LIVE]
    assert not list((tmp_path / "ring").glob("*.new"))


def test_another_device_or_secret_opens_nothing(device, ring, first, tmp_path):
    ring.create_epoch(first)
    with pytest.raises(ProviderRefused):
        device.other(tmp_path / "ring").open_epoch(first)


def test_damaged_and_mixed_up_files_are_told_apart_from_destroyed_ones(ring, first, tmp_path):
    ring.create_epoch(first)
    ring.create_epoch(first + 1)
    one, two = sorted((tmp_path / "ring").glob("epoch-*.json"))
    original = one.read_text()
    record, other = json.loads(original), json.loads(two.read_text())
    name = max(record["protected"], key=lambda key: len(record["protected"][key]))
    value = record["protected"][name]
    flipped = value[:-1] + ("0" if value[-1] != "0" else "1")
    broken = [
        "",
        "{",
        "[]",
        json.dumps({**record, "state": "unknown"}),
        json.dumps({**record, "epoch": first + 1}),
        json.dumps({key: item for key, item in record.items() if key != "check"}),
        json.dumps({**record, "protected": {**record["protected"], name: flipped}}),
        json.dumps({**record, "protected": {**record["protected"], name: "zz"}}),
        json.dumps({**record, "check": other["check"]}),
    ]
    for text in broken:
        one.write_text(text)
        with pytest.raises(RingCorrupt):
            ring.open_epoch(first)
    one.write_text(json.dumps({**record, "protected": other["protected"]}))
    with pytest.raises((RingCorrupt, EpochDestroyed)):
        ring.open_epoch(first)
    one.write_text(original)
    assert len(ring.open_epoch(first).material()) == 64


def test_what_was_sealed_under_an_epoch_dies_with_it(ring, first):
    ring.create_epoch(first)
    ring.create_epoch(first + 1)
    escrow = os.urandom(1000)
    sealed = ring.seal(first, "escrow", escrow)
    assert ring.unseal(first, "escrow", sealed) == escrow
    for number, purpose in ((first + 1, "escrow"), (first, "other")):
        with pytest.raises(RingCorrupt):
            ring.unseal(number, purpose, sealed)
    ring.destroy(first)
    with pytest.raises(EpochDestroyed):
        ring.unseal(first, "escrow", sealed)


def test_another_node_takes_over_the_keys_of_an_epoch(device, ring, first, tmp_path):
    ring.create_epoch(first)
    keys = ring.open_epoch(first)
    node = device.other(tmp_path / "node")
    node.create_epoch(first, EpochKeys(first, keys.material()))
    assert node.open_epoch(first).material() == keys.material()
    with pytest.raises(RingCorrupt):
        node.create_epoch(first + 1, keys)
    node.destroy(first)


def test_two_nodes_that_share_an_hsm_seal_the_same_epoch_and_both_open_it(hsm_module, first, tmp_path):
    ring, node = (HsmRing(tmp_path / name, hsm_module, "kontor", lambda: PIN) for name in ("ring", "node"))
    ring.create_epoch(first)
    keys = ring.open_epoch(first)
    node.create_epoch(first, EpochKeys(first, keys.material()))
    assert node.open_epoch(first).material() == ring.open_epoch(first).material() == keys.material()
    ring.destroy(first)
    with pytest.raises(EpochDestroyed):
        node.open_epoch(first)
    node.destroy(first)


def test_files_are_for_the_owner_alone(ring, first, tmp_path):
    ring.create_epoch(first)
    assert stat.S_IMODE((tmp_path / "ring").stat().st_mode) == 0o700
    for file in (tmp_path / "ring").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_no_file_of_the_ring_holds_the_material(ring, first, tmp_path):
    ring.create_epoch(first)
    material = ring.open_epoch(first).material()
    for file in (tmp_path / "ring").iterdir():
        content = file.read_bytes()
        for secret in (material[:32], material[32:]):
            assert secret not in content
            assert secret.hex().encode() not in content


def test_a_list_needs_neither_device_nor_secret(ring, first, tmp_path):
    ring.create_epoch(first)

    def closed():
        raise AssertionError("The secret was asked for.")

    from security.crypto.providers.passphrase import PassphraseRing

    assert [info.number for info in PassphraseRing(tmp_path / "ring", closed).list()] == [first]


def test_the_strict_profile_judges_a_ring_by_its_capabilities(ring, request):
    allowed = "argon2" not in str(getattr(ring, "_kdf", ""))
    if allowed:
        Profile.STRICT.require_provider(ring.capabilities)
    else:
        with pytest.raises(Exception, match="strict"):
            Profile.STRICT.require_provider(ring.capabilities)


@pytest.mark.parametrize("device", ["tpm2"], indirect=True)
def test_the_counters_of_a_tpm_are_used_again_and_never_for_two_live_epochs(device, ring, first):
    from security.crypto.providers.tpm import SLOTS

    for offset in range(SLOTS):
        ring.create_epoch(first + offset)
    with pytest.raises(ProviderRefused, match="Destroy an old epoch"):
        ring.create_epoch(first + SLOTS)
    ring.destroy(first + 3)
    ring.create_epoch(first + SLOTS)
    for number in (first, first + SLOTS):
        assert len(ring.open_epoch(number).material()) == 64
    with pytest.raises(EpochDestroyed):
        ring.open_epoch(first + 3)


@pytest.mark.parametrize("device", ["tpm2"], indirect=True)
def test_a_counter_that_somebody_wrote_into_the_file_is_not_taken_for_that_of_the_epoch(
    device, ring, first, tmp_path
):
    ring.create_epoch(first)
    ring.create_epoch(first + 1)
    one, two = sorted((tmp_path / "ring").glob("epoch-*.json"))
    record, other = json.loads(one.read_text()), json.loads(two.read_text())
    genuine = one.read_text()
    forged = {
        **record["protected"],
        "index": other["protected"]["index"],
        "counter": other["protected"]["counter"],
    }
    one.write_text(json.dumps({**record, "protected": forged}))
    assert ring.destroy(first).proven is False
    one.write_text(genuine)
    assert ring.destroy(first).proven is True


@pytest.mark.parametrize("device", ["tpm2"], indirect=True)
def test_a_counter_that_is_deleted_and_made_anew_does_not_bring_an_epoch_back(device, ring, first, tmp_path):
    import subprocess

    ring.create_epoch(first)
    shutil.copytree(tmp_path / "ring", tmp_path / "copy")
    index = json.loads(next((tmp_path / "ring").glob("epoch-*")).read_text())["protected"]["index"]
    ring.destroy(first)
    environment = {**os.environ, "TPM2TOOLS_TCTI": ring._tcti}
    subprocess.run(["tpm2_nvundefine", index, "-C", "o"], env=environment, check=True, capture_output=True)
    attributes = "ownerread|authread|ownerwrite|nt=counter|no_da"
    subprocess.run(
        ["tpm2_nvdefine", index, "-C", "o", "-a", attributes],
        env=environment,
        check=True,
        capture_output=True,
    )
    subprocess.run(["tpm2_nvincrement", index, "-C", "o"], env=environment, check=True, capture_output=True)
    with pytest.raises(EpochDestroyed):
        device.ring(tmp_path / "copy").open_epoch(first)


@pytest.mark.parametrize("device", ["tpm2"], indirect=True)
def test_the_tpm_itself_refuses_a_destroyed_epoch_not_only_our_look_at_the_counter(
    device, ring, first, tmp_path, monkeypatch
):
    ring.create_epoch(first)
    shutil.copytree(tmp_path / "ring", tmp_path / "copy")
    ring.destroy(first)
    copied = device.ring(tmp_path / "copy")
    sealed_at = bytes.fromhex(
        json.loads(next((tmp_path / "copy").glob("epoch-*")).read_text())["protected"]["counter"]
    )
    monkeypatch.setattr(copied, "_counter", lambda *_args: sealed_at)
    with pytest.raises(RingCorrupt):
        copied.open_epoch(first)


def test_a_tpm_that_does_not_answer_is_away_and_not_broken(tmp_path, first):
    from security.crypto.providers.tpm import TpmRing

    with pytest.raises(ProviderUnavailable):
        TpmRing(tmp_path, "swtpm:host=127.0.0.1,port=1").create_epoch(first)


def test_a_wrong_pin_and_a_missing_library_have_errors_of_their_own(tmp_path, hsm_module, first):
    from pathlib import Path

    with pytest.raises(ProviderRefused, match="PIN"):
        HsmRing(tmp_path, hsm_module, "kontor", lambda: "00000000").create_epoch(first)
    with pytest.raises(ProviderRefused, match="no token"):
        HsmRing(tmp_path, hsm_module, "nowhere", lambda: "87654321").create_epoch(first)
    with pytest.raises(ProviderUnavailable, match="isn't installed"):
        HsmRing(tmp_path, Path("/nonexistent.so"), "kontor", lambda: "87654321").create_epoch(first)


def test_a_weak_passphrase_and_weakened_costs_are_refused(tmp_path, first):
    from security.crypto.providers.passphrase import PassphraseRing

    with pytest.raises(ProviderRefused, match="at least"):
        PassphraseRing(tmp_path, lambda: b"short").create_epoch(first)
    PassphraseRing(tmp_path, lambda: b"long enough now").create_epoch(first)
    path = tmp_path / "ring.json"
    made = json.loads(path.read_text())
    made["parameters"]["memory_kib"] = 8
    path.write_text(json.dumps(made))
    with pytest.raises(RingCorrupt, match="costs"):
        PassphraseRing(tmp_path, lambda: b"long enough now").open_epoch(first)
    with pytest.raises(ProviderRefused, match="asked for"):
        PassphraseRing(tmp_path, lambda: b"long enough now", "pbkdf2-hmac-sha-256").open_epoch(first)
