from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.crypto.errors import MalformedDocument
from security.crypto.padding import BUCKETS, pad, padded_size, padme, unpad
from tests.unit.crypto.crypto_helpers import PATIENT


@PATIENT
@given(st.binary(max_size=2000))
def test_what_was_padded_comes_back(content):
    padded = pad(content)
    assert unpad(padded) == content
    assert len(padded) == padded_size(len(content)) > len(content)


@pytest.mark.parametrize(
    "length, size",
    [(0, 32), (31, 32), (32, 64), (63, 64), (64, 128), (127, 128), (128, 256), (255, 256), (256, 512), (511, 512),
     (512, 544), (543, 544), (544, 576), (1023, 1024), (1024, 1088)],
)  # fmt: skip
def test_the_buckets_are_those_of_the_format(length, size):
    assert padded_size(length) == size


def test_padme_is_the_one_of_the_paper():
    # Algorithm 1 of Nikitin et al.: E = floor(log2 L), S = floor(log2 E) + 1, the last E - S bits are zero.
    for length in [*range(2, 5000), 10**6, 10**6 + 1, 2**31, 2**40 + 12345]:
        exponent = length.bit_length() - 1
        zeros = exponent - ((exponent.bit_length() - 1) + 1)
        expected = ((length + (1 << max(zeros, 0)) - 1) >> max(zeros, 0)) << max(zeros, 0)
        assert padme(length) == expected
        assert padme(length) <= length * 1.12 + 1


def test_every_size_is_a_multiple_of_32_so_that_suite_2_needs_no_second_padding():
    assert all(padded_size(length) % 32 == 0 for length in range(20_000))
    assert all(bucket % 32 == 0 for bucket in BUCKETS)


@pytest.mark.parametrize(
    "padded",
    [b"", b"\0" * 32, b"x" * 32, b"\x80" + b"\0" * 30, b"\x80" + b"\0" * 63, b"a\x80" + b"\0" * 29 + b"b"],
)
def test_a_padding_that_we_would_not_have_written_is_malformed(padded):
    with pytest.raises(MalformedDocument):
        unpad(padded)
