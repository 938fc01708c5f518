"""How a delimited text is laid out: delimiter, quote character, header row.

Called by ``detect`` with the first lines of a file. ``csv.Sniffer`` takes the first regular character it
finds (often a space or the letter "e"); here each plausible delimiter parses the sample and the one whose
records agree best wins.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["DELIMITERS", "Dialect", "choose_dialect", "find_header", "unique_names"]

DELIMITERS: dict[str, str] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
"""What a person may choose by hand. The full-width comma of Chinese text is never a delimiter."""

_SEP_LINE = re.compile(r"^\ufeff?\"?sep=(.)\"?\s*$", re.IGNORECASE)
_VALUE = re.compile(
    r"""^(?:
        [-+]?[\d.,'\s]*\d\s*[%€$£¥]? | [€$£¥]\s?[\d.,'\s]+       # numbers and money
      | \d{1,4}[-./年]\d{1,2}[-./月]\d{1,4}日?(?:[T\s].*)?          # dates
      | [^@\s]+@[^@\s]+\.[^@\s]+ | https?://\S+ | \+?[\d\s()/-]{6,} # mails, addresses, phones
      | true|false|yes|no|ja|nein|是|否
    )$""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER_SCAN = 15


@dataclass(frozen=True, slots=True)
class Dialect:
    """Layout of a delimited text. ``skip`` lines before the first record belong to no record (Excel's
    ``sep=``).
    """

    delimiter: str
    quote: str
    confidence: float
    skip: int = 0


def choose_dialect(lines: Sequence[str]) -> Dialect:
    """The layout that explains ``lines`` (with their line ends) best.

    The score is the share of records that have the most common number of cells, times how far that number is
    above one, times a small bonus for cells that look like values; one column is the answer only if nothing
    else works.
    """
    if lines and (declared := _SEP_LINE.match(lines[0])):
        return Dialect(declared.group(1), '"', 1.0, skip=1)
    best, score = Dialect(",", '"', 0.3), 0.0
    for delimiter, quote in itertools.product(DELIMITERS, ('"', "'")):
        if quote == "'" and not _quoted(lines, delimiter, quote):
            continue
        found = _score(lines, delimiter, quote)
        # A single quote must be clearly better: apostrophes in names look like quotes.
        if quote == "'":
            found *= 0.9
        if found > score:
            best, score = Dialect(delimiter, quote, round(min(1.0, found), 2)), found
    return best


def _quoted(lines: Sequence[str], delimiter: str, quote: str) -> bool:
    pattern = re.compile(
        rf"(?:^|{re.escape(delimiter)}){quote}[^{quote}]*{quote}(?:{re.escape(delimiter)}|\r?\n|$)"
    )
    return sum(bool(pattern.search(line)) for line in lines) > len(lines) * 0.3


def _score(lines: Sequence[str], delimiter: str, quote: str) -> float:
    records = list(_parse(lines, delimiter, quote))
    widths = Counter(len(record) for record in records if len(record) > 1 or (record and record[0].strip()))
    if not widths:
        return 0.0
    total = sum(widths.values())
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    if width < 2:
        return 0.0
    cells = [cell for record in records[:50] if len(record) == width for cell in record if cell]
    typed = sum(bool(_VALUE.match(cell.strip())) for cell in cells) / len(cells) if cells else 0.0
    stray = sum(quote in cell and not cell.replace(quote * 2, "").isalnum() for cell in cells) / max(
        1, len(cells)
    )
    agreement = count / total
    return agreement * (1 - 0.5 / width) * (0.9 + 0.1 * typed) * (1 - min(0.5, stray))


def _parse(lines: Sequence[str], delimiter: str, quote: str) -> Iterator[list[str]]:
    reader = csv.reader(lines, delimiter=delimiter, quotechar=quote)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue


def find_header(records: Sequence[Sequence[str | None]]) -> int | None:
    """Index of the row that names the columns, or None when the first row is data already.

    A header is full, distinct and made of words; above it there may be titles and empty lines, as reports
    have.
    """
    rows = [[(cell or "").strip() for cell in record] for record in records]
    width = _usual_width(rows)
    for index, row in enumerate(rows[:_HEADER_SCAN]):
        filled = [cell for cell in row if cell]
        if len(filled) < max(1, width * 0.6):
            continue
        if any(_VALUE.match(cell) or len(cell) > 120 for cell in filled):
            # The first full row holds a number, a date or a mail: it is data, so there is no header.
            return None
        distinct = len({cell.casefold() for cell in filled}) / len(filled)
        return index if distinct > 0.6 or width == 1 else None
    return None


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    widths = Counter(max((i + 1 for i, cell in enumerate(row) if cell), default=0) for row in rows)
    widths.pop(0, None)
    if not widths:
        return 0
    # Records with trailing blanks are common, so the widest of the frequent widths counts.
    frequent = [width for width, count in widths.items() if count >= max(1, len(rows) * 0.1)]
    return max(frequent, default=max(widths))


def unique_names(cells: Sequence[str | None]) -> tuple[str, ...]:
    """Column names: trimmed, never empty, and distinct ("E-mail", "E-mail (2)", "Column 5")."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for index, cell in enumerate(cells, start=1):
        name = " ".join((cell or "").replace("\ufeff", "").split()) or f"Column {index}"
        seen[name.casefold()] += 1
        names.append(name if seen[name.casefold()] == 1 else f"{name} ({seen[name.casefold()]})")
    return tuple(names)
