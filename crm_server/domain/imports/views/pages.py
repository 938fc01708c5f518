"""The wizard: upload, mapping with a preview, check, run with progress, result with error file and undo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import Response
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.imports import queries
from crm_server.domain.imports.custom import widened
from crm_server.domain.imports.views import form
from crm_server.domain.imports.views.common import (
    import_id,
    readable,
    require_any,
    service_of,
    text_of,
    translator_of,
)
from crm_server.importing.dialect import DELIMITERS
from crm_server.importing.encodings import ENCODINGS
from crm_server.importing.errors import ImportFileError
from crm_server.kernel.errors import AppError, Conflict
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request

    from crm_server.domain.imports.queries import ImportState

TEMPLATES = "crm_server.domain.imports:templates/imports"
_PREVIEW = 5
_SHOWN = 50


@view_config(
    route_name="imports",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/index.jinja2",
)
def index(request: Request) -> dict[str, Any]:
    """Earlier imports, and the form for a new file."""
    return _index(request, None)


def _index(request: Request, problem: Any) -> dict[str, Any]:
    kinds = require_any(request)
    wanted = text_of(request.params.get("entity"))
    return {
        "kinds": [(name, request.registry.datamap[name].policy.label_plural) for name in kinds],
        "entity": wanted if wanted in kinds else kinds[0],
        "imports": queries.list_imports(request.db, request.actor),
        "problem": problem,
        "limit": request.registry.settings["kontor"].upload_limit >> 20,
        "states": {**_states(), "failed": ("red", _("Failed"))},
    }


def _states() -> dict[str, tuple[str, Any]]:
    return {
        "draft": ("gray", _("Not started")), "queued": ("blue", _("Waiting")), "working": ("blue", _("Running")),
        "checked": ("teal", _("Checked")), "done": ("green", _("Done")), "undone": ("gray", _("Undone")),
        "stopped": ("orange", _("Stopped")),
    }  # fmt: skip


@view_config(
    route_name="imports",
    request_method="POST",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/index.jinja2",
)
def upload(request: Request) -> Any:
    """Take a file in, and lead to its mapping."""
    require_any(request)
    given = request.POST.get("file")
    if not hasattr(given, "file") or not given.filename:
        request.response.status_int = 422
        return _index(request, _("Choose a file first."))
    try:
        with request.db.begin_nested():
            job = service_of(request).upload(given.file, given.filename, text_of(request.POST.get("entity")))
    except ImportFileError as error:
        request.response.status_int = 422
        return _index(request, _with_line(error))
    except AppError as error:
        request.response.status_int = error.status
        return _index(request, error.detail or error.title)
    return HTTPSeeOther(request.route_path("import", id=job.id))


def _with_line(error: ImportFileError) -> Any:
    if error.line is None:
        return error.message
    return _("${reason} (line ${line})", mapping={"reason": error.message, "line": error.line})


@view_config(
    route_name="import",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/mapping.jinja2",
)
def show(request: Request) -> Any:
    """What fits the state: mapping, progress or result."""
    state = queries.one_import(request.db, request.actor, import_id(request))
    if state.phase in {None, "check"} and not state.running and state.has_file:
        return _mapping_page(request, state)
    template = "progress" if state.running else "result"
    request.override_renderer = f"{TEMPLATES}/{template}.jinja2"
    return _result(request, state)


def _mapping_page(request: Request, state: ImportState) -> dict[str, Any]:
    registry = request.registry
    entity = widened(request.db, registry.datamap, registry.datamap[state.entity], actor=request.actor)
    say = translator_of(request)
    service = service_of(request)
    job = service.get(state.id)
    rows = queries.preview(request.db, registry.datamap, state, rows=_PREVIEW)
    fields = form.field_options(entity, request.actor, say)
    labels = dict(fields)
    constants = [(feed.field, feed.constant) for feed in state.mapping.feeds if feed.constant]
    return {
        **_common(request, state),
        "columns": form.column_rows(entity, state, rows, service.proposals(state.id)),
        "fields": fields,
        "labels": labels,
        "preview": rows,
        "shown": [feed.field for feed in state.mapping.feeds if feed.field != "@full_name"],
        "constants": [*constants, ("", "")],
        "problems": [
            (labels.get(item.field, item.field), say(item.message), item.columns)
            for item in service.problems(job)
        ],
        "keys": form.key_options(entity, state, say),
        "duplicates": form.DUPLICATES,
        "blanks": form.BLANKS,
        "missing": form.MISSING,
        "unknown": form.CHOICES,
        "date_orders": form.DATE_ORDERS,
        "encodings": ENCODINGS,
        "delimiters": DELIMITERS,
        "saved": queries.saved_mappings(request.db, state.entity),
        "failed": _failed(request, state),
    }


def _common(request: Request, state: ImportState) -> dict[str, Any]:
    entity = request.registry.datamap[state.entity]
    return {
        "state": state,
        "policy": entity.policy,
        "crumbs": [(translator_of(request)(_("Import")), request.route_path("imports"))],
        "badge": {**_states(), "failed": ("red", _("Failed"))}[state.state],
        "error": _error_text(state),
    }


def _error_text(state: ImportState) -> Any:
    if state.error is None:
        return None
    if state.error == "internal":
        return _(
            "Something went wrong on our side. Rows that were done stay; the import can go on from there."
        )
    return _("The file or its mapping could not be read (${code}).", mapping={"code": state.error})


def _failed(request: Request, state: ImportState) -> list[queries.ProblemRow]:
    return queries.problem_rows(request.db, state, translator_of(request), limit=_SHOWN)


def _result(request: Request, state: ImportState) -> dict[str, Any]:
    outcomes = ("merged", "skipped", "kept")
    return {
        **_common(request, state),
        "failed": _failed(request, state),
        "others": queries.problem_rows(
            request.db, state, translator_of(request), outcomes=outcomes, limit=_SHOWN
        ),
        "collection": policy_path(request, state),
    }


def policy_path(request: Request, state: ImportState) -> str:
    """The list in which the imported records stand."""
    return f"/{request.registry.datamap[state.entity].policy.collection}"


@view_config(route_name="import_mapping", request_method="POST", permission=Permission.LOGGED_IN)
def change(request: Request) -> Any:
    """Keep the mapping, and do what the button says: save, check, run, read the file differently, keep the
    mapping.
    """
    key = import_id(request)
    state = queries.one_import(request.db, request.actor, key)
    service = service_of(request)
    act = text_of(request.POST.get("act"))
    back = HTTPSeeOther(request.route_path("import", id=key))
    with readable():
        if act == "reread":
            service.reread(key, **_reading(request, state))
            return back
        if act == "use":
            _use_saved(request, state)
            return back
        known = request.registry.datamap
        try:
            mapping = form.read_form(request.POST, state, widened(request.db, known, known[state.entity]))
        except ImportFileError as error:
            flash.add(request, error.code.replace(".", "_"))
            return back
        problems = service.set_mapping(key, mapping)
        if act == "keep" and (name := text_of(request.POST.get("mapping_name"))):
            service.save_mapping(name, mapping)
            flash.add(request, "mapping_saved")
        elif act in {"check", "run"} and not problems:
            service.check(key) if act == "check" else service.start(key)
        elif act in {"check", "run"}:
            flash.add(request, "mapping_incomplete")
    return back


def _reading(request: Request, state: ImportState) -> dict[str, Any]:
    """How the person wants the file to be read."""
    found: dict[str, Any] = {}
    encoding, delimiter = text_of(request.POST.get("encoding")), request.POST.get("delimiter", "")
    if encoding in ENCODINGS and state.profile.kind != "xlsx":
        found["encoding"] = encoding
    if delimiter in DELIMITERS and state.profile.kind == "csv":
        found["delimiter"] = delimiter
    sheet = text_of(request.POST.get("sheet"))
    if sheet in state.profile.sheets:
        found["sheet"] = sheet
    header = request.POST.get("header")
    if header in {"yes", "no"}:
        found["header"] = header == "yes"
    return found


def _use_saved(request: Request, state: ImportState) -> None:
    service = service_of(request)
    saved = service.saved_mapping(state.entity, text_of(request.POST.get("saved")))
    # A kept mapping may name columns that this file doesn't have.
    columns = set(state.profile.columns)
    feeds = tuple(
        dataclasses.replace(feed, columns=tuple(name for name in feed.columns if name in columns))
        for feed in saved.feeds
        if not feed.columns or columns & set(feed.columns)
    )
    fed = {feed.field for feed in feeds}
    key = tuple(name for name in saved.key if name in fed)
    service.set_mapping(state.id, dataclasses.replace(saved, feeds=feeds, key=key))


@view_config(route_name="import_act", request_method="POST", permission=Permission.LOGGED_IN)
def act(request: Request) -> HTTPSeeOther:
    """Stop, go on, undo, or remove an import."""
    key = import_id(request)
    service = service_of(request)
    wanted = text_of(request.POST.get("act"))
    acts = {
        "stop": service.stop,
        "resume": service.resume,
        "undo": service.undo,
        "forget": service.forget_file,
    }
    try:
        if wanted == "delete":
            service.delete(key)
            flash.add(request, "import_deleted")
            return HTTPSeeOther(request.route_path("imports"))
        if wanted in acts:
            acts[wanted](key)
    except Conflict:
        # Somebody, or the job, was quicker; the page shows what is true now.
        flash.add(request, "import_changed")
    return HTTPSeeOther(request.route_path("import", id=key))


@view_config(
    route_name="import_progress",
    request_method="GET",
    permission=Permission.LOGGED_IN,
    renderer=f"{TEMPLATES}/bar.jinja2",
)
def progress(request: Request) -> dict[str, Any]:
    """The bar, asked for once a second; when the work is done the whole page is asked for."""
    state = queries.one_import(request.db, request.actor, import_id(request))
    if not state.running:
        request.response.headers["HX-Refresh"] = "true"
    request.response.headers["Cache-Control"] = "no-store"
    return _common(request, state)


@view_config(route_name="import_errors", request_method="GET", permission=Permission.LOGGED_IN)
def errors(request: Request) -> Response:
    """The rows that were not imported, as a file to correct and upload again."""
    return error_response(request)


def error_response(request: Request) -> Response:
    """The error file as a download; it is small beside the import, so it is made before the answer begins."""
    state = queries.one_import(request.db, request.actor, import_id(request))
    if not state.has_file:
        raise Conflict(_("The file was deleted. Upload it again."))
    with readable():
        body = b"".join(queries.error_file(request.db, state, translator_of(request)))
    stem = state.filename.rpartition(".")[0] or state.filename
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "-_. ") else "_" for char in stem)
    return Response(
        body=body,
        content_type="text/csv",
        charset="utf-8",
        headerlist=[
            ("Content-Type", "text/csv; charset=utf-8"),
            ("Content-Disposition", f'attachment; filename="{plain[:100]}-errors.csv"'),
            ("Cache-Control", "no-store"),
        ],
    )
