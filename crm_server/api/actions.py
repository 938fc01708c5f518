"""What can be done with records beyond their life: convert a lead, move a deal, tag, attach files.

The rules are the domains'; here are their addresses.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.response import Response

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.api.answers import answer, empty, expected_version
from crm_server.api.body import json_object
from crm_server.api.context import key_of, named
from crm_server.api.idempotency import Done, once
from crm_server.api.records import represent
from crm_server.domain.documents.services import download_headers, stream
from crm_server.kernel.errors import BadQuery, Errors
from crm_server.kernel.presenter import present_record
from crm_server.permissions import Action, EntityContext, Permission
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request


def lead_context(request: Request) -> EntityContext:
    """The route factory of what concerns leads."""
    return EntityContext(request.registry.datamap["lead"])


def opportunity_context(request: Request) -> EntityContext:
    """The route factory of what concerns opportunities."""
    return EntityContext(request.registry.datamap["opportunity"])


def convert_lead(_context: EntityContext, request: Request) -> Response:
    """POST: make an account, a contact and, if wanted, an opportunity from a lead."""
    service = _service(request, "lead")

    def act() -> Done:
        raw = json_object(request)
        errors = Errors()
        given = _members(
            raw, {"account_id": Semantic.REFERENCE, "contact_id": Semantic.REFERENCE}, errors, "opportunity"
        )
        deal = raw.get("opportunity")
        if deal is not None and not isinstance(deal, dict):
            errors.add("/opportunity", "type", _("An object is expected here."))
        errors.raise_if_any()
        made = service.convert(key_of(request), version=expected_version(request), opportunity=deal, **given)
        return Done(200, answer=asdict(made))

    return once(request, act, lambda done: answer(done.answer, done.status))


def revert_conversion(_context: EntityContext, request: Request) -> Response:
    """POST: take a conversion back. What was made goes into the bin."""
    service = _service(request, "lead")
    return represent(request, service, service.revert(key_of(request), version=expected_version(request)))


def move_opportunity(_context: EntityContext, request: Request) -> Response:
    """POST: bring an opportunity to another stage; If-Match as for a change."""
    service = _service(request, "opportunity")
    raw = json_object(request)
    errors = Errors()
    given = _members(raw, {"stage_id": Semantic.REFERENCE, "lost_reason": Semantic.TEXT}, errors)
    if given.get("stage_id") is None and not errors.items:
        errors.add("/stage_id", "required", _("This field must be filled in."))
    errors.raise_if_any()
    moved = service.move(key_of(request), version=expected_version(request), **given)
    return represent(request, service, moved)


def list_tags(context: EntityContext, request: Request) -> Response:
    """GET the tags on a record."""
    named(request, ())
    return answer({"data": _service(request, "tag").of_record(_place(context, request))})


def add_tag(context: EntityContext, request: Request) -> Response:
    """POST {"tag_id"} or {"name"}: put a tag on a record. Doing it twice changes nothing."""
    raw = json_object(request)
    errors = Errors()
    given = _members(raw, {"tag_id": Semantic.REFERENCE, "name": Semantic.TEXT}, errors)
    if len([value for value in given.values() if value]) != 1 and not errors.items:
        errors.add("", "one_of", _("Name a tag by tag_id or by name."))
    errors.raise_if_any()
    service = _service(request, "tag")
    tag = service.add(_place(context, request), **given)
    return answer(present_record(service.entity, tag, request.actor))


def remove_tag(context: EntityContext, request: Request) -> Response:
    """DELETE a tag from a record."""
    _service(request, "tag").remove(_place(context, request), key_of(request, "tag_id"))
    return empty()


def list_attachments(context: EntityContext, request: Request) -> Response:
    """GET the files on a record, newest first."""
    named(request, ())
    service = _service(request, "attachment")
    found = service.of(_place(context, request))
    return answer({"data": [present_record(service.entity, item, request.actor) for item in found]})


def add_attachment(context: EntityContext, request: Request) -> Response:
    """POST a file as the body, its name as the parameter `filename`. Its type is found from its content."""
    name = named(request, {"filename"}).get("filename", "").strip()
    if not 1 <= len(name) <= 200:
        raise BadQuery("filename", _("A file name of 1 to 200 characters is expected here."))
    # A transaction that has to run again reads the body again.
    request.make_body_seekable()
    # A large body lies in a temporary file now.
    request.add_finished_callback(lambda done: done.body_file_raw.close())
    service = _service(request, "attachment")
    stored = service.store(_place(context, request), name, request.body_file_raw)
    location = f"/api/v1/attachments/{stored.id}/content"
    return answer(present_record(service.entity, stored, request.actor), 201, [("Location", location)])


def download(request: Request) -> Response:
    """GET the content of a file. The reading is an audit event."""
    named(request, ())
    found = _service(request, "attachment").open(key_of(request))
    headers = list(download_headers(found).items())
    body = stream(request.registry.session_factory, request.actor, found.id)
    return Response(status=200, headerlist=headers, app_iter=body)


def remove_attachment(request: Request) -> Response:
    """DELETE a file: it goes into the bin."""
    _service(request, "attachment").remove(key_of(request))
    return empty()


def _service(request: Request, entity: str) -> Any:
    """The domain's own service, with acts that plain services don't have."""
    return records(request.db, entity)


def _place(context: EntityContext, request: Request) -> tuple[str, UUID]:
    return context.entity.name, key_of(request)


def _members(raw: dict[str, Any], wanted: dict[str, Semantic], errors: Errors, *more: str) -> dict[str, Any]:
    """The members of a body that are ids or texts; every problem is noted."""
    found: dict[str, Any] = {}
    for name in raw.keys() - wanted.keys() - set(more):
        pointer = name.replace("~", "~0").replace("/", "~1")
        errors.add(f"/{pointer}", "unknown_field", _("There is no such field."))
    for name, semantic in wanted.items():
        value = raw.get(name)
        if value is None:
            continue
        if semantic is Semantic.REFERENCE:
            try:
                found[name] = UUID(value) if isinstance(value, str) and len(value) == 36 else None
            except ValueError:
                found[name] = None
            if found[name] is None:
                errors.add(f"/{name}", "id", _("An id (UUID) is expected here."))
        elif isinstance(value, str) and 1 <= len(value.strip()) <= 200 and value.isprintable():
            found[name] = value.strip()
        else:
            errors.add(f"/{name}", "type", _("Text is expected here."))
    return found


def includeme(config: Configurator) -> None:
    """Add the views; the routes stand in order in crm_server.api."""
    for view, route, method, action in (
        (convert_lead, "api_convert", "POST", Action.UPDATE),
        (revert_conversion, "api_revert", "POST", Action.UPDATE),
        (move_opportunity, "api_move", "POST", Action.UPDATE),
        (list_tags, "api_tags", "GET", Action.READ),
        (add_tag, "api_tags", "POST", Action.UPDATE),
        (remove_tag, "api_tag", "DELETE", Action.UPDATE),
        (list_attachments, "api_attachments", "GET", Action.READ),
        (add_attachment, "api_attachments", "POST", Action.UPDATE),
    ):
        config.add_view(view, route_name=route, request_method=method, permission=action)
    # The record that a file hangs on is known when the file is found: its permission is asked there.
    config.add_view(
        download, route_name="api_download", request_method="GET", permission=Permission.LOGGED_IN
    )
    config.add_view(
        remove_attachment,
        route_name="api_attachment",
        request_method="DELETE",
        permission=Permission.LOGGED_IN,
    )
