"""Time-based codes (AUTH-12) and recovery codes (AUTH-13)."""

import math
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from security.identity import recovery, totp

SEED = b"12345678901234567890"
NOW = datetime(2026, 11, 22, 12, 0, 10, tzinfo=UTC)
STEP = int(NOW.timestamp()) // 30


@pytest.mark.parametrize(
    "seconds, code",
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"),
     (2000000000, "279037"), (20000000000, "353130")],
)  # fmt: skip
def test_codes_agree_with_appendix_b_of_rfc_6238(seconds: int, code: str) -> None:  # AUTH-12
    assert totp.code_at(SEED, seconds // 30) == code


def test_the_uri_gives_an_authenticator_the_same_codes() -> None:
    app = pyotp.parse_uri(totp.provisioning_uri(SEED, "lena@example.com", "Kontor"))
    assert isinstance(app, pyotp.TOTP)
    assert (app.name, app.issuer) == ("lena@example.com", "Kontor")
    assert totp.match(SEED, app.at(NOW), NOW).matched


@pytest.mark.parametrize(
    "offset, state",
    [
        (0, totp.TotpState.MATCHED),
        (-1, totp.TotpState.MATCHED),
        (1, totp.TotpState.MATCHED),
        (-2, totp.TotpState.CLOCK_DRIFT),
        (10, totp.TotpState.CLOCK_DRIFT),
        (11, totp.TotpState.WRONG),
    ],
)
def test_the_window_is_one_step_either_side(offset: int, state: totp.TotpState) -> None:  # AUTH-12
    verdict = totp.match(SEED, totp.code_at(SEED, STEP + offset), NOW)
    assert verdict.state is state
    assert verdict.step == (STEP + offset if state is totp.TotpState.MATCHED else None)


def test_a_used_step_and_those_before_it_are_replays() -> None:  # AUTH-12
    for offset in (-1, 0):
        verdict = totp.match(SEED, totp.code_at(SEED, STEP + offset), NOW, last_step=STEP)
        assert verdict.state is totp.TotpState.REPLAYED
    assert totp.match(SEED, totp.code_at(SEED, STEP + 1), NOW, last_step=STEP).matched


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "12345\x00"])
def test_malformed_codes_are_told_apart(code: str) -> None:
    assert totp.match(SEED, code, NOW).state is totp.TotpState.MALFORMED


def test_a_code_may_be_typed_in_two_groups() -> None:
    code = totp.code_at(SEED, STEP)
    assert totp.match(SEED, f" {code[:3]} {code[3:]} ", NOW).matched


def test_seeds_have_160_bits_and_can_be_typed() -> None:
    seed = totp.new_seed()
    assert len(seed) == 20
    assert len(totp.seed_as_text(seed).split()) == 8


def test_a_clock_minutes_off_is_refused_but_named() -> None:
    late = NOW + timedelta(minutes=4)
    assert totp.match(SEED, totp.code_at(SEED, STEP), late).drift == -8


class TestRecoveryCodes:
    def test_there_are_ten_codes_of_60_bits(self) -> None:  # AUTH-13
        made = recovery.new_recovery_codes()
        assert len(set(made.codes)) == len(set(made.digests)) == 10
        letters = len(made.codes[0].replace("-", ""))
        assert letters * math.log2(32) == 60
        assert made.codes[0] not in repr(made)

    def test_a_code_is_found_however_it_is_typed(self) -> None:
        made = recovery.new_recovery_codes()
        for code, digest in zip(made.codes[:2], made.digests, strict=False):
            sloppy = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
            assert recovery.matching_digest(sloppy, made.salt, made.digests) == digest

    @pytest.mark.parametrize("text", ["", "0000-0000-0000", "short", "UUUU-UUUU-UUUU", "é" * 12])
    def test_other_text_matches_nothing(self, text: str) -> None:
        made = recovery.new_recovery_codes()
        assert recovery.matching_digest(text, made.salt, made.digests) is None

    def test_an_empty_set_matches_nothing(self) -> None:
        assert recovery.matching_digest("0000-0000-0000", b"s" * 16, []) is None
