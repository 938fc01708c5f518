"""Readers: one function that yields a file's records, whatever its kind.

Called by the preview, the dry run and the run of an import with the profile that ``detect`` made.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from crm_server.importing.readers import csv_reader, vcard_reader, xlsx_reader

if TYPE_CHECKING:
    from crm_server.importing.detect import FileProfile
    from crm_server.importing.rows import SourceRow

__all__ = ["open_rows"]


def open_rows(file: BinaryIO, profile: FileProfile, *, skip: int = 0) -> Iterator[SourceRow]:
    """The records of ``file`` in order, after the first ``skip``; blank ones are left out and not counted.

    ``skip`` is what lets a killed import go on: the same file and profile always yield the same records.
    """
    match profile.kind:
        case "csv":
            rows = csv_reader.read_rows(
                file,
                encoding=profile.encoding,
                delimiter=profile.delimiter,
                quote=profile.quote,
                columns=profile.columns,
                skip=profile.skip_lines,
                first_line=profile.first_line,
            )
        case "vcard":
            rows = vcard_reader.read_rows(file, encoding=profile.encoding)
        case _:
            rows = xlsx_reader.read_rows(
                file, sheet=profile.sheet or "", columns=profile.columns, first_line=profile.first_line
            )
    return islice(rows, skip, None)
