"""Session tokens and lifetimes (AUTH-16), step-up freshness (AUTH-15)."""

from datetime import UTC, datetime, timedelta

import pytest

from security.identity.sessions import (
    SessionFacts,
    SessionState,
    digest_session_token,
    is_fresh,
    judge_session,
    new_session_token,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
M = timedelta(minutes=1)
H = timedelta(hours=1)


def facts(created: datetime = NOON, seen: datetime | None = None, **more: object) -> SessionFacts:
    return SessionFacts(created, seen or created, **more)  # type: ignore[arg-type]


def test_a_token_has_256_bits_and_only_its_hash_is_for_storing() -> None:  # AUTH-16
    token = new_session_token()
    assert len(token.text) == 43
    assert len(token.digest) == 32
    assert digest_session_token(token.text) == token.digest
    assert token.text not in repr(token)
    assert len({new_session_token().text for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["", "x", "a" * 42, "a" * 44, "a" * 42 + "=", "é" * 43, "a" * 42 + "\n"])
def test_text_that_cannot_be_a_token_is_not_looked_up(text: str) -> None:
    assert digest_session_token(text) is None


@pytest.mark.parametrize(
    "given, now, state",
    [
        (facts(), NOON, SessionState.ACTIVE),
        (facts(), NOON + 30 * M - timedelta(microseconds=1), SessionState.ACTIVE),
        (facts(), NOON + 30 * M, SessionState.IDLE),
        (facts(administrator=True), NOON + 15 * M - timedelta(microseconds=1), SessionState.ACTIVE),
        (facts(administrator=True), NOON + 15 * M, SessionState.IDLE),
        (facts(seen=NOON + 11.9 * H), NOON + 12 * H - timedelta(microseconds=1), SessionState.ACTIVE),
        (facts(seen=NOON + 11.9 * H), NOON + 12 * H, SessionState.EXPIRED),
        (facts(revoked_at=NOON), NOON, SessionState.REVOKED),
        (facts(user_active=False), NOON, SessionState.USER_INACTIVE),
        (facts(sessions_valid_after=NOON + M), NOON + 2 * M, SessionState.SUPERSEDED),
        (facts(sessions_valid_after=NOON), NOON + M, SessionState.ACTIVE),
        (facts(), NOON - 2 * M, SessionState.ACTIVE),
        (facts(), NOON - 3 * M, SessionState.FROM_THE_FUTURE),
    ],
)
def test_lifetime_rules(given: SessionFacts, now: datetime, state: SessionState) -> None:  # AUTH-16
    assert judge_session(given, now).state is state


def test_the_last_use_is_written_once_a_minute_and_the_end_is_told() -> None:
    quiet = judge_session(facts(), NOON + timedelta(seconds=59))
    assert (quiet.touch, quiet.ends_at) == (False, NOON + 30 * M)
    busy = judge_session(facts(), NOON + M)
    assert (busy.touch, busy.ends_at) == (True, NOON + 31 * M)
    late = judge_session(facts(seen=NOON + 11.8 * H), NOON + 11.9 * H)
    assert late.ends_at == NOON + 12 * H


@pytest.mark.parametrize(
    "proved, fresh",
    [(None, False), (NOON, True), (NOON - 5 * M, True), (NOON - 5 * M - timedelta(seconds=1), False),
     (NOON + timedelta(seconds=4), True), (NOON + M, False)],
)  # fmt: skip
def test_step_up_lasts_five_minutes(proved: datetime | None, fresh: bool) -> None:  # AUTH-15
    assert is_fresh(proved, NOON) is fresh
