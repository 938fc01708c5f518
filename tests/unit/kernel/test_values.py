"""Decoding of values: what fits, what is refused with which code, and that no refusal quotes the value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.datamap import FieldPolicy, Semantic
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS
from crm_server.kernel.values import Rejected, decode


def policy(semantic: Semantic, **options: Any) -> FieldPolicy:
    defaults: dict[str, Any] = {"max_length": 50} if semantic in {Semantic.TEXT, Semantic.EMAIL} else {}
    if semantic is Semantic.CHOICE:
        defaults["choices"] = {"a": _("A"), "b": _("B")}
    if semantic is Semantic.INTEGER:
        defaults |= {"minimum": 0, "maximum": 10}
    return FieldPolicy(1, semantic, _("Field"), BUSINESS, **(defaults | options))


class TestDecode:
    @pytest.mark.parametrize(
        "semantic, value, stored",
        [
            (Semantic.TEXT, "  Müller  ", "Müller"),
            (Semantic.TEXT, "   ", None),
            (Semantic.TEXT, "e\u0301", "é"),
            (Semantic.TEXT, "\u200b\u2060\ufeff", None),
            (Semantic.TEXT, "می\u200cخواهم", "می\u200cخواهم"),
            (Semantic.EMAIL, "Anna@Example.COM", "Anna@example.com"),
            (Semantic.EMAIL, "anna@intranet.local", "anna@intranet.local"),
            (Semantic.EMAIL, "anna@müller.example", "anna@müller.example"),
            (Semantic.PHONE, "030 23125 123", "+493023125123"),
            (Semantic.PHONE, "+1 (212) 555-0101 ext. 9", "+12125550101;ext=9"),
            (Semantic.URL, "example.com/x", "https://example.com/x"),
            (Semantic.INTEGER, 7.0, 7),
            (Semantic.BOOLEAN, True, True),
            (Semantic.DATE, "2024-02-29", date(2024, 2, 29)),
            (Semantic.DATETIME, "2026-01-31T10:00:00+01:00", datetime(2026, 1, 31, 9, tzinfo=UTC)),
            (Semantic.CHOICE, "a", "a"),
            (Semantic.CHOICE, "", None),
            (Semantic.COUNTRY, "de", "DE"),
            (Semantic.CURRENCY, "eur", "EUR"),
            (Semantic.LANGUAGE, "zh_Hans", "zh_Hans"),
            (Semantic.TIMEZONE, "Europe/Berlin", "Europe/Berlin"),
        ],
    )
    def test_what_fits_is_stored_in_its_normal_form(
        self, semantic: Semantic, value: object, stored: object
    ) -> None:
        assert decode(policy(semantic), value) == stored

    @pytest.mark.parametrize(
        "semantic, value, code",
        [
            (Semantic.TEXT, 5, "type"),
            (Semantic.TEXT, "Anna\u202egpj.exe", "control_character"),
            (Semantic.TEXT, "a\x00b", "control_character"),
            (Semantic.TEXT, "line\nbreak", "control_character"),
            (Semantic.TEXT, "\ud800", "encoding"),
            (Semantic.TEXT, "x" * 51, "too_long"),
            (Semantic.EMAIL, "not an address", "email"),
            (Semantic.EMAIL, "a@b@c.example", "email"),
            (Semantic.PHONE, "call me", "phone"),
            (Semantic.URL, "javascript://alert(1)", "url"),
            (Semantic.URL, "http://", "url"),
            (Semantic.INTEGER, True, "type"),
            (Semantic.INTEGER, 1.5, "type"),
            (Semantic.INTEGER, 11, "range"),
            (Semantic.BOOLEAN, "yes", "type"),
            (Semantic.DATE, "31.01.2026", "date"),
            (Semantic.DATE, "2023-02-29", "date"),
            (Semantic.DATETIME, "2026-01-31T10:00:00", "datetime"),
            (Semantic.DATETIME, "0001-01-01T00:00:00+14:00", "datetime"),
            (Semantic.REFERENCE, "5", "id"),
            (Semantic.CHOICE, "c", "choice"),
            (Semantic.COUNTRY, "XX", "country"),
            (Semantic.CURRENCY, "EURO", "currency"),
            (Semantic.BYTES, "x", "type"),
        ],
    )
    def test_what_does_not_fit_is_refused_with_its_code(
        self, semantic: Semantic, value: object, code: str
    ) -> None:
        with pytest.raises(Rejected) as caught:
            decode(policy(semantic), value)
        assert caught.value.code == code

    def test_a_required_field_refuses_nothing_and_white_space(self) -> None:
        for value in (None, "", "  "):
            with pytest.raises(Rejected) as caught:
                decode(policy(Semantic.TEXT, required=True), value)
            assert caught.value.code == "required"

    @given(
        st.sampled_from([item for item in Semantic if item != Semantic.JSON]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=80),
            st.lists(st.integers(), max_size=2),
            st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        ),
    )
    def test_no_json_value_breaks_a_decoder_and_no_refusal_quotes_it(
        self, semantic: Semantic, value: object
    ) -> None:
        try:
            decode(policy(semantic), value)
        except Rejected as refused:
            quoted = isinstance(value, str) and len(value) > 12 and value in refused.message.interpolate()
        else:
            quoted = False
        assert not quoted
