"""Translates labels and reasons outside a request: in jobs, on the command line, and when words of both
languages count.

Catalogues are those of the pages; where one is missing or lacks a text, the English original stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Self

from babel.support import NullTranslations, Translations
from translationstring import TranslationString

from compliance.datamap.text import DOMAIN

__all__ = ["Labels", "translate", "translator"]

_CATALOGUES = Path(__file__).parents[1] / "locale"


class Labels(TranslationString):
    """A label that brings its own translations, because a person wrote it and no catalogue has it.

    ``by_locale`` has the label by language; English is always there, and is the text itself.
    """

    by_locale: Mapping[str, str]

    @classmethod
    def of(cls, by_locale: Mapping[str, str]) -> Self:
        """From the labels by language."""
        made = cls(by_locale["en"])
        made.by_locale = by_locale
        return made


@cache
def _catalogue(locale: str) -> NullTranslations:
    return Translations.load(_CATALOGUES, [locale], DOMAIN)


def translate(text: object, locale: str) -> str:
    """The text in a language ("en", "zh_Hans"), with its places filled."""
    if isinstance(text, Labels):
        return text.by_locale.get(locale) or str(text)
    if not isinstance(text, TranslationString):
        return str(text)
    found = _catalogue(locale).gettext(str(text))
    return text.interpolate(found if found != str(text) else None)


def translator(locale: str) -> Callable[[object], str]:
    """The same for one language."""
    return lambda text: translate(text, locale)
