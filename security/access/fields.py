"""Levels of access to a field, from roles; applied by presenters, forms, search, export and import alike."""

from __future__ import annotations

LEVELS = ("hidden", "masked", "read", "write")
"""In rising order; a higher one contains the lower. What no rule names is hidden."""
