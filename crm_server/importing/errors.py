"""What can go wrong with a file or with one cell, in words that its owner can act on.

Called by every step of an import. Messages never repeat the cell's content: the error file carries the
original values beside them, and logs must not carry personal data at all.
"""

from __future__ import annotations

from compliance.datamap.text import _

__all__ = ["ImportFileError", "ValueProblem", "_"]


class ImportFileError(Exception):
    """The file as a whole can't be read.

    ``code`` is stable and for programs, ``message`` is a translatable sentence with the way out, ``line`` is
    the 1-based line of the file (the row of a sheet) at which reading failed, or None where no line can be
    named.
    """

    def __init__(self, code: str, message: str, *, line: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.line = line

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line is not None else ""
        text = self.message.interpolate() if hasattr(self.message, "interpolate") else self.message
        return f"{text}{where}"


class ValueProblem(Exception):
    """One cell can't become a value of its field.

    ``code`` is stable (``date.unreadable``), ``message`` a translatable sentence without the cell's content.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message.interpolate() if hasattr(self.message, "interpolate") else self.message
