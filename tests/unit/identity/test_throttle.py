"""Named limits (AUTH-12, AUTH-18)."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from security.identity.throttle import (
    Limit,
    MemoryThrottleStore,
    Taken,
    Throttle,
    ThrottleState,
    parse_limits,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_limits_are_sentences() -> None:
    assert parse_limits("10 per 5 minutes") == (Limit(10, timedelta(minutes=5)),)
    assert parse_limits("5 per minute, 100 per day") == (
        Limit(5, timedelta(minutes=1)),
        Limit(100, timedelta(days=1)),
    )


@pytest.mark.parametrize(
    "text", ["", "ten per minute", "0 per minute", "5 per 0 minutes", "5 per fortnight", "5 / minute"]
)
def test_a_sentence_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected something like"):
        parse_limits(text)


def test_the_window_slides_exactly() -> None:
    clock = Clock()
    throttle = Throttle("login", "3 per 5 minutes", MemoryThrottleStore(), clock=clock)
    for minute in (0, 1, 2):
        clock.now = NOON + timedelta(minutes=minute)
        assert throttle.hit("a").allowed
    clock.now = NOON + timedelta(minutes=4)
    refused = throttle.hit("a")
    assert (refused.state, refused.retry_after) == (ThrottleState.LIMITED, 60)
    assert throttle.hit("b").allowed
    clock.now = NOON + timedelta(minutes=5)
    assert throttle.hit("a").allowed
    assert not throttle.hit("a").allowed


def test_a_long_limit_holds_beside_a_short_one() -> None:
    clock = Clock()
    throttle = Throttle("login", "2 per minute, 3 per day", MemoryThrottleStore(), clock=clock)
    outcomes = []
    for minute in range(5):
        clock.now = NOON + timedelta(minutes=2 * minute)
        outcomes.append(throttle.hit("a").allowed)
    assert outcomes == [True, True, True, False, False]


def test_success_forgives_typing_errors() -> None:
    throttle = Throttle("login", "2 per hour", MemoryThrottleStore())
    throttle.hit("a")
    throttle.hit("a")
    throttle.forgive("a")
    assert throttle.hit("a").allowed


def test_a_store_that_fails_lets_nobody_through() -> None:  # AUTH-18
    class Broken:
        def take(self, name: str, key: str, limit: Limit, now: datetime) -> Taken:
            raise ConnectionError

        def forget(self, name: str, key: str) -> None:
            raise ConnectionError

    verdict = Throttle("login", "5 per minute", Broken()).hit("a")
    assert (verdict.allowed, verdict.state) == (False, ThrottleState.UNAVAILABLE)


def test_fifty_parallel_guesses_get_five_tries() -> None:  # AUTH-12
    throttle = Throttle("totp", "5 per 5 minutes", MemoryThrottleStore())
    allowed: list[bool] = []
    barrier = threading.Barrier(50)

    def guess() -> None:
        barrier.wait()
        allowed.append(throttle.hit("a").allowed)

    threads = [threading.Thread(target=guess) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allowed.count(True) == 5
