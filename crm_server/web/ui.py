"""What templates may ask for: texts, formats, icons, addresses of assets, navigation. One per request, as `ui`.

Templates and their macros reach it as a global that looks at the current request, so that macros need no context.
"""

from __future__ import annotations

import datetime as dt
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup
from pyramid.csrf import get_csrf_token
from pyramid.interfaces import IRoutesMapper
from pyramid.threadlocal import get_current_request
from translationstring import TranslationString

from compliance.datamap import Search, Semantic
from compliance.datamap.text import _
from crm_server.domain.audit import guard
from crm_server.domain.documents.services import readable_by
from crm_server.permissions import Permission
from crm_server.web import flash, formats, navigation, texts

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import DataMap, EntityDef, FieldPolicy
    from compliance.datamap.text import Text

NONE = "–"
"""Stands where there is no value."""

_PRIVILEGED = (
    Permission.AUDIT_READ,
    Permission.ROLES_MANAGE,
    Permission.SETTINGS_READ,
    Permission.USERS_MANAGE,
)

_BADGES = {
    # Stages of work, from not begun to ended well or badly; the words of all choices together.
    **dict.fromkeys(("new", "open", "prospect", "subscriber", "pipeline", "invited"), "blue"),
    **dict.fromkeys(
        ("working", "waiting", "warm", "high", "b", "best_case", "marketing_qualified"), "orange"
    ),
    **dict.fromkeys(
        ("qualified", "customer", "won", "done", "resolved", "active", "a", "commit", "evangelist"), "green"
    ),
    **dict.fromkeys(("urgent", "lost", "hot", "competitor", "unqualified", "d"), "red"),
    **dict.fromkeys(("converted", "partner", "opportunity", "sales_qualified"), "purple"),
    **dict.fromkeys(("call", "supplier", "c", "cold"), "teal"),
}
BADGE_FIELDS = frozenset(
    {"status", "kind", "priority", "rating", "grade", "lifecycle_stage", "forecast", "state", "colour"}
)
"""Choices that are shown as a coloured badge; other choices are plain words."""
_TAG_COLOURS = {
    "blue": "blue", "azure": "blue", "indigo": "purple", "purple": "purple", "pink": "red", "red": "red",
    "orange": "orange", "yellow": "orange", "lime": "green", "green": "green", "teal": "teal",
}  # fmt: skip


class Ui:
    """Helpers of one request."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @cached_property
    def locale(self) -> str:
        """Language of the page: "en" or "zh_Hans"."""
        return str(self._request.locale_name)

    @property
    def lang(self) -> str:
        """The same as a tag for HTML (BCP 47)."""
        return self.locale.replace("_", "-")

    @cached_property
    def zone(self) -> ZoneInfo:
        """Time zone of the reader."""
        return formats.zone_of(self.actor.timezone if self.actor else "UTC")

    @cached_property
    def actor(self) -> Any:
        """Who is logged in, or None; also None where that can't be found out, on error pages."""
        try:
            return self._request.identity
        except Exception:  # noqa: BLE001 - the database is away, and the page that says so must still come
            return None

    @property
    def theme(self) -> str:
        """The person's choice: auto, light or dark."""
        return self.actor.theme if self.actor else "auto"

    @property
    def nonce(self) -> str:
        """The page's nonce for scripts (CSP)."""
        return str(self._request.csp_nonce)

    @property
    def csrf(self) -> str:
        """Token for forms."""
        return get_csrf_token(self._request)

    @property
    def demo(self) -> bool:
        """Whether all data is made up."""
        return bool(self._request.registry.settings["kontor"].demo)

    @property
    def audit_stopped(self) -> Text | None:
        """Why privileged acts are closed, for those who hold some; None while they are open (AUD-12)."""
        if not any(self.may(str(permission)) for permission in _PRIVILEGED):
            return None
        reason = self._request.registry.audit_guard.state().reason
        return None if reason is None else guard.REASONS[reason]

    @property
    def path(self) -> str:
        """Path of this page."""
        return str(self._request.path)

    @property
    def languages(self) -> dict[str, str]:
        """The languages of the product, each named in itself."""
        return formats.LOCALES

    def has_route(self, name: str) -> bool:
        """Whether a page exists in this installation."""
        return self._request.registry.getUtility(IRoutesMapper).get_route(name) is not None

    @property
    def here(self) -> str:
        """Path and query of this page, for links that come back."""
        return str(self._request.path_qs)

    def t(self, text: Any) -> str:
        """Translate a text that was declared elsewhere; plain text stays as it is."""
        if isinstance(text, TranslationString):
            return str(self._request.localizer.translate(text))
        return str(text)

    def given(self, name: str) -> str:
        """The name of a role, pipeline or stage; those of the first start in the reader's language."""
        return self.t(texts.GIVEN.get(name, name))

    def asset(self, name: str) -> str:
        """Address of a built file."""
        return str(self._request.registry.assets.url(name))

    def icon(self, name: str, classes: str = "") -> Markup:
        """An icon that says nothing on its own; text stands beside it or in the control's label."""
        return Markup(
            '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>'
        ).format(classes, self.asset("icons.svg"), name)

    def may(self, permission: str) -> bool:
        """Whether the person holds a permission."""
        return bool(self.actor and self.actor.may(permission))

    def can(self, action: str, entity: str) -> bool:
        """Whether the person may do something with records of an entity."""
        return self.may(f"crm:{entity}:{action}")

    @property
    def reads_files(self) -> bool:
        """Whether the person may open files of records that they may read; else their names alone are shown."""
        return bool(self.actor and readable_by(self.actor))

    @property
    def emergencies(self) -> int:
        """How much emergency access waits for the reader's review."""
        return sum(link.count for section in self.nav for link in section.links if link.path == "/emergency")

    @property
    def datamap(self) -> DataMap:
        """The data map."""
        found: DataMap = self._request.registry.datamap
        return found

    def entity(self, name: str) -> EntityDef:
        """An entity of the data map."""
        return self._request.registry.datamap[name]

    def url(self, route: str, **values: Any) -> str:
        """Path of a route."""
        return str(self._request.route_path(route, **values))

    def record_url(self, entity: str, record_id: Any, tail: str = "") -> str | None:
        """Path of a record's page, or None for what has no page."""
        found = self.entity(entity)
        if not found.exposed or record_id is None:
            return None
        return f"/{found.policy.collection}/{record_id}{tail}"

    @cached_property
    def nav(self) -> list[navigation.Section]:
        """Navigation as far as the person may use it."""
        return navigation.build(self._request)

    @cached_property
    def messages(self) -> list[flash.Message]:
        """Messages left by the act before; they are shown once."""
        return flash.take(self._request)

    # Values.

    def date(self, value: dt.date | dt.datetime | None) -> str:
        """A day."""
        return NONE if value is None else formats.as_date(value, self.locale)

    def datetime(self, value: dt.datetime | str | None) -> str:
        """A moment in the reader's time zone."""
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return NONE if value is None else formats.as_datetime(value, self.locale, self.zone)

    def ago(self, value: dt.datetime | str | None) -> Markup:
        """How long ago, with the exact moment on hovering and for machines."""
        if value is None:
            return Markup(NONE)  # noqa: S704 - a constant
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            value.isoformat(), self.datetime(value), formats.as_age(value, self.locale)
        )

    def is_past(self, value: dt.datetime | None) -> bool:
        """Whether a moment has passed."""
        return value is not None and value < datetime.now(value.tzinfo)

    def is_past_day(self, value: dt.date | None) -> bool:
        """Whether a day has passed, in the reader's time zone."""
        return value is not None and value < datetime.now(self.zone).date()

    def browser(self, user_agent: str | None) -> str:
        """A browser in words."""
        return formats.browser_name(user_agent)

    def number(self, value: float | None) -> str:
        """A number."""
        return NONE if value is None else formats.as_number(value, self.locale)

    def percent(self, value: int | None) -> str:
        """Whole percent."""
        return NONE if value is None else formats.as_percent(value, self.locale)

    def money(self, minor: int | None, currency: str | None, *, whole: bool = False) -> str:
        """Minor units of a currency."""
        return NONE if minor is None else formats.as_money(minor, currency, self.locale, whole=whole)

    def size(self, count: int) -> str:
        """Bytes."""
        return formats.file_size(count, self.locale)

    def country(self, code: str) -> str:
        """Name of a country."""
        return formats.country_name(code, self.locale)

    def badge(self, key: str, text: Any) -> Markup:
        """A choice as a coloured badge; the colour only repeats what the word says."""
        return Markup('<span class="k-badge k-badge-{}">{}</span>').format(
            _BADGES.get(key, "gray"), self.t(text)
        )

    def tag_colour(self, colour: str) -> str:
        """The badge colour of a tag's colour."""
        return _TAG_COLOURS.get(colour, "gray")

    def initials(self, name: str) -> str:
        """One or two letters for a picture of a person; the last sign of a Chinese name."""
        parts = name.split()
        if not parts:
            return "?"
        if ord(parts[0][0]) > 0x2E7F:
            return parts[0][-1]
        return (parts[0][0] + (parts[-1][0] if len(parts) > 1 else "")).upper()

    def text_of(self, policy: FieldPolicy, value: Any, row: Any = None) -> str:
        """A value as plain text. `row` gives the currency of money: anything with `get`."""
        if value is None or value == "":
            return ""
        get = getattr(row, "get", lambda _name: None)
        semantic = policy.semantic
        if semantic is Semantic.MONEY and isinstance(value, int):
            return self.money(value, get(policy.currency_field))
        simple = _PLAIN.get(semantic)
        if simple is not None:
            return str(simple(self, policy, value))
        return str(value)


def _when(ui: Ui, _policy: FieldPolicy, value: Any) -> str:
    return ui.datetime(value) if isinstance(value, datetime | str) else str(value)


def _day(ui: Ui, _policy: FieldPolicy, value: Any) -> str:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:  # masked
            return str(value)
    return ui.date(value)


def _number(ui: Ui, policy: FieldPolicy, value: Any) -> str:
    if policy.search is Search.EXACT:
        return str(value)  # a number that names something is no amount
    return ui.number(value) if isinstance(value, int | float) else str(value)


_PLAIN: dict[Semantic, Any] = {
    Semantic.DATE: _day,
    Semantic.DATETIME: _when,
    Semantic.INTEGER: _number,
    Semantic.SMALL_INTEGER: _number,
    Semantic.PERCENT: lambda ui, _policy, value: ui.percent(value) if isinstance(value, int) else value,
    Semantic.BOOLEAN: lambda ui, _policy, value: ui.t(_("Yes") if value else _("No")),
    Semantic.CHOICE: lambda ui, policy, value: ui.t(policy.choices.get(value, value)),
    Semantic.COUNTRY: lambda ui, _policy, value: ui.country(value),
    Semantic.LANGUAGE: lambda ui, _policy, value: formats.language_name(value, ui.locale),
    Semantic.REFERENCE: lambda _ui, _policy, value: "" if isinstance(value, UUID) else value,
}


class CurrentUi:
    """Stands for the `Ui` of the request that is being answered in this thread."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_current_request().ui, name)
