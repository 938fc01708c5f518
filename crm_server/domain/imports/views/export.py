"""Lists as files, on the pages and in the API: the same filters, the same rights, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyramid.response import Response
from pyramid.view import view_config

from compliance.audit.events import write
from crm_server.api.context import pairs
from crm_server.domain.imports.custom import listed
from crm_server.domain.imports.exporting import Export
from crm_server.domain.imports.views.common import translator_of
from crm_server.kernel import db
from crm_server.kernel.clock import now
from crm_server.kernel.listing import parse_parameters
from crm_server.permissions import Action

if TYPE_CHECKING:
    from pyramid.request import Request

_PAGE_ONLY = frozenset({"columns", "view", "edit_filter", "format", "cursor", "limit"})


@view_config(route_name="export", request_method="GET", permission=Action.EXPORT)
@view_config(route_name="api_export", request_method="GET", permission=Action.EXPORT)
def export(request: Request) -> Response:
    """The whole list behind the address: ``format`` csv (default), xlsx or vcard, filters and fields as in
    lists.
    """
    registry, actor = request.registry, request.actor
    entity = request.context.entity
    given = pairs(request)
    named = dict(given)
    kind = named.get("format", "csv")
    wanted = [(name, value) for name, value in given if name not in _PAGE_ONLY]
    if request.matched_route.name == "export":
        # The page's own search box sends an empty word when nothing is searched for.
        wanted = [pair for pair in wanted if pair != ("q", "")]
    if columns := named.get("columns"):
        wanted.append(("fields", columns))
    made = Export(
        registry.hot,
        registry.datamap,
        entity,
        parse_parameters(wanted),
        actor,
        translate=translator_of(request),
        custom=listed(request.db, registry.datamap),
    )
    file = made.file(kind, now().date())
    # What goes wrong with the first block is still an error and no broken file.
    first = next(file.blocks, b"")
    # The event stands before the first row leaves; an export that can't be recorded doesn't begin.
    write(request.db.connection(), actor, [made.event(kind, done=False)])

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
