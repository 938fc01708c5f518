"""Log-in, its second step, log-out, one-time links, and proving once more who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import queries
from crm_server.domain.identity.authentication import COOKIE
from crm_server.domain.identity.services.login import Step
from crm_server.domain.identity.views.common import (
    STEP_COOKIE,
    TEMPLATES,
    client_of,
    forget,
    safe_next,
    services_of,
    set_session,
    set_step,
    strength_page,
)
from crm_server.kernel import db as database
from crm_server.kernel.errors import NotFound, ValidationFailed
from crm_server.kernel.recalled import IDENTITY
from crm_server.permissions import PUBLIC, Permission
from crm_server.web import flash
from crm_server.web.errors import WAITS_FOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap.text import Text
    from crm_server.domain.identity.services.login import LoginResult

_WRONG = _("The log-in name or the password is not right.")
_WRONG_CODE = _("This code is not right, or it was used before.")
_WAIT = _("Too many attempts. Please wait ${minutes} minutes.")


def _page(request: Request, error: Text | None = None, **more: Any) -> dict[str, Any]:
    if error is not None:
        request.response.status_int = 422
    return {"error": error, "next": safe_next(request), **more}


def _login_page(request: Request, error: Text | None = None, login: str = "") -> dict[str, Any]:
    return _page(request, error, login=login, providers=services_of(request).sso.offered())


def _waiting(request: Request, result: LoginResult, **more: Any) -> dict[str, Any]:
    page = _page(request, _WAIT % {"minutes": str(-(-result.retry_after // 60))}, **more)
    request.response.status_int = 429
    request.response.headers["Retry-After"] = str(result.retry_after)
    return page


@view_config(
    route_name="login", request_method="GET", permission=PUBLIC, renderer=f"{TEMPLATES}/login.jinja2"
)
def login_page(request: Request) -> dict[str, Any] | Response:
    """The form; who is logged in goes on."""
    if request.identity is not None:
        return HTTPSeeOther(safe_next(request))
    return _login_page(request)


@view_config(
    route_name="login", request_method="POST", permission=PUBLIC, renderer=f"{TEMPLATES}/login.jinja2"
)
def login(request: Request) -> dict[str, Any] | Response:
    """First step."""
    name = str(request.POST.get("login", ""))
    result = services_of(request).login.password(
        name, str(request.POST.get("password", "")), client_of(request)
    )
    if result.step is Step.WAIT:
        return _waiting(request, result, login=name, providers=services_of(request).sso.offered())
    if result.step is Step.REFUSED or result.token is None:
        return _login_page(request, _WRONG, name)
    if result.step is Step.SECOND_STEP:
        response = HTTPSeeOther(request.route_path("login_code", _query={"next": safe_next(request)}))
        set_step(response, result.token)
        return response
    return signed_in(request, result)


@view_config(
    route_name="login_code", request_method="GET", permission=PUBLIC, renderer=f"{TEMPLATES}/code.jinja2"
)
def code_page(request: Request) -> dict[str, Any] | Response:
    """The form of the second step."""
    if STEP_COOKIE not in request.cookies:
        return HTTPSeeOther(request.route_path("login"))
    return _code_page(request)


@view_config(
    route_name="login_code", request_method="POST", permission=PUBLIC, renderer=f"{TEMPLATES}/code.jinja2"
)
def code(request: Request) -> dict[str, Any] | Response:
    """Second step."""
    token = request.cookies.get(STEP_COOKIE, "")
    result = services_of(request).login.code(token, str(request.POST.get("code", "")), client_of(request))
    if result.step is Step.WAIT:
        return _waiting(request, result, passkey=True)
    if result.step is Step.SIGNED_IN:
        return signed_in(request, result)
    if result.token is None:
        # The first step is too long ago: begin again.
        response = HTTPSeeOther(request.route_path("login", _query={"next": safe_next(request)}))
        forget(response, STEP_COOKIE)
        return response
    return _code_page(request, _WRONG_CODE)


def _code_page(request: Request, error: Text | None = None) -> dict[str, Any]:
    # The button is always there: whether this account has a passkey is nobody's business before the second
    # step.
    return _page(request, error, passkey=True)


@view_config(
    route_name="logout", request_method="POST", permission=PUBLIC, renderer=f"{TEMPLATES}/logged_out.jinja2"
)
def logout(request: Request) -> dict[str, Any] | Response:
    """End the session. Works for those whose session has ended already.

    Who came by single sign-on is offered to log out there as well. It is a link and no redirect: the page's
    policy lets no form lead to another site.
    """
    actor, found, there = request.identity, services_of(request), None
    if actor is not None and actor.session_ref is not None:
        there = found.sso.logout_url(request.db, actor.session_ref, request.route_url("login"))
        found.sessions.end(request.db, actor.session_ref, actor.id, "logged_out")
    response = HTTPSeeOther(request.route_path("login")) if there is None else request.response
    forget(response, COOKIE, STEP_COOKIE)
    # Nothing of this person stays in a shared browser.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    if there is None:
        flash.add(request, "logged_out")
        return response
    request.environ[IDENTITY] = None
    return {"provider": there[0], "url": there[1]}


@view_config(
    route_name="welcome", request_method="GET", permission=PUBLIC, renderer=f"{TEMPLATES}/welcome.jinja2"
)
def welcome_page(request: Request) -> dict[str, Any]:
    """The form behind a one-time link. Looking doesn't use it up: mail scanners look, too."""
    purpose = services_of(request).links.look(request.matchdict["token"], client_of(request))
    if purpose is None:
        request.response.status_int = 404
    return _welcome_page(request, purpose)


def _welcome_page(
    request: Request, purpose: str | None, errors: Sequence[Text] = (), error: Text | None = None
) -> dict[str, Any]:
    return {"purpose": purpose, "errors": errors, "error": error, "token": request.matchdict["token"]}


@view_config(
    route_name="welcome_strength",
    request_method="POST",
    permission=PUBLIC,
    renderer=f"{TEMPLATES}/strength.jinja2",
)
def welcome_strength(request: Request) -> dict[str, Any]:
    """How good the first password would be, while one types it; for those who have a link that works."""
    links, token, client = services_of(request).links, request.matchdict["token"], client_of(request)
    return strength_page(request, lambda password: links.judge(token, password, client))


@view_config(
    route_name="welcome", request_method="POST", permission=PUBLIC, renderer=f"{TEMPLATES}/welcome.jinja2"
)
def welcome(request: Request) -> dict[str, Any] | Response:
    """Set the password."""
    token = request.matchdict["token"]
    password = str(request.POST.get("password", ""))
    if password != str(request.POST.get("again", "")):
        request.response.status_int = 422
        return _welcome_page(request, "invite", error=_("The two passwords differ."))
    try:
        services_of(request).links.redeem(token, password, client_of(request))
    except ValidationFailed as failed:
        request.response.status_int = 422
        return _welcome_page(request, "invite", [one.message for one in failed.errors])
    except NotFound:
        request.response.status_int = 404
        return _welcome_page(request, None)
    flash.add(request, "password_set")
    return HTTPSeeOther(request.route_path("login"))


@view_config(
    route_name="confirm",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/confirm.jinja2",
)
def confirm_page(request: Request) -> dict[str, Any]:
    """Ask for the proof once more."""
    return _confirm_page(request)


@view_config(
    route_name="confirm",
    request_method="POST",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/confirm.jinja2",
)
def confirm(request: Request) -> dict[str, Any] | Response:
    """Take the proof: a code where an app is enrolled, else the password. The session's token changes with
    it.
    """
    found, actor, db = services_of(request), request.actor, request.db
    proof = str(request.POST.get("proof", ""))
    by_code = found.factors.state(db, actor.id).totp
    if by_code:
        verdict = found.limits.second_step.hit(str(actor.id))
        passed = verdict.allowed and found.factors.use_code(db, actor.id, proof).method is not None
    else:
        passed = found.login.check_again(db, actor.id, proof)
    if not passed or actor.session_ref is None:
        found.login.tell_failed_step_up(db, actor.id, client_of(request))
        return _confirm_page(request, _WRONG_CODE if by_code else _("The password is not right."))
    token = found.sessions.prove_again(db, actor.session_ref, actor.id, "code" if by_code else "password")
    response = HTTPSeeOther(safe_next(request))
    set_session(response, token)
    return response


def _confirm_page(request: Request, error: Text | None = None) -> dict[str, Any]:
    db, actor, found = request.db, request.actor, services_of(request)
    user = queries.user(db, actor.id)
    provider = found.sso.provider_of(db, user)
    factors = found.factors.state(db, actor.id)
    return _page(
        request,
        error,
        by_code=factors.totp,
        by_password=not factors.totp and not user.source.startswith("sso:"),
        passkeys=factors.passkeys > 0,
        provider=provider,
    )


def signed_in(request: Request, result: LoginResult) -> Response:
    """Lead a person who has just proved who they are to the page they wanted, with a fresh session."""
    wanted = safe_next(request)
    waits = WAITS_FOR.get((result.actor.reduced if result.actor else None) or "")
    response = HTTPSeeOther(f"{waits}?{urlencode({'next': wanted})}" if waits else wanted)
    set_session(response, result.token or "")
    forget(response, STEP_COOKIE)
    if not waits and result.password_days is not None:
        flash.add(request, "password_soon", n=max(result.password_days, 1))
    # The session that this browser had before is of no more use.
    before = request.identity
    if before is not None and before.session_ref is not None:
        with database.open_session(request.registry.session_factory, before) as db:
            services_of(request).sessions.end(db, before.session_ref, before.id, "logged_in_again")
            database.commit(db)
    return response
