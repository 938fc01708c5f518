"""The page "Encryption keys" and its API: what there is, what waits for what, until when, and the work to ask for.

Rotation and escrow run as jobs, since they go through the whole key table; a destruction is asked for and then released
by a second person under Approvals. Everything that changes something needs a fresh proof of who one is (AUTH-15).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.context import named
from crm_server.domain.actions import add_action, body_of
from crm_server.domain.keys import destruction
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.domain.keys.queries import KeyState, state_of
from crm_server.kernel import jobs
from crm_server.kernel.errors import Conflict, Errors, NotFound
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request

_TEMPLATE = "crm_server.domain.keys:templates/keys/index.jinja2"
STATES = {
    "prepared": (_("Being handed to the other nodes"), "blue"),
    "active": (_("In use"), "green"),
    "retired": (_("Waits for its destruction"), "orange"),
    "destroying": (_("Being destroyed"), "red"),
    "destroyed": (_("Destroyed"), "gray"),
}
PROVIDERS = {
    "passphrase": _("Passphrase file"),
    "pkcs11": _("Hardware security module"),
    "tpm2": _("TPM of this machine"),
}


CLASSES = {
    "identity": _("Who people are"),
    "marketing": _("Marketing"),
    "contract": _("Contracts"),
    "support": _("Service"),
    "employee": _("Employees"),
    "health": _("Health"),
    "auth": _("Log-in secrets"),
    "audit": _("Audit log"),
}


def _state(request: Request) -> KeyState:
    return state_of(request.db.connection(), request.registry.keys, request.registry.settings["kontor"])


def page(request: Request, **more: Any) -> dict[str, Any]:
    """Everything about the keys, in plain words."""
    state = _state(request)
    return {
        "state": state,
        "states": STATES,
        "provider": PROVIDERS.get(state.provider, state.provider),
        "may_change": request.actor.may(Permission.KEYS_MANAGE),
        "classes": CLASSES,
        "phrase": partial(destruction.phrase, keys=state.live + state.held),
        "refused": None,
        **more,
    }


def progress(request: Request) -> dict[str, Any] | Response:
    """How far a rotation is; when it is done, the browser is told to load the page anew."""
    state = _state(request)
    if not state.behind:
        return Response(status=200, headers={"HX-Refresh": "true"})
    return {"state": state}


def rotate(request: Request) -> Response:
    """Ask for an urgent rotation, with an escrow after it."""
    jobs.defer(request.db, "keys_rotate", lock="keys", once="keys_rotate")
    flash.add(request, "keys_working")
    return HTTPSeeOther(request.route_path("keys"))


def escrow(request: Request) -> Response:
    """Ask for an escrow that is opened at once."""
    jobs.defer(request.db, "keys_escrow", lock="keys", once="keys_escrow")
    flash.add(request, "keys_working")
    return HTTPSeeOther(request.route_path("keys"))


def destroy(request: Request) -> dict[str, Any] | Response:
    """Ask for the destruction of an epoch; the sentence that says what happens must be typed."""
    epoch = _epoch(request.matchdict["epoch"])
    state = _state(request)
    typed = " ".join(str(request.POST.get("confirm", "")).split())
    if typed != destruction.phrase(epoch, state.live + state.held):
        request.response.status_int = 422
        return page(request, refused=_("Nothing was asked for: the sentence was typed differently."))
    try:
        destruction.request(request.db, epoch, str(request.POST.get("reason", "")) or typed)
    except (KeyWorkRefused, Conflict) as refused:
        request.db.rollback()
        request.response.status_int = 409
        return page(request, refused=refused.detail or refused.title)
    flash.add(request, "destruction_asked")
    return HTTPSeeOther(request.route_path("keys"))


def _epoch(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise NotFound
    return int(text)


def api_state(request: Request) -> Response:
    """GET the state of all keys; no key material is in it."""
    named(request, ())
    return answer(_state(request).plain())


def api_rotate(request: Request) -> Response:
    """POST: rotate now. 202; the state shows how far it is."""
    named(request, ())
    jobs.defer(request.db, "keys_rotate", lock="keys", once="keys_rotate")
    return answer({"asked": "rotate"}, 202)


def api_escrow(request: Request) -> Response:
    """POST: write an escrow and open it in a scratch place. 202."""
    named(request, ())
    jobs.defer(request.db, "keys_escrow", lock="keys", once="keys_escrow")
    return answer({"asked": "escrow"}, 202)


def api_destroy(request: Request) -> Response:
    """POST {"reason", "confirm"}: ask for the destruction of an epoch. 202 with the request that waits for a release.

    Needs a browser's session with a fresh proof (AUTH-15); a program can't ask for it.
    409 with `reason` when a precondition doesn't hold, 422 when the sentence isn't the one that says what happens.
    """
    epoch, errors = _epoch(request.matchdict["epoch"]), Errors()
    body = body_of(request, reason="text!", confirm="text!")
    state = _state(request)
    wanted = destruction.phrase(epoch, state.live + state.held)
    if body["confirm"] != wanted:
        errors.add(
            "/confirm",
            "confirm",
            _("Say what will happen: ${phrase}", mapping={"phrase": wanted}),
        )
    errors.raise_if_any()
    asked = destruction.request(request.db, epoch, body["reason"])
    return answer({"request": str(asked.id), "due_at": asked.due_at}, 202)


def includeme_api(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    add_action(config, "api_keys", "keys", {"GET": (api_state, Permission.KEYS_READ)})
    add_action(config, "api_keys_rotate", "keys/rotate", {"POST": (api_rotate, Permission.KEYS_MANAGE)})
    add_action(config, "api_keys_escrow", "keys/escrow", {"POST": (api_escrow, Permission.KEYS_MANAGE)})
    config.add_route("api_keys_destroy", "/keys/epochs/{epoch}/destroy")
    config.add_view(
        api_destroy,
        route_name="api_keys_destroy",
        request_method="POST",
        permission=Permission.KEYS_MANAGE,
        step_up=True,
    )


def includeme(config: Configurator) -> None:
    """Add the pages."""
    config.add_route("keys", "/keys")
    config.add_view(
        page, route_name="keys", request_method="GET", permission=Permission.KEYS_READ, renderer=_TEMPLATE
    )
    config.add_route("keys_progress", "/keys/progress")
    config.add_view(
        progress,
        route_name="keys_progress",
        request_method="GET",
        permission=Permission.KEYS_READ,
        renderer="crm_server.domain.keys:templates/keys/progress.jinja2",
    )
    for route, pattern, view, renderer in (
        ("keys_rotate", "/keys/rotate", rotate, None),
        ("keys_escrow", "/keys/escrow", escrow, None),
        ("keys_destroy", "/keys/epochs/{epoch}/destroy", destroy, _TEMPLATE),
    ):
        config.add_route(route, pattern)
        config.add_view(
            view,
            route_name=route,
            request_method="POST",
            permission=Permission.KEYS_MANAGE,
            renderer=renderer,
            step_up=True,
        )
