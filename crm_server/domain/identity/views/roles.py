"""Roles: the matrix, one role with who has it, and making, changing, undoing and removing them.

A change is looked at before it counts: the first step shows what people gain and lose, the second one saves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import labels, queries
from crm_server.domain.identity.services.roles import GROUPS, LEVELS, RoleDraft, draft_of
from crm_server.domain.identity.views.common import TEMPLATES, services_of, uuid_of
from crm_server.kernel import rowrules
from crm_server.kernel.client import address_of
from crm_server.kernel.errors import AppError, NotFound, ValidationFailed
from crm_server.permissions import Action, Permission, administration, guarded
from crm_server.web import flash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyramid.request import Request
    from pyramid.response import Response

_FORM = f"{TEMPLATES}/role_form.jinja2"


@view_config(
    route_name="roles",
    request_method="GET",
    permission=Permission.ROLES_MANAGE,
    renderer=f"{TEMPLATES}/roles.jinja2",
)
def roles_page(request: Request) -> dict[str, Any]:
    """The matrix: what each role may do with each kind of record, and everything else it may."""
    roles = queries.roles(request.db)
    return {
        "roles": roles,
        "counts": queries.member_counts(request.db),
        "entities": request.registry.datamap.records(),
        "actions": list(Action),
        "granted": {role.id: frozenset(role.permissions) for role in roles},
        **_words(),
    }


@view_config(
    route_name="role",
    request_method="GET",
    permission=Permission.ROLES_MANAGE,
    renderer=f"{TEMPLATES}/role.jinja2",
)
def role_page(request: Request, error: Any = None) -> dict[str, Any]:
    """One role: what it grants and asks for, and who has it."""
    role = queries.role(request.db, uuid_of(request))
    return {
        "role": role,
        "draft": draft_of(role),
        "members": queries.role_members(request.db, role.id),
        "administrator": bool(administration(role.permissions)),
        "guarded": bool(guarded(role.permissions)),
        "entities": request.registry.datamap.records(),
        "actions": list(Action),
        "error": error,
        **_words(),
    }


@view_config(
    route_name="role_member",
    request_method="POST",
    permission=Permission.ROLES_MANAGE,
    renderer=f"{TEMPLATES}/role.jinja2",
    step_up=True,
)
def change_member(request: Request) -> dict[str, Any] | Response:
    """Give the role to somebody by log-in name, or take it away."""
    role, users, db = queries.role(request.db, uuid_of(request)), services_of(request).users, request.db
    try:
        user = users.find(db, str(request.POST.get("login", "")))
        held = queries.roles_of(db, user.id)
        wanted = held - {role.id} if request.POST.get("remove") else held | {role.id}
        asked = users.change_roles(db, user.id, wanted, str(request.POST.get("reason", "")))
    except AppError as refused:
        request.response.status_int = refused.status
        db.rollback()
        if isinstance(refused, NotFound):
            return role_page(request, _("Nobody has this log-in name."))
        return role_page(request, said_by(refused))
    if asked is not None:
        flash.add(request, "approval_asked")
        return HTTPSeeOther(request.route_path("approval", id=asked.id))
    flash.add(request, "roles_changed")
    return HTTPSeeOther(request.route_path("role", id=role.id))


@view_config(
    route_name="role_new",
    request_method="GET",
    permission=Permission.ROLES_MANAGE,
    renderer=_FORM,
    step_up=True,
)
def new_page(request: Request) -> dict[str, Any]:
    """The form for a new role, empty or filled from another one."""
    source = request.GET.get("copy")
    if not source:
        return _form(request, RoleDraft(name="", scopes=rowrules.everything()))
    request.matchdict["id"] = str(source)
    draft = draft_of(queries.role(request.db, uuid_of(request)))
    copied = request.localizer.translate(
        _("Copy of ${name}", mapping={"name": request.ui.t(labels.role(draft.name))})
    )
    return _form(request, replace(draft, name=copied))


@view_config(
    route_name="role_new",
    request_method="POST",
    permission=Permission.ROLES_MANAGE,
    renderer=_FORM,
    step_up=True,
)
def create(request: Request) -> dict[str, Any] | Response:
    """Make the role."""
    draft = draft_from(request)
    try:
        role = services_of(request).roles.create(request.db, draft)
    except AppError as refused:
        request.response.status_int = refused.status
        return _form(request, draft, refused=refused)
    flash.add(request, "created")
    return HTTPSeeOther(request.route_path("role", id=role.id))


@view_config(
    route_name="role_edit",
    request_method="GET",
    permission=Permission.ROLES_MANAGE,
    renderer=_FORM,
    step_up=True,
)
def edit_page(request: Request) -> dict[str, Any]:
    """The form of a role."""
    role = queries.role(request.db, uuid_of(request))
    return _form(request, draft_of(role), role)


@view_config(
    route_name="role_edit",
    request_method="POST",
    permission=Permission.ROLES_MANAGE,
    renderer=_FORM,
    step_up=True,
)
def edit(request: Request) -> dict[str, Any] | Response:
    """First step: show what the change does. Second step: save it."""
    role, service = queries.role(request.db, uuid_of(request)), services_of(request).roles
    draft, address, sent = draft_from(request), address_of(request), str(request.POST.get("version", ""))
    if role.built_in:
        # What a built-in role grants isn't in the form.
        kept = draft_of(role)
        draft = RoleDraft(
            kept.name, kept.description, kept.permissions, kept.fields, kept.scopes,
            draft.factors, draft.factor_grace, draft.networks, draft.emergency_minutes,
        )  # fmt: skip
    version = int(sent) if sent.isdecimal() and len(sent) < 10 else 0
    try:
        if request.POST.get("step") != "save":
            found = service.preview(request.db, role.id, draft, address)
            return _form(request, draft, role, version=version, difference=found)
        service.update(request.db, role.id, draft, version=version, address=address)
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        return _form(request, draft, queries.role(request.db, uuid_of(request)), version, refused=refused)
    flash.add(request, "role_changed")
    return HTTPSeeOther(request.route_path("role", id=role.id))


@view_config(
    route_name="role_delete",
    request_method="POST",
    permission=Permission.ROLES_MANAGE,
    renderer=f"{TEMPLATES}/role.jinja2",
    step_up=True,
)
def delete(request: Request) -> dict[str, Any] | Response:
    """Remove a role that nobody holds."""
    role = queries.role(request.db, uuid_of(request))
    try:
        services_of(request).roles.delete(request.db, role.id, version=_number(request, "version"))
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        return role_page(request, said_by(refused))
    flash.add(request, "removed")
    return HTTPSeeOther(request.route_path("roles"))


@view_config(
    route_name="role_history",
    request_method="GET",
    permission=Permission.ROLES_MANAGE,
    renderer=f"{TEMPLATES}/role_history.jinja2",
)
def history_page(request: Request, error: Any = None) -> dict[str, Any]:
    """The versions of a role, newest first, each with what it changed."""
    role = queries.role(request.db, uuid_of(request))
    return {"role": role, "versions": queries.role_versions(request.db, role), "error": error, **_words()}


@view_config(
    route_name="role_restore",
    request_method="POST",
    permission=Permission.ROLES_MANAGE,
    renderer=f"{TEMPLATES}/role_history.jinja2",
    step_up=True,
)
def restore(request: Request) -> dict[str, Any] | Response:
    """Undo: bring an earlier version back."""
    role = queries.role(request.db, uuid_of(request))
    try:
        services_of(request).roles.restore(
            request.db,
            role.id,
            _number(request, "earlier"),
            version=_number(request, "version"),
            address=address_of(request),
        )
    except AppError as refused:
        request.db.rollback()
        request.response.status_int = refused.status
        return history_page(request, said_by(refused))
    flash.add(request, "role_restored")
    return HTTPSeeOther(request.route_path("role", id=role.id))


def draft_from(request: Request) -> RoleDraft:
    """The role that a form describes."""
    post = request.POST
    grace = str(post.get("factor_grace", "0")).strip()
    minutes = str(post.get("emergency_minutes", "0")).strip()
    return RoleDraft(
        name=str(post.get("name", "")),
        description=str(post.get("description", "")),
        permissions=tuple(map(str, post.getall("permissions"))),
        fields={group: str(post.get(f"fields.{group}", "hidden")) for group in GROUPS},
        scopes=scopes_from(post),
        factors=str(post.get("factors", "none")),
        factor_grace=int(grace) if grace.isdecimal() and len(grace) < 6 else -1,
        emergency_minutes=int(minutes) if minutes.isdecimal() and len(minutes) < 6 else -1,
        networks=tuple(str(post.get("networks", ""))[:20_000].replace(",", " ").split()),
    )


def scopes_from(post: Any) -> Mapping[str, list[str]]:
    """The row scopes of a form: fields named "scopes.contact:read"."""
    found: dict[str, list[str]] = {}
    for name, value in post.items():
        if name.startswith("scopes."):
            found.setdefault(name.removeprefix("scopes.")[:100], []).append(str(value)[:40])
    return found


def said_by(refused: AppError) -> Any:
    """The sentence of an error."""
    problems = refused.errors if isinstance(refused, ValidationFailed) else []
    return problems[0].message if problems else refused.detail or refused.title


def _form(
    request: Request,
    draft: RoleDraft,
    role: Any = None,
    version: int | None = None,
    *,
    difference: Any = None,
    refused: AppError | None = None,
) -> dict[str, Any]:
    problems = refused.errors if isinstance(refused, ValidationFailed) else []
    return {
        "role": role,
        "draft": draft,
        "version": role.version if role is not None and version is None else version,
        "difference": difference,
        "error": None if refused is None or problems else said_by(refused),
        "problems": {one.pointer.split("/")[1]: one.message for one in problems},
        "address": address_of(request),
        "entities": request.registry.datamap.records(),
        "actions": list(Action),
        **_words(),
    }


def _words() -> dict[str, Any]:
    return {
        "action_labels": labels.ACTIONS,
        "labels": labels.PERMISSIONS,
        "groups": labels.GROUPS,
        "levels": {level: labels.LEVELS[level] for level in LEVELS},
        "factor_labels": labels.FACTORS,
        "say": labels,
    }


def _number(request: Request, name: str) -> int:
    text = str(request.POST.get(name, ""))
    if not text.isdecimal() or len(text) > 9:
        raise NotFound
    return int(text)
