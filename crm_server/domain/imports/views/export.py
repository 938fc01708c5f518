"""Lists as files, on the pages and in the API: the same filters, the same rights, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from pyramid.view import view_config

from compliance.audit.events import write
from crm_server.api.answers import answer
from crm_server.api.context import pairs
from crm_server.domain.actions import body_of
from crm_server.domain.approvals import queries as approvals
from crm_server.domain.approvals.services import ApprovalRequired, ApprovalService
from crm_server.domain.imports.custom import listed
from crm_server.domain.imports.exporting import Export
from crm_server.domain.imports.releasing import MASS_EXPORT, describe, parameters_of, require_release
from crm_server.domain.imports.views.common import translator_of
from crm_server.kernel import db
from crm_server.kernel.clock import now
from crm_server.kernel.errors import AppError, ValidationFailed
from crm_server.kernel.listing import parse_parameters
from crm_server.permissions import Action
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request

_ASK = "crm_server.domain.imports:templates/imports/release.jinja2"
_PAGE_ONLY = frozenset({"columns", "view", "edit_filter", "format", "cursor", "limit"})


@view_config(route_name="export", request_method="GET", permission=Action.EXPORT)
@view_config(route_name="api_export", request_method="GET", permission=Action.EXPORT)
def export(request: Request) -> Response:
    """The whole list behind the address: ``format`` csv (default), xlsx or vcard, filters and fields as in
    lists.
    """
    registry, actor = request.registry, request.actor
    made, kind, parameters = _export(request)
    file = made.file(kind, now().date())
    try:
        require_release(request.db, parameters, made.total)
    except ApprovalRequired:
        if request.matched_route.name != "export":
            raise
        return HTTPSeeOther(f"{request.path}/release?{request.query_string}")
    # What goes wrong with the first block is still an error and no broken file.
    first = next(file.blocks, b"")
    # The event stands before the first row leaves; an export that can't be recorded doesn't begin.
    write(request.db.connection(), request.actor, [made.event(kind, done=False)])

    def blocks() -> Iterator[bytes]:
        yield first
        yield from file.blocks
        with db.open_session(registry.session_factory, actor) as session:
            write(session.connection(), actor, [made.event(kind, done=True)])
            db.commit(session)

    return Response(
        app_iter=blocks(),
        headerlist=[
            ("Content-Type", file.media_type),
            ("Content-Disposition", f'attachment; filename="{file.filename}"'),
            ("Cache-Control", "no-store"),
        ],
    )


@view_config(
    route_name="export_release", request_method="GET", permission=Action.EXPORT, renderer=_ASK, step_up=True
)
def ask_page(request: Request) -> dict[str, Any]:
    """Why this export takes a second person, and the form to ask for one."""
    made, kind, parameters = _export(request)
    made.file(kind, now().date())
    return {
        "lines": describe(request.db, parameters),
        "rows": made.total,
        "limit": request.registry.settings["kontor"].export_release_rows,
        "back": f"/{request.context.entity.policy.collection}",
        "title": request.context.entity.policy.label_plural,
        "error": None,
    }


@view_config(
    route_name="export_release", request_method="POST", permission=Action.EXPORT, renderer=_ASK, step_up=True
)
def ask(request: Request) -> dict[str, Any] | Response:
    """Ask a second person to release the export."""
    _made, _kind, parameters = _export(request)
    try:
        asked = ApprovalService(request.db).request(
            MASS_EXPORT, parameters, str(request.POST.get("reason", ""))
        )
    except AppError as refused:
        request.response.status_int = refused.status
        found = refused.errors[0].message if isinstance(refused, ValidationFailed) else refused.detail
        return ask_page(request) | {"error": found or refused.title}
    flash.add(request, "approval_asked")
    return HTTPSeeOther(request.route_path("approval", id=asked.id))


@view_config(route_name="api_export_release", request_method="POST", permission=Action.EXPORT)
def ask_by_program(request: Request) -> Response:
    """POST a reason, with the address of the export; the answer is the request for a second person."""
    _made, _kind, parameters = _export(request)
    reason = body_of(request, reason="text!")["reason"]
    asked = ApprovalService(request.db).request(MASS_EXPORT, parameters, reason)
    request.db.flush()
    headers = [("Location", request.route_path("api_approval", id=asked.id))]
    return answer(approvals.one(request.db, asked.id).plain(), 201, headers)


def _export(request: Request) -> tuple[Export, str, dict[str, Any]]:
    """The export that the address asks for, its format, and what a second person would release."""
    registry, entity = request.registry, request.context.entity
    given = pairs(request)
    named = dict(given)
    kind = named.get("format", "csv")
    wanted = [(name, value) for name, value in given if name not in _PAGE_ONLY]
    if not request.matched_route.name.startswith("api_"):
        # The page's own search box sends an empty word when nothing is searched for.
        wanted = [pair for pair in wanted if pair != ("q", "")]
    if columns := named.get("columns"):
        wanted.append(("fields", columns))
    made = Export(
        registry.hot,
        registry.datamap,
        entity,
        parse_parameters(wanted),
        request.actor,
        translate=translator_of(request),
        custom=listed(request.db, registry.datamap),
    )
    return made, kind, parameters_of(entity, kind, wanted)
