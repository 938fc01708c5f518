"""Records of a spreadsheet (XLSX, XLSM, XLSB, XLS, ODS), by calamine.

Called through ``readers.open_rows``. A cell becomes the text that a person would expect: dates in ISO form,
whole numbers without ".0". A merged cell's value counts for all the rows that it covers.
"""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, PasswordError

from crm_server.importing.errors import ImportFileError, _
from crm_server.importing.rows import SourceRow

__all__ = ["check_archive", "read_records", "read_rows", "sheet_names"]

MAX_UNPACKED = 512 << 20
"""Most bytes that a workbook may unpack to."""
MAX_RATIO = 200
"""Most unpacked bytes a packed byte, over the whole archive."""
MAX_ENTRIES = 10_000


def check_archive(file: BinaryIO) -> str:
    """Kind of a zip archive by its contents: ``xlsx``, ``xlsb`` or ``ods``.

    Refuses (ImportFileError) archives that unpack to too much, are damaged, encrypted, or hold no workbook.
    """
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise _damaged() from error
    finally:
        file.seek(0)
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries) or 1
    names = {entry.filename for entry in entries}
    too_dense = unpacked > 10 << 20 and unpacked / packed > MAX_RATIO
    if len(entries) > MAX_ENTRIES or unpacked > MAX_UNPACKED or too_dense:
        raise ImportFileError(
            "file.bomb",
            _(
                "The file unpacks to far more than a list needs."
                " Save it again without pictures and empty rows, or as CSV."
            ),
        )
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise _protected()
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "xl/workbook.bin" in names:
        return "xlsb"
    if "content.xml" in names:
        return "ods"
    raise ImportFileError(
        "file.archive",
        _("The file is an archive without a workbook in it. Unpack it and upload the list that it contains."),
    )


def _damaged() -> ImportFileError:
    return ImportFileError(
        "file.damaged", _("The workbook is damaged. Open it in a spreadsheet program and save it again.")
    )


def _protected() -> ImportFileError:
    return ImportFileError(
        "file.password",
        _("The workbook is protected by a password. Save a copy without one and upload that."),
    )


def _workbook(file: BinaryIO) -> CalamineWorkbook:
    file.seek(0)
    try:
        return CalamineWorkbook.from_filelike(file)
    except PasswordError as error:
        raise _protected() from error
    except (CalamineError, OSError, ValueError) as error:
        raise _damaged() from error


def sheet_names(file: BinaryIO) -> tuple[str, ...]:
    """Names of the visible sheets in order; sheets that are hidden hold lookup lists, not records."""
    book = _workbook(file)
    visible = [sheet.name for sheet in book.sheets_metadata if str(sheet.visible).endswith("Visible")]
    return tuple(visible or book.sheet_names)


def read_records(file: BinaryIO, sheet: str) -> Iterator[tuple[int, list[str | None]]]:
    """(row number, cells) of each row that isn't blank."""
    try:
        table = _workbook(file).get_sheet_by_name(sheet)
    except (CalamineError, OSError) as error:
        raise _damaged() from error
    merged = _merged_down(table)
    for number, cells in enumerate(table.to_python(skip_empty_area=False), start=1):
        texts = [_text(cell) for cell in cells]
        for column, top in merged.get(number - 1, ()):
            if column < len(texts):
                texts[column] = top
        if any(texts):
            yield number, texts


def _merged_down(table: CalamineSheet) -> dict[int, list[tuple[int, str | None]]]:
    """Row → (column, value) for the covered cells of vertical merges; horizontal ones keep their first cell
    only.
    """
    ranges: Sequence[tuple[tuple[int, int], tuple[int, int]]] = (
        getattr(table, "merged_cell_ranges", None) or ()
    )
    if not ranges:
        return {}
    cells = table.to_python(skip_empty_area=False)
    covered: dict[int, list[tuple[int, str | None]]] = {}
    for (top, left), (bottom, _right) in ranges:
        value = _text(cells[top][left]) if top < len(cells) and left < len(cells[top]) else None
        for row in range(top + 1, bottom + 1):
            covered.setdefault(row, []).append((left, value))
    return covered


def _text(cell: object) -> str | None:  # noqa: PLR0911 - one line a type of cell
    match cell:
        case None | "":
            return None
        case bool():
            return "true" if cell else "false"
        case float() if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell))
        case float():
            return repr(cell)
        case dt.datetime() if cell.time() == dt.time():
            return cell.date().isoformat()
        case dt.datetime():
            return cell.replace(microsecond=0).isoformat(sep=" ")
        case dt.date() | dt.time():
            return cell.isoformat()
        case _:
            return str(cell).replace("\0", "").strip() or None


def read_rows(
    file: BinaryIO, *, sheet: str, columns: tuple[str, ...], first_line: int
) -> Iterator[SourceRow]:
    """Rows of the sheet from row ``first_line`` on."""
    width = len(columns)
    for number, cells in read_records(file, sheet):
        if number < first_line:
            continue
        extra = any(cells[width:])
        padded = cells[:width] + [None] * (width - len(cells))
        if any(padded) or extra:
            yield SourceRow(
                number, dict(zip(columns, padded, strict=True)), "row.too_many_cells" if extra else None
            )
