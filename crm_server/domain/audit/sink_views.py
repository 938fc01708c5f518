"""Pages and API of sinks: where audit events are sent, whether they arrive, and a test event (SIEM-8).

For audit administrators alone. Changing a sink on a page needs a fresh proof of who one is, since a wrong receiver is a
leak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther

from compliance.audit.siem.transport import DeliveryError
from compliance.datamap.text import _
from crm_server.api.answers import answer, empty
from crm_server.api.body import json_object
from crm_server.api.context import named
from crm_server.domain.approvals.services import ApprovalRequired
from crm_server.domain.audit import releasing, services, sinks, words
from crm_server.domain.audit.models import FORMATS, POLICIES, TRANSPORTS
from crm_server.domain.audit.settings_views import releasing_page
from crm_server.domain.audit.sinks import SinkService, SinkView
from crm_server.kernel.errors import Conflict, Errors, NotFound, ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

_TEMPLATES = "crm_server.domain.audit:templates/audit"
_CHOICES = {"transports": TRANSPORTS, "formats": FORMATS, "policies": POLICIES}


def _service(request: Request) -> SinkService:
    return SinkService(request.db, request.registry.settings["kontor"])


def _view(request: Request) -> SinkView:
    try:
        key = UUID(request.matchdict["id"])
    except ValueError:
        raise NotFound from None
    return _service(request).get(key)


def _size(request: Request) -> int:
    return services.reader(request.db, request.registry.settings["kontor"]).status().signed_size or 0


def sinks_page(request: Request) -> dict[str, Any]:
    """All sinks with their backlog and what keeps them."""
    return {"rows": _service(request).listed(), **_CHOICES}


def sink_page(request: Request, **more: Any) -> dict[str, Any]:
    """One sink: how far it is, a test event, and sending again."""
    view = _view(request)
    said = {"line": None, "peer": None, "error": None, "failure": None, "reason_error": None}
    shown = {"view": view, "warning": sinks.UNSAFE.get(view.sink.transport), "causes": words.CAUSES}
    return {**shown, **_CHOICES, **said, **more}


def new_sink(request: Request) -> dict[str, Any] | Response:
    """Set a sink up. It gets nothing before it is enabled."""
    return _edit(request, None)


def edit_sink(request: Request) -> dict[str, Any] | Response:
    """Change a sink. Key and token stay unless new ones are given."""
    return _edit(request, _view(request))


def _edit(request: Request, view: SinkView | None) -> dict[str, Any] | Response:
    sink = view.sink if view else None
    values: dict[str, Any] = {name: getattr(sink, name, None) for name in sinks.INPUTS}
    if sink is None:
        values |= {"transport": "tls", "format": "rfc5424", "policy": "pseudonym"}
        values |= {"message_limit": 8192, "enterprise": 32473}
    shown = {"sink": sink, "errors": {}, "help": sinks.ADDRESS_HELP, **_CHOICES}
    if request.method != "POST":
        return {**shown, "values": values}
    given = {name: str(request.POST.get(name, "")) for name in sinks.INPUTS}
    try:
        saved = _service(request).save(given, sink, size=_size(request))
    except ValidationFailed as refused:
        request.db.rollback()
        request.response.status_int = 422
        errors = {item.pointer.strip("/"): item.message for item in refused.errors}
        return {**shown, "values": given, "errors": errors}
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("audit_sink", id=saved.id))


def try_sink(request: Request) -> dict[str, Any]:
    """Send a test event and show the line and whom it reached."""
    try:
        line, peer = _service(request).try_out(_view(request).sink)
    except DeliveryError as failure:
        return sink_page(request, failure=failure)
    return sink_page(request, line=line, peer=peer)


def enable_sink(request: Request) -> Response:
    """Deliver to a sink."""
    view = _view(request)
    _service(request).enable(view.sink)
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("audit_sink", id=view.sink.id))


def stop_sink(request: Request) -> dict[str, Any] | Response:
    """Deliver no more, or forget the sink; where it is enabled, ask a second person for that."""
    view, remove = _view(request), request.POST.get("act") == "remove"
    try:
        _service(request).stop(view.sink, remove=remove)
    except ApprovalRequired as needed:
        return releasing_page(request, needed, lambda problem: sink_page(request, reason_error=problem))
    flash.add(request, "removed" if remove else "saved")
    return HTTPSeeOther(request.route_path("audit_sinks"))


def resend(request: Request) -> dict[str, Any] | Response:
    """Deliver again from an index on."""
    view, text = _view(request), str(request.POST.get("index", "")).strip()
    try:
        _service(request).resend(view.sink, int(text) if text.isdecimal() and len(text) < 19 else -1)
    except ValidationFailed as refused:
        request.db.rollback()
        request.response.status_int = 422
        return sink_page(request, error=refused.errors[0].message)
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("audit_sink", id=view.sink.id))


def api_sinks(request: Request) -> Response:
    """GET all sinks with their state, without secrets."""
    named(request, ())
    return answer({"data": [view.plain() for view in _service(request).listed()]})


def api_new_sink(request: Request) -> Response:
    """POST a sink; it is not enabled unless the body says so."""
    sink = _service(request).save(_body(request), size=_size(request))
    return _saved(request, sink.id, 201)


def api_sink(request: Request) -> Response:
    """GET one sink."""
    named(request, ())
    return answer(_view(request).plain())


def api_change_sink(request: Request) -> Response:
    """PATCH a sink; what is absent stays."""
    view = _view(request)
    sink = _service(request).save(_body(request), view.sink)
    return _saved(request, sink.id, 200)


def api_remove_sink(request: Request) -> Response:
    """DELETE a sink."""
    _service(request).stop(_view(request).sink, remove=True)
    return empty()


def api_release_sink(request: Request) -> Response:
    """POST: ask a second person to disable or remove a sink that is enabled."""
    view, body, errors = _view(request), json_object(request), Errors()
    for name in body:
        if name not in ("act", "reason"):
            errors.add(f"/{name}", "unknown_field", _("There is no such field."))
    if body.get("act") not in ("disable", "remove"):
        errors.add("/act", "choice", _("There is no such choice."))
    reason = text_of(body, "reason", errors)
    errors.raise_if_any()
    try:
        _service(request).stop(view.sink, remove=body["act"] == "remove")
    except ApprovalRequired as needed:
        return answer({"id": releasing.ask_for(request.db, needed, reason)}, 201)
    raise Conflict(_("This sink isn't enabled: nobody else is needed."))


def api_resend(request: Request) -> Response:
    """POST: deliver again from an index on."""
    view, body, errors = _view(request), json_object(request), Errors()
    for name in body:
        if name != "index":
            errors.add(f"/{name}", "unknown_field", _("There is no such field."))
    index = body.get("index")
    if type(index) is not int:
        errors.add("/index", "type", _("Another type of value is expected here."))
    errors.raise_if_any()
    _service(request).resend(view.sink, index)  # type: ignore[arg-type]
    return answer(_view(request).plain())


def api_try_sink(request: Request) -> Response:
    """POST: send a test event; the answer has the rendered line and the peer, or why it was not taken."""
    try:
        line, peer = _service(request).try_out(_view(request).sink)
    except DeliveryError as failure:
        refused = {"taken": False, "line": None, "peer": None, "error": str(failure), "cause": failure.cause}
        return answer(refused)
    return answer({"taken": True, "line": line, "peer": peer, "error": None, "cause": None})


def text_of(body: dict[str, Any], name: str, errors: Errors) -> str:
    """A text of a body, empty where there is none."""
    value = body.get(name, "")
    if isinstance(value, str) and "\x00" not in value:
        return value
    errors.add(f"/{name}", "type", _("Another type of value is expected here."))
    return ""


def _body(request: Request) -> dict[str, Any]:
    body, errors = json_object(request), Errors()
    kinds = dict.fromkeys(sinks.NUMBERS, int) | {"enabled": bool, "from_now": bool}
    for name, value in body.items():
        kind = kinds.get(name, str)
        if name not in (*sinks.INPUTS, "enabled"):
            errors.add(f"/{name}", "unknown_field", _("There is no such field."))
        elif value is not None and type(value) is not kind:
            errors.add(f"/{name}", "type", _("Another type of value is expected here."))
    errors.raise_if_any()
    return body


def _saved(request: Request, key: UUID, status: int) -> Response:
    service, body = _service(request), json_object(request)
    view = service.get(key)
    if body.get("enabled") is True:
        service.enable(view.sink)
    elif body.get("enabled") is False:
        service.stop(view.sink, remove=False)
    headers = [("Location", f"/api/v1/audit/sinks/{key}")] if status == 201 else []
    return answer(view.plain(), status, headers)


def includeme_api(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    for route, pattern, views in (
        ("api_audit_sinks", "/audit/sinks", {"GET": api_sinks, "POST": api_new_sink}),
        (
            "api_audit_sink",
            "/audit/sinks/{id}",
            {"GET": api_sink, "PATCH": api_change_sink, "DELETE": api_remove_sink},
        ),
        ("api_audit_sink_test", "/audit/sinks/{id}/test", {"POST": api_try_sink}),
        ("api_audit_sink_resend", "/audit/sinks/{id}/resend", {"POST": api_resend}),
        ("api_audit_sink_release", "/audit/sinks/{id}/release", {"POST": api_release_sink}),
    ):
        config.add_route(route, pattern)
        for method, view in views.items():
            config.add_view(
                view,
                route_name=route,
                request_method=method,
                permission=Permission.AUDIT_MANAGE,
                step_up=method != "GET",
            )


def includeme(config: Configurator) -> None:
    """Add the pages."""
    for route, pattern, view, renderer, method, proved in (
        ("audit_sinks", "/audit-sinks", sinks_page, "sinks", "GET", False),
        ("audit_sink_new", "/audit-sinks/new", new_sink, "sink_form", None, True),
        ("audit_sink", "/audit-sinks/{id}", sink_page, "sink", "GET", False),
        ("audit_sink_edit", "/audit-sinks/{id}/edit", edit_sink, "sink_form", None, True),
        ("audit_sink_test", "/audit-sinks/{id}/test", try_sink, "sink", "POST", False),
        ("audit_sink_enable", "/audit-sinks/{id}/enable", enable_sink, None, "POST", True),
        ("audit_sink_stop", "/audit-sinks/{id}/stop", stop_sink, "sink", "POST", True),
        ("audit_sink_resend", "/audit-sinks/{id}/resend", resend, "sink", "POST", True),
    ):
        config.add_route(route, pattern)
        config.add_view(
            view,
            route_name=route,
            request_method=method,
            permission=Permission.AUDIT_MANAGE,
            renderer=f"{_TEMPLATES}/{renderer}.jinja2" if renderer else None,
            step_up=proved,
        )
