"""How values are written and read in the custom of each language."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.web import formats
from crm_server.web.views.custom_fields import choices_of, slug

BERLIN = ZoneInfo("Europe/Berlin")


class TestMoney:
    @pytest.mark.parametrize(
        "text,currency,minor",
        [
            ("1,250.5", "EUR", 125050),
            ("1250.50", "EUR", 125050),
            ("€ 1,250", "EUR", 125000),
            ("EUR 3", "EUR", 300),
            ("-7.25", "USD", -725),
            ("12000", "JPY", 12000),
            ("1.5", "KWD", 1500),
            ("0", "EUR", 0),
        ],
    )
    def test_an_amount_is_read_as_people_type_it(self, text, currency, minor) -> None:
        assert formats.parse_money(text, currency, "en") == minor

    @pytest.mark.parametrize(
        "text", ["twelve", "1.005", "1,2,3.4.5", "", "€", "1e5", "NaN", "Infinity", "0x10"]
    )
    def test_what_is_no_amount_is_refused_and_nothing_is_rounded(self, text) -> None:
        assert formats.parse_money(text, "EUR", "en") is None

    def test_yen_have_no_decimal_places(self) -> None:
        assert formats.parse_money("12.5", "JPY", "en") is None

    @given(minor=st.integers(-(10**15), 10**15), currency=st.sampled_from(["EUR", "JPY", "KWD", "CNY"]))
    def test_what_stands_in_a_field_is_read_back_as_it_was(self, minor, currency) -> None:
        for locale in formats.LOCALES:
            assert (
                formats.parse_money(formats.money_input(minor, currency, locale), currency, locale) == minor
            )

    def test_money_is_written_in_the_custom_of_the_language(self) -> None:
        assert formats.as_money(125050, "EUR", "en") == "€1,250.50"
        assert formats.as_money(125050, "CNY", "zh_Hans") == "¥1,250.50"
        assert formats.as_money(125050, "EUR", "en", whole=True) == "€1,250"
        assert formats.as_money(1250, "JPY", "en") == "JP¥1,250"


class TestTime:
    def test_a_moment_is_shown_in_the_readers_time_zone(self) -> None:
        moment = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
        assert formats.as_datetime(moment, "en", BERLIN) == "2 Jul 2026, 00:30"
        assert formats.as_datetime(moment, "zh_Hans", ZoneInfo("Asia/Shanghai")) == "2026年7月2日 06:30"

    def test_what_is_typed_in_a_time_zone_is_kept_in_utc(self) -> None:
        assert formats.parse_local("2026-07-02T00:30", BERLIN) == "2026-07-01T22:30:00Z"
        assert formats.parse_local("2026-01-02T00:30", BERLIN) == "2026-01-01T23:30:00Z"
        assert formats.parse_local("soon", BERLIN) is None

    def test_a_day_is_written_out(self) -> None:
        assert formats.as_date(date(2026, 3, 3), "en") == "3 Mar 2026"
        assert formats.as_date(date(2026, 3, 3), "zh_Hans") == "2026年3月3日"


class TestWords:
    def test_countries_and_languages_have_names(self) -> None:
        assert formats.country_name("DE", "zh_Hans") == "德国"
        assert formats.language_name(
            "zh_Hans", "en"
        ) == "Chinese (Simplified)" or "Simplified" in formats.language_name("zh_Hans", "en")

    def test_names_for_programs_are_made_from_labels(self) -> None:
        assert slug("Favourite Colour (now)") == "favourite_colour_now"
        assert slug("Größe") == "grosse" or slug("Größe") == "groe"
        assert slug("客户等级") == ""
        assert slug("2nd choice") == "field_2nd_choice"

    def test_choices_are_read_line_by_line_with_both_languages(self) -> None:
        found = choices_of("Gold | 金牌\n\nSilver\nGold | 再次")
        assert found["gold"] == {"en": "Gold", "zh_Hans": "金牌"}
        assert found["silver"] == {"en": "Silver"}
        assert len(found) == 3


@pytest.mark.parametrize(
    "sent,shown",
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0",
            "Firefox · Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 Version/17.5 Safari/604.1",
            "Safari · iPhone",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0",
            "Edge · Linux",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        (None, "–"),
    ],
)
def test_browsers_are_named_as_people_know_them(sent: str | None, shown: str) -> None:
    assert formats.browser_name(sent) == shown
