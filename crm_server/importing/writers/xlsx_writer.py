"""A list as a workbook: header frozen and filterable, dates and numbers as such, text never as a formula."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, BinaryIO

__all__ = ["MAX_ROWS", "write_xlsx"]

MAX_ROWS = 1_048_575
"""Rows that a sheet holds beside its header; further ones go to another sheet."""
_MAX_TEXT = 32_767
_EXACT = 10**15
"""A spreadsheet keeps fifteen digits; longer numbers stay text."""


def write_xlsx(file: BinaryIO, title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Writes the workbook to ``file`` and returns the number of rows. Rows pass through one at a time."""
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "yyyy-mm-dd",
        "remove_timezone": True,
    }
    # Only who exports a spreadsheet pays for the library.
    import xlsxwriter

    book = xlsxwriter.Workbook(file, options)
    formats = {
        "head": book.add_format({"bold": True, "bottom": 1}),
        "time": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
    }
    count, sheet = 0, None
    for count, row in enumerate(rows, start=1):
        place = (count - 1) % MAX_ROWS
        if place == 0:
            sheet = _sheet(book, title, header, formats, 1 + count // MAX_ROWS)
        for column, value in enumerate(row):
            _write(sheet, place + 1, column, value, formats)
    if sheet is None:
        _sheet(book, title, header, formats, 1)
    book.close()
    return count


def _sheet(book: Any, title: str, header: Sequence[str], formats: dict[str, Any], number: int) -> Any:
    name = "".join(char for char in title if char not in r"[]:*?/\'")[:28] or "List"
    sheet = book.add_worksheet(name if number == 1 else f"{name} {number}")
    sheet.freeze_panes(1, 0)
    for column, text in enumerate(header):
        sheet.set_column(column, column, min(40, max(12, len(text) + 2)))
        sheet.write_string(0, column, text, formats["head"])
    if header:
        sheet.autofilter(0, 0, MAX_ROWS, len(header) - 1)
    return sheet


def _write(sheet: Any, row: int, column: int, value: object, formats: dict[str, Any]) -> None:
    match value:
        case None | "":
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() | Decimal() if -_EXACT < value < _EXACT:
            sheet.write_number(row, column, float(value))
        case dt.datetime():
            sheet.write_datetime(row, column, value, formats["time"])
        case dt.date() if value.year >= 1900:
            sheet.write_datetime(row, column, value)
        case _:
            sheet.write_string(row, column, str(value)[:_MAX_TEXT])
