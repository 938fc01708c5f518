"""Texts that code puts together and that extraction therefore can't see; translated like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.permissions import BUILT_IN_ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compliance.datamap.text import Text

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

GIVEN: Mapping[str, Text] = {
    **{str(role.name): role.label for role in BUILT_IN_ROLES},
    "Sales": _("Sales"),
    "Prospecting": _("Prospecting"),
    "Qualification": _("Qualification"),
    "Proposal": _("Proposal"),
    "Negotiation": _("Negotiation"),
    "Won": _("Won"),
    "Lost": _("Lost"),
}
"""Names that an installation has from the first start: of roles, and of the pipeline and its stages. They are stored
in English and shown in the reader's language, until somebody gives them another name."""
