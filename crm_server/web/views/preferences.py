"""Language, appearance and time zone of a person; before log-in, the language of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity.services.preferences import prefer
from crm_server.permissions import PUBLIC, Permission
from crm_server.web import flash, formats, forms
from crm_server.web.templating import LANGUAGE_COOKIE

if TYPE_CHECKING:
    from pyramid.request import Request

THEMES = {"auto": _("As the device"), "light": _("Light"), "dark": _("Dark")}


@view_config(route_name="preferences", permission=PUBLIC, request_method="POST")
def preferences(request: Request) -> HTTPSeeOther:
    """Change language or appearance from the bar at the top, and go back."""
    wanted = request.POST.get("back", "")
    back = wanted if wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted else "/"
    answer = HTTPSeeOther(back)
    locale = request.POST.get("locale")
    changes = {}
    if locale in formats.LOCALES:
        answer.set_cookie(
            LANGUAGE_COOKIE, locale, max_age=31_536_000, secure=True, httponly=True, samesite="Lax", path="/"
        )
        changes["locale"] = locale
    if request.POST.get("theme") in THEMES:
        changes["theme"] = request.POST["theme"]
    if request.actor is not None and changes:
        prefer(request.db, request.registry.datamap, request.actor.id, **changes)
    return answer


@view_config(route_name="profile", permission=Permission.LOGGED_IN, renderer="pages/profile.jinja2")
def profile(request: Request) -> Any:
    """A person's own settings."""
    ui = request.ui
    if request.method == "POST":
        prefer(
            request.db,
            request.registry.datamap,
            request.actor.id,
            locale=request.POST.get("locale"),
            theme=request.POST.get("theme"),
            timezone=request.POST.get("timezone"),
        )
        flash.add(request, "profile")
        return HTTPSeeOther("/profile")
    policy = request.registry.datamap["user"].fields["timezone"].policy
    return {
        "controls": [
            forms.Control(
                name="locale",
                label=_("Language"),
                widget="select",
                text=ui.locale,
                required=True,
                options=tuple(formats.LOCALES.items()),
            ),
            forms.Control(
                name="theme",
                label=_("Appearance"),
                widget="select",
                text=ui.theme,
                required=True,
                options=tuple((key, ui.t(text)) for key, text in THEMES.items()),
            ),
            forms.Control(
                name="timezone",
                label=policy.label,
                widget="select",
                text=request.actor.timezone,
                required=True,
                options=(("UTC", "UTC"), *forms.choices(ui, policy)),
            ),
        ]
    }
