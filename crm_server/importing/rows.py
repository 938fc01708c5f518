"""The one shape in which every reader hands over a record.

Used by the readers, the mapping and the import engine.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SourceRow"]


class SourceRow(NamedTuple):
    """One record of a file.

    ``number`` is where a person finds it: the line of a text file on which it starts, the row of a sheet
    (1-based). ``values`` maps each column name to its text, trimmed, None when blank. ``problem`` is a
    reason (stable code) why the record can't be trusted as a whole: ``row.too_many_cells``, ``row.quotes``,
    ``row.card``.
    """

    number: int
    values: dict[str, str | None]
    problem: str | None = None
