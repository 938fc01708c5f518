"""Passwords: hashing, profiles, policy (ENC-19, AUTH-17)."""

import time

import argon2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.identity import password as pw

ARGON = pw.PasswordHasher()
STRICT = pw.PasswordHasher(pw.HashProfile.PBKDF2_SHA256)


def test_argon2id_is_used_with_at_least_19_mib_and_two_passes() -> None:  # ENC-19
    parameters = argon2.extract_parameters(ARGON.hash("a long enough passphrase"))
    assert parameters.type is argon2.Type.ID
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2


def test_the_strict_profile_uses_at_least_600_000_rounds() -> None:  # ENC-19
    stored = STRICT.hash("a long enough passphrase")
    assert stored.startswith("$pbkdf2-sha256$i=600000,l=32$")


@pytest.mark.parametrize("hasher", [ARGON, STRICT])
def test_the_right_password_matches_and_a_wrong_one_does_not(hasher: pw.PasswordHasher) -> None:
    stored = hasher.hash("Sommer am Fluß 42")
    assert hasher.verify(stored, "Sommer am Fluß 42") == pw.Verification(True, needs_rehash=False)
    assert hasher.verify(stored, "sommer am Fluß 42") == pw.Verification(False)


def test_a_change_of_profile_locks_nobody_out_and_asks_for_a_new_hash() -> None:
    assert STRICT.verify(ARGON.hash("x" * 20), "x" * 20) == pw.Verification(True, needs_rehash=True)
    assert ARGON.verify(STRICT.hash("x" * 20), "x" * 20) == pw.Verification(True, needs_rehash=True)


def test_a_hash_of_lower_cost_is_replaced_at_log_in() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("x" * 20)
    assert ARGON.verify(weak, "x" * 20).needs_rehash


@pytest.mark.parametrize(
    "stored",
    ["", "plain", "$argon2id$broken", "$pbkdf2-sha256$i=1", "$pbkdf2-sha256$i=9999999999,l=32$AA$AA"],
)
def test_a_damaged_hash_never_matches(stored: str) -> None:
    assert not ARGON.verify(stored, "whatever").matched


def test_composed_and_decomposed_letters_are_the_same_password() -> None:
    assert ARGON.verify(ARGON.hash("Malmo\u0308 Malmo\u0308"), "Malm\u00f6 Malm\u00f6").matched


def test_empty_and_overlong_passwords_are_not_hashed() -> None:
    for text in ("", "x" * 257):
        with pytest.raises(ValueError, match="1 to 256"):
            ARGON.hash(text)
        assert not ARGON.verify(ARGON.hash("x"), text).matched


def test_an_unknown_user_costs_the_time_of_a_known_one() -> None:  # AUTH-2
    stored = ARGON.hash("a long enough passphrase")

    def cheapest(action: object) -> float:
        times = []
        for _ in range(5):
            # Work and not the clock on the wall, which other processes of a busy machine move.
            start = time.process_time()
            action()  # type: ignore[operator]
            times.append(time.process_time() - start)
        return min(times)

    known = cheapest(lambda: ARGON.verify(stored, "a wrong passphrase"))
    unknown = cheapest(lambda: ARGON.burn("a wrong passphrase"))
    assert 0.5 < unknown / known < 2


@pytest.mark.parametrize(
    "text, second_factor, weaknesses",
    [
        ("velvet otter compiles", False, set()),
        ("only14letters!", False, {pw.Weakness.TOO_SHORT}),
        ("tv9#kelp", True, set()),
        ("tv9#kel", True, {pw.Weakness.TOO_SHORT}),
        ("PassWord123", True, {pw.Weakness.COMMON, pw.Weakness.GUESSABLE}),
        ("aaaaaaaaaaaaaaaaaaaa", False, {pw.Weakness.GUESSABLE}),
        ("x" * 300, False, {pw.Weakness.TOO_LONG}),
        ("", True, {pw.Weakness.TOO_SHORT, pw.Weakness.GUESSABLE}),
    ],
)
def test_the_policy_counts_length_and_guesses_not_kinds_of_characters(  # AUTH-17
    text: str, second_factor: bool, weaknesses: set[pw.Weakness]
) -> None:
    assert set(pw.assess(text, second_factor=second_factor).weaknesses) == weaknesses


def test_a_password_made_of_the_users_own_words_is_refused() -> None:  # AUTH-17
    found = pw.assess(
        "wilhelmina.okafor2026", second_factor=False, personal=["wilhelmina.okafor@example.com"]
    )
    assert pw.Weakness.PERSONAL in found.weaknesses


def test_a_site_can_bring_its_own_block_list() -> None:
    found = pw.assess(
        "velvet otter compiles", second_factor=False, blocked=frozenset({"velvet otter compiles"})
    )
    assert found.weaknesses == (pw.Weakness.COMMON,)


def test_the_shipped_block_list_holds_the_usual_suspects() -> None:
    assert {"123456789", "password123", "woaini1314", "passwort123", "changeme"} <= pw.common_passwords()
    assert len(pw.common_passwords()) > 10_000


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_assessed(text: str) -> None:
    found = pw.assess(text, second_factor=True, personal=[text[:5]])
    assert 0 <= found.score <= 4


@settings(max_examples=8, deadline=None)
@given(st.text(min_size=1, max_size=100).filter(lambda t: not any(0xD800 <= ord(c) <= 0xDFFF for c in t)))
def test_any_text_verifies_against_its_own_hash(text: str) -> None:
    assert ARGON.verify(ARGON.hash(text), text).matched
