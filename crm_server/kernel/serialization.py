"""JSON in and out. orjson: UUIDs, dates and aware timestamps are written as RFC 3339 strings."""

from __future__ import annotations

from typing import Any

import orjson

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def dumps(value: Any) -> bytes:
    """Serialise to UTF-8 JSON."""
    return orjson.dumps(value, option=_OPTIONS)


def dumps_text(value: Any) -> str:
    """The same as text, for jsonb columns."""
    return orjson.dumps(value, option=_OPTIONS).decode()


loads = orjson.loads
