"""Deterministic CBOR (RFC 8949, section 4.2.1) for associated data, key contexts and the content of documents.

``cbor2`` in canonical mode sorts map keys by length first, the older rule of RFC 7049. Both rules agree when all keys
of a map are of one major type, so that is all this module lets through: unsigned integers in the outer map (field
numbers), text in the maps inside of values. Tests compare with the vectors of RFC 8949 and with a second encoder.

A document is on the hot path of each write, and canonical mode takes three times as long as the plain one. For fields
in the order of their numbers without floats, times, lists and maps, both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import cbor2

from security.crypto.errors import MalformedDocument, UnsealableValue

MAX_DEPTH: Final = 16
MAX_FIELD: Final = 2**32 - 1
_TABLE: Final = 1024


def head(major: int, argument: int) -> bytes:
    """Return the shortest head of ``major`` type (0 to 7) with ``argument`` (0 to 2**64-1)."""
    first = major << 5
    if argument < 24:
        return bytes((first | argument,))
    if argument < 1 << 8:
        return bytes((first | 24, argument))
    if argument < 1 << 16:
        return bytes((first | 25,)) + argument.to_bytes(2, "big")
    if argument < 1 << 32:
        return bytes((first | 26,)) + argument.to_bytes(4, "big")
    return bytes((first | 27,)) + argument.to_bytes(8, "big")


UINTS: Final = tuple(head(0, number) for number in range(_TABLE))
# Types whose plain encoding is the canonical one: what is left has several forms (float), an order, or needs a check.
_PLAIN: Final = frozenset((str, int, bool, type(None), bytes, date, Decimal, UUID))


def uint(number: int) -> bytes:
    """Encode an unsigned integer below 2**64."""
    if 0 <= number < _TABLE:
        return UINTS[number]
    if not 0 <= number < 1 << 64:
        raise ValueError("The number to encode isn't an unsigned integer of 64 bits.")
    return head(0, number)


def bstr(data: bytes) -> bytes:
    """Encode a byte string."""
    return head(2, len(data)) + data


def tstr(text: str) -> bytes:
    """Encode a text string."""
    raw = text.encode()
    return head(3, len(raw)) + raw


def array(*items: bytes | str | int) -> bytes:
    """Encode a definite array of byte strings, text strings and unsigned integers: the form of all key contexts."""
    parts = [head(4, len(items))]
    for item in items:
        if isinstance(item, bytes):
            parts.append(bstr(item))
        elif isinstance(item, str):
            parts.append(tstr(item))
        else:
            parts.append(uint(item))
    return b"".join(parts)


_SCALARS: Final = frozenset((str, int, bool, type(None), bytes, float, Decimal, date, UUID))


def _check(value: object, number: int, depth: int = 0) -> None:
    """Refuse what the format doesn't have. Names the field and the type, never the value."""
    kind = type(value)
    if kind in _SCALARS:
        return
    if depth >= MAX_DEPTH:
        raise UnsealableValue(f"Field {number}: the value is nested deeper than {MAX_DEPTH} levels.")
    if kind is datetime:
        if value.tzinfo is None:  # type: ignore[attr-defined]
            raise UnsealableValue(f"Field {number}: a time without a zone can't be sealed. Give it one.")
    elif kind is list or kind is tuple:
        for item in value:  # type: ignore[attr-defined]
            _check(item, number, depth + 1)
    elif kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise UnsealableValue(f"Field {number}: the keys of a map inside of a value are text.")
            _check(item, number, depth + 1)
    else:
        raise UnsealableValue(f"Field {number}: a value of type {kind.__name__} can't be sealed.")


def _encode_value(number: int, value: object) -> bytes:
    _check(value, number)
    encoded: bytes | None
    try:
        encoded = cbor2.dumps(value, canonical=True)
    except (cbor2.CBOREncodeError, ValueError):
        encoded = None  # The library's own message may quote the value.
    if encoded is None:
        raise UnsealableValue(f"Field {number}: the value can't be encoded.")
    return encoded


def encode_fields(values: Mapping[int, Any]) -> bytes:
    """Encode a map of field number → value deterministically.

    Values are None, bool, int, float, str, bytes, Decimal, date, aware datetime, UUID, lists, and maps with text keys.
    Raises UnsealableValue for anything else.
    """
    last = -1
    for number, value in values.items():
        if number.__class__ is not int or number <= last or value.__class__ not in _PLAIN:
            return _encode_each(values)
        last = number
    try:
        return cbor2.dumps(values) if last <= MAX_FIELD else _encode_each(values)
    except (cbor2.CBOREncodeError, ValueError):
        pass  # The library's own message may quote a value.
    return _encode_each(values)


def _encode_each(values: Mapping[int, Any]) -> bytes:
    """Encode fields that come out of order or hold less common types, and say which of them can't be encoded."""
    for number in values:
        if type(number) is not int or not 0 <= number <= MAX_FIELD:
            raise UnsealableValue("The number of a sealed field is an integer from 0 to 4,294,967,295.")
    parts = [head(5, len(values))]
    for number in sorted(values):
        parts += (uint(number), _encode_value(number, values[number]))
    return b"".join(parts)


def decode_fields(data: bytes) -> dict[int, Any]:
    """Decode a map of field number → value that :func:`encode_fields` wrote and that was authenticated.

    CBOR ends by itself: bytes after the map, such as its padding, are left alone.
    """
    fields: object
    try:
        fields = cbor2.loads(data, max_depth=MAX_DEPTH + 4, allow_indefinite=False)
    except (cbor2.CBORDecodeError, ValueError):
        fields = None  # The library's own message may quote the value.
    if type(fields) is not dict:
        raise MalformedDocument("The content of a sealed document isn't a map of fields.")
    return fields
