"""The pages over HTTP: who may see them, what a browser is told, and what a page never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from webob import Request
from webtest import TestApp

from crm_server.app import main
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.errors import Unavailable
from crm_server.kernel.keys import Keys
from crm_server.models import datamap
from crm_server.permissions import BUILT_IN_ROLES
from crm_server.services import records
from crm_server.settings import Settings
from crm_server.web.views import home
from security.identity.sessions import new_session_token
from tests.conftest import close
from tests.integration.api.conftest import statements

__all__ = ["statements"]

ROLES = {role.name: role for role in BUILT_IN_ROLES}


@pytest.fixture(scope="module")
def application(settings: Settings) -> Iterator[object]:
    made = main(settings)
    yield made
    close(made)


@pytest.fixture
def wsgi(application: object) -> object:
    """What `statements` listens to."""
    return application


@pytest.fixture
def user_id(engine: Engine) -> UUID:
    """A user that exists, so that records can be theirs."""
    key = uuid4()
    with Session(engine) as session:
        session.info[db.ACTOR] = system_actor()
        session.execute(
            text('insert into identity."user" (id, login, name) values (:id, :login, :name)'),
            {"id": key, "login": f"web-{key}", "name": "Wendy Webtest"},
        )
        session.commit()
    return key


@pytest.fixture
def browse(application, user_id):
    """A browser of somebody with a role; `browse("User")`."""

    def opened(role: str | None, **changes) -> TestApp:
        environ = {
            "HTTP_HOST": "localhost",
            "wsgi.url_scheme": "https",
            "HTTP_REFERER": "https://localhost/",
            "kontor.identity": None,
        }
        if role is not None:
            built_in = ROLES[role]
            actor = Actor(
                id=user_id,
                name="Wendy Webtest",
                permissions=frozenset(built_in.grants(datamap())),
                scopes=rowrules.flat(built_in.scopes),
                fields=built_in.fields,
                timezone="Europe/Berlin",
                auth_method="password",
            )
            environ["kontor.identity"] = replace(actor, **changes)
        return TestApp(application, extra_environ=environ)

    return opened


def token(page) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found
    return found[1]


@pytest.fixture(scope="module", autouse=True)
def made_with(keys: Keys) -> None:
    """What `make` seals with."""
    INFO.update({db.ACTOR: system_actor(), db.KEYS: keys})


INFO: dict[str, object] = {}


def make(engine: Engine, entity: str, values: dict[str, object]) -> UUID:
    with Session(engine, info=INFO) as session:
        record = records(session, entity).create(values)
        session.commit()
        return record.id


class TestDoors:
    @pytest.mark.parametrize(
        "path", ["/", "/contacts", "/bin", "/profile", "/search?q=x", "/opportunities/board"]
    )
    def test_a_stranger_is_sent_to_the_log_in_page(self, browse, path) -> None:
        answer = browse(None).get(path, status=303)
        assert answer.location.startswith("https://localhost/login")

    @pytest.mark.parametrize("path", ["/contacts", "/accounts/new", "/custom-fields"])
    def test_who_may_not_is_told_which_permission_is_missing(self, browse, path) -> None:
        page = browse("Security administrator").get(path, status=403)
        assert "You may not do this" in page.text
        assert "Reason:" in page.text

    def test_a_method_that_a_page_does_not_take_is_named_and_not_called_missing(self, browse) -> None:
        answer = browse("Manager").request("/contacts", method="OPTIONS", status=405)
        assert "GET" in answer.headers["Allow"]
        assert "Go back and use the buttons" in answer.text

    def test_a_form_without_a_token_changes_nothing(self, browse, engine) -> None:
        app = browse("User")
        page = app.post("/accounts/new", {"name": "Forged"}, status=400)
        assert "open for too long" in page.text
        with engine.connect() as connection:
            assert connection.scalar(text("select count(*) from crm.account where name = 'Forged'")) == 0

    @pytest.mark.parametrize(
        "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"]
    )
    def test_no_page_sends_people_to_another_site(self, browse, back) -> None:
        app = browse("User")
        sent = {"csrf_token": token(app.get("/profile")), "back": back, "locale": "en"}
        assert app.post("/preferences", sent, status=303).location == "https://localhost/"
        sent = {"csrf_token": sent["csrf_token"], "back": back, "name": "Back"}
        assert app.post("/accounts/new", sent, status=303).location.startswith("https://localhost/accounts/")


class TestAnswers:
    def test_a_page_carries_its_policy_and_is_kept_by_nobody(self, browse) -> None:
        page = browse("User").get("/contacts")
        policy = page.headers["Content-Security-Policy"]
        nonce = re.search(r"'nonce-([^']+)'", policy)
        assert nonce
        assert nonce[1] in page.text
        assert "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert not re.search(r"\sstyle=", page.text)

    def test_assets_are_kept_for_ever_and_come_packed(self, browse, application) -> None:
        app = browse(None)
        address = re.search(r'href="(/assets/app-[^"]+\.css)"', app.get("/login").text)
        assert address
        plain = app.get(address[1])
        # WebTest unpacks what it gets, so this one asks without it.
        asked = Request.blank(address[1], base_url="https://localhost", headers={"Accept-Encoding": "gzip"})
        packed = asked.get_response(application)
        assert "immutable" in plain.headers["Cache-Control"]
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 4
        app.get("/assets/../../app.py", status=404)

    def test_an_error_page_speaks_the_language_of_the_reader_and_shows_no_inside(self, browse) -> None:
        page = browse("User", locale="zh_Hans").get("/nowhere", status=404)
        assert "这里什么都没有" in page.text
        assert "Traceback" not in page.text

    def test_what_people_typed_is_never_markup(self, browse, engine) -> None:
        name = f"<script>alert({uuid4().hex})</script>"
        key = make(engine, "account", {"name": name, "website": 'https://example.com/"><b>'})
        app = browse("User")
        for path in (
            f"/accounts/{key}",
            "/accounts",
            f"/accounts/{key}/edit",
            f"/pick/account?q={name[:20]}",
        ):
            assert name not in app.get(path).text


class TestRecords:
    def test_a_masked_field_is_shown_masked_and_cannot_be_filtered(self, browse, engine) -> None:
        key = make(engine, "contact", {"family_name": "Maskiert", "email": "maskiert@example.com"})
        app = browse("Reader")
        page = app.get(f"/contacts/{key}")
        assert "maskiert@example.com" not in page.text
        assert "m***@example.com" in page.text
        listed = app.get("/contacts?filter[email][eq]=maskiert@example.com")
        assert "can&#39;t be used" in listed.text or "can't be used" in listed.text

    def test_a_change_without_the_version_is_refused(self, browse, engine) -> None:
        key = make(engine, "account", {"name": "Versioned"})
        app = browse("User")
        form = {"csrf_token": token(app.get(f"/accounts/{key}/edit")), "name": "Renamed"}
        page = app.post(f"/accounts/{key}/edit", form, status=428)
        assert "The version is missing" in page.text

    def test_a_form_sends_only_what_was_changed(self, browse, engine) -> None:
        key = make(engine, "activity", {"title": "With seconds", "due_at": "2026-03-01T10:11:12Z"})
        app = browse("User")
        page = app.get(f"/activities/{key}/edit")
        form = next(one for one in page.forms.values() if one.action.endswith("/edit"))
        form["title"] = "Changed"
        assert "Changed" in form.submit().follow().text
        with engine.connect() as connection:
            stored = connection.execute(
                text("select due_at, version from crm.activity where id = :id"), {"id": key}
            ).one()
        assert stored.due_at.second == 12
        assert stored.version == 2

    def test_a_lost_update_shows_mine_theirs_and_the_original_and_saves_the_choice(
        self, browse, engine
    ) -> None:
        key = make(engine, "account", {"name": "Original Ltd", "tax_number": "1"})
        app = browse("User")
        mine = next(f for f in app.get(f"/accounts/{key}/edit").forms.values() if f.action.endswith("/edit"))
        theirs = next(
            f for f in app.get(f"/accounts/{key}/edit").forms.values() if f.action.endswith("/edit")
        )
        theirs["name"] = "Theirs Ltd"
        theirs.submit().follow()
        mine["name"] = "Mine Ltd"
        mine["tax_number"] = "2"
        conflict = mine.submit(status=412)
        for name in ("Mine Ltd", "Theirs Ltd", "Original Ltd"):
            assert name in conflict.text
        form = next(f for f in conflict.forms.values() if f.action.endswith("/resolve"))
        form["choice.name"] = "theirs"
        saved = form.submit().follow()
        assert "Theirs Ltd" in saved.text
        with engine.connect() as connection:
            row = connection.execute(
                text("select name, tax_number from crm.account where id = :id"), {"id": key}
            )
            assert tuple(row.one()) == ("Theirs Ltd", "2")

    def test_a_deleted_record_is_found_in_the_bin_and_removed_only_by_who_may(self, browse, engine) -> None:
        key = make(engine, "account", {"name": "To the bin"})
        app = browse("User")
        page = app.get(f"/accounts/{key}")
        app.post(f"/accounts/{key}/delete", {"csrf_token": token(page), "version": "1"}, status=303)
        assert "To the bin" in app.get("/bin?kind=account").text
        assert "lies in the bin" in app.get(f"/accounts/{key}").text
        app.post(f"/accounts/{key}/purge", {"csrf_token": token(app.get("/profile"))}, status=403)
        manager = browse("Manager")
        manager.post(f"/accounts/{key}/purge", {"csrf_token": token(manager.get("/profile"))}, status=303)
        manager.get(f"/accounts/{key}", status=404)

    def test_a_message_is_shown_once_and_cannot_be_forged(self, browse) -> None:
        app = browse("User")
        app.set_cookie("__Host-kontor-said", "saved.<b>evil</b>")
        page = app.get("/contacts")
        assert "Saved." in page.text
        assert "<b>evil" not in page.text
        assert "Saved." not in app.get("/contacts").text


class TestEveryEntity:
    @pytest.mark.parametrize("entity", [item.name for item in datamap().records()])
    @pytest.mark.parametrize("role", ["Manager", "Reader", "System administrator"])
    def test_each_kind_of_record_has_a_list_for_each_who_may_read(self, browse, entity, role) -> None:
        collection = datamap()[entity].policy.collection
        browse(role).get(f"/{collection}", status=200)

    @pytest.mark.parametrize("entity", [item.name for item in datamap().records()])
    @pytest.mark.parametrize("locale", ["en", "zh_Hans"])
    def test_each_kind_of_record_has_a_form_with_every_field_that_may_be_written(
        self, browse, entity, locale
    ) -> None:
        app = browse("Manager", locale=locale)
        page = app.get(f"/{datamap()[entity].policy.collection}/new")
        assert 'class="k-form-bar"' in page.text
        assert "None" not in re.sub(r"<[^>]+>", "", page.text)

    @pytest.mark.parametrize("entity", [item.name for item in datamap().records()])
    def test_every_field_can_be_chosen_in_the_filter_form(self, browse, entity) -> None:
        app = browse("Manager")
        collection = datamap()[entity].policy.collection
        row = app.get(f"/{collection}/filter-row")
        for name in re.findall(r'<option value="([a-z_]+)"', row.text.split("</select>")[0]):
            app.get(f"/{collection}/filter-row?ff={name}", status=200)


class TestCost:
    """A page asks little of the database, and tells the audit log once what it showed (AUD-10)."""

    @pytest.mark.parametrize("role", ["Manager", "Sales"])
    def test_home_and_the_page_of_a_record_take_few_statements_and_events(
        self, browse, engine, statements, role
    ) -> None:
        app = browse(role)
        me = app.extra_environ["kontor.identity"].id
        account = make(engine, "account", {"name": "Cost", "owner_id": str(me)})
        contact = make(
            engine, "contact", {"family_name": "Cost", "owner_id": str(me), "account_id": str(account)}
        )
        task = make(engine, "activity", {"title": "Cost", "owner_id": str(me), "contact_id": str(contact)})
        for path, most, events in (("/", 14, 1), (f"/accounts/{account}", 27, 2), ("/contacts", 10, 2)):
            app.get(path)
            statements.clear()
            told = _told(engine, me)
            app.get(path)
            assert len(statements) <= most, "\n".join(statements)
            new = _told(engine, me)[len(told) :]
            assert len(new) <= events, new
            if path == "/":
                facts = new[0].meta
                shown = {key for keys in facts["refs"].values() for key in keys}
                assert {str(account), str(contact), str(task)} <= shown
                assert (facts["page"], facts["count"]) == ("home", len(shown))
                assert len(new[0].subject_ref) == 1


def _told(engine: Engine, person: UUID) -> list[Any]:
    """The events of what somebody read, oldest first."""
    query = text(
        "select meta, subject_ref from audit.event where actor_ref = :person and event_class = 'read' order by event_id"
    )
    with engine.connect() as connection:
        return list(connection.execute(query, {"person": person}))


class TestErrors:
    def test_a_database_that_is_away_is_told_as_such_with_a_page(self, application, monkeypatch) -> None:
        def away(*_arguments, **_named):
            raise Unavailable

        monkeypatch.setattr(application.registry.hot, "run", away)
        app = TestApp(application, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})
        cookie = f"__Host-kontor={new_session_token().text}"
        page = app.get(
            "/contacts", headers={"Cookie": cookie, "Accept-Language": "zh-CN,zh;q=0.9"}, status=503
        )
        assert "暂时无法连接 Kontor" in page.text
        assert "Content-Security-Policy" in page.headers

    def test_a_mistake_of_ours_shows_a_number_and_no_traceback(self, browse, monkeypatch) -> None:
        def broken(_request):
            raise RuntimeError("secret detail")

        monkeypatch.setattr(home, "_tasks", broken)
        page = browse("User").get("/", status=500)
        assert "secret detail" not in page.text
        assert "Traceback" not in page.text
        assert page.headers["X-Request-Id"] in page.text

    @pytest.mark.parametrize("entity", ["pipeline", "stage", "tag"])
    def test_records_of_the_set_up_have_pages_as_well(self, browse, engine, entity) -> None:
        values: dict[str, object] = {"name": f"Set-up {uuid4().hex[:8]}"}
        if entity == "stage":
            values["pipeline_id"] = str(make(engine, "pipeline", {"name": "For a stage"}))
        key = make(engine, entity, values)
        app = browse("Manager")
        for tail in ("", "/edit"):
            assert str(values["name"]) in app.get(f"/{datamap()[entity].policy.collection}/{key}{tail}").text

    def test_a_lead_is_converted_through_the_page(self, browse, engine) -> None:
        key = make(engine, "lead", {"family_name": "Wandel", "company": "Wandel GmbH"})
        app = browse("User")
        form = next(
            f for f in app.get(f"/leads/{key}/convert").forms.values() if f.action.endswith("/convert")
        )
        form["deal"] = False
        page = form.submit().follow()
        assert "Wandel" in page.text
        again = form.submit(status=422)
        assert "Somebody else changed this record" in again.text
        undo = next(f for f in app.get(f"/leads/{key}").forms.values() if f.action.endswith("/revert"))
        assert "The conversion was taken back" in undo.submit().follow().text
        app.get(f"/leads/{key}/convert", status=200)
