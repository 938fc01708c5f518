"""Which files are accepted: found from the content, checked against the name, and against a list of what is allowed.

The list names what offices send each other. Programs, scripts and everything that a browser could run (HTML, SVG) are
not in it. What a file is called never decides alone, and neither does its content: both must agree.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING, BinaryIO

import puremagic

from compliance.datamap.text import _
from crm_server.kernel.errors import UnsupportedMedia

if TYPE_CHECKING:
    from collections.abc import Mapping

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"

BINARY: Mapping[str, tuple[str, frozenset[str]]] = {
    # Extension: media type, and the extensions by which the library may know the content.
    "pdf": ("application/pdf", frozenset({"pdf"})),
    "png": ("image/png", frozenset({"png"})),
    "jpg": ("image/jpeg", frozenset({"jpg", "jpeg", "jfif"})),
    "jpeg": ("image/jpeg", frozenset({"jpg", "jpeg", "jfif"})),
    "gif": ("image/gif", frozenset({"gif"})),
    "webp": ("image/webp", frozenset({"webp"})),
    "tif": ("image/tiff", frozenset({"tif", "tiff"})),
    "tiff": ("image/tiff", frozenset({"tif", "tiff"})),
    "bmp": ("image/bmp", frozenset({"bmp", "dib"})),
    "heic": ("image/heic", frozenset({"heic", "heif"})),
    "docx": (f"{_OFFICE}.wordprocessingml.document", frozenset({"docx", "zip"})),
    "xlsx": (f"{_OFFICE}.spreadsheetml.sheet", frozenset({"xlsx", "zip"})),
    "pptx": (f"{_OFFICE}.presentationml.presentation", frozenset({"pptx", "zip"})),
    "odt": (f"{_OPEN}.text", frozenset({"odt", "zip"})),
    "ods": (f"{_OPEN}.spreadsheet", frozenset({"ods", "zip"})),
    "odp": (f"{_OPEN}.presentation", frozenset({"odp", "zip"})),
    "zip": ("application/zip", frozenset({"zip"})),
    "7z": ("application/x-7z-compressed", frozenset({"7z"})),
    "gz": ("application/gzip", frozenset({"gz"})),
    "doc": ("application/msword", frozenset({"doc"})),
    "xls": ("application/vnd.ms-excel", frozenset({"xls", "doc"})),
    "ppt": ("application/vnd.ms-powerpoint", frozenset({"ppt", "doc"})),
    "msg": ("application/vnd.ms-outlook", frozenset({"msg", "doc"})),
    "rtf": ("application/rtf", frozenset({"rtf"})),
    "mp3": ("audio/mpeg", frozenset({"mp3"})),
    "wav": ("audio/wav", frozenset({"wav"})),
    "mp4": ("video/mp4", frozenset({"mp4", "m4v", "m4a"})),
}
TEXT: Mapping[str, str] = {
    "txt": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "xml": "application/xml",
    "vcf": "text/vcard",
    "ics": "text/calendar",
    "eml": "message/rfc822",
}
ALLOWED = sorted({*BINARY, *TEXT})

_MAIN_PARTS = {
    "docx": re.compile(r"word/document\d*\.xml"),
    "xlsx": re.compile(r"xl/workbook\d*\.xml"),
    "pptx": re.compile(r"ppt/presentation\d*\.xml"),
}
_END_RECORD, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_TAIL = 22 + 0xFFFF + 20
"""The end record with the longest comment, and before it what would point to a directory of ZIP64."""
_LARGEST_DIRECTORY = 1 << 20

_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xca\xfe\xba\xbe",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\x00asm",
)
# What makes a browser see a page or a drawing that can carry scripts. Looked for in the beginning of a text.
_ACTIVE = (b"<!doctype html", b"<html", b"<script", b"<svg", b"<iframe", b"<body", b"<head")


def media_type(filename: str, head: bytes) -> str:
    """The media type of a file.

    Args:
        filename: As the sender named it.
        head: Its first bytes, up to 64 KiB.

    Raises:
        UnsupportedMedia: not on the list, or name and content disagree.
    """
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    if extension not in BINARY and extension not in TEXT:
        raise UnsupportedMedia(
            _(
                "Files of this kind are not accepted. Accepted are: ${kinds}.",
                mapping={"kinds": ", ".join(ALLOWED)},
            )
        )
    if head.startswith(_PROGRAMS) and extension != "eml":
        raise _disagrees()
    if extension in TEXT:
        if not _is_text(head):
            raise _disagrees()
        return TEXT[extension]
    named, expected = BINARY[extension]
    if not _known_as(head) & expected:
        raise _disagrees()
    # OpenDocument 1.3 part 2 §3.3: the first part is called mimetype and holds nothing but the type, in clear.
    if named.startswith(_OPEN) and not head[30:].startswith(b"mimetype" + named.encode()):
        raise _disagrees()
    return named


def check_package(filename: str, content: BinaryIO) -> None:
    """Refuse an archive that calls itself a document of Word, Excel or PowerPoint and has not its parts.

    ECMA-376 part 2 (Open Packaging Conventions) demands `[Content_Types].xml`; the main part lies where all known
    writers put it (Word on the web numbers it: `word/document2.xml`). Only the archive's directory is read.

    Args:
        filename: As the sender named it.
        content: The whole file, seekable.

    Raises:
        UnsupportedMedia: it is something else.
    """
    main = _MAIN_PARTS.get(filename.rpartition(".")[2].lower())
    if main is None:
        return
    size = content.seek(0, io.SEEK_END)
    content.seek(max(0, size - _TAIL))
    tail = content.read(_TAIL)
    end = tail.rfind(_END_RECORD)
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    # A directory of millions of entries would fill the memory; a document has some dozens, and no need of ZIP64.
    if end < 0 or directory > _LARGEST_DIRECTORY or _ZIP64 in tail:
        raise _disagrees()
    try:
        with zipfile.ZipFile(content) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise _disagrees() from None
    if "[Content_Types].xml" not in names or not any(map(main.fullmatch, names)):
        raise _disagrees()


def _known_as(head: bytes) -> set[str]:
    """The extensions under which the library knows the content."""
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return set()
    return {match.extension.lstrip(".").lower() for match in found}


def _is_text(head: bytes) -> bool:
    """Text in UTF-8, UTF-16 with its mark, or an older encoding; nothing that a browser would run."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "replace").encode()
    lowered = head[:4096].lower()
    return b"\x00" not in head and not any(mark in lowered for mark in _ACTIVE)


def _disagrees() -> UnsupportedMedia:
    return UnsupportedMedia(_("The content of the file is not what its name says."))
