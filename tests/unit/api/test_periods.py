from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.kernel.listing.periods import Period, parse_period

TODAY = date(2026, 11, 22)  # a Sunday


class TestPeriods:
    @pytest.mark.parametrize(
        "word,start,end",
        [
            ("today", "2026-11-22", "2026-11-23"),
            ("yesterday", "2026-11-21", "2026-11-22"),
            ("tomorrow", "2026-11-23", "2026-11-24"),
            ("this_week", "2026-11-16", "2026-11-23"),
            ("last_week", "2026-11-09", "2026-11-16"),
            ("next_week", "2026-11-23", "2026-11-30"),
            ("this_month", "2026-11-01", "2026-12-01"),
            ("next_month", "2026-12-01", "2027-01-01"),
            ("this_quarter", "2026-10-01", "2027-01-01"),
            ("last_quarter", "2026-07-01", "2026-10-01"),
            ("this_year", "2026-01-01", "2027-01-01"),
            ("last_year", "2025-01-01", "2026-01-01"),
            ("last_30_days", "2026-10-24", "2026-11-23"),
            ("last_1_days", "2026-11-22", "2026-11-23"),
            ("next_7_days", "2026-11-23", "2026-11-30"),
            ("last_2_weeks", "2026-11-09", "2026-11-23"),
            ("last_3_months", "2026-08-23", "2026-11-23"),
        ],
    )
    def test_a_word_means_these_days(self, word: str, start: str, end: str) -> None:
        assert parse_period(word, TODAY) == Period(date.fromisoformat(start), date.fromisoformat(end))

    @pytest.mark.parametrize(
        "word",
        ["", "soon", "last_days", "last_0_days", "last_99999_days", "this_30_days"],
    )
    def test_other_words_mean_nothing(self, word: str) -> None:
        assert parse_period(word, TODAY) is None

    @given(
        st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.sampled_from(["week", "month", "quarter", "year"])
    )
    def test_last_this_and_next_follow_each_other_without_gap(self, today: date, unit: str) -> None:
        last, this, following = (parse_period(f"{which}_{unit}", today) for which in ("last", "this", "next"))
        assert last is not None
        assert this is not None
        assert following is not None
        assert (last.end, this.end) == (this.start, following.start)
        assert this.start <= today < this.end

    def test_a_day_begins_at_midnight_where_the_reader_is(self) -> None:
        start, end = Period(date(2026, 3, 29), date(2026, 3, 30)).instants(ZoneInfo("Europe/Berlin"))
        assert start == datetime(2026, 3, 28, 23, tzinfo=UTC)
        # The day on which summer time begins has 23 hours.
        assert end == datetime(2026, 3, 29, 22, tzinfo=UTC)
