"""Normal forms of values for the blind index, each with a version.

Two spellings of the same address must give the same token, so a value is brought into a normal form first. The
version of the normaliser is part of the token: when a rule changes, its version grows and the index is built anew
beside the old one. No error carries the value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import idna
import phonenumbers

from security.crypto.errors import NotNormal


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A named transform with its version; ``apply`` raises NotNormal for a value that has no normal form."""

    name: str
    version: int
    apply: Callable[[str], str]


# Letters, digits and single hyphens inside of labels of up to 30 characters, at most 8 labels: IDNA changes nothing.
_PLAIN_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9._+-]+@(?:[A-Za-z0-9](?:-?[A-Za-z0-9]){0,29}\.){1,7}[A-Za-z](?:-?[A-Za-z0-9]){0,29}"
)


def text(value: str) -> str:
    """Trim, apply NFKC, fold case, and squeeze white space.

    Folding may undo normalisation, so both are repeated, as Unicode's NFKC_Casefold does (chapter 3, D147).
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    normal = " ".join(unicodedata.normalize("NFKC", folded.casefold()).split())
    if not normal:
        raise NotNormal("The value is empty and has no place in an index.")
    return normal


def email(value: str) -> str:
    """Return an address with folded local part and its domain in the A-label form of IDNA 2008 (RFC 5891).

    Folding the local part merges addresses that RFC 5321 would let differ; no mail system of note does so, and hits are
    compared exactly afterwards. Dots and ``+tags`` stay: they mean different things at different providers.
    """
    if _PLAIN_ADDRESS.fullmatch(value):
        # What nearly all addresses are; here all rules below do nothing but fold the case.
        return value.lower()
    local, at, domain = unicodedata.normalize("NFKC", value).strip().rpartition("@")
    if not at or not local.strip() or not domain:
        raise NotNormal("The value isn't an e-mail address.")
    local = text(local)
    ascii_domain: str | None
    try:
        # The domain isn't case-folded before: folding makes "ss" of "ß", and IDNA 2008 tells these two apart.
        ascii_domain = idna.encode(domain.rstrip("."), uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        ascii_domain = None
    if " " in local:
        raise NotNormal("The value isn't an e-mail address.")
    if ascii_domain is None:
        raise NotNormal("The domain of the e-mail address isn't valid under IDNA 2008.")
    return f"{local}@{ascii_domain}"


def phone(value: str, region: str | None = None) -> str:
    """Return a number in E.164; ``region`` (ISO 3166 alpha-2) is taken for numbers without a country code.

    Extensions are dropped: the number of a company's switchboard finds everyone behind it.
    """
    number: phonenumbers.PhoneNumber | None
    try:
        number = phonenumbers.parse(unicodedata.normalize("NFKC", value), region)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise NotNormal("The value isn't a phone number, or it has no country code and no country is known.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def external_id(value: str) -> str:
    """Trim and apply NFC only: ids of other systems tell upper from lower case."""
    normal = unicodedata.normalize("NFC", value.strip())
    if not normal:
        raise NotNormal("The value is empty and has no place in an index.")
    return normal


NORMALISERS: Final[Mapping[str, Normaliser]] = {
    "text": Normaliser("text", 1, text),
    "email": Normaliser("email", 1, email),
    "phone": Normaliser("phone", 1, phone),
    "external_id": Normaliser("external_id", 1, external_id),
}
