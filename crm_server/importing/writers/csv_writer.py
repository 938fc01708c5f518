"""A list as CSV (RFC 4180): UTF-8, CRLF, quotes doubled, streamed in blocks.

A byte-order mark comes first, because Excel takes a file without it for the system's old code page.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["harmless", "write_csv"]

_DANGEROUS = tuple("=+-@\t\r＝＋－＠")
_NUMBER = re.compile(r"[+-]?\d[\d., ]*")
_BLOCK = 64 << 10


def harmless(text: str) -> str:
    """``text`` so that no spreadsheet runs it: an apostrophe before a formula sign, numbers and phones left
    alone.

    That is what OWASP advises against CSV injection.
    """
    if text.startswith(_DANGEROUS) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def write_csv(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, mark: bool = True
) -> Iterator[bytes]:
    """The file in blocks of about 64 KiB; ``mark`` puts the byte-order mark first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    if mark:
        yield codecs.BOM_UTF8
    writer.writerow([harmless(name) for name in header])
    for row in rows:
        writer.writerow([_cell(value) for value in row])
        if buffer.tell() >= _BLOCK:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dt.datetime():
            return value.isoformat(timespec="seconds")
        case str():
            return harmless(value)
        case _:
            return str(value)
