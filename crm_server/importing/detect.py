"""What a file is, decided by its bytes and never by its name.

Called once when a file is uploaded (or named on the command line). The answer, a ``FileProfile``, is stored
with the import, may be changed by the person in front of it, and is all that the readers need.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Self

from crm_server.importing import dialect as layouts
from crm_server.importing.encodings import ENCODINGS, decide_encoding
from crm_server.importing.errors import ImportFileError, _
from crm_server.importing.readers import csv_reader, vcard_reader, xlsx_reader

__all__ = ["MAX_BYTES", "FileProfile", "inspect_file", "redo_profile"]

Kind = Literal["csv", "xlsx", "vcard"]

MAX_BYTES = 512 << 20
"""Largest file, in bytes; a workbook may have at most a fifth of it, for it is held in memory."""
MAX_COLUMNS = 500
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SAMPLE_LINES = 400
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "PDF"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"\x1f\x8b", "gzip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"SQLite format 3", "SQLite"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
)


@dataclass(frozen=True, slots=True)
class FileProfile:
    """How to read a file.

    ``header_line`` is the line (sheet row) that names the columns, 0 when there is none; data start at
    ``first_line``. ``warnings`` are pairs of a stable code and a line. ``confidence`` (0 to 1) is the lower
    of encoding's and layout's.
    """

    kind: Kind
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    skip_lines: int = 0
    header_line: int = 1
    first_line: int = 2
    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    confidence: float = 1.0
    rule: str = ""
    warnings: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for storage and the API."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The profile that ``to_json`` wrote."""
        values = dict(data)
        for name in ("columns", "sheets"):
            values[name] = tuple(values.get(name) or ())
        values["warnings"] = tuple((code, line) for code, line in values.get("warnings") or ())
        return cls(**values)


def inspect_file(
    file: BinaryIO,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    header: bool | None = None,
) -> FileProfile:
    """The profile of a seekable file. What the caller names overrides what would be found.

    Raises ImportFileError with a stable code: ``file.empty``, ``file.too_large``, ``file.html``,
    ``file.foreign``, ``file.binary``, ``file.bomb``, ``file.archive``, ``file.damaged``, ``file.password``,
    ``file.no_rows``, ``file.no_sheet``, ``file.encoding``, ``file.too_many_columns``.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(4096)
    file.seek(0)
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"):
        raise ImportFileError(
            "file.empty", _("The file is empty. Export it again and check that it has rows.")
        )
    if size > MAX_BYTES:
        raise _too_large(MAX_BYTES)
    _refuse_foreign(head)
    if head.startswith((b"PK\x03\x04", _OLE)):
        if size > MAX_BYTES // 5:
            raise _too_large(MAX_BYTES // 5)
        if head.startswith(b"PK"):
            xlsx_reader.check_archive(file)
        return _workbook(file, sheet=sheet, header=header)
    return _text(file, encoding=encoding, delimiter=delimiter, header=header)


def redo_profile(file: BinaryIO, profile: FileProfile, **changes: Any) -> FileProfile:
    """The profile after a person corrected encoding, delimiter, sheet or the header."""
    known = {"encoding": profile.encoding, "delimiter": profile.delimiter, "sheet": profile.sheet}
    if profile.kind != "csv":
        known.pop("delimiter")
    return inspect_file(file, **{**known, **changes})


def _too_large(limit: int) -> ImportFileError:
    text = _(
        "The file is larger than ${limit} MB. Split it into several files.", mapping={"limit": limit >> 20}
    )
    return ImportFileError("file.too_large", text)


def _refuse_foreign(head: bytes) -> None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<table", b"<meta", b"<head")):
        raise ImportFileError(
            "file.html",
            _("The file is a web page, whatever its name says; some systems export that as .xls."
              " Open it in a spreadsheet program and save it as XLSX or CSV."),
        )  # fmt: skip
    if start.startswith((b"<?xml", b"<workbook")):
        raise ImportFileError(
            "file.xml", _("The file is XML. Open it in a spreadsheet program and save it as XLSX or CSV.")
        )
    if start[:1] in (b"{", b"["):
        raise ImportFileError("file.json", _("The file is JSON. Send it to the API, or save it as CSV."))
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            text = _(
                "The file is of the kind “${kind}”, not a list. Export it as CSV, XLSX or vCard.",
                mapping={"kind": name},
            )
            raise ImportFileError("file.foreign", text)


def _workbook(file: BinaryIO, *, sheet: str | None, header: bool | None) -> FileProfile:
    sheets = xlsx_reader.sheet_names(file)
    if sheet is not None and sheet not in sheets:
        raise ImportFileError(
            "file.no_sheet",
            _(
                "The workbook has no sheet of that name. Its sheets are: ${names}",
                mapping={"names": ", ".join(sheets)},
            ),
        )
    candidates = [sheet] if sheet else list(sheets)
    found: tuple[str, list[tuple[int, list[str | None]]]] | None = None
    for name in candidates:
        records = list(itertools.islice(xlsx_reader.read_records(file, name), _SAMPLE_LINES))
        # The sheet with the list is the first with more than a title; covers and read-me sheets are passed
        # over.
        if records and (found is None or (len(found[1]) < 2 <= len(records))):
            found = (name, records)
    if found is None:
        raise ImportFileError(
            "file.no_rows", _("The workbook has no rows. Check that you saved the right sheet.")
        )
    columns, header_line, first_line = _layout(found[1], header=header)
    return FileProfile(
        "xlsx",
        columns,
        header_line=header_line,
        first_line=first_line,
        sheet=found[0],
        sheets=sheets,
        rule="workbook",
    )


def _text(file: BinaryIO, *, encoding: str | None, delimiter: str | None, header: bool | None) -> FileProfile:
    if encoding is not None and encoding not in ENCODINGS:
        raise ImportFileError(
            "file.encoding",
            _("Unknown encoding. Choose one of: ${names}", mapping={"names": ", ".join(ENCODINGS)}),
        )
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"\0'):
        raise ImportFileError(
            "file.delimiter", _("The delimiter must be one character, such as a comma, a semicolon or a tab.")
        )
    guess = decide_encoding(file)
    codec = encoding or guess.codec
    if codec == "utf-16" and guess.codec != "utf-16":
        # Without the mark that tells the order of bytes Python refuses to read; Windows writes the lower one first.
        codec = guess.codec if guess.codec == "utf-16-be" else "utf-16-le"
    confidence = 1.0 if encoding else guess.confidence
    warnings = (("encoding.broken", guess.warning_line),) if guess.warning_line and not encoding else ()
    lines = _first_lines(file, codec)
    if any(line.strip().upper() == "BEGIN:VCARD" for line in lines[:20]):
        return FileProfile(
            "vcard", vcard_reader.COLUMNS, codec, header_line=0, first_line=1, confidence=confidence,
            rule=guess.rule, warnings=warnings,
        )  # fmt: skip
    layout = layouts.choose_dialect(lines)
    if delimiter is not None:
        layout = dataclasses.replace(layout, delimiter=delimiter, confidence=1.0)
    records = [
        (number, list[str | None](cells))
        for number, cells, _sound in itertools.islice(
            csv_reader.read_records(
                file, encoding=codec, delimiter=layout.delimiter, quote=layout.quote, skip=layout.skip
            ),
            _SAMPLE_LINES,
        )
        if any(cells)
    ]
    if not records:
        raise ImportFileError("file.no_rows", _("The file has no rows. Check that the export finished."))
    columns, header_line, first_line = _layout(records, header=header)
    return FileProfile(
        "csv", columns, codec, layout.delimiter, layout.quote, layout.skip, header_line, first_line,
        confidence=min(confidence, layout.confidence), rule=guess.rule, warnings=warnings,
    )  # fmt: skip


def _first_lines(file: BinaryIO, codec: str) -> list[str]:
    file.seek(0)
    text = csv_reader.open_text(file, codec)
    return list(itertools.islice((line for line in text if line.strip()), _SAMPLE_LINES))


def _layout(
    records: Sequence[tuple[int, Sequence[str | None]]], *, header: bool | None
) -> tuple[tuple[str, ...], int, int]:
    """(column names, header line or 0, first line of data)."""
    cells = [row for _number, row in records]
    index = 0 if header else None if header is False else layouts.find_header(cells)
    width = max(len(row) for row in cells[:50])
    if index is None:
        names, header_line, first = layouts.unique_names([None] * width), 0, records[0][0]
    else:
        head = list(cells[index])
        while head and not (head[-1] or "").strip():
            head.pop()
        names, header_line = layouts.unique_names(head), records[index][0]
        first = records[index + 1][0] if index + 1 < len(records) else header_line + 1
    if len(names) > MAX_COLUMNS:
        raise ImportFileError(
            "file.too_many_columns",
            _(
                "The file has more than ${limit} columns. Remove those that you don't need.",
                mapping={"limit": MAX_COLUMNS},
            ),
        )
    return names, header_line, first
