"""Pyramid's security policy: identity from cookie or bearer token, permissions from the actor. Default deny."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.security import Allowed, Denied

from crm_server.domain.identity.authentication import COOKIE, Authenticator
from crm_server.kernel.client import address_of
from crm_server.kernel.recalled import IDENTITY, may_recall
from crm_server.permissions import Action, EntityContext, record_permission

if TYPE_CHECKING:
    from pyramid.request import Request

    from crm_server.kernel.actor import Actor

_ACTIONS = frozenset(Action)


class SecurityPolicy:
    """Answers who a request comes from and whether that actor may."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def identity(self, request: Request) -> Actor | None:
        """The actor, or None. A bearer token never falls back to a cookie."""
        if IDENTITY in request.environ:
            found: Actor | None = request.environ[IDENTITY]
            return found
        recall = may_recall(request)
        header = request.headers.get("Authorization", "")

        def address() -> str | None:
            return address_of(request)

        if header:
            scheme, _space, text = header.partition(" ")
            actor = (
                self._authenticator.by_token(text.strip(), request.request_id, address, recall=recall)
                if scheme.lower() == "bearer"
                else None
            )
        else:
            cookie = request.cookies.get(COOKIE)
            actor = (
                self._authenticator.by_session(cookie, request.request_id, address, recall=recall)
                if cookie
                else None
            )
        request.environ[IDENTITY] = actor
        return actor

    def authenticated_userid(self, request: Request) -> str | None:
        """The user's id as text, for libraries that ask."""
        actor = self.identity(request)
        return None if actor is None else str(actor.id)

    def permits(self, request: Request, context: Any, permission: str) -> Allowed | Denied:
        """Whether the actor holds the permission; actions are asked for the entity behind the route."""
        actor = self.identity(request)
        if actor is None:
            return Denied("not_authenticated")
        needed = str(permission)
        if permission in _ACTIONS:
            if not isinstance(context, EntityContext):
                return Denied("no_entity")
            needed = record_permission(context.entity.name, Action(permission))
        return Allowed(needed) if actor.may(needed) else Denied(actor.reduced or needed)

    def remember(self, _request: Request, _userid: str, **_options: Any) -> list[tuple[str, str]]:
        """Sessions are made by the identity services, not here."""
        return []

    def forget(self, _request: Request, **_options: Any) -> list[tuple[str, str]]:
        """Sessions are ended by the identity services, not here."""
        return []
