"""Providers of single sign-on: set up, test, say what groups mean, look at what that gives, SCIM tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.identity import directory_queries, labels, sso_queries
from crm_server.domain.identity.services.groups import KINDS
from crm_server.domain.identity.services.sso import SETTABLE, source_of
from crm_server.domain.identity.sso_models import SsoProvider
from crm_server.domain.identity.views.common import TEMPLATES, services_of, uuid_of
from crm_server.domain.identity.views.sources import edit
from crm_server.kernel.errors import AppError, ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import flash

if TYPE_CHECKING:
    from pyramid.request import Request
    from pyramid.response import Response

_LIFETIMES = (90, 180, 365)


@view_config(
    route_name="sso_providers",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_providers.jinja2",
)
def providers_page(request: Request) -> dict[str, Any]:
    """All providers."""
    return {"rows": sso_queries.providers(request.db)}


@view_config(
    route_name="sso_provider_new",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_provider_form.jinja2",
    step_up=True,
)
def new_provider(request: Request) -> dict[str, Any] | Response:
    """Set a provider up. The log-in page offers it only after it was enabled."""
    service = services_of(request).sso
    return edit(request, service, service.draft(), SETTABLE, "sso_provider")


@view_config(
    route_name="sso_provider_edit",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_provider_form.jinja2",
    step_up=True,
)
def edit_provider(request: Request) -> dict[str, Any] | Response:
    """Change a provider. The secret stays unless a new one is given."""
    return edit(request, services_of(request).sso, _get(request), SETTABLE, "sso_provider")


@view_config(
    route_name="sso_provider",
    request_method="GET",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_provider.jinja2",
)
def provider_page(request: Request, **more: Any) -> dict[str, Any]:
    """One provider: addresses for its own set-up, test, meanings of groups, SCIM."""
    row, db = _get(request), request.db
    return {
        "row": row,
        "callback": request.route_url("sso_callback", id=row.id),
        "back_channel": request.route_url("sso_logout", id=row.id),
        "scim": f"{request.host_url}/scim/v2",
        "mappings": directory_queries.mappings(db, source_of(row)),
        "targets": directory_queries.targets(db),
        "groups": sso_queries.groups(db, row.id),
        "tokens": sso_queries.tokens(db, row.id),
        "provisioned": sso_queries.provisioned(db, row.id),
        "lifetimes": _LIFETIMES,
        "steps": None,
        "gives": None,
        "preview": None,
        "say": labels,
        "wanted": "",
        "error": None,
    } | more


@view_config(
    route_name="sso_provider_test",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_provider.jinja2",
)
def test_provider(request: Request) -> dict[str, Any]:
    """Ask the provider what a log-in would ask, without logging anybody in (AUTH-10)."""
    try:
        steps = services_of(request).sso.test(request.db, _get(request))
    except ValueError as wrong:
        return provider_page(request, error=str(wrong))
    return provider_page(request, steps=steps)


@view_config(
    route_name="sso_provider_map",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_provider.jinja2",
    step_up=True,
)
def map_group(request: Request) -> dict[str, Any] | Response:
    """Give a group a meaning, or take one away."""
    row, db, found = _get(request), request.db, services_of(request)
    gone = str(request.POST.get("remove", ""))
    try:
        if gone:
            found.groups.unmap(db, source_of(row), UUID(gone))
        else:
            kind, _colon, target = str(request.POST.get("meaning", "")).partition(":")
            key, name = found.sso.group_named(db, row, str(request.POST.get("group", "")).strip())
            wanted = UUID(target) if target else None
            found.groups.map_group(db, source_of(row), key, name, kind if kind in KINDS else "", wanted)
        found.scim.govern_all(db, row)
    except (AppError, ValueError) as refused:
        db.rollback()
        request.response.status_int = 422
        return provider_page(request, error=_sentence(refused))
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("sso_provider", id=row.id))


@view_config(
    route_name="sso_provider_preview",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/sso_provider.jinja2",
)
def preview(request: Request) -> dict[str, Any]:
    """What somebody with these groups would get; nothing is changed."""
    row, db = _get(request), request.db
    wanted = str(request.POST.get("groups", ""))[:4000]
    names = {one.strip() for one in wanted.splitlines() if one.strip()}
    gives = directory_queries.gives(db, source_of(row), names)
    return provider_page(request, gives=gives, wanted=wanted)


@view_config(
    route_name="sso_provider_state", request_method="POST", permission=Permission.USERS_MANAGE, step_up=True
)
def set_state(request: Request) -> Response:
    """Offer the provider at log-in, or leave it out. Leaving it out ends the sessions that began there."""
    row = _get(request)
    enabled = request.POST.get("enabled") == "true"
    services_of(request).sso.set_state(request.db, row, enabled=enabled)
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("sso_provider", id=row.id))


@view_config(
    route_name="sso_provider_brake", request_method="POST", permission=Permission.USERS_MANAGE, step_up=True
)
def release_brake(request: Request) -> Response:
    """Let SCIM disable more accounts than the brake allows, for one hour (AUTH-8)."""
    row = _get(request)
    services_of(request).scim.release_brake(request.db, row)
    flash.add(request, "saved")
    return HTTPSeeOther(request.route_path("sso_provider", id=row.id))


@view_config(
    route_name="sso_provider_tokens",
    request_method="POST",
    permission=Permission.USERS_MANAGE,
    renderer=f"{TEMPLATES}/scim_token.jinja2",
    step_up=True,
)
def tokens(request: Request) -> dict[str, Any] | Response:
    """Make a token for SCIM, shown once, or revoke one."""
    row, db, found = _get(request), request.db, services_of(request)
    gone = str(request.POST.get("revoke", ""))
    if gone:
        found.scim.revoke_token(db, row, UUID(gone))
        flash.add(request, "token_revoked")
        return HTTPSeeOther(request.route_path("sso_provider", id=row.id))
    days = str(request.POST.get("days", ""))
    try:
        text = found.scim.make_token(
            db, row, str(request.POST.get("name", "")), int(days) if days.isdecimal() else 0
        )
    except ValidationFailed as failed:
        db.rollback()
        request.override_renderer = f"{TEMPLATES}/sso_provider.jinja2"
        request.response.status_int = 422
        return provider_page(request, error=failed.errors[0].message)
    return {"row": row, "text": text, "scim": f"{request.host_url}/scim/v2"}


def _get(request: Request) -> SsoProvider:
    return sso_queries.provider(request.db, uuid_of(request))


def _sentence(refused: Exception) -> Any:
    if isinstance(refused, ValidationFailed):
        return refused.errors[0].message
    if isinstance(refused, AppError):
        return refused.detail or refused.title
    return _("Choose what the group gives, and which.")
