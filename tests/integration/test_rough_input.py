"""What a careless or hostile client sends to the whole application: a clear refusal each time, and nothing breaks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from webtest import TestApp

from crm_server.app import main
from crm_server.domain.identity.models import ApiToken, Role, User, UserRole
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.clock import now
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from security.identity.tokens import new_api_token
from tests.conftest import close, copy_database, settings_of


@pytest.fixture(scope="module")
def app(cluster: Cluster, template: str) -> Iterator[TestApp]:
    copy_database(cluster, template, "kontor_rough")
    settings = settings_of(cluster, "kontor_rough")
    fresh = new_api_token()
    with Session(manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_rough"))) as session:
        session.info[db.ACTOR] = system_actor()
        user = User(login="rough", name="Rough")
        session.add(user)
        session.flush()
        role = session.scalars(select(Role).where(Role.name == "Manager")).one()
        session.add(UserRole(user_id=user.id, role_id=role.id))
        session.add(
            ApiToken(
                user_id=user.id,
                name="rough",
                prefix=fresh.public_id,
                token_hash=fresh.digest,
                expires_at=now() + timedelta(days=1),
            )
        )
        session.commit()
    made = main(settings)
    yield TestApp(
        made,
        extra_environ={
            "HTTP_HOST": "localhost",
            "wsgi.url_scheme": "https",
            "HTTP_AUTHORIZATION": f"Bearer {fresh.text}",
        },
    )
    close(made)


class TestAddresses:
    @pytest.mark.parametrize("path", ["/%ff", "/contacts/%ff", "/api/v1/contacts/%ff", "/login?next=%ff"])
    def test_one_that_is_no_text_is_refused_with_the_security_headers(self, app: TestApp, path: str) -> None:
        answer = app.get(path, status="*")
        assert answer.status_int in {200, 400}
        assert answer.headers["X-Request-Id"]
        assert "frame-ancestors" in answer.headers["Content-Security-Policy"]


class TestLists:
    def test_pages_go_on_behind_any_letter_there_is(self, app: TestApp) -> None:
        for name in ("前\u3000田", "A\u00a0B", "👩\u200d💻", "Zoë"):
            app.post_json("/api/v1/accounts", {"name": name}, status=201)
        seen, address = [], "/api/v1/accounts?sort=name&limit=1"
        cursor = ""
        while True:
            page = app.get(address + (f"&cursor={cursor}" if cursor else "")).json
            seen += [item["name"] for item in page["data"]]
            cursor = page.get("next_cursor") or ""
            if not cursor:
                break
        assert len(seen) == len(set(seen)) == 4

    @pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
    def test_a_moment_that_no_calendar_shows_is_refused(self, app: TestApp, moment: str) -> None:
        body = {"kind": "task", "title": "x", "due_at": moment}
        problem = app.post_json("/api/v1/activities", body, status=422).json
        assert [(item["pointer"], item["code"]) for item in problem["errors"]] == [("/due_at", "range")]


class TestExports:
    @pytest.mark.parametrize(
        "collection", ["accounts", "contacts", "leads", "activities", "cases", "products"]
    )
    def test_each_list_comes_out_with_its_rows(self, app: TestApp, collection: str) -> None:
        body = {
            "contacts": {"family_name": "Export"},
            "leads": {"family_name": "Export"},
            "activities": {"title": "Export", "kind": "task"},
            "cases": {"title": "Export"},
        }.get(collection, {"name": "Export"})
        app.post_json(f"/api/v1/{collection}", body, status=201)
        text = app.get(f"/api/v1/{collection}/export?format=csv").body.decode("utf-8-sig")
        assert len(text.splitlines()) >= 2
        assert "Export" in text

    def test_an_unknown_field_is_refused(self, app: TestApp) -> None:
        assert app.get("/api/v1/contacts/export?fields=nope", status=400).json["code"] == "bad_query"


class TestImports:
    def test_a_cell_of_two_megabytes_is_a_finding_and_no_failure(self, app: TestApp) -> None:
        body = b'Last Name,Email\n"' + b"x" * 2_000_000 + b'",a@example.com\n'
        answer = app.post(
            "/api/v1/imports?entity=contact&filename=a.csv", body, content_type="text/csv", status="*"
        )
        assert answer.status_int in {201, 422}

    @pytest.mark.parametrize("delimiter", ["xx", "%22", "%0A"])
    def test_a_delimiter_that_is_none_is_refused(self, app: TestApp, delimiter: str) -> None:
        address = f"/api/v1/imports?entity=contact&filename=a.csv&delimiter={delimiter}"
        answer = app.post(address, b"Last Name;Email\nA;b\n", content_type="text/csv", status="*")
        assert 400 <= answer.status_int < 500
