"""Acts on the parts of a record: tags, files, timeline, and the rows that belong to it (roles, lines, comments …)."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from pyramid.view import view_config

from compliance.datamap import EntityKind
from compliance.datamap.text import _
from crm_server.domain.documents import services as documents
from crm_server.domain.tags.services import TagService
from crm_server.kernel.errors import (
    AppError,
    BadRequest,
    NotFound,
    TooLarge,
    UnsupportedMedia,
    ValidationFailed,
)
from crm_server.permissions import Action, Permission
from crm_server.services import records
from crm_server.web import editing, flash, formats, forms, reading
from crm_server.web.acting import service
from crm_server.web.parts import timeline_part
from crm_server.web.routes import record_id

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef

_QUANTITY = "quantity_milli"


def _record_path(request: Request) -> str:
    return f"/{request.context.entity.policy.collection}/{request.matchdict['id']}"


# Tags


@view_config(route_name="record_tags", permission=Action.UPDATE, request_method="POST")
def tag(request: Request) -> HTTPSeeOther:
    """Put a tag on a record, by key or by name."""
    place = (request.context.entity.name, record_id(request))
    name = request.POST.get("name", "").strip()
    key = request.POST.get("tag", "")
    if name or key:
        tags = service(request, TagService)
        if key:
            tags.add(place, tag_id=UUID(key))
        else:
            tags.add(place, name=name)
    return HTTPSeeOther(_record_path(request))


@view_config(route_name="record_untag", permission=Action.UPDATE, request_method="POST")
def untag(request: Request) -> HTTPSeeOther:
    """Take a tag off a record."""
    service(request, TagService).remove(
        (request.context.entity.name, record_id(request)), UUID(request.matchdict["tag"])
    )
    return HTTPSeeOther(_record_path(request))


# Timeline


@view_config(
    route_name="record_timeline",
    permission=Action.READ,
    request_method="GET",
    renderer="parts/happenings.jinja2",
)
def timeline(request: Request) -> dict[str, Any]:
    """Older happenings, for the button below the timeline."""
    entity, key = request.context.entity, record_id(request)
    return {
        "timeline": timeline_part(request, entity, key, request.GET.get("after")),
        "path": _record_path(request),
    }


# Files


@view_config(route_name="record_files", permission=Action.UPDATE, request_method="POST")
def upload(request: Request) -> HTTPSeeOther:
    """Add a file to a record."""
    sent = request.POST.get("file")
    place = (request.context.entity.name, record_id(request))
    said = "uploaded"
    named = getattr(sent, "filename", "")
    try:
        # A form without a file sends a text in its place: nothing chosen is the same as an empty file.
        content = sent.file if named else io.BytesIO()
        service(request, documents.AttachmentService).store(place, named, content)
    except (BadRequest, TooLarge, UnsupportedMedia) as refused:
        # The person is back at the record, with the reason above it.
        editing.doom(request)
        said = f"upload_{refused.code}"
    flash.add(request, said)
    return HTTPSeeOther(f"{_record_path(request)}#files")


@view_config(route_name="file", permission=Permission.LOGGED_IN, request_method="GET")
def download(request: Request) -> Response:
    """A file, always as a download."""
    found = service(request, documents.AttachmentService).open(record_id(request))
    response = Response(app_iter=documents.stream(request.registry.session_factory, request.actor, found.id))
    for name, value in documents.download_headers(found).items():
        response.headers[name] = value
    return response


@view_config(route_name="file_remove", permission=Permission.LOGGED_IN, request_method="POST")
def remove_file(request: Request) -> HTTPSeeOther:
    """Put a file into the bin."""
    service(request, documents.AttachmentService).remove(record_id(request))
    flash.add(request, "removed")
    return HTTPSeeOther(editing.back(request, "/"))


# Rows that belong to a record


def _part(request: Request) -> EntityDef:
    entity: EntityDef | None = request.registry.datamap.entities.get(request.matchdict["part"])
    if entity is None or entity.policy.kind is not EntityKind.PART or entity.policy.parent is None:
        raise NotFound
    return entity


def _read_quantity(request: Request, entity: EntityDef, sent: dict[str, str]) -> dict[str, Any]:
    """People write 1.5 where the record holds 1500 thousandths; returns the problem by field, if there is one."""
    if entity.name != "opportunity_line" or not sent.get(_QUANTITY, "").strip():
        return {}
    number = formats.parse_number(sent[_QUANTITY], request.ui.locale)
    thousandths = number.scaleb(3) if number is not None else None
    if thousandths is None or thousandths != thousandths.to_integral_value():
        return {_QUANTITY: _("A number with at most three decimal places is expected here.")}
    sent[_QUANTITY] = formats.as_number(int(thousandths), request.ui.locale)
    return {}


def _page(
    request: Request,
    entity: EntityDef,
    texts: dict[str, str],
    row: dict[str, Any] | None,
    **more: Any,
) -> dict[str, Any]:
    page = editing.page(request, entity, texts, row=row, **more)
    parent = entity.policy.parent or ""
    back = editing.back(request, "/")
    sections = []
    for label, controls in page["sections"]:
        # The record that it belongs to is given, not chosen.
        kept = [_spoken(request, one) for one in controls if one.name != parent and not _given(request, one)]
        if kept:
            sections.append((label, kept))
    return {
        **page,
        "sections": sections,
        "hidden": {name: texts[name] for name in _fixed(request, entity) if texts.get(name)},
        "action": f"/parts/{entity.name}/{row['id']}" if row else f"/parts/{entity.name}",
        "cancel": back,
        "back": back,
        "crumbs": [],
        "title": request.ui.t(entity.policy.label),
    }


def _fixed(request: Request, entity: EntityDef) -> list[str]:
    """References that say where the row belongs: they came with the address or the small form."""
    names = [entity.policy.parent or ""]
    if entity.name == "contact_role":
        names = ["account_id", "opportunity_id"]
    return names


def _given(request: Request, one: forms.Control) -> bool:
    part = request.matchdict["part"]
    return part == "contact_role" and one.name in {"account_id", "opportunity_id"}


def _spoken(request: Request, one: forms.Control) -> forms.Control:
    if one.name != _QUANTITY:
        return one
    number = formats.parse_number(one.text, request.ui.locale) if one.text and not one.error else None
    text = one.text if number is None else formats.as_number(Decimal(number).scaleb(-3), request.ui.locale)
    return forms.replace(one, label=_("Quantity"), text=text, inputmode="decimal")


@view_config(
    route_name="parts", permission=Permission.LOGGED_IN, request_method="POST", renderer="pages/form.jinja2"
)
def add(request: Request) -> Any:
    """Add a row to a record: from the small form on its page, or from the form shown after a mistake."""
    entity = _part(request)
    sent = editing.typed(request)
    problems = _read_quantity(request, entity, sent)
    known = editing.fields(request, entity, creating=True)
    decoded = forms.read(request.ui, known, sent, None)
    decoded.problems.update(problems)
    if not decoded.problems:
        try:
            records(request.db, entity.name).create(decoded.raw)
            return HTTPSeeOther(editing.back(request, "/"))
        except ValidationFailed as failed:
            return _again(request, entity, sent, None, *forms.placed(failed.errors, known))
        except AppError as error:
            return _again(request, entity, sent, None, {}, [error.detail or error.title])
    return _again(request, entity, sent, None, decoded.problems, [])


def _again(
    request: Request, entity: EntityDef, sent: dict[str, str], row: Any, errors: Any, others: Any
) -> dict[str, Any]:
    editing.doom(request)
    request.response.status_int = 422
    return _page(request, entity, sent, row, errors=errors, others=others, dirty=True)


def _row(request: Request, entity: EntityDef) -> dict[str, Any]:
    records(request.db, entity.name).require("read")
    return reading.one(request, entity, record_id(request))


@view_config(
    route_name="part", permission=Permission.LOGGED_IN, request_method="GET", renderer="pages/form.jinja2"
)
def edit(request: Request) -> dict[str, Any]:
    """The form of a row."""
    entity = _part(request)
    row = _row(request, entity)
    return _page(request, entity, editing.stored(request, entity, row), row)


@view_config(
    route_name="part", permission=Permission.LOGGED_IN, request_method="POST", renderer="pages/form.jinja2"
)
def change(request: Request) -> Any:
    """Change a row."""
    entity = _part(request)
    row = _row(request, entity)
    sent = editing.typed(request)
    problems = _read_quantity(request, entity, sent)
    known = editing.fields(request, entity, creating=False)
    decoded = forms.read(request.ui, known, sent, row, only_changed=True)
    decoded.problems.update(problems)
    if not decoded.problems:
        try:
            records(request.db, entity.name).update(
                record_id(request), decoded.raw, version=editing.version(sent)
            )
        except ValidationFailed as failed:
            return _again(request, entity, sent, row, *forms.placed(failed.errors, known))
        flash.add(request, "saved")
        return HTTPSeeOther(editing.back(request, "/"))
    return _again(request, entity, sent, row, decoded.problems, [])


@view_config(route_name="part_remove", permission=Permission.LOGGED_IN, request_method="POST")
def remove(request: Request) -> HTTPSeeOther:
    """Take a row off a record."""
    entity = _part(request)
    records(request.db, entity.name).delete(record_id(request))
    flash.add(request, "removed")
    return HTTPSeeOther(editing.back(request, "/"))
