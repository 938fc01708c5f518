"""How a person's name is written, by the custom of the language that it is written in."""

from __future__ import annotations

import unicodedata

# Family name first with a space between, as Hungarians and Vietnamese write in Latin letters.
_FAMILY_FIRST = frozenset({"hu", "vi"})
_EAST_ASIAN = ("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC ITERATION")


def compose(family_name: str, given_name: str | None, language: str | None = None) -> str:
    """The whole name from its parts.

    The script decides first: a name in Chinese, Japanese or Korean characters has the family name in front and no
    space, whatever language its bearer prefers to be written in. A name in Latin letters is written "Given Family"
    unless the language has it the other way round.

    Args:
        family_name: Never empty.
        given_name: May be missing.
        language: Tag such as "hu" or "zh_Hans".
    """
    if not given_name:
        return family_name
    if is_east_asian(family_name) and is_east_asian(given_name):
        return f"{family_name}{given_name}"
    if (language or "").split("_")[0] in _FAMILY_FIRST:
        return f"{family_name} {given_name}"
    return f"{given_name} {family_name}"


def is_east_asian(text: str) -> bool:
    """Whether all letters are Chinese, Japanese or Korean characters."""
    if text.isascii():
        return False
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and all(unicodedata.name(letter, "").startswith(_EAST_ASIAN) for letter in letters)


def fit(name: str, limit: int = 250) -> str:
    """The name cut to what its column holds."""
    return name[:limit].rstrip()
