"""Sharing a record, handing it over, and why somebody may or may not see it."""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.access.queries import ACTS, explain
from crm_server.domain.identity.labels import ACTIONS
from crm_server.domain.sharing.services import LEVELS, SharingService
from crm_server.kernel import reach, rowrules
from crm_server.kernel.errors import AppError, NotFound, ValidationFailed
from crm_server.kernel.rowrules import GUARDED, SCOPE_LABELS, RowAction
from crm_server.permissions import Action, Permission
from crm_server.services import records
from crm_server.web import editing, flash, reading
from crm_server.web.routes import UUID_PATTERN, record_id

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef

_KEY = re.compile(UUID_PATTERN)
_FIELD_LEVELS = {
    "hidden": _("hidden"),
    "masked": _("masked"),
    "read": _("read"),
    "write": _("read and change"),
}
_GROUPS = {
    "general": _("General"),
    "personal": _("Personal"),
    "financial": _("Financial"),
    "special": _("Special categories"),
}


def _record(request: Request) -> tuple[EntityDef, UUID, str]:
    entity: EntityDef = request.context.entity
    if not rowrules.guarded(entity):
        raise NotFound
    key = record_id(request)
    return entity, key, f"/{entity.policy.collection}/{key}"


@view_config(
    route_name="record_sharing", permission=Action.READ, request_method="GET", renderer="pages/sharing.jinja2"
)
def page(request: Request, problems: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Who has this record beside the rules of their roles, and whose it is."""
    entity, key, path = _record(request)
    sharing = SharingService(request.db, request.registry.datamap)
    row = reading.one(request, entity, key)
    place = (entity.name, key)
    owners = reading.user_names(request, [row.get("owner_id")])
    return {
        "entity": entity,
        "path": path,
        "key": str(key),
        "row": row,
        "title": str(row.get(entity.policy.title) or ""),
        "crumbs": [
            (entity.policy.label_plural, f"/{entity.policy.collection}"),
            (str(row.get(entity.policy.title) or "–"), path),
        ],
        "shares": sharing.of(place),
        "may_share": sharing.may_share(place),
        "may_change": request.ui.can("update", entity.name)
        and reach.reaches(request.db, entity, key, RowAction.UPDATE),
        "owner": owners.get(str(row.get("owner_id"))),
        "levels": LEVELS,
        "teams": reading.options(request, request.registry.datamap["team"]),
        "problems": problems,
        "me": request.actor.id,
    }


@view_config(
    route_name="record_sharing",
    permission=Action.UPDATE,
    request_method="POST",
    renderer="pages/sharing.jinja2",
)
def share(request: Request) -> Any:
    """Share the record with a user or a team."""
    entity, key, path = _record(request)
    sent = request.POST
    try:
        SharingService(request.db, request.registry.datamap).share(
            (entity.name, key),
            user_id=_key(sent.get("user")),
            team_id=_key(sent.get("team")),
            level=sent.get("level", "read"),
            until=_end_of(sent.get("until", ""), request.actor.timezone),
        )
    except ValidationFailed as refused:
        editing.doom(request)
        request.response.status_int = 422
        return page(request, tuple(one.message for one in refused.errors))
    flash.add(request, "shared")
    return HTTPSeeOther(f"{path}/sharing")


@view_config(route_name="record_share_stop", permission=Action.READ, request_method="POST")
def stop(request: Request) -> HTTPSeeOther:
    """End a share."""
    entity, key, path = _record(request)
    SharingService(request.db, request.registry.datamap).stop(
        (entity.name, key), UUID(request.matchdict["share"])
    )
    flash.add(request, "unshared")
    return HTTPSeeOther(_back(request, entity, key, f"{path}/sharing"))


@view_config(
    route_name="record_hand_over",
    permission=Action.UPDATE,
    request_method="POST",
    renderer="pages/sharing.jinja2",
)
def hand_over(request: Request) -> Any:
    """Make somebody else the owner; whoever did may not see the record any more then."""
    entity, key, path = _record(request)
    owner = _key(request.POST.get("owner"))
    try:
        if owner is None:
            return _again(request, _("Choose who becomes the owner."))
        service = records(request.db, entity.name)
        service.update(key, {"owner_id": str(owner)}, version=editing.version(dict(request.POST)))
        if request.POST.get("keep"):
            # Whoever hands over may keep a share, which the new owner can end.
            SharingService(request.db, request.registry.datamap).keep((entity.name, key))
    except AppError as refused:
        if refused.status in {403, 404}:
            raise
        return _again(request, refused.detail or refused.title)
    flash.add(request, "handed_over")
    return HTTPSeeOther(_back(request, entity, key, path))


def _again(request: Request, problem: Any) -> dict[str, Any]:
    editing.doom(request)
    request.db.rollback()
    request.response.status_int = 422
    return page(request, (problem,))


def _back(request: Request, entity: EntityDef, key: UUID, path: str) -> str:
    """The record, or its list where the person doesn't see it any more."""
    seen = reach.reaches(request.db, entity, key, RowAction.READ)
    return path if seen else f"/{entity.policy.collection}"


def _key(text: str | None) -> UUID | None:
    return UUID(text) if text and _KEY.fullmatch(text) else None


def _end_of(text: str, zone: str) -> datetime | None:
    """The end of a day, in the person's own time."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone)).date() if text else None
    except ValueError:
        day = None
    return None if day is None else datetime.combine(day, time(23, 59, 59), ZoneInfo(zone))


@view_config(
    route_name="explain",
    permission=Permission.LOGGED_IN,
    request_method="GET",
    renderer="pages/explain.jinja2",
)
def why(request: Request) -> dict[str, Any]:
    """Why somebody may or may not do something with a record: each rule with its decision."""
    given = request.GET
    datamap = request.registry.datamap
    entity, record, user = given.get("entity", ""), _key(given.get("record")), _key(given.get("user"))
    action = given.get("action", Action.READ.value)
    anybody = request.actor.may(Permission.ACCESS_EXPLAIN)
    found, problem = None, None
    if entity and record is not None and action in {one.value for one in ACTS}:
        who = user if anybody and user is not None else request.actor.id
        try:
            found = explain(request.db, datamap, who, (entity, record), Action(action))
        except NotFound:
            problem = _("There is no such record or person.")
    elif "record" in given:
        problem = _("Name the record by its id, as it stands at the end of its address.")
    return {
        "found": found,
        "problem": problem,
        "anybody": anybody,
        "kinds": [datamap[name].policy for name in GUARDED],
        "given": {
            "entity": entity,
            "record": str(record or ""),
            "user": str(user or ""),
            "action": action,
        },
        "user_name": found.user if found is not None and user is not None else "",
        "actions": [(one.value, ACTIONS[one]) for one in ACTS],
        "scopes": SCOPE_LABELS,
        "groups": _GROUPS,
        "members": _members(datamap[found.entity]) if found is not None else {},
        "levels": _FIELD_LEVELS,
        "crumbs": [],
    }


def _members(entity: EntityDef) -> dict[str, list[Any]]:
    """Labels of the fields of each group, those that pages show."""
    found: dict[str, list[Any]] = {}
    for item in entity.fields.values():
        if item.writable:
            found.setdefault(item.policy.handling.access.value, []).append(item.policy.label)
    return found
