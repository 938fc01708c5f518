"""Records of a delimited text file: RFC 4180 and what people really send.

Called through ``readers.open_rows``. Works in constant memory: one record at a time. A quote that is never
closed spoils its own line only, not the rest of the file.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from crm_server.importing.rows import SourceRow

__all__ = ["open_text", "read_records", "read_rows"]

MAX_FIELD = 1 << 20
"""Longest cell, in characters; beyond it the record is taken for one with an unclosed quote."""
MAX_LINES = 500
"""Most lines in one quoted cell, for the same reason."""


_FOOTER_WIDTH = 4
_FOOTER_LINES = 20


class _Lines:
    """A text file line by line that remembers the lines of the current record, so that they can be read
    again.
    """

    def __init__(self, text: Iterator[str], first: int) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self.number = first - 1
        self.record: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.record) >= MAX_LINES:
            raise _RunawayError
        line = self._again.popleft() if self._again else next(self._text)
        if "\0" in line:
            line = line.replace("\0", "")
        self.number += 1
        self.record.append(line)
        return line

    def plain(self, delimiter: str, quote: str) -> list[str] | None:
        """The cells of the next line as `csv` reads them, if it has no quotes and so is a record; else None.

        Raises StopIteration at the end.
        """
        if self._again:
            return None
        line = next(self._text)
        if quote in line or "\0" in line or len(line) >= MAX_FIELD:
            self._again.append(line)
            return None
        self.number += 1
        line = line.rstrip("\r\n")
        return line.split(delimiter) if line else []

    def start_record(self) -> int:
        self.record.clear()
        return self.number + 1

    def keep_first_line_only(self) -> str:
        """Gives all lines but the first of the broken record back, and returns the first."""
        first, *rest = self.record
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        return first


def open_text(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The lines of a binary file, with their ends; the file stays open when the text is collected."""
    lent: Any = _Unclosable(file)
    return io.TextIOWrapper(lent, encoding=encoding, errors="replace", newline="")


class _RunawayError(Exception):
    """A quoted cell runs over more lines than any real one."""


def read_records(
    file: BinaryIO, *, encoding: str, delimiter: str, quote: str, skip: int = 0
) -> Iterator[tuple[int, list[str], bool]]:
    """(line on which the record starts, its cells, whether its quoting is sound) of each record.

    A blank line is a record without cells.
    """
    file.seek(0)
    text = open_text(file, encoding)
    lines = _Lines(iter(text), 1)
    for _index in range(skip):
        next(lines, None)
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))
    strict = csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
    while True:
        start = lines.start_record()
        try:
            cells = lines.plain(delimiter, quote)
            if cells is None:
                cells = next(strict)
        except StopIteration:
            return
        except (csv.Error, _RunawayError):
            line = lines.keep_first_line_only()
            cells, sound = _lenient(line, delimiter, quote)
            strict = csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
            yield start, cells, sound
            continue
        yield start, cells, True


def _lenient(line: str, delimiter: str, quote: str) -> tuple[list[str], bool]:
    """A line whose quoting is wrong: read once more forgivingly, then without quoting at all.

    The second reading is sound enough only if each quote is closed on the line.
    """
    if line.count(quote) % 2 == 0:
        with suppress(csv.Error):
            return next(csv.reader([line], delimiter=delimiter, quotechar=quote), []), True
    # Split by hand: a cell longer than the reader takes is told as one row that can't be read.
    return [cell.strip(quote)[:MAX_FIELD] for cell in line.rstrip("\r\n").split(delimiter)], False


def read_rows(
    file: BinaryIO,
    *,
    encoding: str,
    delimiter: str,
    quote: str,
    columns: tuple[str, ...],
    skip: int = 0,
    first_line: int = 1,
) -> Iterator[SourceRow]:
    """Rows below the header. ``first_line`` is the first line that may hold data; earlier records are passed
    over.

    Lines with a single cell that stand below a blank line at the end of a wide table are the footer of a
    report (title, copyright, date of making) and left out.
    """
    gap = False
    footer: list[SourceRow] = []
    width = len(columns)
    for number, cells, sound in read_records(
        file, encoding=encoding, delimiter=delimiter, quote=quote, skip=skip
    ):
        if number < first_line:
            continue
        trimmed = [cell.strip() or None for cell in cells]
        if not any(trimmed):
            gap = True
            continue
        problem = None if sound else "row.quotes"
        if len(trimmed) > width and any(trimmed[width:]):
            problem = problem or "row.too_many_cells"
        trimmed += [None] * (width - len(trimmed))
        # ``zip`` stops at the last named column: blank cells beyond it are of no use.
        row = SourceRow(number, dict(zip(columns, trimmed, strict=False)), problem)
        if (
            (gap or footer)
            and width >= _FOOTER_WIDTH
            and len(footer) < _FOOTER_LINES
            and sum(map(bool, trimmed)) == 1
        ):
            footer.append(row)
            continue
        yield from footer
        footer.clear()
        gap = False
        yield row


class _Unclosable(io.RawIOBase):
    """Lends a file to a TextIOWrapper, which closes what it wraps when it is collected."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        """Always: that is what the wrapper asks first."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills the buffer from the lent file; 0 at its end."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
