"""Contacts as vCard 4.0 (RFC 6350), streamed one card at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["write_card", "write_vcards"]

Value = object


def write_vcards(contacts: Iterable[Mapping[str, Value]]) -> Iterator[bytes]:
    """One card a contact; see ``write_card`` for the names of the values."""
    for contact in contacts:
        yield write_card(contact)


def write_card(contact: Mapping[str, Value]) -> bytes:
    """A card of ``id, name, family_name, given_name, salutation, account, department, job_title, email,
    email_private, phone, mobile, street, city, region, postal_code, country, birth_date, language, website,
    description, updated_at``; all but ``name`` may be missing. Lines end in CRLF and are folded at 75 octets
    (section 3.2).
    """

    def text(name: str) -> str:
        return _escape(str(contact.get(name) or ""))

    lines = ["BEGIN:VCARD", "VERSION:4.0"]
    if contact.get("id"):
        lines.append(f"UID:urn:uuid:{contact['id']}")
    lines.append(f"FN:{text('name')}")
    lines.append(f"N:{text('family_name')};{text('given_name')};;{text('salutation')};")
    if contact.get("account") or contact.get("department"):
        lines.append(f"ORG:{text('account')};{text('department')}".rstrip(";"))
    lines += [f"{head}:{text(name)}" for head, name in _TEXTS if contact.get(name)]
    lines += [f"{head}:tel:{_tel(str(contact[name]))}" for head, name in _PHONES if contact.get(name)]
    if any(contact.get(name) for name in _ADDRESS):
        parts = ";".join(text(name) for name in _ADDRESS)
        lines.append(f"ADR;TYPE=work:;;{parts}")
    birthday = contact.get("birth_date")
    if isinstance(birthday, dt.date):
        lines.append(f"BDAY:{birthday:%Y%m%d}")
    changed = contact.get("updated_at")
    if isinstance(changed, dt.datetime):
        lines.append(f"REV:{changed.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}")
    lines.append("END:VCARD")
    return b"".join(_fold(line) for line in lines)


_TEXTS = (
    ("TITLE", "job_title"),
    ("EMAIL;TYPE=work;PREF=1", "email"),
    ("EMAIL;TYPE=home", "email_private"),
    ("URL", "website"),
    ("LANG", "language"),
    ("NOTE", "description"),
)
_PHONES = (("TEL;TYPE=work,voice;VALUE=uri", "phone"), ("TEL;TYPE=cell;VALUE=uri", "mobile"))
_ADDRESS = ("street", "city", "region", "postal_code", "country")


def _tel(number: str) -> str:
    """The number as the rest of a tel URI (RFC 3966); the semicolon before an extension is part of it."""
    return number.replace(" ", "-")


def _escape(value: str) -> str:
    """Backslash, semicolon, comma and line break escaped (section 3.4)."""
    value = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return value.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")


def _fold(line: str) -> bytes:
    """The line in pieces of at most 75 octets, never cut inside a character."""
    data = line.encode()
    pieces = []
    limit = 75
    while len(data) > limit:
        cut = limit
        while data[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(data[:cut])
        data, limit = data[cut:], 74
    pieces.append(data)
    return b"\r\n ".join(pieces) + b"\r\n"
