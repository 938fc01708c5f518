"""Totals of lines are exact and rounded half to even, once."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.domain.pipeline.services import forecast_of, line_total


@pytest.mark.parametrize(
    "milli,price,discount,total",
    [
        (1000, 999, 0, 999),
        (2500, 10, 0, 25),
        (500, 1, 0, 0),  # 0.5 goes to the even 0
        (1500, 1, 0, 2),  # 1.5 goes to the even 2
        (1000, 5, 50, 2),  # 2.5 goes to the even 2
        (3000, 1999, 100, 0),
        (0, 1999, 10, 0),
    ],
)
def test_a_total_is_rounded_half_to_even(milli: int, price: int, discount: int, total: int) -> None:
    assert line_total(milli, price, discount) == total


@given(st.integers(0, 10**12), st.integers(-(10**15), 10**15), st.integers(0, 100))
def test_a_total_is_what_exact_arithmetic_rounds_to(milli: int, price: int, discount: int) -> None:
    assert line_total(milli, price, discount) == round(
        Fraction(milli, 1000) * price * Fraction(100 - discount, 100)
    )


@pytest.mark.parametrize("probability,category", [(10, "pipeline"), (50, "best_case"), (80, "commit")])
def test_the_forecast_category_follows_the_probability(probability: int, category: str) -> None:
    assert forecast_of(probability) == category
