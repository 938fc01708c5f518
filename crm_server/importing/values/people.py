"""E-mail addresses, phone numbers, web addresses and person names.

Names are split only where a file has one column for the whole name: family name first for Chinese
characters, last for Latin letters, except "Family, Given".
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from crm_server.importing.errors import ValueProblem, _

__all__ = ["PersonName", "parse_email", "parse_phone", "parse_url", "split_name"]

_PLAIN_MAIL = re.compile(
    r"[a-z0-9_%+-]+(?:\.[a-z0-9_%+-]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,24}"
)
_MAIL_IN_TEXT = re.compile(r"(?:mailto:|.*<)\s*([^\s<>;,]+@[^\s<>;,]+?)\s*>?", re.IGNORECASE)
_SEVERAL = re.compile(r"@[^@]*[;,\s/][^@]*@")
_SHORTEST = 1_000
_FEWEST_DIGITS = 4
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_EXTENSION = re.compile(r"\s*(?:ext\.?|x|durchwahl|dw|分机|转)\s*(\d{1,8})\s*$", re.IGNORECASE)
_URL = re.compile(
    r"(?:(https?)://)?((?:[\w\u00a1-\uffff-]+\.)+[\w\u00a1-\uffff]{2,}|localhost)(:\d{1,5})?(/\S*|\?\S*)?",
    re.IGNORECASE,
)


def parse_email(text: str) -> str:
    """One address, its domain in lower case (RFC 5321 section 2.4 leaves the local part alone).

    ``Anna <anna@example.com>`` and ``mailto:`` are understood. Raises ValueProblem ``email.several``,
    ``email.invalid``.
    """
    clean = unicodedata.normalize("NFKC", text).strip()
    if _PLAIN_MAIL.fullmatch(clean) and len(clean) <= 254 and clean.find("@") <= 64:
        return clean
    if _SEVERAL.search(clean):
        raise ValueProblem(
            "email.several", _("There are several e-mail addresses in the cell. Keep one, or add a column.")
        )
    wrapped = _MAIL_IN_TEXT.fullmatch(clean)
    try:
        address = validate_email(
            wrapped[1] if wrapped else clean,
            check_deliverability=False,
            test_environment=True,
            globally_deliverable=False,
        )
    except EmailNotValidError as error:
        raise ValueProblem(
            "email.invalid", _("Not a valid e-mail address. It needs the form name@example.com.")
        ) from error
    if "." not in address.ascii_domain:
        raise ValueProblem(
            "email.invalid", _("Not a valid e-mail address. It needs the form name@example.com.")
        )
    return address.normalized


def parse_phone(text: str, country: str | None = None) -> str:
    """The number in E.164 form, with ``;ext=`` (RFC 3966) for an extension.

    ``country`` (ISO 3166-1 alpha-2) is taken for numbers without a country code. Raises ValueProblem
    ``phone.country``, ``phone.invalid``.
    """
    clean = unicodedata.normalize("NFKC", text).strip().lstrip("'")
    if _is_e164(clean):
        return clean
    extension = ""
    if match := _EXTENSION.search(clean):
        extension, clean = match[1], clean[: match.start()]
    # Excel turns a number without blanks into 4.9e+11; the digits are lost for good.
    if re.fullmatch(r"\d\.\d+e\+\d+", clean, re.IGNORECASE):
        raise ValueProblem(
            "phone.invalid", _("A spreadsheet has rounded the phone number. Export it again as text.")
        )
    clean = clean.replace("(0)", "") if clean.startswith(("+", "00")) else clean
    if clean.startswith("00"):
        clean = "+" + clean[2:]
    try:
        number = phonenumbers.parse(clean, country)
    except phonenumbers.NumberParseException as error:
        if (
            error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE
            and not clean.startswith("+")
        ):
            raise ValueProblem(
                "phone.country",
                _("The phone number has no country code. Choose a default country for the import."),
            ) from error
        raise _no_phone() from error
    # Some plans allow numbers of two digits; in a list of people those are remnants.
    if not phonenumbers.is_possible_number(number) or (number.national_number or 0) < _SHORTEST:
        raise _no_phone()
    extension = extension or number.extension or ""
    number.extension = None
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{found};ext={extension}" if extension else found


def _is_e164(text: str) -> bool:
    """Whether the number is in E.164 form already, so that `phonenumbers` would give it back as it is.

    It tells most numbers of a clean list in a tenth of the time: a known country code, a length that its numbers can
    have, and neither a leading zero nor what may be a national prefix. All others take the long way.
    """
    if _E164.fullmatch(text) is None:
        return False
    for size in (1, 2, 3):
        rules = _plans().get(text[1 : size + 1])
        if rules is not None:
            lengths, prefix = rules
            rest = text[size + 1 :]
            return len(rest) in lengths and rest[0] != "0" and (prefix is None or prefix.match(rest) is None)
    return False


@cache
def _plans() -> dict[str, tuple[frozenset[int], re.Pattern[str] | None]]:
    """By country code: the lengths of national numbers, and the pattern of what `phonenumbers` takes off them."""
    found = {}
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
        if metadata is None or metadata.general_desc is None:
            continue
        prefix = metadata.national_prefix_for_parsing
        lengths = frozenset(
            length for length in metadata.general_desc.possible_length if length >= _FEWEST_DIGITS
        )
        found[str(code)] = (lengths, re.compile(prefix) if prefix else None)
    return found


def _no_phone() -> ValueProblem:
    return ValueProblem(
        "phone.invalid", _("Not a phone number. Write it with its country code, like +49 30 123456.")
    )


def parse_url(text: str) -> str:
    """A web address with its scheme (https where none is given). Raises ValueProblem ``url.invalid``."""
    clean = text.strip()
    match = _URL.fullmatch(clean)
    if match is None:
        raise ValueProblem("url.invalid", _("Not a web address. It needs the form https://example.com."))
    return clean if match[1] else f"https://{clean}"


@dataclass(frozen=True, slots=True)
class PersonName:
    """The parts of a name; each may be None. ``family_first`` says in which order the person writes them."""

    given: str | None
    family: str | None
    prefix: str | None = None
    suffix: str | None = None
    family_first: bool = False


_COMPOUND_FAMILY = frozenset(
    [
        "欧阳",
        "太史",
        "端木",
        "上官",
        "司马",
        "东方",
        "独孤",
        "南宫",
        "万俟",
        "闻人",
        "夏侯",
        "诸葛",
        "尉迟",
        "公羊",
        "赫连",
        "澹台",
        "皇甫",
        "宗政",
        "濮阳",
        "公冶",
        "太叔",
        "申屠",
        "公孙",
        "慕容",
        "仲孙",
        "钟离",
        "长孙",
        "宇文",
        "司徒",
        "鲜于",
        "司空",
        "令狐",
        "百里",
        "呼延",
        "东郭",
        "南门",
        "西门",
        "轩辕",
        "歐陽",
        "司馬",
        "諸葛",
        "東方",
        "長孫",
        "鮮于",
    ]
)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_HAN_NAME = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff·•]+")
_CHINESE_TITLE = re.compile(r"(先生|女士|小姐|太太|博士|教授|总经理|经理|总监|总|老师)$")
_PREFIX = re.compile(
    r"^((?:mr|mrs|ms|miss|mx|dr|prof|professor|sir|dame|herrn?|frau|dipl\.-ing|ing|mag)\.?\s+)+(?=\S)",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r",?\s+((?:jr|sr|ii|iii|iv|phd|ph\.d|md|m\.d|esq|mba|cpa)\.?)$", re.IGNORECASE)
_PARTICLE = frozenset(
    [
        "van",
        "von",
        "der",
        "den",
        "de",
        "del",
        "della",
        "di",
        "da",
        "dos",
        "la",
        "le",
        "du",
        "zu",
        "zur",
        "zum",
        "ter",
        "ten",
        "bin",
        "ibn",
        "al",
        "el",
        "vom",
    ]
)


def split_name(text: str) -> PersonName:
    """The parts of a whole name.

    Chinese characters: the first (or one of the compound family names such as 欧阳) is the family name.
    Latin letters: the last word with its particles ("van der Berg") is, unless a comma puts the family name
    first.
    """
    clean = " ".join(unicodedata.normalize("NFKC", text).split())
    if _HAN.search(clean):
        return _split_chinese(clean)
    prefix = suffix = None
    if match := _PREFIX.match(clean):
        prefix, clean = match[0].strip(), clean[match.end() :]
    if match := _SUFFIX.search(clean):
        suffix, clean = match[1], clean[: match.start()]
    if "," in clean:
        family, _comma, given = (part.strip() or None for part in clean.partition(","))
        return PersonName(given, family, prefix, suffix)
    words = clean.split()
    if len(words) < 2:
        return PersonName(None, clean or None, prefix, suffix)
    start = len(words) - 1
    while start > 1 and words[start - 1].casefold() in _PARTICLE:
        start -= 1
    return PersonName(" ".join(words[:start]), " ".join(words[start:]), prefix, suffix)


def _split_chinese(text: str) -> PersonName:
    prefix = None
    if match := _CHINESE_TITLE.search(text):
        prefix, text = match[1], text[: match.start()].strip()
    words = text.split()
    if len(words) == 2 and all(_HAN_NAME.fullmatch(word) for word in words):
        return PersonName(words[1], words[0], prefix, family_first=True)
    whole = "".join(words)
    if not _HAN_NAME.fullmatch(whole):
        # A name in two scripts, such as "Anna 王": the Chinese part is the family name if it is one
        # character.
        han = "".join(_HAN.findall(text))
        latin = _HAN.sub("", text).strip()
        return PersonName(latin or None, han or None, prefix, family_first=False)
    if "·" in whole or "•" in whole:
        # A transcribed foreign name keeps its own order: 安娜·施密特.
        given, _dot, family = re.sub("•", "·", whole).rpartition("·")
        return PersonName(given or None, family, prefix, family_first=False)
    length = 2 if whole[:2] in _COMPOUND_FAMILY and len(whole) > 2 else 1
    return PersonName(whole[length:] or None, whole[:length], prefix, family_first=True)
