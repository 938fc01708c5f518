"""The bin: what was deleted, by whom and when it leaves for good; restore and purge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.view import view_config

from crm_server.domain.bin import queries
from crm_server.permissions import Permission
from crm_server.web import reading

if TYPE_CHECKING:
    from pyramid.request import Request


@view_config(
    route_name="bin", permission=Permission.LOGGED_IN, renderer="pages/bin.jinja2", request_method="GET"
)
def show(request: Request) -> dict[str, Any]:
    """A page of the bin, of all kinds of records or of one."""
    datamap = request.registry.datamap
    kinds = [item for item in datamap.records() if request.ui.can("read", item.name)]
    kind = request.GET.get("kind")
    if kind not in {item.name for item in kinds}:
        kind = None
    page = queries.in_bin(request.db, datamap, entity=kind, limit=25, after=request.GET.get("after") or None)
    people = reading.user_names(request, [item.deleted_by for item in page.items])
    following = f"/bin?{f'kind={kind}&' if kind else ''}after={page.next}" if page.next else None
    return {
        "items": page.items,
        "people": people,
        "kinds": kinds,
        "kind": kind,
        "next": following,
        "days": request.registry.settings["kontor"].bin_days,
    }
