"""API: shares of a record."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from compliance.datamap.text import _
from crm_server.api.answers import answer, empty
from crm_server.api.context import key_of
from crm_server.domain.actions import add_action, body_of, key_pattern, one_of
from crm_server.domain.sharing.services import SharingService
from crm_server.kernel.errors import FieldError, ValidationFailed
from crm_server.kernel.rowrules import GUARDED
from crm_server.permissions import Action

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response


def _place(request: Request) -> tuple[str, UUID]:
    return request.context.entity.name, key_of(request)


def _service(request: Request) -> SharingService:
    return SharingService(request.db, request.registry.datamap)


def listed(request: Request) -> Response:
    """GET the shares of a record."""
    return answer({"data": [one.plain() for one in _service(request).of(_place(request))]})


def share(request: Request) -> Response:
    """POST gives a record to a user or a team."""
    given = body_of(request, user_id="id", team_id="id", level="text", until="text")
    made = _service(request).share(
        _place(request),
        user_id=given.get("user_id"),
        team_id=given.get("team_id"),
        level=given.get("level", "read"),
        until=moment(given["until"]) if "until" in given else None,
    )
    return answer(made.plain(), 201)


def stop(request: Request) -> Response:
    """DELETE ends a share."""
    _service(request).stop(_place(request), UUID(request.matchdict["share_id"]))
    return empty()


def moment(text: str) -> datetime:
    """A time with its zone (RFC 3339).

    Raises:
        ValidationFailed: another text.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValidationFailed(
            [
                FieldError(
                    "/until",
                    "type",
                    _("A time with its zone is expected here, such as 2026-12-31T17:00:00Z."),
                )
            ]
        )
    return found


def includeme_api(config: Configurator) -> None:
    """Add the addresses."""
    record = one_of(*(config.registry.datamap[name].policy.collection for name in GUARDED))
    add_action(
        config,
        "api_shares",
        f"{record}/shares",
        {"GET": (listed, Action.READ), "POST": (share, Action.UPDATE)},
    )
    add_action(
        config, "api_share", f"{record}/shares/{key_pattern('share_id')}", {"DELETE": (stop, Action.READ)}
    )
