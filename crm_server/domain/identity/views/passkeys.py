"""Passkeys on the page: the browser's script (web/assets/src/parts/passkeys.js) asks for options and sends the
answer back, both as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import queries
from crm_server.domain.identity.services.login import Step
from crm_server.domain.identity.services.requests import take_request
from crm_server.domain.identity.views.common import (
    REQUEST_COOKIE,
    STEP_COOKIE,
    TEMPLATES,
    client_of,
    forget,
    safe_next,
    services_of,
    set_request,
    set_session,
    uuid_of,
)
from crm_server.domain.identity.views.login import signed_in
from crm_server.kernel.errors import BadRequest, NotFound
from crm_server.permissions import PUBLIC, Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request

    from security.identity.webauthn import RelyingParty

_MOST_BYTES = 64 * 1024


def party_of(request: Request) -> RelyingParty:
    """Who we are to the passkey: the host under which the page was asked for, which the host check has
    approved.
    """
    from security.identity.webauthn import RelyingParty

    return RelyingParty(id=request.domain, name="Kontor", origin=request.host_url)


@view_config(route_name="login_passkey", request_method="GET", permission=PUBLIC)
def login_options(request: Request) -> Response:
    """What the browser asks the passkey at the second step."""
    token = request.cookies.get(STEP_COOKIE, "")
    options = services_of(request).login.passkey_options(token, client_of(request), party_of(request))
    if options is None:
        raise NotFound
    return _json(options.encode())


@view_config(route_name="login_passkey", request_method="POST", permission=PUBLIC)
def login(request: Request) -> Response:
    """The passkey's answer; says where to go."""
    token = request.cookies.get(STEP_COOKIE, "")
    found = services_of(request).login
    result = found.passkey(token, _answer(request), client_of(request), party_of(request))
    if result.step is not Step.SIGNED_IN:
        return _json(orjson.dumps({"step": result.step.value}), 429 if result.step is Step.WAIT else 422)
    return _onwards(signed_in(request, result))


@view_config(route_name="login_passkey_alone", request_method="GET", permission=PUBLIC)
def alone_options(request: Request) -> Response:
    """What the browser asks of any passkey it has for us: a log-in without a name."""
    begun = services_of(request).login.passkey_alone_options(
        client_of(request), party_of(request), safe_next(request)
    )
    if begun is None:
        return _json(orjson.dumps({"step": Step.WAIT.value}), 429)
    response = _json(begun[0].encode())
    set_request(response, begun[1])
    return response


@view_config(route_name="login_passkey_alone", request_method="POST", permission=PUBLIC)
def login_alone(request: Request) -> Response:
    """The passkey's answer to a log-in without a name."""
    token = request.cookies.get(REQUEST_COOKIE, "")
    result = services_of(request).login.passkey_alone(
        token, _answer(request), client_of(request), party_of(request)
    )
    if result.step is not Step.SIGNED_IN:
        return _json(orjson.dumps({"step": result.step.value}), 422)
    response = _onwards(signed_in(request, result))
    forget(response, REQUEST_COOKIE)
    return response


@view_config(route_name="confirm_passkey", request_method="GET", permission=Permission.LOGGED_IN)
def confirm_options(request: Request) -> Response:
    """What the browser asks one's own passkeys, to prove once more who one is (AUTH-15)."""
    actor = request.actor
    options, token = services_of(request).passkeys.begin_alone(
        request.db, party_of(request), safe_next(request), session_id=actor.session_ref, owner=actor.id
    )
    response = _json(options.encode())
    set_request(response, token)
    return response


@view_config(route_name="confirm_passkey", request_method="POST", permission=Permission.LOGGED_IN)
def confirm(request: Request) -> Response:
    """The passkey's answer; the session's token changes with the proof."""
    actor, found, db = request.actor, services_of(request), request.db
    waiting = take_request(db, request.cookies.get(REQUEST_COOKIE, ""), None)
    owner, passed = None, False
    if waiting is not None and waiting.session_id == actor.session_ref:
        owner, check = found.passkeys.use_alone(db, waiting, _answer(request), party_of(request))
        passed = check.method is not None
    if waiting is None or owner != actor.id or not passed:
        found.login.tell_failed_step_up(db, actor.id, client_of(request))
        return _json(orjson.dumps({"step": Step.REFUSED.value}), 422)
    token = found.sessions.prove_again(db, actor.session_ref, actor.id, "passkey")
    response = _json(orjson.dumps({"next": waiting.wanted}))
    set_session(response, token)
    forget(response, REQUEST_COOKIE)
    return response


@view_config(
    route_name="own_passkeys",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/passkey.jinja2",
    step_up=True,
)
def enrol_page(request: Request) -> dict[str, Any]:
    """The page that enrols a passkey; its script takes the options from the page."""
    actor, db = request.actor, request.db
    name = queries.user(db, actor.id).login
    options = services_of(request).passkeys.begin_enrolment(
        db, actor.id, actor.session_ref, name, party_of(request)
    )
    return {"options": options}


@view_config(route_name="own_passkeys", request_method="POST", permission=Permission.LOGGED_IN, step_up=True)
def enrol(request: Request) -> Response:
    """The new passkey."""
    from security.identity.webauthn import PasskeyRefusedError

    actor, sent = request.actor, _answer(request)
    answer, name = sent.get("answer"), str(sent.get("name", ""))
    if not isinstance(answer, dict):
        raise BadRequest
    try:
        services_of(request).passkeys.finish_enrolment(
            request.db, actor.id, actor.session_ref, answer, name, party_of(request)
        )
    except PasskeyRefusedError:
        return _json(orjson.dumps({"error": "refused"}), 422)
    flash.add(request, "passkey_added")
    return _json(orjson.dumps({"next": request.route_path("own_security")}))


@view_config(
    route_name="own_passkey_remove", request_method="POST", permission=Permission.LOGGED_IN, step_up=True
)
def remove(request: Request) -> Response:
    """Remove one of one's own passkeys."""
    found, db, actor = services_of(request), request.db, request.actor
    found.passkeys.remove(db, actor.id, uuid_of(request))
    if not found.factors.has_second_factor(db, actor.id):
        found.passkeys.forget_codes_without_factor(db, actor.id)
    flash.add(request, "factor_removed")
    return HTTPSeeOther(request.route_path("own_security"))


def _answer(request: Request) -> dict[str, Any]:
    body = request.body
    try:
        found = orjson.loads(body) if len(body) <= _MOST_BYTES else None
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadRequest(_("The answer of the passkey can't be understood."))
    return found


def _onwards(response: Response) -> Response:
    """A redirect as JSON, which a script can follow with the address bar."""
    location = response.headers.pop("Location")
    response.status_int, response.content_type = 200, "application/json"
    response.body = orjson.dumps({"step": Step.SIGNED_IN.value, "next": location})
    return response


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body=body, status=status, content_type="application/json")
