"""The one place that reads the clock. Timestamps are aware and in UTC; people see them in their own time zone."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)
