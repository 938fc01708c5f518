"""What the pages of identity share: the client behind a request, cookies, where to go next, and step-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther

from crm_server.domain.identity import queries
from crm_server.domain.identity.authentication import COOKIE
from crm_server.domain.identity.passwords import level_word
from crm_server.domain.identity.services import Client
from crm_server.kernel.actor import Origin
from crm_server.kernel.client import address_of
from crm_server.kernel.clock import now
from crm_server.kernel.errors import NotAllowed, NotFound, TooManyRequests
from security.identity.sessions import is_fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap.text import Text
    from crm_server.domain.identity.services import IdentityServices
    from security.identity.password import Assessment

STEP_COOKIE = "__Host-kontor-step"
REQUEST_COOKIE = "__Host-kontor-request"
"""Binds a log-in that waits for a provider's or a passkey's answer to this browser."""
TEMPLATES = "crm_server.domain.identity:templates/identity"


def services_of(request: Request) -> IdentityServices:
    """The services of this process."""
    found: IdentityServices = request.registry.identity
    return found


def client_of(request: Request) -> Client:
    """Where a request comes from: its address as far as it can be believed, and its browser."""
    agent = request.user_agent
    return Client(request.request_id, address_of(request), agent[:300] if agent else None)


def set_session(response: Response, token: str) -> None:
    """Give the browser its session. The cookie ends with the browser; the server knows the real limits."""
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="Lax")


def set_step(response: Response, token: str) -> None:
    """Give the browser the token of the second step, for ten minutes."""
    _set_short(response, STEP_COOKIE, token)


def set_request(response: Response, token: str) -> None:
    """Give the browser the token of a log-in under way, for ten minutes."""
    _set_short(response, REQUEST_COOKIE, token)


def _set_short(response: Response, name: str, token: str) -> None:
    # "Strict" would not come back with a browser that a provider of another site sends here.
    response.set_cookie(name, token, max_age=600, path="/", secure=True, httponly=True, samesite="Lax")


def forget(response: Response, *names: str) -> None:
    """Take cookies back."""
    for name in names:
        # Browsers ignore a header for a __Host- cookie that lacks "Secure", so delete_cookie would leave it.
        response.set_cookie(name, "", max_age=0, path="/", secure=True, httponly=True, samesite="Lax")


def safe_next(request: Request, default: str = "/") -> str:
    """The page to go to afterwards, if it is a path of ours; else `default`. Never another host."""
    wanted = str(request.params.get("next", ""))
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    if (
        not plain
        or any(ord(character) < 0x21 or character == "\\" for character in wanted)
        or len(wanted) > 2000
    ):
        return default
    return wanted


def uuid_of(request: Request, name: str = "id") -> UUID:
    """A key in the address. Raises NotFound when it is none."""
    try:
        return UUID(request.matchdict[name])
    except ValueError:
        raise NotFound from None


def uuids(values: Iterable[str]) -> set[UUID]:
    """Keys that a form sent. Raises NotFound when one is none."""
    try:
        return {UUID(value) for value in values if value}
    except ValueError:
        raise NotFound from None


def strength_page(request: Request, judge: Callable[[str], tuple[Assessment, list[Text]]]) -> dict[str, Any]:
    """What the meter shows about a password that somebody is typing. Raises TooManyRequests."""
    verdict = services_of(request).limits.strength.hit(address_of(request) or "")
    if not verdict.allowed:
        raise TooManyRequests("password/strength", verdict.retry_after)
    found, advice = judge(str(request.POST.get("password", "")))
    # What would be refused never looks good.
    level = found.score if found.accepted else min(found.score, 1)
    return {"level": level, "label": level_word(level), "advice": advice}


def step_up_view(view: Callable[..., Any], info: Any) -> Callable[..., Any]:
    """Let a view with `step_up=True` run only for people who proved who they are within five minutes
    (AUTH-15).

    Others are led to the page where they do so, and back. Programs can't, so their requests are refused. Nobody gets
    through while the audit log can't prove what would be done (AUD-12).
    """
    if not info.options.get("step_up"):
        return view

    def wrapped(context: Any, request: Request) -> Any:
        actor = request.actor
        if actor is None or actor.origin is not Origin.WEB or actor.session_ref is None:
            raise NotAllowed("step_up_required")
        proved = queries.proved_at(request.db, actor.session_ref)
        if not is_fresh(proved, now()):
            if request.path.startswith("/api/"):
                raise NotAllowed("step_up_required")
            back = request.path_qs if request.method == "GET" else _page_before(request)
            return HTTPSeeOther(request.route_path("confirm", _query={"next": back}))
        request.registry.audit_guard.require()
        return view(context, request)

    return wrapped


step_up_view.options = ("step_up",)  # type: ignore[attr-defined]


def _page_before(request: Request) -> str:
    """The page that held the form, as a path of ours."""
    referrer = request.referer or ""
    if referrer.startswith(f"{request.host_url}/"):
        return str(referrer.removeprefix(request.host_url))
    return "/"
