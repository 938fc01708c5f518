"""Texts of the API in the language of the client: Accept-Language, else what the actor prefers, else the default."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyramid.i18n import make_localizer

import crm_server
from crm_server.kernel.recalled import IDENTITY

if TYPE_CHECKING:
    from pyramid.i18n import Localizer
    from pyramid.request import Request

_FOLDER = str(Path(crm_server.__file__).parent / "locale")
# What clients ask for, to what there is. Traditional Chinese readers get the texts that there are.
LANGUAGES = {"en": "en", "zh-Hans": "zh_Hans", "zh-CN": "zh_Hans", "zh": "zh_Hans"}


@lru_cache(maxsize=8)
def localizer(locale: str) -> Localizer:
    """The translator of a locale such as "zh_Hans"."""
    folders = [_FOLDER] if Path(_FOLDER).is_dir() else []
    return make_localizer(locale, folders)


def locale_of(request: Request) -> str:
    """The language that the client wants."""
    if request.headers.get("Accept-Language"):
        matched = request.accept_language.lookup(list(LANGUAGES), default="")
        if matched:
            return LANGUAGES[matched]
    actor = request.environ.get(IDENTITY)
    settings = request.registry.settings["kontor"]
    return str(actor.locale if actor is not None else settings.default_locale)


def translate(request: Request, text: Any) -> str | None:
    """A text in the client's language; None stays None."""
    return None if text is None else str(localizer(locale_of(request)).translate(text))


def language_tag(request: Request) -> str:
    """The language of the answer as in Content-Language."""
    return "zh-Hans" if locale_of(request) == "zh_Hans" else "en"
