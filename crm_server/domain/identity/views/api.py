"""Roles over the API: read, look at a change before it counts, make, change, remove (/api/v1/roles).

Changes take a browser's session with a fresh proof (AUTH-15), so no token changes a role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.api.answers import answer, empty, etag, expected_version
from crm_server.api.body import json_object
from crm_server.api.context import key_of, named
from crm_server.domain.actions import key_pattern
from crm_server.domain.identity import queries
from crm_server.domain.identity.services.roles import RoleDraft, draft_of
from crm_server.domain.identity.views.common import services_of
from crm_server.kernel.client import address_of
from crm_server.kernel.errors import Errors, LostUpdate, PreconditionRequired
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

_TEXT, _TEXTS, _NUMBER, _MAP = "text", "texts", "number", "map"
_MEMBERS = {
    "name": _TEXT, "description": _TEXT, "permissions": _TEXTS, "fields": _MAP, "scopes": "scopes",
    "factors": _TEXT, "factor_grace": _NUMBER, "networks": _TEXTS, "emergency_minutes": _NUMBER,
}  # fmt: skip


def listed(request: Request) -> Response:
    """GET all roles."""
    named(request, ())
    counts = queries.member_counts(request.db)
    roles = queries.roles(request.db)
    return answer({"data": [_document(role) | {"members": counts.get(role.id, 0)} for role in roles]})


def read(request: Request) -> Response:
    """GET one role, with its entity tag."""
    named(request, ())
    return _one(queries.role(request.db, key_of(request)))


def members(request: Request) -> Response:
    """GET who holds a role."""
    named(request, ())
    found = queries.role_members(request.db, queries.role(request.db, key_of(request)).id, most=None)
    return answer({"data": [{"id": key, "login": login, "name": name} for key, login, name in found.first]})


def create(request: Request) -> Response:
    """POST a new role."""
    role = services_of(request).roles.create(request.db, _draft(request, RoleDraft(name="")))
    return _one(role, 201, [("Location", request.route_path("api_role", id=role.id))])


def preview(request: Request) -> Response:
    """POST a role as it should be; the answer says what that would change, and for how many. Nothing changes."""
    role = queries.role(request.db, key_of(request))
    found = services_of(request).roles.preview(
        request.db, role.id, _draft(request, draft_of(role)), address_of(request)
    )
    return answer(found.plain())


def change(request: Request) -> Response:
    """PATCH what shall be different (If-Match)."""
    role = queries.role(request.db, key_of(request))
    version = _expected(request, role)
    services_of(request).roles.update(
        request.db,
        role.id,
        _draft(request, draft_of(role)),
        version=version,
        address=address_of(request),
    )
    return _one(role)


def delete(request: Request) -> Response:
    """DELETE a role that nobody holds (If-Match)."""
    role = queries.role(request.db, key_of(request))
    services_of(request).roles.delete(request.db, role.id, version=_expected(request, role))
    return empty()


def _expected(request: Request, role: Any) -> int:
    version = expected_version(request)
    if version is None:
        raise PreconditionRequired
    if version != role.version:
        raise LostUpdate(version=role.version, mine={}, theirs=_document(role), original=None)
    return version


def _document(role: Any) -> dict[str, Any]:
    return {"id": role.id, "version": role.version, "built_in": role.built_in} | draft_of(role).document()


def _one(role: Any, status: int = 200, headers: Any = ()) -> Response:
    return answer(_document(role), status, [("ETag", etag(role.version)), *headers])


def _draft(request: Request, before: RoleDraft) -> RoleDraft:
    """The role that a body describes; what it doesn't name stays. Raises ValidationFailed at each place."""
    given, errors = json_object(request), Errors()
    for name in given.keys() - _MEMBERS.keys():
        pointer = name.replace("~", "~0").replace("/", "~1")
        errors.add(f"/{pointer}", "unknown_field", _("There is no such field."))
    for name, kind in _MEMBERS.items():
        if name in given and not _fits(kind, given[name]):
            errors.add(f"/{name}", "type", _("This is of the wrong type."))
    errors.raise_if_any()
    document = before.document() | given
    return RoleDraft.read(document)


def _fits(kind: str, value: Any) -> bool:
    if kind == _TEXT:
        return isinstance(value, str) and "\x00" not in value
    if kind == _NUMBER:
        return type(value) is int and abs(value) < 2**31
    if kind == _TEXTS:
        return isinstance(value, list) and len(value) <= 1000 and all(_fits(_TEXT, one) for one in value)
    of = _TEXTS if kind == "scopes" else _TEXT
    return isinstance(value, dict) and len(value) <= 200 and all(_fits(of, one) for one in value.values())


def add_addresses(config: Configurator) -> None:
    """Add the addresses below /api/v1."""
    key = key_pattern("id")
    for name, pattern, views in (
        ("api_roles", "/roles", {"GET": listed, "POST": create}),
        ("api_role", f"/roles/{key}", {"GET": read, "PATCH": change, "DELETE": delete}),
        ("api_role_members", f"/roles/{key}/members", {"GET": members}),
        ("api_role_preview", f"/roles/{key}/preview", {"POST": preview}),
    ):
        config.add_route(name, pattern)
        for method, view in views.items():
            config.add_view(
                view,
                route_name=name,
                request_method=method,
                permission=Permission.ROLES_MANAGE,
                step_up=method != "GET" and view is not preview,
            )
