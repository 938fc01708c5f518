"""The inventory of views: each says its permission, and the public ones are these and no others."""

from __future__ import annotations

import pytest
from pyramid.security import NO_PERMISSION_REQUIRED

from crm_server.app import main
from crm_server.domain.identity import labels
from crm_server.permissions import Permission
from crm_server.settings import Settings

# What a stranger may call. A new line here is a decision about security.
PUBLIC = {
    # The API's description of itself, and built assets.
    "api_docs",
    "api_openapi",
    "asset",
    # The way in, and out.
    "login",
    "login_code",
    "login_passkey_alone",
    "scim",  # asks for a token of its own
    "sso_callback",
    "sso_logout",  # carries a signed token
    "sso_start",
    "login_passkey",
    "logout",
    "welcome",
    "welcome_strength",  # says something only to who has the link
    # Language and appearance, before anybody has logged in.
    "preferences",
    "healthz",
    "readyz",
}


@pytest.fixture(scope="module")
def views(settings: Settings) -> list[dict]:
    introspector = main(settings).registry.introspector
    found = []
    for item in introspector.get_category("views"):
        permissions = [
            other["value"] for other in item["related"] if other.category_name == "permissions"
        ] or [None]
        found.append({**item["introspectable"], "permission": permissions[0]})
    return found


class TestViews:
    def test_each_names_its_permission(self, views: list[dict]) -> None:
        assert len(views) > 50
        bare = [
            view["callable"]
            for view in views
            if view["permission"] is None and not view["exception_only"] and view["route_name"]
        ]
        assert bare == []

    def test_the_public_ones_are_these_and_no_others(self, views: list[dict]) -> None:
        public = {
            view["route_name"]
            for view in views
            if view["permission"] == NO_PERMISSION_REQUIRED
            and not view["exception_only"]
            # Answers 405 to methods that an address does not take, and nothing else.
            and getattr(view["callable"], "__name__", "") != "refuse"
        }
        assert public == PUBLIC

    @pytest.mark.parametrize(
        "route",
        [
            # Roles, emergency access and what makes or unmakes an administrator.
            "role_new", "role_edit", "role_delete", "role_member", "role_restore", "emergency", "approval_act",
            # Where people and groups come from.
            "directory_new", "directory_edit", "directory_map", "directory_state",
            "sso_provider_new", "sso_provider_edit", "sso_provider_map", "sso_provider_state",
            "sso_provider_brake", "sso_provider_tokens",
            # Accounts and factors of others, and one's own.
            "user_new", "user_state", "user_link", "user_factors",
            "own_app", "own_app_remove", "own_passkeys", "own_passkey_remove", "own_codes", "own_tokens",
            # Mass export.
            "export_release",
        ],
    )  # fmt: skip
    def test_what_protects_accounts_and_data_asks_for_a_fresh_proof(  # AUTH-15
        self, views: list[dict], route: str
    ) -> None:
        changing = [
            view
            for view in views
            if view["route_name"] == route
            and getattr(view["callable"], "__name__", "") != "refuse"
            and "GET" not in (view["request_methods"] or ("POST",))
        ]
        assert changing
        assert all(view.get("step_up") for view in changing)


def test_each_permission_has_words_on_the_page_of_roles() -> None:
    assert set(labels.PERMISSIONS) == set(Permission)
