"""Providers of single sign-on over the API: set up, test, enable, and who may (AUTH-10, AUTH-15)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from webtest import TestApp

from crm_server.domain.identity.sso_models import SsoProvider
from tests.integration.api.conftest import make_token
from tests.integration.identity.conftest import World
from tests.integration.identity.providers import SECRET, Liar
from tests.integration.identity.servers import Authority
from tests.integration.identity.test_identity_pages import csrf_of, new_browser
from tests.integration.identity.test_roles import browser_of
from tests.integration.identity.test_sso import application

__all__ = ["application"]
BASE = "/api/v1/sso-providers"


@pytest.fixture
def administrator(application: Any, world: World) -> tuple[TestApp, dict[str, str]]:
    browser = browser_of(application, world.user("System administrator"))
    return browser, csrf_of(browser.get("/single-sign-on/new"))


def test_a_provider_is_set_up_tested_enabled_and_changed(
    administrator: tuple[TestApp, dict[str, str]], world: World, liar: Liar, authority: Authority
) -> None:
    browser, form = administrator
    body = {
        "name": "By the API",
        "issuer": liar.issuer,
        "client_id": "kontor",
        "client_secret": SECRET,
        "authorities": authority.ca_file.read_text(),
        "trusted_methods": ["mfa"],
    }
    made = browser.post_json(BASE, body, headers=form, status=201)
    address, one = made.headers["Location"], made.json
    assert (one["enabled"], one["has_secret"], one["scopes"]) == (False, True, "openid profile email")
    assert one["redirect_uri"].endswith(f"/sso/{one['id']}/callback")
    assert SECRET not in browser.get(BASE).text
    tested = browser.post(f"{address}/test", headers=form, status=200).json
    assert tested["passed"]
    assert [step["step"] for step in tested["steps"]] == ["address", "metadata", "keys", "authorization"]
    enabled = browser.post(f"{address}/enable", headers=form, status=200)
    assert enabled.json["enabled"]
    assert "By the API" in new_browser(browser.app).get("/login").text
    browser.patch_json(address, {"name": "Renamed"}, headers=form, status=428)
    stale = form | {"If-Match": made.headers["ETag"]}
    assert browser.patch_json(address, {"name": "Renamed"}, headers=stale, status=412).json["theirs"][
        "enabled"
    ]
    fresh = form | {"If-Match": enabled.headers["ETag"]}
    changed = browser.patch_json(address, {"name": "Renamed"}, headers=fresh, status=200)
    assert (changed.json["name"], changed.json["issuer"]) == ("Renamed", liar.issuer)
    assert not browser.post(f"{address}/disable", headers=form, status=200).json["enabled"]
    with world.session() as session:
        told = session.execute(
            text("select action from audit.event where object_ref = cast(:key as uuid)"), {"key": one["id"]}
        ).scalars()
        assert {"create", "update", "sso_secret_set", "sso_tested"} <= set(told)
        session.delete(session.get_one(SsoProvider, one["id"]))
        session.commit()


@pytest.mark.parametrize(
    "body, places",
    [
        ({}, {"/name", "/issuer", "/client_id"}),
        ({"name": "x" * 101, "issuer": "https://a.example", "client_id": "k"}, {"/name"}),
        ({"name": "X", "issuer": "http://a.example", "client_id": "k"}, {"/issuer"}),
        ({"name": "X", "issuer": "https://169.254.169.254", "client_id": "k"}, {"/issuer"}),
        (
            {"name": "X", "issuer": "https://a.example", "client_id": 7, "enabled": True},
            {"/client_id", "/enabled"},
        ),
        (
            {"name": "X", "issuer": "https://a.example", "client_id": "k", "trusted_methods": "mfa"},
            {"/trusted_methods"},
        ),
        (
            {"name": "X", "issuer": "https://a.example", "client_id": "k", "client_secret": 5},
            {"/client_secret"},
        ),
        (
            {"name": "X", "issuer": "https://a.example", "client_id": "k", "provisioning": "magic"},
            {"/provisioning"},
        ),
        (
            {"name": "X", "issuer": "https://a.example", "client_id": "k", "authorities": "not PEM"},
            {"/authorities"},
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_kept(
    administrator: tuple[TestApp, dict[str, str]], world: World, body: dict[str, Any], places: set[str]
) -> None:
    browser, form = administrator
    refused = browser.post_json(BASE, body, headers=form, status=422)
    assert {error["pointer"] for error in refused.json["errors"]} == places
    with world.session() as session:
        assert not session.execute(text("select 1 from identity.sso_provider where name = 'X'")).all()


def test_a_token_reads_and_changes_nothing_and_others_see_nothing(application: Any, world: World) -> None:
    browser_of(application, world.user("Manager")).get(BASE, status=403)
    token, _key = make_token(application.registry.engine, "System administrator")
    program = new_browser(application)
    bearer = {"Authorization": f"Bearer {token}"}
    program.get(BASE, headers=bearer, status=200)
    refused = program.post_json(BASE, {"name": "X"}, headers=bearer, status=403)
    assert refused.json["reason"] == "step_up_required"
