"""What every page and answer owes to security, through the whole application (ASVS 5.0 V3, V14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from bs4 import BeautifulSoup
from webtest import TestApp

from crm_server.app import main
from crm_server.settings import Settings
from tests.conftest import close

NONCE = re.compile(r"'nonce-([A-Za-z0-9+/=]{24})'")


@pytest.fixture(scope="module")
def application(settings: Settings) -> Iterator[Any]:
    made = main(settings)
    yield made
    close(made)


@pytest.fixture
def browser(application: Any) -> TestApp:
    return TestApp(application, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})


PAGES = ("/login", "/welcome/nonsense", "/no-such-page", "/contacts", "/api/v1/docs")


class TestPolicies:
    @pytest.mark.parametrize("path", PAGES)
    def test_scripts_and_styles_run_by_nonce_alone_and_no_other_site_may_frame_a_page(
        self, browser: TestApp, path: str
    ) -> None:
        page = browser.get(path, expect_errors=True)
        policy = page.headers["Content-Security-Policy"]
        parts = {one.split()[0]: one.split()[1:] for one in policy.split(";")}
        assert parts["default-src"] == ["'none'"]
        assert parts["frame-ancestors"] == ["'none'"]
        assert "'unsafe-inline'" not in policy
        assert "'unsafe-eval'" not in policy
        if page.content_type != "text/html":
            return
        assert parts["base-uri"] == ["'none'"]
        assert parts["form-action"] == ["'self'"]
        (nonce,) = set(NONCE.findall(policy))
        html = BeautifulSoup(page.text, "html.parser")
        for element in html.find_all(["script", "style"]):
            assert element.get("nonce") == nonce, element
        for element in html.find_all(True):
            events = [name for name in element.attrs if name.startswith("on") or name == "style"]
            assert not events, element

    def test_a_nonce_is_used_for_one_page(self, browser: TestApp) -> None:
        nonces = [
            NONCE.findall(browser.get("/login").headers["Content-Security-Policy"])[0] for _ in range(20)
        ]
        assert len(set(nonces)) == 20

    @pytest.mark.parametrize("path", [*PAGES, "/healthz", "/api/v1/contacts", "/scim/v2/Users"])
    def test_every_answer_is_kept_by_nobody_and_only_for_https(self, browser: TestApp, path: str) -> None:
        headers = browser.get(path, expect_errors=True).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "server" not in {name.lower() for name in headers}

    def test_built_assets_alone_may_be_kept(self, browser: TestApp) -> None:
        page = browser.get("/login")
        asset = page.html.select_one("link[rel=stylesheet]")["href"]
        assert "immutable" in browser.get(asset).headers["Cache-Control"]
        assert browser.get("/assets/nothing.css", expect_errors=True).headers["Cache-Control"] == "no-store"


class TestRequests:
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "localhost.evil.example",
            "localhost:443@evil.example",
            "",
            "localhost\t",
            "LOCALHOST.",
        ],
    )  # fmt: skip
    def test_another_host_name_is_refused_before_anything_is_done(self, browser: TestApp, host: str) -> None:
        answer = browser.get("/login", extra_environ={"HTTP_HOST": host}, expect_errors=True)
        assert answer.status_int == 400
        assert "evil" not in answer.text

    def test_a_program_at_another_host_name_is_told_as_of_any_error(self, browser: TestApp) -> None:
        answer = browser.get(
            "/api/v1/contacts",
            headers={"Accept-Language": "zh-CN"},
            extra_environ={"HTTP_HOST": "evil.example"},
            status=400,
        )
        assert answer.content_type == "application/problem+json"
        assert answer.json["code"] == "bad_request"
        assert answer.json["detail"] == "本服务器不提供此主机名。"
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]
        assert "evil" not in answer.text

    @pytest.mark.parametrize("host", ["localhost", "localhost:8443", "127.0.0.1:1", "[::1]", "[::1]:8443"])
    def test_the_own_names_are_served_with_and_without_a_port(self, browser: TestApp, host: str) -> None:
        browser.get("/login", extra_environ={"HTTP_HOST": host})

    def test_a_forwarded_host_or_scheme_of_a_stranger_counts_for_nothing(self, browser: TestApp) -> None:
        headers = {
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "http",
            "Forwarded": "host=evil.example",
        }
        answer = browser.get("/contacts", headers=headers, expect_errors=True)
        assert answer.location.startswith("https://localhost/login")

    def test_the_scheme_of_a_trusted_proxy_counts(self, settings: Settings) -> None:
        from crm_server.settings import Settings as Made

        made = main(Made({**settings.values, "trusted_proxies": ("192.0.2.10",)}))
        try:
            environ = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "http", "REMOTE_ADDR": "192.0.2.10"}
            browser = TestApp(made, extra_environ=environ)
            answer = browser.get("/contacts", headers={"X-Forwarded-Proto": "https"})
            assert answer.location.startswith("https://localhost/")
        finally:
            close(made)

    @pytest.mark.parametrize(
        "path", ["/login", "/login/code", "/login/with-passkey", "/logout", "/preferences"]
    )
    def test_forms_are_checked_before_anybody_is_logged_in(self, browser: TestApp, path: str) -> None:
        assert browser.post(path, {"login": "x"}, expect_errors=True).status_int in (400, 403)
        page = browser.get("/login")
        token = page.html.select_one("input[name=csrf_token]")["value"]
        answer = browser.post(
            path, {"csrf_token": token}, headers={"Origin": "https://evil.example"}, expect_errors=True
        )
        assert answer.status_int in (400, 403)

    def test_cookies_are_bound_to_this_host_hidden_from_scripts_and_for_https(self, browser: TestApp) -> None:
        page = browser.get("/login")
        found = page.headers.getall("Set-Cookie")
        assert found
        for cookie in found:
            lowered = cookie.lower()
            assert lowered.startswith("__host-")
            assert "; secure" in lowered
            assert "; httponly" in lowered
            assert "; path=/" in lowered
            assert "samesite=" in lowered
            assert "domain=" not in lowered

    def test_log_out_clears_the_browser(self, browser: TestApp) -> None:
        token = browser.get("/login").html.select_one("input[name=csrf_token]")["value"]
        answer = browser.post("/logout", {"csrf_token": token}, headers={"Origin": "https://localhost"})
        assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
        gone = [one for one in answer.headers.getall("Set-Cookie") if one.startswith("__Host-kontor=")]
        assert gone
        assert "max-age=0" in gone[0].lower()

    def test_password_fields_are_masked_and_let_managers_fill_them(self, browser: TestApp) -> None:
        field = browser.get("/login").html.select_one("#password")
        assert field["type"] == "password"
        assert field["autocomplete"] == "current-password"
        assert int(field["maxlength"]) >= 64
        assert browser.get("/login").html.select_one("#login")["autocomplete"] == "username"
