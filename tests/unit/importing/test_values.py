# ruff: noqa: E501 - tables of real-life cells are read across
"""Cells to values: dates, numbers, names, mails, phones, places, choices."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.datamap import DataMap
from crm_server.domain import names
from crm_server.importing.errors import ValueProblem
from crm_server.importing.values import choices, dates, numbers, people, places
from crm_server.importing.values.convert import Options, Style, build_converter

MARCH_4 = dt.date(2026, 3, 4)


class TestDates:
    @pytest.mark.parametrize(
        "text, order",
        [
            ("2026-03-04", "dmy"), ("2026/3/4", "mdy"), ("2026.03.04", "dmy"), ("20260304", "dmy"),
            ("4.3.2026", "mdy"), ("04.03.26", "mdy"), ("4/3/2026", "dmy"), ("3/4/2026", "mdy"), ("3-4-2026", "mdy"),
            ("2026年3月4日", "dmy"), ("2026 年 3 月 4 日", "dmy"), ("4. März 2026", "dmy"), ("4 Mar 2026", "dmy"),
            ("March 4th, 2026", "dmy"), ("46085", "dmy"), ("2026-03-04 23:59:59", "dmy"), ("3/4/2026 11:30 PM", "mdy"), ("'2026-03-04", "dmy"),
        ],
    )  # fmt: skip
    def test_are_read_however_they_are_written(self, text: str, order: dates.DateOrder) -> None:
        assert dates.parse_date(text, order) == MARCH_4

    @pytest.mark.parametrize(
        "text, code",
        [("31.02.2026", "date.impossible"), ("2/30/1985", "date.impossible"), ("soon", "date.unreadable"),
         ("99999", "date.unreadable"), ("0001-01-01", "date.range"), ("12", "date.unreadable")],
    )  # fmt: skip
    def test_that_make_no_sense_say_why(self, text: str, code: str) -> None:
        with pytest.raises(ValueProblem) as caught:
            dates.parse_date(text, "mdy")
        assert caught.value.code == code

    @pytest.mark.parametrize(
        "cells, order, ambiguous",
        [
            (["3/4/2026", "3/25/2026"], "mdy", False),
            (["3/4/2026", "25/3/2026"], "dmy", False),
            (["3/4/2026", "5/6/2026"], "dmy", True),
            (["3.4.2026"], "dmy", False),
            (["3/3/2026"], "dmy", False),
        ],
    )
    def test_of_a_column_decide_their_order_together(
        self, cells: list[str], order: dates.DateOrder, *, ambiguous: bool
    ) -> None:
        evidence = dates.DateEvidence()
        for cell in cells:
            evidence.add(cell)
        assert (evidence.order(), evidence.ambiguous) == (order, ambiguous)

    @pytest.mark.parametrize(
        "text, hour",
        [("2026-03-04 09:14", 8), ("2026-03-04T09:14:00Z", 9), ("2026-03-04T09:14:00+08:00", 1), ("4.3.2026 9:14 Uhr", 8),
         ("2026年3月4日 下午3:05", 14), ("2026-03-04 12:05 AM", 23)],
    )  # fmt: skip
    def test_with_times_become_moments(self, text: str, hour: int) -> None:
        found = dates.parse_datetime(text, "dmy", ZoneInfo("Europe/Berlin"))
        assert found.astimezone(dt.UTC).hour == hour

    @given(st.dates(dt.date(1930, 1, 1), dt.date(2100, 1, 1)))
    def test_written_in_any_known_style_come_back_unchanged(self, day: dt.date) -> None:
        serial = (day - dt.date(1899, 12, 30)).days
        for text, order in (
            (day.isoformat(), "dmy"), (f"{day:%d.%m.%Y}", "dmy"), (f"{day:%m/%d/%Y}", "mdy"), (f"{day:%d/%m/%Y}", "dmy"),
            (f"{day.year}年{day.month}月{day.day}日", "dmy"), (str(serial), "dmy"),
        ):  # fmt: skip
            assert dates.parse_date(text, order) == day  # type: ignore[arg-type]


class TestNumbers:
    @pytest.mark.parametrize(
        "text, separator, value, currency",
        [
            ("1,234.56", ".", "1234.56", None), ("1.234,56 €", ".", "1234.56", "EUR"), ("€ 1.234,56", ",", "1234.56", "EUR"),
            ("¥1,234", ".", "1234", "CNY"), ("￥1,234.00", ".", "1234", "CNY"), ("1 234,50", ",", "1234.5", None),
            ("1'234.50 CHF", ".", "1234.5", "CHF"), ("(1,234)", ".", "-1234", None), ("12,5-", ",", "-12.5", None),
            ("1.2万", ".", "12000", None), ("3亿元", ".", "300000000", "CNY"), ("USD 5,000", ".", "5000", "USD"),
            ("$0.99", ".", "0.99", "USD"), ("１２３", ".", "123", None), ("1.234", ",", "1234", None), ("1.234", ".", "1.234", None),
            ("HK$10", ".", "10", "HKD"),
        ],
    )  # fmt: skip
    def test_and_money_are_read_however_they_are_written(
        self, text: str, separator: numbers.Separator, value: str, currency: str | None
    ) -> None:
        assert numbers.parse_money(text, separator) == numbers.Amount(Decimal(value), currency)

    @pytest.mark.parametrize("text", ["abc", "12x", "1,23,4.5", "", "-", "1.2.3,4,5"])
    def test_that_make_no_sense_are_refused(self, text: str) -> None:
        with pytest.raises(ValueProblem, match="number"):
            numbers.parse_number(text)

    def test_of_a_column_decide_their_separator_together(self) -> None:
        evidence = numbers.NumberEvidence()
        for cell in ("1.234", "12.000", "7,5"):
            evidence.add(cell)
        assert (evidence.separator(), evidence.ambiguous) == (",", False)

    def test_money_in_minor_units_keeps_to_the_precision_of_its_currency(self) -> None:
        assert numbers.Amount(Decimal("12.34"), None).minor("EUR") == 1234
        assert numbers.Amount(Decimal(12), None).minor("JPY") == 12
        with pytest.raises(ValueProblem):
            numbers.Amount(Decimal("12.345"), None).minor("EUR")

    @pytest.mark.parametrize(
        "text, shares, value",
        [("40", False, 40), ("40 %", False, 40), ("0.4", True, 40), ("40%", True, 40)],
    )
    def test_shares_and_percentages_are_told_apart_by_the_column(
        self, text: str, *, shares: bool, value: int
    ) -> None:
        assert numbers.parse_percent(text, shares=shares) == value

    @pytest.mark.parametrize(
        "text, value",
        [("Yes", True), ("nein", False), ("是", True), ("否", False), ("1", True), ("FALSE", False)],
    )
    def test_yes_and_no_in_three_languages(self, text: str, *, value: bool) -> None:
        assert numbers.parse_boolean(text) is value


class TestPeople:
    @pytest.mark.parametrize(
        "text, given_name, family_name",
        [
            ("王伟", "伟", "王"), ("李 娜", "娜", "李"), ("欧阳娜娜", "娜娜", "欧阳"), ("欧阳锋", "锋", "欧阳"), ("司马懿先生", "懿", "司马"),
            ("安娜·施密特", "安娜", "施密特"), ("Anna Schmidt", "Anna", "Schmidt"), ("Schmidt, Anna", "Anna", "Schmidt"),
            ("Ludwig van der Berg", "Ludwig", "van der Berg"), ("Dr. Anna-Lena Müller", "Anna-Lena", "Müller"),
            ("Frau Prof. Dr. Eva Maria Weiß", "Eva Maria", "Weiß"), ("Mr. John Smith Jr.", "John", "Smith"), ("Cher", None, "Cher"),
        ],
    )  # fmt: skip
    def test_names_are_split_by_the_custom_of_their_script(
        self, text: str, given_name: str | None, family_name: str
    ) -> None:
        name = people.split_name(text)
        assert (name.given, name.family) == (given_name, family_name)

    @pytest.mark.parametrize("given_name, family_name", [("伟", "王"), ("娜娜", "欧阳"), ("Anna", "Schmidt")])
    def test_a_joined_name_splits_back(self, given_name: str, family_name: str) -> None:
        name = people.split_name(names.compose(family_name, given_name))
        assert (name.given, name.family) == (given_name, family_name)

    @pytest.mark.parametrize(
        "text, country, value",
        [
            ("+49 (0)30 123456", None, "+4930123456"), ("0049 30 123456", None, "+4930123456"), ("030/123456", "DE", "+4930123456"),
            ("138 0013 8000", "CN", "+8613800138000"), ("(212) 555-0123", "US", "+12125550123"),
            ("+1 212 555 0123 ext. 45", None, "+12125550123;ext=45"), ("010-88880000转12", "CN", "+861088880000;ext=12"),
        ],
    )  # fmt: skip
    def test_phones_become_e164(self, text: str, country: str | None, value: str) -> None:
        assert people.parse_phone(text, country) == value

    def test_numbers_in_e164_form_come_back_as_the_library_writes_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        examples = [
            phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            for region in sorted(phonenumbers.SUPPORTED_REGIONS)
            for kind in range(5)
            if (number := phonenumbers.example_number_for_type(region, kind)) is not None
        ]
        # Some with a digit less or more, and some that begin with what may be a national prefix.
        told = examples + [text[:-1] for text in examples] + [f"{text[:3]}8{text[3:]}" for text in examples]
        short = [text for text in told if people._is_e164(text)]
        monkeypatch.setattr(people, "_is_e164", lambda _text: False)
        assert len(short) > len(examples) / 2
        assert [people.parse_phone(text) for text in short] == short

    @pytest.mark.parametrize(
        "text, country, code",
        [("030 123456", None, "phone.country"), ("call me", "DE", "phone.invalid"), ("4.915E+11", "DE", "phone.invalid"), ("12", "DE", "phone.invalid")],
    )  # fmt: skip
    def test_what_is_no_phone_says_why(self, text: str, country: str | None, code: str) -> None:
        with pytest.raises(ValueProblem) as caught:
            people.parse_phone(text, country)
        assert caught.value.code == code

    @pytest.mark.parametrize(
        "text, value",
        [("Ann.X@EXAMPLE.com", "Ann.X@example.com"), ("Ann <ann@example.com>", "ann@example.com"), ("mailto:a@example.com", "a@example.com"),
         (" ann@example.com ", "ann@example.com"), ("jürgen@exämple.de", "jürgen@exämple.de")],
    )  # fmt: skip
    def test_mail_addresses_are_tidied(self, text: str, value: str) -> None:
        assert people.parse_email(text) == value

    @pytest.mark.parametrize(
        "text",
        [
            "none",
            "a@",
            "@b.com",
            "a@b",
            "a b@example.com",
            "a@b@example.com",
            "x@-y.com",
            "a@x.com;b@x.com",
            "a..b@example.com",
        ],
    )
    def test_what_is_no_mail_address_is_refused(self, text: str) -> None:
        with pytest.raises(ValueProblem):
            people.parse_email(text)

    @pytest.mark.parametrize(
        "text, value",
        [
            ("example.com", "https://example.com"),
            ("http://a.example/x?y", "http://a.example/x?y"),
            ("例子.中国", "https://例子.中国"),
        ],
    )
    def test_web_addresses_get_a_scheme(self, text: str, value: str) -> None:
        assert people.parse_url(text) == value


class TestPlacesAndChoices:
    @pytest.mark.parametrize(
        "text, code",
        [("Germany", "DE"), ("Deutschland", "DE"), ("德国", "DE"), ("DEU", "DE"), ("de", "DE"), ("U.S.A.", "US"), ("英国", "GB"),
         ("Great Britain", "GB"), ("中国", "CN"), ("Österreich", "AT"), ("Hong Kong", "HK"), ("Côte d'Ivoire", "CI"), ("Türkiye", "TR")],
    )  # fmt: skip
    def test_countries_by_name_and_code(self, text: str, code: str) -> None:
        assert places.parse_country(text) == code

    @pytest.mark.parametrize(
        "text, code",
        [
            ("German", "de"),
            ("zh-CN", "zh_Hans"),
            ("en-US", "en_US"),
            ("简体中文", "zh_Hans"),
            ("de-DE", "de"),
        ],
    )
    def test_languages_by_name_and_tag(self, text: str, code: str) -> None:
        assert places.parse_language(text) == code

    @pytest.mark.parametrize(
        "text, code", [("EUR", "EUR"), ("Euro", "EUR"), ("人民币", "CNY"), ("US Dollar", "USD")]
    )
    def test_currencies_by_name_and_code(self, text: str, code: str) -> None:
        assert places.parse_currency(text) == code

    @pytest.mark.parametrize("parse", [places.parse_country, places.parse_language, places.parse_currency])
    def test_unknown_names_are_refused(self, parse: object) -> None:
        with pytest.raises(ValueProblem):
            parse("Absurdistan")  # type: ignore[operator]

    def test_choices_by_key_label_and_the_words_of_other_systems(self, entities: DataMap) -> None:
        words = choices.choice_words(entities["contact"].fields["source"].policy.choices)
        found = [
            choices.parse_choice(text, words)
            for text in ("web", "Website", "Trade Show", "Word of mouth", "展会", "OTHER")
        ]
        assert found == ["web", "web", "event", "referral", "event", "other"]
        with pytest.raises(ValueProblem, match="advertising"):
            choices.parse_choice("Moon", words)

    @pytest.mark.parametrize("policy, value", [("blank", None), ("other", "other")])
    def test_unknown_words_of_a_choice_follow_the_option(
        self, policy: str, value: str | None, entities: DataMap
    ) -> None:
        convert = build_converter(
            entities["contact"].fields["source"].policy, Style(), Options(unknown_choice=policy)
        )
        assert convert("Moon") == value


class TestTexts:
    def test_longer_than_the_field_are_refused_and_line_breaks_become_commas(self, entities: DataMap) -> None:
        convert = build_converter(entities["contact"].fields["city"].policy, Style(), Options())
        assert convert("Main Street 1\nFloor 3") == "Main Street 1, Floor 3"
        with pytest.raises(ValueProblem) as caught:
            convert("x" * 500)
        assert caught.value.code == "text.too_long"

    def test_the_apostrophe_that_the_export_puts_before_formulas_is_taken_off(
        self, entities: DataMap
    ) -> None:
        convert = build_converter(entities["contact"].fields["city"].policy, Style(), Options())
        assert [convert(text) for text in ("'=SUM(1)", "'t Veld")] == ["=SUM(1)", "'t Veld"]

    def test_control_characters_never_reach_the_database(self, entities: DataMap) -> None:
        convert = build_converter(entities["contact"].fields["city"].policy, Style(), Options())
        assert convert("Ber\x0blin\x1f!") == "Ber lin !"

    def test_messages_never_repeat_the_cell(self, entities: DataMap) -> None:
        for name in ("email", "phone", "birth_date", "country", "language", "salutation"):
            convert = build_converter(entities["contact"].fields[name].policy, Style(), Options())
            with pytest.raises(ValueProblem) as caught:
                convert("Secret7 Person")
            assert "Secret7" not in str(caught.value)
