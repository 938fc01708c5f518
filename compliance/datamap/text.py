"""Marks text that a person reads, so that it is translated when it is shown and not when it is declared."""

from __future__ import annotations

from translationstring import TranslationString, TranslationStringFactory

DOMAIN = "kontor"

_ = TranslationStringFactory(DOMAIN)

Text = TranslationString

__all__ = ["DOMAIN", "Text", "_"]
