"""Users, roles, teams, territories, sessions and API tokens: the bill of materials of its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyramid.config import Configurator

_ROUTES = (
    ("login", "/login"),
    ("login_code", "/login/code"),
    ("login_passkey", "/login/passkey"),
    ("login_passkey_alone", "/login/with-passkey"),
    ("sso_start", "/sso/{id}"),
    ("sso_callback", "/sso/{id}/callback"),
    ("sso_logout", "/sso/{id}/logout"),
    ("scim", "/scim/v2/*rest"),
    ("logout", "/logout"),
    ("welcome", "/welcome/{token}"),
    ("welcome_strength", "/welcome/{token}/strength"),
    ("confirm", "/confirm"),
    ("confirm_passkey", "/confirm/passkey"),
    ("own_security", "/profile/security"),
    ("own_password", "/profile/security/password"),
    ("own_password_strength", "/profile/security/password/strength"),
    ("own_app", "/profile/security/app"),
    ("own_app_remove", "/profile/security/app/remove"),
    ("own_passkeys", "/profile/security/passkeys"),
    ("own_passkey_remove", "/profile/security/passkeys/{id}/remove"),
    ("own_codes", "/profile/security/codes"),
    ("own_sessions_end", "/profile/security/sessions/end-others"),
    ("own_session_end", "/profile/security/sessions/{id}/end"),
    ("own_tokens", "/profile/security/tokens"),
    ("own_token_revoke", "/profile/security/tokens/{id}/revoke"),
    ("users", "/users"),
    ("user_new", "/users/new"),
    ("user", "/users/{id}"),
    ("user_state", "/users/{id}/state"),
    ("user_link", "/users/{id}/link"),
    ("user_factors", "/users/{id}/factors"),
    ("user_sessions", "/users/{id}/sessions"),
    ("user_token_revoke", "/users/{id}/tokens/{token}/revoke"),
    ("roles", "/roles"),
    ("emergency", "/emergency"),
    ("emergency_end", "/emergency/end"),
    ("emergency_review", "/emergency/{id}/review"),
    ("role_new", "/roles/new"),
    ("role", "/roles/{id}"),
    ("role_edit", "/roles/{id}/edit"),
    ("role_delete", "/roles/{id}/delete"),
    ("role_history", "/roles/{id}/history"),
    ("role_restore", "/roles/{id}/restore"),
    ("role_member", "/roles/{id}/members"),
    ("teams", "/teams"),
    ("team", "/teams/{id}"),
    ("territories", "/territories"),
    ("territory", "/territories/{id}"),
    ("directories", "/directories"),
    ("directory_new", "/directories/new"),
    ("directory", "/directories/{id}"),
    ("directory_edit", "/directories/{id}/edit"),
    ("directory_test", "/directories/{id}/test"),
    ("directory_groups", "/directories/{id}/groups"),
    ("directory_map", "/directories/{id}/map"),
    ("directory_preview", "/directories/{id}/preview"),
    ("directory_state", "/directories/{id}/state"),
    ("sso_providers", "/single-sign-on"),
    ("sso_provider_new", "/single-sign-on/new"),
    ("sso_provider", "/single-sign-on/{id}"),
    ("sso_provider_edit", "/single-sign-on/{id}/edit"),
    ("sso_provider_test", "/single-sign-on/{id}/test"),
    ("sso_provider_map", "/single-sign-on/{id}/map"),
    ("sso_provider_preview", "/single-sign-on/{id}/preview"),
    ("sso_provider_state", "/single-sign-on/{id}/state"),
    ("sso_provider_brake", "/single-sign-on/{id}/brake"),
    ("sso_provider_tokens", "/single-sign-on/{id}/tokens"),
)


def includeme(config: Configurator) -> None:
    """Add services, routes and views.

    Needs the kernel's transaction and the templates of the pages before it.
    """
    from compliance.datamap.text import _
    from crm_server.domain.identity import services
    from crm_server.domain.identity.views.common import step_up_view
    from crm_server.web import flash

    registry = config.registry
    registry.identity = services.make(registry.session_factory, registry.hot)
    flash.TEXTS.update(
        {
            "password_set": ("success", _("The new password counts from now on.")),
            "password_soon": (
                "warning",
                _("Your password has to be changed within ${n} days. Do it under Security."),
            ),
            "factor_removed": ("success", _("The second factor was removed.")),
            "passkey_added": ("success", _("The passkey was added.")),
            "session_ended": ("success", _("The sessions were ended.")),
            "token_revoked": ("success", _("The token was revoked.")),
            "user_enabled": ("success", _("The account is enabled.")),
            "user_disabled": ("success", _("The account is disabled. Its sessions and tokens have ended.")),
            "emergency_begun": (
                "warning",
                _("You have the role now. The security administrators were told."),
            ),
            "emergency_ended": ("success", _("The emergency access has ended.")),
            "emergency_reviewed": ("success", _("The review is closed.")),
            "role_changed": ("success", _("The role was changed. It counts at once.")),
            "role_restored": ("success", _("The earlier version counts again.")),
            "roles_changed": ("success", _("The roles were changed. They count from the next log-in.")),
        }
    )
    # Within the check of the permission: who may not see a page isn't asked to prove anything for it.
    config.add_view_deriver(step_up_view, "step_up", under="secured_view")
    for name, pattern in _ROUTES:
        config.add_route(name, pattern)
    config.scan("crm_server.domain.identity.views")
