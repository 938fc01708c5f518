"""Records of a vCard file: 2.1 (phones of old), 3.0 (RFC 2426) and 4.0 (RFC 6350).

Called through ``readers.open_rows``. One card becomes one row with fixed column names; of several mails or
phones of a kind the preferred comes first and further ones get columns of their own. Cards are read one at a
time, and a card that is broken is reported with its line while the others go on; that is why no whole-file
parser is used here.
"""

from __future__ import annotations

import binascii
import io
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from crm_server.importing.rows import SourceRow

__all__ = ["COLUMNS", "Property", "parse_card", "read_rows"]

COLUMNS: tuple[str, ...] = (
    "UID", "Full name", "Family name", "Given name", "Additional names", "Prefix", "Suffix", "Nickname",
    "Organization", "Department", "Job title", "Role",
    "E-mail", "E-mail 2", "E-mail 3", "Phone", "Mobile phone", "Home phone", "Fax", "Other phone",
    "Street", "City", "Region", "Postal code", "Country",
    "Home street", "Home city", "Home region", "Home postal code", "Home country",
    "Website", "Birthday", "Gender", "Language", "Categories", "Note", "Revision",
)  # fmt: skip
"""Names of the columns that a card is spread over."""

MAX_CARD_LINES = 20_000
_LINE = re.compile(
    r"^(?:[\w-]+\.)?(?P<name>[\w-]+)(?P<params>(?:;(?:[^:;\"]|\"[^\"]*\")*)*):(?P<value>.*)$", re.DOTALL
)
_BARE_TYPES = frozenset(
    [
        "HOME",
        "WORK",
        "CELL",
        "VOICE",
        "FAX",
        "PREF",
        "PAGER",
        "MSG",
        "CAR",
        "BBS",
        "MODEM",
        "ISDN",
        "VIDEO",
        "INTERNET",
        "X400",
        "DOM",
        "INTL",
        "POSTAL",
        "PARCEL",
    ]
)
_ENCODINGS = frozenset({"QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT", "B"})


@dataclass(frozen=True, slots=True)
class Property:
    """One content line: upper-case name, upper-case parameters with lists of values, decoded text."""

    name: str
    value: str
    params: dict[str, list[str]] = field(default_factory=dict)

    @property
    def types(self) -> set[str]:
        """The TYPE values in upper case, whichever version wrote them."""
        return {kind.upper() for value in self.params.get("TYPE", ()) for kind in value.split(",")}

    @property
    def rank(self) -> int:
        """Preference, lower first: 4.0's PREF 1–100, then 3.0's TYPE=pref, then the rest."""
        pref = self.params.get("PREF", [""])[0]
        if pref.isdigit():
            return int(pref)
        return 1 if "PREF" in self.types else 101


def read_rows(file: BinaryIO, *, encoding: str) -> Iterator[SourceRow]:
    """One row a card; a card without an end, without a name or with unreadable lines has problem
    ``row.card``.
    """
    file.seek(0)
    start = 0
    card: list[bytes] = []
    number = 0
    for number, raw in enumerate(_raw_lines(file, encoding), start=1):
        mark = raw.strip().upper()
        if mark == b"BEGIN:VCARD":
            if card:
                yield _row(start, card, encoding, complete=False)
            start, card = number, [raw]
        elif mark == b"END:VCARD" and card:
            yield _row(start, card, encoding, complete=True)
            card = []
        elif card and len(card) < MAX_CARD_LINES:
            card.append(raw)
    if card:
        yield _row(start, card, encoding, complete=False)


def _raw_lines(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Lines as UTF-8 bytes; only 2.1 cards may change the encoding inside, so bytes are kept where they can
    be.
    """
    if encoding.startswith("utf-16"):
        data = io.StringIO(file.read().decode(encoding, errors="replace"))
        yield from (line.encode() for line in data)
        return
    first = True
    for line in file:
        yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _row(start: int, raw: list[bytes], encoding: str, *, complete: bool) -> SourceRow:
    properties, broken = parse_card(raw, "utf-8" if encoding.startswith("utf-") else encoding)
    values = _spread(properties)
    named = values["Full name"] or values["Family name"] or values["Given name"] or values["Organization"]
    return SourceRow(start, values, None if complete and named and not broken else "row.card")


def parse_card(raw: list[bytes], encoding: str) -> tuple[list[Property], int]:
    """The properties of one card's lines, and how many lines couldn't be read."""
    properties: list[Property] = []
    broken = 0
    for line in _unfold(raw):
        text = line.decode(encoding, errors="replace").rstrip("\r\n")
        if not text.strip() or text.upper().startswith(("BEGIN:", "END:")):
            continue
        match = _LINE.match(text)
        if match is None:
            broken += 1
            continue
        params = _params(match["params"])
        value = _decode(line.partition(b":")[2] if b'"' not in line else match["value"].encode(encoding, "replace"),
                        match["value"], params)  # fmt: skip
        if value is not None:
            properties.append(Property(match["name"].upper(), value, params))
    return properties, broken


def _unfold(raw: list[bytes]) -> Iterator[bytes]:
    """Joins folded lines (a leading blank, RFC 6350 section 3.2) and soft line breaks of quoted-printable
    (2.1).
    """
    current = b""
    quoted = False
    for line in raw:
        body = line.rstrip(b"\r\n")
        if quoted and current.endswith(b"="):
            current = current[:-1] + body
            continue
        if body[:1] in (b" ", b"\t") and current:
            current += body[1:]
            continue
        if current:
            yield current
        current = body
        quoted = b"QUOTED-PRINTABLE" in body.partition(b":")[0].upper()
    if current:
        yield current


def _params(text: str) -> dict[str, list[str]]:
    params: dict[str, list[str]] = {}
    for part in re.findall(r";((?:[^;\"]|\"[^\"]*\")*)", text):
        name, equals, value = part.partition("=")
        name = name.strip().upper()
        if not equals:
            # 2.1 writes TEL;HOME;VOICE and NOTE;QUOTED-PRINTABLE without names.
            key = "TYPE" if name in _BARE_TYPES else "ENCODING" if name in _ENCODINGS else "X"
            params.setdefault(key, []).append(name)
            continue
        params.setdefault(name, []).extend(value.replace('"', "").split(","))
    return params


def _decode(raw: bytes, text: str, params: dict[str, list[str]]) -> str | None:
    """The value with its transfer encoding undone; None for pictures, sounds and keys."""
    encoding = (params.get("ENCODING") or [""])[0].upper()
    charset = (params.get("CHARSET") or ["utf-8"])[0]
    if encoding in {"B", "BASE64"} or text.startswith("data:"):
        return None
    if encoding == "QUOTED-PRINTABLE":
        raw = quopri.decodestring(raw)
    elif "CHARSET" not in params:
        return text
    try:
        return raw.decode("gb18030" if charset.upper() in {"GB2312", "GBK"} else charset)
    except (LookupError, UnicodeDecodeError, binascii.Error):
        return raw.decode("utf-8", errors="replace")


def _split(value: str, separator: str = ";") -> list[str]:
    """Parts of a structured value, unescaped (RFC 6350 section 3.4)."""
    parts = re.split(rf"(?<!\\){separator}", value)
    return [_unescape(part).strip() for part in parts]


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], value, flags=re.DOTALL)


def _spread(properties: list[Property]) -> dict[str, str | None]:
    values: dict[str, str | None] = dict.fromkeys(COLUMNS)
    by_name: dict[str, list[Property]] = {}
    for item in properties:
        if item.value.strip():
            by_name.setdefault(item.name, []).append(item)
    for items in by_name.values():
        items.sort(key=lambda item: item.rank)

    def first(name: str) -> str | None:
        return _unescape(by_name[name][0].value).strip() or None if name in by_name else None

    if "N" in by_name:
        names = ("Family name", "Given name", "Additional names", "Prefix", "Suffix")
        parts = [part.replace(",", " ") for part in _split(by_name["N"][0].value)]
        values.update({name: part or None for name, part in zip(names, parts, strict=False)})
    if "ORG" in by_name:
        parts = _split(by_name["ORG"][0].value)
        values["Organization"] = parts[0] or None
        values["Department"] = " / ".join(part for part in parts[1:] if part) or None
    for column, name in _SIMPLE:
        values[column] = first(name)
    if "CATEGORIES" in by_name:
        values["Categories"] = ", ".join(
            part for item in by_name["CATEGORIES"] for part in _split(item.value, ",")
        )
    _mails(by_name.get("EMAIL", []), values)
    _phones(by_name.get("TEL", []), values)
    _addresses(by_name.get("ADR", []), values)
    if values["UID"]:
        values["UID"] = values["UID"].removeprefix("urn:uuid:")
    return values


_SIMPLE = (
    ("UID", "UID"), ("Full name", "FN"), ("Nickname", "NICKNAME"), ("Job title", "TITLE"), ("Role", "ROLE"),
    ("Website", "URL"), ("Birthday", "BDAY"), ("Gender", "GENDER"), ("Language", "LANG"), ("Note", "NOTE"),
    ("Revision", "REV"),
)  # fmt: skip


def _mails(items: list[Property], values: dict[str, str | None]) -> None:
    for column, item in zip(("E-mail", "E-mail 2", "E-mail 3"), items, strict=False):
        values[column] = _unescape(item.value).removeprefix("mailto:").strip() or None


def _phones(items: list[Property], values: dict[str, str | None]) -> None:
    """Each number in the column of its kind; what finds its place taken goes to "Other phone"."""
    for item in items:
        types = item.types
        number = _unescape(item.value).removeprefix("tel:").strip()
        # RFC 3966 puts an extension behind a semicolon.
        number = re.sub(r";ext=", " ext. ", number)
        if "FAX" in types:
            wanted = "Fax"
        elif types & {"CELL", "MOBILE", "IPHONE"}:
            wanted = "Mobile phone"
        elif "HOME" in types and "WORK" not in types:
            wanted = "Home phone"
        elif types & {"PAGER", "MODEM", "BBS"}:
            continue
        else:
            wanted = "Phone"
        for column in (wanted, "Other phone"):
            if values[column] is None:
                values[column] = number
                break


def _addresses(items: list[Property], values: dict[str, str | None]) -> None:
    """The business address, and the home address in columns of its own; an untyped one counts as business."""
    for item in items:
        home = "HOME" in item.types and "WORK" not in item.types
        prefix = "Home " if home else ""
        parts = [*_split(item.value), *[""] * 7]
        box, extended, street, city, region, code, country = parts[:7]
        columns = ("street", "city", "region", "postal code", "country")
        found = (", ".join(filter(None, (box, street, extended))), city, region, code, country)
        names = [prefix + name if home else name.capitalize() for name in columns]
        if all(values[name] is None for name in names):
            values.update({name: part or None for name, part in zip(names, found, strict=True)})
