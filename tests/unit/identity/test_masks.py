"""Masks by type."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.access.masks import MaskKind, mask


@pytest.mark.parametrize(
    "value, kind, shown",
    [
        ("lena@example.com", MaskKind.EMAIL, "l***@example.com"),
        ("l@example.com", MaskKind.EMAIL, "***@example.com"),
        ("not an address", MaskKind.EMAIL, "***"),
        ("+49 30 1234567", MaskKind.PHONE, "***67"),
        ("12", MaskKind.PHONE, "***"),
        ("DE89 3704 0044 0532 0130 00", MaskKind.ACCOUNT, "***3000"),
        ("Lena Vogt", MaskKind.NAME, "L*** V***"),
        ("王小明", MaskKind.NAME, "王***"),
        (date(1990, 5, 17), MaskKind.DATE, "1990-**-**"),
        ("1990", MaskKind.DATE, "***"),
        ("anything", MaskKind.FULL, "***"),
        (None, MaskKind.FULL, None),
        ("", MaskKind.EMAIL, None),
    ],
)
def test_masks_by_type(value: object, kind: MaskKind, shown: str | None) -> None:
    assert mask(value, kind) == shown


@given(st.text(min_size=6, max_size=60), st.sampled_from(MaskKind))
def test_no_mask_returns_its_value(value: str, kind: MaskKind) -> None:
    assert mask(value, kind) != value
