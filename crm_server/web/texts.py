"""Texts that code puts together and that extraction therefore can't see; translated like all others."""

from __future__ import annotations

from compliance.datamap.text import _

COLOURS = (
    _("Blue"),
    _("Azure"),
    _("Indigo"),
    _("Purple"),
    _("Pink"),
    _("Red"),
    _("Orange"),
    _("Yellow"),
    _("Lime"),
    _("Green"),
    _("Teal"),
)
"""Of tags, whose model capitalises the keys."""
