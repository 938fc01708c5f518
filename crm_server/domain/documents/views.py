"""API: files on records. Sent as the raw body with `?filename=`, or as a form with one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.response import Response

from compliance.datamap.text import _
from crm_server.api.answers import answer, empty
from crm_server.api.context import key_of, named
from crm_server.domain.actions import RECORD, add_action, key_pattern
from crm_server.domain.documents.services import download_headers, stream
from crm_server.kernel.errors import BadRequest, NotFound, TooLarge
from crm_server.permissions import Action, EntityContext
from crm_server.services import records

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.config import Configurator
    from pyramid.request import Request

_FORM = "multipart/form-data"


def _place(context: EntityContext, request: Request) -> tuple[str, UUID]:
    return context.entity.name, key_of(request)


def _document(attachment: Any) -> dict[str, Any]:
    return {
        "id": attachment.id,
        "filename": attachment.filename,
        "media_type": attachment.media_type,
        "size": attachment.size,
        "sha256": attachment.sha256.hex(),
        "created_at": attachment.created_at,
        "created_by": attachment.created_by,
    }


def list_attachments(context: EntityContext, request: Request) -> Response:
    """GET the files of a record, newest first."""
    named(request, ())
    found = records(request.db, "attachment").of(_place(context, request))
    return answer({"data": [_document(item) for item in found]})


def upload(context: EntityContext, request: Request) -> Response:
    """POST a file."""
    limit: int = request.registry.settings["kontor"].upload_limit
    # A little more than the file itself: a form has its own lines around it.
    if (request.content_length or 0) > limit + 10_000:
        raise TooLarge(_("Files may have at most ${n} MB.", mapping={"n": limit // 1_000_000}))
    name, content = _sent(request)
    made = records(request.db, "attachment").store(_place(context, request), name, content)
    return answer(_document(made), 201, [("Location", f"{request.path}/{made.id}")])


def _sent(request: Request) -> tuple[str, Any]:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == _FORM:
        named(request, ())
        try:
            found = [value for value in request.POST.values() if hasattr(value, "file")]
        except (ValueError, UnicodeDecodeError):
            found = []
        if len(found) != 1:
            raise BadRequest(_("Send one file."))
        return found[0].filename, found[0].file
    name = named(request, {"filename"}).get("filename", "")
    if not name.strip():
        raise BadRequest(_("Name the file: ?filename=…"))
    return name, request.body_file


def download(context: EntityContext, request: Request) -> Response:
    """GET the content of a file."""
    named(request, ())
    found = _of_record(context, request)
    response = Response(app_iter=stream(request.registry.session_factory, request.actor, found.id))
    for name, value in download_headers(found).items():
        response.headers[name] = value
    return response


def remove(context: EntityContext, request: Request) -> Response:
    """DELETE puts a file into the bin."""
    service = records(request.db, "attachment")
    place = _place(context, request)
    if key_of(request, "attachment_id") not in {item.id for item in service.of(place)}:
        raise NotFound
    service.remove(key_of(request, "attachment_id"))
    return empty()


def _of_record(context: EntityContext, request: Request) -> Any:
    found = records(request.db, "attachment").open(key_of(request, "attachment_id"))
    if (found.record_type, found.record_id) != (context.entity.number, key_of(request)):
        raise NotFound
    return found


def includeme_api(config: Configurator) -> None:
    """Add the addresses."""
    add_action(
        config,
        "api_attachments",
        f"{RECORD}/attachments",
        {"GET": (list_attachments, Action.READ), "POST": (upload, Action.UPDATE)},
    )
    one = f"{RECORD}/attachments/{key_pattern('attachment_id')}"
    add_action(config, "api_attachment", one, {"DELETE": (remove, Action.UPDATE)})
    add_action(config, "api_attachment_content", f"{one}/content", {"GET": (download, Action.READ)})
