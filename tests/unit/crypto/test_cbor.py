from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.crypto import cbor
from security.crypto.errors import MalformedDocument, UnsealableValue
from tests.unit.crypto.crypto_helpers import PATIENT

# RFC 8949, appendix A: values that a document can hold, as (value, encoding).
RFC8949 = [
    (0, "00"), (1, "01"), (10, "0a"), (23, "17"), (24, "1818"), (25, "1819"), (100, "1864"), (1000, "1903e8"),
    (1000000, "1a000f4240"), (1000000000000, "1b000000e8d4a51000"), (18446744073709551615, "1bffffffffffffffff"),
    (18446744073709551616, "c249010000000000000000"), (-18446744073709551616, "3bffffffffffffffff"), (-1, "20"),
    (-10, "29"), (-100, "3863"), (-1000, "3903e7"), (0.0, "f90000"), (-0.0, "f98000"), (1.0, "f93c00"),
    (1.1, "fb3ff199999999999a"), (1.5, "f93e00"), (65504.0, "f97bff"), (100000.0, "fa47c35000"),
    (3.4028234663852886e38, "fa7f7fffff"), (1.0e300, "fb7e37e43c8800759c"), (5.960464477539063e-8, "f90001"),
    (0.00006103515625, "f90400"), (-4.0, "f9c400"), (-4.1, "fbc010666666666666"), (float("inf"), "f97c00"),
    (float("-inf"), "f9fc00"), (False, "f4"), (True, "f5"), (None, "f6"), (b"", "40"), (b"\1\2\3\4", "4401020304"),
    ("", "60"), ("a", "6161"), ("IETF", "6449455446"), ('"\\', "62225c"), ("ü", "62c3bc"), ("水", "63e6b0b4"),
    ("\U00010151", "64f0908591"), ([], "80"), ([1, 2, 3], "83010203"), ([1, [2, 3], [4, 5]], "8301820203820405"),
    ({}, "a0"), ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
]  # fmt: skip


@pytest.mark.parametrize("value, encoding", RFC8949, ids=lambda item: str(item)[:20])
def test_values_are_encoded_as_in_the_appendix_of_rfc_8949(value, encoding):
    encoded = cbor.encode_fields({0: value})
    assert encoded.hex() == "a100" + encoding
    decoded = cbor.decode_fields(encoded)[0]
    assert decoded == value
    assert type(decoded) is type(value)


def test_not_a_number_has_one_encoding():
    assert cbor.encode_fields({0: float("nan")}).hex() == "a100f97e00"


def test_a_map_of_field_numbers_is_encoded_as_in_rfc_8949():
    assert cbor.encode_fields({3: 4, 1: 2}).hex() == "a201020304"


def reference(value):  # noqa: C901, PLR0911 - one branch a type is the clearest form of an encoder.
    """A second encoder, written from RFC 8949 alone: sorts by the bytes of the keys, shortest forms."""

    def head(major, n):
        for limit, info, size in (
            (24, n, 0),
            (1 << 8, 24, 1),
            (1 << 16, 25, 2),
            (1 << 32, 26, 4),
            (1 << 64, 27, 8),
        ):
            if n < limit:
                return (
                    bytes([major << 5 | info]) + n.to_bytes(size, "big") if size else bytes([major << 5 | n])
                )
        raise AssertionError

    if value is None or value is True or value is False:
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        for code, prefix in (("e", b"\xf9"), ("f", b"\xfa")):
            try:
                packed = struct.pack(">" + code, value)
            except OverflowError:
                continue
            if struct.unpack(">" + code, packed)[0] == value:
                return prefix + packed
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(reference, value))
    return head(5, len(value)) + b"".join(
        k + v for k, v in sorted((reference(k), reference(v)) for k, v in value.items())
    )


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=8,
)


@PATIENT
@given(st.dictionaries(st.integers(0, 2**32 - 1) | st.integers(0, 40), values, max_size=30))
def test_documents_are_deterministic_by_the_rule_of_rfc_8949_in_any_order_of_the_fields(fields):
    encoded = cbor.encode_fields(fields)
    assert encoded == reference(fields)
    assert encoded == cbor.encode_fields(dict(reversed(fields.items())))
    assert cbor.decode_fields(encoded) == fields
    assert cbor.decode_fields(encoded + b"\x80\0\0\0") == fields


@PATIENT
@given(st.integers(0, 2**64 - 1))
def test_unsigned_integers_are_encoded_as_by_the_library(number):
    assert cbor.uint(number) == cbor2.dumps(number, canonical=True)


def test_a_context_is_encoded_as_by_the_library():
    items = [b"0123456789abcdef", "identity", 7, b"", 70000]
    assert cbor.array(*items) == cbor2.dumps(items, canonical=True)


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1200.50"),
        Decimal("-0.1"),
        b"bytes" * 100,
        date(2026, 2, 28),
        UUID(int=77),
        datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    ],
)
def test_business_types_are_deterministic_and_come_back_as_they_were(value):
    encoded = cbor.encode_fields({5: value})
    assert encoded == b"\xa1\x05" + cbor2.dumps(value, canonical=True)
    decoded = cbor.decode_fields(encoded)[5]
    assert decoded == value
    assert type(decoded) is type(value)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 1j, {"a": object()}, {1: "number as a key"}, datetime(2026, 1, 1),  # noqa: DTZ001
     "secret\ud800", ["secret\udfff"], Text("secret")],
    ids=["object", "set", "complex", "nested", "int-key", "naive", "surrogate", "nested-surrogate", "subclass"],
)  # fmt: skip
def test_what_the_format_does_not_have_is_refused_without_quoting_it(value):
    with pytest.raises(UnsealableValue) as caught:
        cbor.encode_fields({5: value})
    assert "Field 5" in str(caught.value)
    assert "secret" not in str(caught.value)
    # Not even the chain of exceptions holds the value.
    assert caught.value.__context__ is None


def test_a_bottomless_value_is_refused():
    value: list[object] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(UnsealableValue, match="nested"):
        cbor.encode_fields({1: value})


@pytest.mark.parametrize("number", [-1, 2**32, "1", 1.0, None, True])
def test_field_numbers_are_unsigned_integers(number):
    with pytest.raises((UnsealableValue, TypeError)):
        cbor.encode_fields({number: "x"})


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x80", b"\xa1\x01", b"\xff", b"\xbf\x01\x01\xff", b"\xa1\x01\x62\xff\xff"]
)
def test_a_content_that_is_no_map_is_malformed(data):
    with pytest.raises(MalformedDocument) as caught:
        cbor.decode_fields(data)
    assert caught.value.__context__ is None
