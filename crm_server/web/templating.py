"""Jinja2, translations and the language of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.threadlocal import get_current_request
from translationstring import TranslationString

from compliance.datamap.text import DOMAIN
from crm_server.kernel.errors import AppError
from crm_server.web.formats import LOCALES
from crm_server.web.ui import CurrentUi, Ui

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request

LANGUAGE_COOKIE = "__Host-kontor-language"


def locale_of(request: Request) -> str:
    """The person's language; before log-in the one chosen on the page, then the browser's, then the site's."""
    try:
        actor = request.identity
    except AppError:  # the database is away; the error page still has a language
        actor = None
    wanted = actor.locale if actor is not None else request.cookies.get(LANGUAGE_COOKIE)
    if wanted in LOCALES:
        return str(wanted)
    return accepted_language(request.headers.get("Accept-Language", "")) or str(
        request.registry.settings["kontor"].default_locale
    )


def accepted_language(header: str) -> str | None:
    """The first language of an Accept-Language header that the product speaks."""
    for part in header.split(","):
        tag = part.partition(";")[0].strip().lower()
        if tag.startswith("zh"):
            return "zh_Hans"
        if tag.startswith("en"):
            return "en"
    return None


def translated(value: Any) -> Any:
    """Print translatable texts in the language of the page, wherever a template prints them."""
    if isinstance(value, TranslationString):
        return get_current_request().localizer.translate(value)
    return value


def includeme(config: Configurator) -> None:
    """Set up templates; what stands in `ui` is there for every template and macro."""
    config.add_settings(
        {
            "jinja2.directories": "crm_server.web:templates",
            "jinja2.i18n.domain": DOMAIN,
            "jinja2.newstyle": True,
            "jinja2.undefined": "strict",
            "jinja2.trim_blocks": True,
            "jinja2.lstrip_blocks": True,
            "jinja2.finalize": "crm_server.web.templating.translated",
            "pyramid.default_locale_name": "en",
        }
    )
    config.include("pyramid_jinja2")
    config.add_translation_dirs("crm_server:locale/")
    config.set_locale_negotiator(locale_of)
    config.add_request_method(Ui, "ui", reify=True)
    config.action(None, _add_globals, args=(config,), order=99999)


def _add_globals(config: Configurator) -> None:
    environment = config.get_jinja2_environment()
    environment.globals["ui"] = CurrentUi()
    environment.tests["creatable"] = _creatable


def _creatable(name: str) -> bool:
    """Whether the person may create records of an entity."""
    return bool(get_current_request().ui.can("create", name))
