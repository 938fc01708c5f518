# ruff: noqa: E501
"""Countries, languages and currencies by the names that people use, in English, German and Chinese.

Names come from CLDR (through babel), codes from ISO 3166-1, BCP 47 and ISO 4217.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

from babel import Locale
from babel.core import get_global
from babel.numbers import list_currencies

from crm_server.importing.errors import ValueProblem, _

__all__ = ["fold", "parse_country", "parse_currency", "parse_language"]

_LOCALES = ("en", "de", "zh_Hans", "zh_Hant", "fr", "es", "it", "nl")
_COUNTRY_SYNONYMS = {
    "usa": "US", "unitedstatesofamerica": "US", "america": "US", "美利坚合众国": "US",
    "uk": "GB", "greatbritain": "GB", "britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB",
    "grossbritannien": "GB", "vereinigteskonigreich": "GB", "大不列颠": "GB", "英格兰": "GB",
    "brd": "DE", "federalrepublicofgermany": "DE", "bundesrepublikdeutschland": "DE",
    "prc": "CN", "peoplesrepublicofchina": "CN", "volksrepublikchina": "CN", "中华人民共和国": "CN", "中国大陆": "CN", "mainlandchina": "CN",
    "hongkong": "HK", "香港": "HK", "macau": "MO", "macao": "MO", "澳门": "MO", "taiwan": "TW", "台湾": "TW", "台灣": "TW",
    "korea": "KR", "southkorea": "KR", "republicofkorea": "KR", "russia": "RU", "russianfederation": "RU",
    "holland": "NL", "thenetherlands": "NL", "czechrepublic": "CZ", "tschechischerepublik": "CZ", "uae": "AE",
    "vietnam": "VN", "macedonia": "MK", "turkey": "TR", "ivorycoast": "CI", "swaziland": "SZ", "burma": "MM",
}  # fmt: skip
_CURRENCY_SYNONYMS = {
    "rmb": "CNY",
    "人民币": "CNY",
    "元": "CNY",
    "euro": "EUR",
    "dollar": "USD",
    "美元": "USD",
    "欧元": "EUR",
}

_LANGUAGE_SYNONYMS = {
    "中文": "zh", "汉语": "zh", "简体中文": "zh_Hans", "繁体中文": "zh_Hant", "mandarin": "zh", "zhcn": "zh_Hans",
    "zhtw": "zh_Hant", "zhhk": "zh_Hant",
}  # fmt: skip


def fold(text: str) -> str:
    """A form for comparison: no case, accents, punctuation or blanks; ``ß`` counts as ``ss``."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[^\w]|_", "", "".join(char for char in plain if not unicodedata.combining(char)))


@cache
def _countries() -> dict[str, str]:
    found: dict[str, str] = {}
    # Aliases hold the three-letter and numeric codes of ISO 3166-1 as well as codes that are no longer used.
    for alias, codes in get_global("territory_aliases").items():
        if len(alias) == 3 and len(codes) == 1 and len(codes[0]) == 2:
            found[alias.casefold()] = codes[0]
    codes_known = {
        code for code in map(str, Locale("en").territories) if len(code) == 2 and code.isalpha()
    } - {
        "ZZ",
        "EU",
        "UN",
        "EZ",
        "QO",
        "XA",
        "XB",
    }
    for tag in reversed(_LOCALES):
        for code, name in Locale.parse(tag).territories.items():
            if code in codes_known:
                found[fold(name)] = code
                # CLDR says "Hong Kong SAR China" and "Myanmar (Burma)".
                found.setdefault(fold(re.sub(r"\s*[(（].*", "", name)), code)
    found.update({code.casefold(): code for code in codes_known})
    return found | _COUNTRY_SYNONYMS


@lru_cache(maxsize=4096)
def parse_country(text: str) -> str:
    """ISO 3166-1 alpha-2 code of a country's name or code. Raises ValueProblem ``country.unknown``."""
    code = _countries().get(fold(text))
    if code is None:
        raise ValueProblem(
            "country.unknown", _("Unknown country. Write its name or its two-letter code, like DE.")
        )
    return code


@cache
def _languages() -> dict[str, str]:
    found: dict[str, str] = {}
    codes = frozenset(Locale("en").languages)
    for tag in reversed(_LOCALES):
        for code, name in Locale.parse(tag).languages.items():
            if code in codes:
                found[fold(name)] = code
    found.update({fold(code): code for code in codes})
    return found | _LANGUAGE_SYNONYMS


@lru_cache(maxsize=1024)
def parse_language(text: str) -> str:
    """The CLDR tag ("de", "zh_Hans") of a language's name or tag; a region that CLDR doesn't name is dropped.

    Raises ValueProblem ``language.unknown``.
    """
    clean = text.strip().replace("-", "_")
    known = _languages()
    for candidate in (clean, clean.partition("_")[0]):
        if found := known.get(fold(candidate)):
            return found
    raise ValueProblem(
        "language.unknown", _("Unknown language. Write its name or its tag, like en or zh_Hans.")
    )


@cache
def _currencies() -> dict[str, str]:
    codes = list_currencies()
    found = {
        fold(name): code
        for tag in reversed(_LOCALES)
        for code, name in Locale.parse(tag).currencies.items()
        if code in codes
    }
    return found | {code.casefold(): code for code in codes} | _CURRENCY_SYNONYMS


@lru_cache(maxsize=1024)
def parse_currency(text: str) -> str:
    """ISO 4217 code of a currency's name or code. Raises ValueProblem ``currency.unknown``."""
    code = _currencies().get(fold(text))
    if code is None:
        raise ValueProblem("currency.unknown", _("Unknown currency. Write its three-letter code, like EUR."))
    return code
