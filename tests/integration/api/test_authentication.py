"""Who may call what: every operation of the document asked without a token, with a dead one, and without the right."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from crm_server.api.openapi import document
from tests.integration.api.conftest import Client

KEY = "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e"
OPERATIONS = [
    (method.upper(), re.sub(r"\{[a-z_]+\}", KEY, path))
    for path, item in document()["paths"].items()
    for method in ("get", "post", "patch", "delete")
    if method in item
]


class TestAuthentication:
    def test_every_operation_asks_who_calls(self, nobody: Client) -> None:
        for method, path in OPERATIONS:
            answer = nobody.call(method, path)
            assert (method, path, answer.status_int) == (method, path, 401)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Kontor"'
            assert answer.json["code"] == "not_authenticated"

    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer x", "Basic eDp5", "Bearer kntr_0123456789abcdef_" + "a" * 49]
    )
    def test_what_is_no_token_opens_nothing(self, nobody: Client, header: str) -> None:
        assert nobody.get("/contacts", Authorization=header).status_int == 401

    def test_an_expired_or_revoked_token_opens_nothing(self, login: Any) -> None:
        past = datetime.now(UTC) - timedelta(seconds=1)
        assert login("Manager", expires_at=past).get("/contacts").status_int == 401
        assert login("Manager", revoked_at=past).get("/contacts").status_int == 401

    def test_a_token_may_be_narrower_than_its_user(self, login: Any) -> None:
        client = login("Manager", permissions=["crm:account:read"])
        client.get("/accounts", status=200)
        assert client.get("/contacts", status=403).json["reason"] == "crm:contact:read"

    def test_a_denial_is_an_audit_event(self, login: Any, api_engine: Engine) -> None:
        reader = login("Reader")
        request_id = reader.post("/accounts", {"name": "X"}, status=403).json["request_id"]
        with api_engine.connect() as connection:
            found = connection.execute(
                text(
                    "select action, outcome, reason, actor_ref from audit.event "
                    "where request_id = :id and event_class = 'authorization'"
                ),
                {"id": request_id},
            ).one()
        assert found == ("deny", "denied", "crm:account:create", reader.user_id)

    def test_who_has_no_role_reads_nothing(self, login: Any) -> None:
        client = login()
        assert client.get("/contacts").status_int == 403
        assert client.get("/me", status=200).json["permissions"] == ["app:self:use"]
        assert client.get("/changes").status_int == 403

    def test_the_document_and_its_page_are_public_and_need_no_network(self, nobody: Client) -> None:
        assert nobody.get("/openapi.json", status=200).json["openapi"] == "3.1.0"
        page = nobody.get("/docs", status=200)
        assert "/api/v1/contacts/{id}" in page.text
        assert "://" not in page.text.replace("https://your-server", "")
        nonce = (
            page.headers["Content-Security-Policy"].partition("style-src 'self' 'nonce-")[2].partition("'")[0]
        )
        assert f'<style nonce="{nonce}">' in page.text


class TestMethods:
    @pytest.mark.parametrize(
        "method,path,allowed",
        [
            ("PUT", f"/contacts/{KEY}", "DELETE, GET, HEAD, PATCH"),
            ("DELETE", "/contacts", "GET, HEAD, POST"),
            ("GET", "/contacts/bulk", "POST"),
            ("GET", f"/contacts/{KEY}/restore", "POST"),
            ("POST", "/me", "GET, HEAD"),
            ("TRACE", "/contacts", "GET, HEAD, POST"),
        ],
    )
    def test_a_method_that_an_address_does_not_take(
        self, manager: Client, method: str, path: str, allowed: str
    ) -> None:
        answer = manager.call(method, path, status=405)
        assert answer.headers["Allow"] == allowed
        assert answer.json["code"] == "method_not_allowed"

    @pytest.mark.parametrize(
        "path", ["/nothing", "/contacts/1", f"/contacts/{KEY}/nothing", f"/users/{KEY}", "/users", "/"]
    )
    def test_an_address_that_does_not_exist(self, manager: Client, path: str) -> None:
        answer = manager.get(path, status=404)
        assert answer.content_type == "application/problem+json"
        assert answer.json["type"] == "urn:kontor:problem:not_found"

    def test_head_is_get_without_a_body(self, manager: Client) -> None:
        answer = manager.call("HEAD", "/contacts", status=200)
        assert answer.body == b""
