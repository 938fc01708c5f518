"""Which encoding a text file is written in, decided by rules that can be explained.

Called by ``detect``. Statistical detectors guess well on long prose and badly on lists of names, so the
order is: byte-order mark, zero bytes in every second place, strict UTF-8 over the whole file, then GB18030
against Windows-1252 by the place of the byte pairs; charset-normalizer is asked only where those two can't
be told apart.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import BinaryIO

from crm_server.importing.errors import ImportFileError, _

__all__ = ["ENCODINGS", "EncodingGuess", "decide_encoding"]

ENCODINGS: dict[str, str] = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with byte-order mark",
    "utf-16-le": "UTF-16 (little-endian)",
    "utf-16-be": "UTF-16 (big-endian)",
    "utf-16": "UTF-16 with byte-order mark",
    "gb18030": "GB18030 (Chinese)",
    "cp1252": "Windows-1252 (Western European)",
    "big5": "Big5 (Traditional Chinese)",
    "shift_jis": "Shift JIS (Japanese)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "iso8859-15": "ISO 8859-15 (Western European)",
}
"""What a person may choose by hand, Python codec name to label."""

_BLOCK = 1 << 20
_SAMPLE = 1 << 18
_CP1252_UNDEFINED = frozenset(b"\x81\x8d\x8f\x90\x9d")
_GB_SURE = 0.8
_GB_NOT = 0.2


@dataclass(frozen=True, slots=True)
class EncodingGuess:
    """An encoding with how sure we are (0 to 1) and the rule that decided, for the page that shows it."""

    codec: str
    confidence: float
    rule: str
    warning_line: int | None = None
    """The first line with bytes that the encoding doesn't allow; they are read as U+FFFD."""


def decide_encoding(file: BinaryIO) -> EncodingGuess:
    """The encoding of a seekable binary file; reads it once in blocks, leaves it at its start.

    Raises ImportFileError ``file.binary`` for zero bytes that no UTF-16 explains.
    """
    file.seek(0)
    head = file.read(_SAMPLE)
    try:
        return _by_mark(head) or _by_zeros(file, head) or _by_utf8(file) or _by_pairs(file)
    finally:
        file.seek(0)


def _by_mark(head: bytes) -> EncodingGuess | None:
    if head.startswith(codecs.BOM_UTF8):
        return EncodingGuess("utf-8-sig", 1.0, "byte-order mark")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return EncodingGuess("utf-16", 1.0, "byte-order mark")
    return None


def _by_zeros(file: BinaryIO, head: bytes) -> EncodingGuess | None:
    """UTF-16 without a mark has a zero in every second place of its Latin letters, delimiters and line
    ends.
    """
    if b"\0" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        for codec, here, there in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
            if (
                here > len(head) * 0.1
                and there <= here * 0.02
                and _is_text(head[: len(head) // 2 * 2], codec)
            ):
                return EncodingGuess(codec, 0.9, "zero bytes in every second place")
    line = _first_line_with(file, b"\0")
    if line is None:
        return None
    raise ImportFileError(
        "file.binary",
        _("The file contains zero bytes: it is damaged or not a text file. Export it again as CSV or XLSX."),
        line=line,
    )


def _by_utf8(file: BinaryIO) -> EncodingGuess | None:
    """Strict UTF-8 over the whole file; a few stray bytes in a file full of good sequences stay UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    multibyte = 0
    line = 1
    while block := file.read(_BLOCK):
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            good = multibyte + sum(byte >= 0xC2 for byte in block[: error.start])
            if good >= 20 and _broken_share(file) < 0.02:
                where = line + block[: max(0, error.start)].count(b"\n")
                return EncodingGuess("utf-8", 0.6, "UTF-8 with broken bytes", where)
            return None
        multibyte += len(block) - len(text) if not block.isascii() else 0
        line += block.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return (
            EncodingGuess("utf-8", 0.6, "UTF-8, cut off in the last character", line) if multibyte else None
        )
    return EncodingGuess("utf-8", 1.0, "valid UTF-8" if multibyte else "plain ASCII")


def _by_pairs(file: BinaryIO) -> EncodingGuess:
    """GB18030 against Windows-1252.

    Chinese text is runs of pairs whose two bytes lie in GB 2312's plane (lead 0xB0–0xF7, trail 0xA1–0xFE).
    In Western text a byte above 0x7F stands alone, before a Latin letter. The share of high bytes in such
    pairs decides.
    """
    pairs, high, undefined = _count_pairs(file)
    share = 2 * pairs / high if high else 0.0
    chinese = _file_decodes(file, "gb18030")
    if chinese and share >= _GB_SURE:
        return EncodingGuess("gb18030", round(share, 2), "pairs of Chinese characters")
    if share <= _GB_NOT and not undefined:
        return EncodingGuess("cp1252", round(0.95 - share, 2), "single accented letters")
    file.seek(0)
    codecs_to_try = ["gb18030", "cp1252", "big5", "shift_jis", "cp1250", "cp1251"]
    from charset_normalizer import from_bytes  # rarely needed, and large

    best = from_bytes(file.read(_SAMPLE), cp_isolation=codecs_to_try).best()
    if best is not None and best.encoding in ENCODINGS:
        return EncodingGuess(best.encoding, 0.5, "statistics over the letters")
    return EncodingGuess("gb18030" if chinese and share > 0.5 else "cp1252", 0.3, "no rule was sure")


def _count_pairs(file: BinaryIO) -> tuple[int, int, bool]:
    """(pairs in the GB 2312 plane, high bytes, any byte that Windows-1252 leaves undefined) over the first 4
    MiB.
    """
    file.seek(0)
    data = file.read(4 * _BLOCK)
    pairs = high = 0
    index, end = 0, len(data)
    while index < end:
        byte = data[index]
        if byte < 0x80:
            index += 1
            continue
        if 0xB0 <= byte <= 0xF7 and index + 1 < end and 0xA1 <= data[index + 1] <= 0xFE:
            pairs += 1
            high += 2
            index += 2
            continue
        high += 1
        index += 1
    return pairs, high, any(byte in data for byte in _CP1252_UNDEFINED)


def _is_text(data: bytes, codec: str) -> bool:
    """Whether the bytes are text in that encoding: they decode, and to characters that people write."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\r\n\t\ufeff" for char in text)


def _file_decodes(file: BinaryIO, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)()
    file.seek(0)
    try:
        while block := file.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _broken_share(file: BinaryIO) -> float:
    """The share of broken characters among all that aren't ASCII, in the first sample."""
    file.seek(0)
    text = file.read(_SAMPLE).decode("utf-8", errors="replace")
    foreign = sum(char > "\x7f" for char in text)
    return text.count("�") / foreign if foreign else 1.0


def _first_line_with(file: BinaryIO, needle: bytes) -> int | None:
    file.seek(0)
    line = 1
    while block := file.read(_BLOCK):
        place = block.find(needle)
        if place >= 0:
            return line + block[:place].count(b"\n")
        line += block.count(b"\n")
    return None
