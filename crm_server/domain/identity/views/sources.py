"""The form of a directory or a provider: shown, checked by the service, saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther

from compliance.datamap import Semantic
from compliance.datamap.field import POLICY
from crm_server.kernel.errors import ValidationFailed
from crm_server.web import flash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyramid.request import Request
    from pyramid.response import Response

    from crm_server.domain.identity.services.directories import DirectoryService
    from crm_server.domain.identity.services.sso import SsoService


def edit(
    request: Request, service: DirectoryService | SsoService, row: Any, names: tuple[str, ...], done: str
) -> dict[str, Any] | Response:
    """Show the form of a row, or save what it sent.

    Args:
        service: Saves.
        row: A new or known row.
        names: Fields of the form; one that holds words has them a line or divided by spaces.
        done: Name of the route to go to afterwards.
    """
    columns = row.__table__.c
    wordy = {name for name in names if columns[name].info[POLICY].semantic is Semantic.JSON}
    if request.method != "POST":
        values = {name: getattr(row, name) or "" for name in names}
        return _form(row, values | {name: "\n".join(values[name]) for name in wordy})
    typed = {name: str(request.POST.get(name, "")).strip() for name in names}
    sent = {name: value.split() if name in wordy else value for name, value in typed.items()}
    try:
        service.save(request.db, row, sent, str(request.POST.get("secret", "")))
    except ValidationFailed as failed:
        request.db.rollback()
        request.response.status_int = 422
        labels = {f"/{name}": columns[name].info[POLICY].label for name in names}
        return _form(row, typed, [(labels.get(one.pointer), one.message) for one in failed.errors])
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path(done, id=row.id))


def _form(row: Any, values: Mapping[str, str], errors: list[tuple[Any, Any]] | None = None) -> dict[str, Any]:
    return {"row": row, "values": values, "errors": errors or []}
