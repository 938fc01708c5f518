"""Ready mappings for the exports of other systems, recognised by their header names.

Used by ``propose`` and the command line (``--preset``). The header names and where they are documented stand
in ``docs/importing.md``. Each module holds one system; ``PRESETS`` lists all.
"""

from __future__ import annotations

from collections.abc import Iterable

from crm_server.importing.presets import dynamics, hubspot, salesforce, zoho
from crm_server.importing.presets.base import Preset

__all__ = ["PRESETS", "Preset", "find_preset", "preset_named"]

PRESETS: tuple[Preset, ...] = (*salesforce.PRESETS, *hubspot.PRESETS, *zoho.PRESETS, *dynamics.PRESETS)


def find_preset(columns: Iterable[str], entity: str | None = None) -> Preset | None:
    """The preset whose headers the file has, of several the one that explains most columns; None if none
    does.
    """
    names = tuple(columns)
    fitting = [
        item for item in PRESETS if (entity is None or item.entity == entity) and item.recognises(names)
    ]
    return max(fitting, key=lambda item: item.known(names), default=None)


def preset_named(name: str) -> Preset | None:
    """The preset of that name ("hubspot-contacts"), or None."""
    return next((item for item in PRESETS if item.name == name), None)
