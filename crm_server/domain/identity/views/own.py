"""One's own security: password, second factor, recovery codes, sessions and API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import segno
from markupsafe import Markup
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import labels, queries
from crm_server.domain.identity.passwords import look_at
from crm_server.domain.identity.services import factor_policy, password_age
from crm_server.domain.identity.views.common import (
    TEMPLATES,
    safe_next,
    services_of,
    set_session,
    strength_page,
    uuid_of,
)
from crm_server.kernel.clock import now
from crm_server.kernel.db import setting
from crm_server.kernel.errors import Conflict, ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap.text import Text

_LIFETIMES = (7, 30, 90, 365)


def _security(request: Request, status: int = 200, **more: Any) -> dict[str, Any]:
    actor, db = request.actor, request.db
    found = services_of(request)
    request.response.status_int = status
    user = queries.user(db, actor.id)
    return {
        "local": user.source == "local",
        "password_due": password_age.due(db, user),
        "factors": found.factors.state(db, actor.id),
        "passkeys": found.passkeys.list(db, actor.id),
        "sessions": queries.live_sessions(db, actor.id, actor.session_ref),
        "tokens": found.sessions.tokens(db, actor.id, now()),
        "permissions": labels.choices(request.registry.datamap, actor.permissions),
        "lifetimes": _LIFETIMES,
        "asked": factor_policy.requirement(db, actor.id),
        "forced": actor.reduced == "second_factor_required",
        "password_errors": [],
        "token_errors": [],
        "ways": labels.ways,
    } | more


def _back(request: Request, said: str) -> Response:
    flash.add(request, said)
    return HTTPSeeOther(request.route_path("own_security"))


@view_config(
    route_name="own_security",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/security.jinja2",
)
def security_page(request: Request) -> dict[str, Any] | Response:
    """Everything on one page."""
    if request.actor.reduced == "password_expired":
        return HTTPSeeOther(request.route_path("own_password"))
    return _security(request)


@view_config(route_name="own_password", request_method="GET", permission=Permission.LOGGED_IN)
def password_page(request: Request) -> Response:
    """The form for those whose password has become too old; others find it among the rest (AUTH-17)."""
    if request.actor.reduced != "password_expired":
        return HTTPSeeOther(request.route_path("own_security"))
    return _expired(request, [])


@view_config(route_name="own_password", request_method="POST", permission=Permission.LOGGED_IN)
def change_password(request: Request) -> Response:
    """Change the password; the old one is asked for, and all other sessions end."""
    found, actor, db = services_of(request), request.actor, request.db
    forced = actor.reduced == "password_expired"
    errors = _change_password(request)
    if errors:
        if forced:
            return _expired(request, errors)
        page = _render(request, "security", _security(request, password_errors=errors))
        page.status_int = 422
        return page
    if not forced:
        return _back(request, "password_set")
    flash.add(request, "password_set")
    response = HTTPSeeOther(safe_next(request))
    # The session may do more from now on, so its token changes (AUTH-16).
    password_age.changed(db, actor.session_ref)
    set_session(response, found.sessions.renew(db, actor.session_ref, actor.id))
    return response


def _change_password(request: Request) -> list[Text]:
    """Change it, or say why not."""
    found, actor, db = services_of(request), request.actor, request.db
    old, new = str(request.POST.get("old", "")), str(request.POST.get("new", ""))
    if not found.login.check_again(db, actor.id, old):
        return [_("The present password is not right.")]
    if new != str(request.POST.get("again", "")):
        return [_("The two passwords differ.")]
    if new == old and actor.reduced == "password_expired":
        return [_("Choose another password than the present one.")]
    second = found.factors.has_second_factor(db, actor.id)
    try:
        found.users.change_own_password(
            db, actor.id, new, second_factor=second, keep_session=actor.session_ref
        )
    except ValidationFailed as failed:
        return [one.message for one in failed.errors]
    return []


def _expired(request: Request, errors: list[Text]) -> Response:
    days = int(setting(request.db, "local_password_days"))
    page = _render(request, "password", {"password_errors": errors, "days": days, "next": safe_next(request)})
    page.status_int = 422 if errors else 200
    return page


@view_config(
    route_name="own_password_strength",
    request_method="POST",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/strength.jinja2",
)
def strength(request: Request) -> dict[str, Any]:
    """How good a new password would be, while one types it."""
    actor, db = request.actor, request.db
    user, second = queries.user(db, actor.id), services_of(request).factors.has_second_factor(db, actor.id)
    return strength_page(request, lambda password: look_at(user, password, second_factor=second))


@view_config(
    route_name="own_app",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/app.jinja2",
    step_up=True,
)
def enrol_app_page(request: Request) -> dict[str, Any] | Response:
    """The picture to scan. Coming back shows the same seed until it is confirmed."""
    found, actor, db = services_of(request), request.actor, request.db
    login = queries.user(db, actor.id).login
    enrolment = found.factors.pending_totp(db, actor.id, login)
    if enrolment is None:
        if found.factors.state(db, actor.id).totp:
            return HTTPSeeOther(request.route_path("own_security"))
        enrolment = found.factors.begin_totp(db, actor.id, login)
    return {"picture": _picture(enrolment.uri), "seed_text": enrolment.seed_text, "error": None}


@view_config(
    route_name="own_app",
    request_method="POST",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/app.jinja2",
    step_up=True,
)
def enrol_app(request: Request) -> dict[str, Any] | Response:
    """Take the first code; show the recovery codes once."""
    found, actor, db = services_of(request), request.actor, request.db
    codes = found.factors.confirm_totp(db, actor.id, str(request.POST.get("code", "")))
    if codes is None:
        page = enrol_app_page(request)
        if isinstance(page, dict):
            request.response.status_int = 422
            page["error"] = _("This code is not right. Is the clock of your device set right?")
        return page
    return _show_codes(request, codes)


@view_config(
    route_name="own_app_remove", request_method="POST", permission=Permission.LOGGED_IN, step_up=True
)
def remove_app(request: Request) -> Response:
    """Remove the authenticator app."""
    services_of(request).factors.remove_totp(request.db, request.actor.id, "by_owner")
    return _back(request, "factor_removed")


@view_config(route_name="own_codes", request_method="POST", permission=Permission.LOGGED_IN, step_up=True)
def new_codes(request: Request) -> Response:
    """Make fresh recovery codes and show them once."""
    found = services_of(request).factors
    if not found.has_second_factor(request.db, request.actor.id):
        raise Conflict(_("Add an authenticator app first."))
    return _show_codes(request, found.new_recovery_codes(request.db, request.actor.id))


@view_config(route_name="own_session_end", request_method="POST", permission=Permission.LOGGED_IN)
def end_session(request: Request) -> Response:
    """End one of one's own sessions."""
    services_of(request).sessions.end(request.db, uuid_of(request), request.actor.id, "by_owner")
    return _back(request, "session_ended")


@view_config(route_name="own_sessions_end", request_method="POST", permission=Permission.LOGGED_IN)
def end_other_sessions(request: Request) -> Response:
    """End all of one's sessions but this one."""
    actor = request.actor
    services_of(request).sessions.end_all(request.db, actor.id, "by_owner", keep=actor.session_ref)
    return _back(request, "session_ended")


@view_config(
    route_name="own_tokens",
    request_method="POST",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/security.jinja2",
    step_up=True,
)
def make_token(request: Request) -> dict[str, Any] | Response:
    """Make an API token and show it once."""
    days = str(request.POST.get("days", ""))
    lifetime = timedelta(days=int(days)) if days.isdecimal() and len(days) < 5 else timedelta(0)
    try:
        made = services_of(request).sessions.make_token(
            request.db,
            request.actor,
            str(request.POST.get("name", "")),
            map(str, request.POST.getall("permissions")),
            lifetime,
            str(request.POST.get("fields", ""))[:40_000].replace(",", " ").split() or None,
        )
    except ValidationFailed as failed:
        return _security(request, 422, token_errors=[one.message for one in failed.errors])
    return _render(request, "token", {"text": made.text})


@view_config(route_name="own_token_revoke", request_method="POST", permission=Permission.LOGGED_IN)
def revoke_token(request: Request) -> Response:
    """Revoke one of one's own API tokens."""
    services_of(request).sessions.revoke_token(request.db, uuid_of(request), request.actor.id)
    return _back(request, "token_revoked")


def _show_codes(request: Request, codes: tuple[str, ...]) -> Response:
    return _render(request, "codes", {"codes": codes})


def _render(request: Request, template: str, values: dict[str, Any]) -> Response:
    from pyramid.renderers import render_to_response

    response: Response = render_to_response(f"{TEMPLATES}/{template}.jinja2", values, request=request)
    return response


def _picture(uri: str) -> Markup:
    """The QR picture as SVG without scripts or styles, so that the page's policy lets it be."""
    svg = segno.make(uri, error="m").svg_inline(
        scale=5, border=4, dark="#000000", light="#ffffff", svgclass=None, lineclass=None, omitsize=False
    )
    return Markup(svg)  # noqa: S704 - made by segno out of modules alone; nothing of the URI stands in it.
