"""The inventory of views: each says its permission, and the public ones are these and no others."""

from __future__ import annotations

import pytest
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.testing import setUp, tearDown

from crm_server.app import main
from crm_server.settings import Settings

# What a stranger may call. A new line here is a decision about security.
PUBLIC = {
    "healthz",
    "readyz",
}


@pytest.fixture(scope="module")
def views(settings: Settings) -> list[dict]:
    setUp()
    app = main(settings)
    found = [item["introspectable"] for item in app.registry.introspector.get_category("views")]
    tearDown()
    return [dict(item) for item in found]


class TestViews:
    def test_each_names_its_permission(self, views: list[dict]) -> None:
        bare = [
            view["callable"]
            for view in views
            if view.get("permission") is None and not view.get("exception_only") and view.get("context") is None
        ]
        assert bare == []

    def test_the_public_ones_are_these_and_no_others(self, views: list[dict]) -> None:
        public = {
            view["route_name"]
            for view in views
            if view.get("permission") == NO_PERMISSION_REQUIRED and not view.get("exception_only")
        }
        assert public == PUBLIC
