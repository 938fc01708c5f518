"""Imports over the API: ``/api/v1/imports``.

POST the file as the body; the answer says what it is taken for. Then PUT the mapping if it must be another,
POST ``check`` or ``run``, and GET the import until its state is ``checked`` or ``done``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pyramid.view import view_config

from crm_server.api.answers import answer, empty
from crm_server.api.body import json_object
from crm_server.api.context import named
from crm_server.api.idempotency import Done, once
from crm_server.domain.imports import queries
from crm_server.domain.imports.queries import ImportState
from crm_server.domain.imports.views.common import import_id, readable, require_any, service_of, translator_of
from crm_server.domain.imports.views.pages import error_response
from crm_server.domain.imports.views.refusals import mapping_from, place_of
from crm_server.importing.errors import _
from crm_server.importing.mapping import FieldProblem
from crm_server.kernel.errors import BadQuery, TooLarge
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.request import Request
    from pyramid.response import Response

_UPLOAD = frozenset({"entity", "filename", "preset", "encoding", "delimiter", "sheet"})
_OUTCOMES = frozenset({"failed", "updated", "merged", "skipped", "kept"})
_MOST = 1_000


@view_config(route_name="api_imports", request_method="GET", permission=Permission.LOGGED_IN)
def list_imports(request: Request) -> Response:
    """GET one's imports, newest first."""
    named(request, ())
    require_any(request)
    found = queries.list_imports(request.db, request.actor)
    return answer({"data": [state.to_json() for state in found]})


@view_config(route_name="api_imports", request_method="POST", permission=Permission.LOGGED_IN)
def upload(request: Request) -> Response:
    """POST a file: its bytes are the body, whatever their Content-Type says."""
    given = named(request, _UPLOAD)
    require_any(request)
    if "entity" not in given:
        raise BadQuery("entity", _("Say what the rows are, such as contact."))
    if (request.content_length or 0) > request.registry.settings["kontor"].upload_limit:
        raise TooLarge
    reading: dict[str, Any] = {
        name: given[name] for name in ("encoding", "delimiter", "sheet", "preset") if name in given
    }
    file = request.body_file_seekable

    def act() -> Done:
        with readable():
            job = service_of(request).upload(file, given.get("filename", "file"), given["entity"], **reading)
        return Done(201, request.route_path("api_import", id=job.id), job.id)

    def respond(done: Done) -> Response:
        return _one(request, cast("UUID", done.record_id), status=201, headers=[("Location", done.location)])

    return once(request, act, respond, file=file)


@view_config(route_name="api_import", request_method="GET", permission=Permission.LOGGED_IN)
def read(request: Request) -> Response:
    """GET one import with its progress."""
    named(request, ())
    return _one(request, import_id(request))


@view_config(route_name="api_import", request_method="DELETE", permission=Permission.LOGGED_IN)
def delete(request: Request) -> Response:
    """DELETE an import with its file and notes; the records stay."""
    service_of(request).delete(import_id(request))
    return empty()


@view_config(route_name="api_import_mapping", request_method="PUT", permission=Permission.LOGGED_IN)
def set_mapping(request: Request) -> Response:
    """PUT the whole mapping; the answer lists what is wrong with it under ``mapping_problems``."""
    named(request, ())
    body = json_object(request)
    key = import_id(request)
    with readable():
        state = queries.one_import(request.db, request.actor, key)
        service_of(request).set_mapping(key, mapping_from(body, state.entity))
    return _one(request, key)


@view_config(route_name="api_import_act", request_method="POST", permission=Permission.LOGGED_IN)
def act(request: Request) -> Response:
    """POST check, run, stop, resume or undo; the work is done in the background."""
    named(request, ())
    service, key = service_of(request), import_id(request)
    acts = {
        "check": service.check, "run": service.start, "stop": service.stop, "resume": service.resume,
        "undo": service.undo,
    }  # fmt: skip

    def do() -> Done:
        with readable():
            acts[request.matchdict["act"]](key)
        return Done(202, record_id=key)

    return once(request, do, lambda done: _one(request, key, status=done.status))


@view_config(route_name="api_import_rows", request_method="GET", permission=Permission.LOGGED_IN)
def rows(request: Request) -> Response:
    """GET rows that were not simply created, with reasons; ``outcome`` chooses which, failed by default."""
    given = named(request, {"outcome"})
    outcome = given.get("outcome", "failed")
    if outcome not in _OUTCOMES:
        raise BadQuery(
            "outcome",
            _("One of these is expected: ${names}", mapping={"names": ", ".join(sorted(_OUTCOMES))}),
        )
    state = queries.one_import(request.db, request.actor, import_id(request))
    found = queries.problem_rows(request.db, state, translator_of(request), outcomes=(outcome,), limit=_MOST)
    data = [
        {
            "line": row.line,
            "outcome": row.outcome,
            "record_id": str(row.record_id) if row.record_id else None,
            "reasons": [{"field": field, "reason": reason} for field, reason in row.reasons],
        }
        for row in found
    ]
    return answer({"data": data})


@view_config(route_name="api_import_errors", request_method="GET", permission=Permission.LOGGED_IN)
def errors(request: Request) -> Response:
    """GET the rows that failed as CSV."""
    named(request, ())
    return error_response(request)


def _one(request: Request, key: UUID, *, status: int = 200, headers: Any = ()) -> Response:
    request.db.flush()
    state = queries.one_import(request.db, request.actor, key)
    problems = service_of(request).problems(service_of(request).get(key)) if _editable(state) else []
    document = state.to_json() | {
        "mapping_problems": [_problem(request, item, place_of(item, state.mapping)) for item in problems]
    }
    return answer(document, status, headers)


def _editable(state: ImportState) -> bool:
    return state.phase in {None, "check"} and not state.running


def _problem(request: Request, item: FieldProblem, place: str) -> dict[str, Any]:
    say = translator_of(request)
    return {
        "pointer": place,
        "field": item.field,
        "code": item.code,
        "message": say(item.message),
        "columns": list(item.columns),
    }
