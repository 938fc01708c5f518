"""Company directories: set up, test with a person, say what groups mean, look at what a comparison would do
(AUTH-10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from crm_server.domain.identity import directory_queries as queries
from crm_server.domain.identity import labels
from crm_server.domain.identity.services.directories import SETTABLE, source_of
from crm_server.domain.identity.services.groups import KINDS
from crm_server.domain.identity.views.common import TEMPLATES, services_of, uuid_of
from crm_server.domain.identity.views.sources import edit
from crm_server.kernel.errors import AppError, NotFound
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response


@view_config(
    route_name="directories",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directories.jinja2",
)
def directories_page(request: Request) -> dict[str, Any]:
    """All directories and how their last comparison went."""
    return {"rows": queries.directories(request.db)}


@view_config(
    route_name="directory_new",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory_form.jinja2",
    step_up=True,
)
def new_directory(request: Request) -> dict[str, Any] | Response:
    """Set a directory up. It takes part in log-in only after it was enabled."""
    service = services_of(request).directories
    return edit(request, service, service.draft(), SETTABLE, "directory")


@view_config(
    route_name="directory_edit",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory_form.jinja2",
    step_up=True,
)
def edit_directory(request: Request) -> dict[str, Any] | Response:
    """Change how a directory is reached. The password stays unless a new one is given."""
    return edit(request, services_of(request).directories, _get(request), SETTABLE, "directory")


@view_config(
    route_name="directory",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory.jinja2",
)
def directory_page(request: Request, **more: Any) -> dict[str, Any]:
    """One directory: test, meanings of groups, last comparison."""
    row, db = _get(request), request.db
    return {
        "row": row,
        "mappings": queries.mappings(db, source_of(row)),
        "targets": queries.targets(db),
        "login": "",
        "reports": None,
        "groups": None,
        "preview": None,
        "effects": (),
        "say": labels,
        "error": None,
        "failure": None,
    } | more


@view_config(
    route_name="directory_test",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory.jinja2",
)
def test_directory(request: Request) -> dict[str, Any]:
    """Test each server and, if a name is given, how that person looks from here."""
    from security.identity.ldap.diagnosis import diagnose

    login = str(request.POST.get("login", "")).strip()[:256]
    try:
        client = services_of(request).directories.client(_get(request))
    except ValueError as wrong:
        return directory_page(request, failure=str(wrong), login=login)
    row, reports = _get(request), diagnose(client, login or None)
    gives = [
        queries.gives(request.db, source_of(row), {str(group.id) for group in report.groups})
        for report in reports
    ]
    return directory_page(request, reports=list(zip(reports, gives, strict=True)), login=login)


@view_config(
    route_name="directory_groups",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory.jinja2",
)
def search_groups(request: Request) -> dict[str, Any]:
    """Find groups by a part of their name, to give them a meaning."""
    from security.identity.ldap import DirectoryFailure
    from security.identity.ldap.listing import find_groups

    text = str(request.POST.get("group", "")).strip()[:100]
    try:
        found = find_groups(services_of(request).directories.client(_get(request)), text)
    except (DirectoryFailure, ValueError) as failure:
        return directory_page(request, failure=str(failure))
    return directory_page(request, groups=found)


@view_config(
    route_name="directory_map",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory.jinja2",
    step_up=True,
)
def map_group(request: Request) -> dict[str, Any] | Response:
    """Give a group a meaning, or take one away."""
    from security.identity.ldap import DirectoryFailure
    from security.identity.ldap.listing import group_by_id

    row, db, found = _get(request), request.db, services_of(request)
    gone = str(request.POST.get("remove", ""))
    try:
        if gone:
            found.groups.unmap(db, source_of(row), UUID(gone))
        else:
            kind, _colon, target = str(request.POST.get("meaning", "")).partition(":")
            group = group_by_id(found.directories.client(row), UUID(str(request.POST.get("group_id", ""))))
            if group is None or kind not in KINDS:
                raise NotFound
            key = UUID(target) if target else None
            found.groups.map_group(db, source_of(row), str(group.id), group.name, kind, key)
    except (AppError, DirectoryFailure, ValueError) as refused:
        db.rollback()
        request.response.status_int = 422
        if isinstance(refused, AppError):
            return directory_page(request, error=refused.detail or refused.title)
        return directory_page(request, failure=str(refused))
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("directory", id=row.id))


@view_config(
    route_name="directory_preview",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/directory.jinja2",
)
def preview(request: Request) -> dict[str, Any]:
    """What a comparison would do now; nothing is changed."""
    from security.identity.ldap import DirectoryFailure

    row = _get(request)
    try:
        found = services_of(request).directories.compare(request.db, row, apply=False)
    except (DirectoryFailure, ValueError) as failure:
        return directory_page(request, failure=str(failure))
    return directory_page(request, preview=found.plain(), effects=queries.effects(request.db, found.changes))


@view_config(
    route_name="directory_state", request_method="POST", permission=Permission.USERS_MANAGE, step_up=True
)
def set_state(request: Request) -> Response:
    """Let log-in ask the directory, or leave it out."""
    _get(request).enabled = request.POST.get("enabled") == "true"
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("directory", id=request.matchdict["id"]))


def _get(request: Request) -> Any:
    return queries.directory(request.db, uuid_of(request))
