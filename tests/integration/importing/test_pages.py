"""The wizard, the API and the exports through the whole application, with the worker at work in between."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import vobject
from python_calamine import CalamineWorkbook
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from webtest import Form, TestApp, TestResponse, Upload

from compliance.audit.models import AuditEvent
from crm_server.domain.contacts.models import Contact
from crm_server.domain.identity.models import Role
from crm_server.domain.imports.models import Import
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.ids import new_id
from crm_server.permissions import LEVELS_READ, Permission

BrowserOf = Callable[..., TestApp]
Work = Callable[[], None]

LIST = (
    "Kundennummer;Vorname;Nachname;E-Mail;Telefon;Firma;Land\n"
    "1;Anna;Weiß;anna@example.de;030 123456;Muster GmbH;Deutschland\n"
    "2;Jürgen;Müller;keine Adresse;0151 1234567;Muster GmbH;DE\n"
    "3;Zoë;Núñez;zoe@example.cn;+86 138 0013 8000;Éxemple SA;China\n"
).encode("cp1252")


def upload(
    browser: TestApp, content: bytes = LIST, name: str = "kunden.csv", entity: str = "contact"
) -> TestResponse:
    page = browser.get("/imports", {"entity": entity})
    form: Form = next(one for one in page.forms.values() if "file" in one.fields)
    form["entity"] = entity
    form["file"] = Upload(name, content)
    return form.submit(expect_errors=True)


def named(session: Session, email: str) -> Contact:
    """The contact with this address, in the bin or not."""
    return next(contact for contact in session.scalars(select(Contact)) if contact.email == email)


def mapping_form(page: TestResponse) -> Form:
    return next(one for one in page.forms.values() if "field-0" in one.fields)


class TestWizard:
    def test_leads_from_the_file_over_check_and_errors_to_the_records_and_back(
        self, browser_of: BrowserOf, work: Work, sessions: sessionmaker[Session], actor: Actor
    ) -> None:
        browser = browser_of("Manager")
        page = upload(browser).follow()
        form = mapping_form(page)
        assert [form[f"field-{n}"].value for n in range(7)] == [
            "external_id", "given_name", "family_name", "email", "phone", "account_id", "country",
        ]  # fmt: skip
        assert "+4930123456" in page.text  # the preview shows the value that would be stored
        assert "Not a valid e-mail address" in page.text

        page = form.submit("act", value="check").follow()
        assert 'id="progress"' in page.text
        work()
        page = browser.get(page.request.path)
        assert "Nothing has been written" in page.text
        with db.open_session(sessions, actor) as session:
            assert session.scalars(select(Contact)).first() is None

        page = mapping_form(page).submit("act", value="run").follow()
        bar = browser.get(f"{page.request.path}/progress")
        assert 'hx-trigger="every 1s"' in bar.text
        work()
        assert browser.get(f"{page.request.path}/progress").headers["HX-Refresh"] == "true"
        page = browser.get(page.request.path)
        assert "Download the rows that failed" in page.text
        with db.open_session(sessions, actor) as session:
            assert sorted(contact.family_name for contact in session.scalars(select(Contact))) == [
                "Núñez",
                "Weiß",
            ]
            anna = session.scalars(select(Contact).where(Contact.external_id == "1")).one()
            assert (anna.name, anna.phone, anna.country) == ("Anna Weiß", "+4930123456", "DE")
            assert anna.owner_id is not None

        errors = browser.get(f"{page.request.path}/errors.csv")
        assert errors.headers["Content-Disposition"].startswith("attachment")
        rows = list(csv.reader(io.StringIO(errors.body.decode("utf-8-sig"), newline="")))
        assert rows[0][:3] == ["Line in the file", "Not accepted", "Reason"]
        assert rows[1][:2] == ["3", "E-Mail"]
        assert rows[1][3:6] == ["2", "Jürgen", "Müller"]

        corrected = errors.body.replace(b"keine Adresse", b"juergen@example.de")
        page = upload(browser, corrected, "corrected.csv").follow()
        page = mapping_form(page).submit("act", value="run").follow()
        work()
        page = browser.get(page.request.path)
        with db.open_session(sessions, actor) as session:
            assert named(session, "juergen@example.de").name == "Jürgen Müller"

        undo = next(
            one for one in page.forms.values() if one.fields.get("act") and one["act"].value == "undo"
        )
        page = undo.submit().follow()
        work()
        assert "The import was taken back" in browser.get(page.request.path).text
        with db.open_session(sessions, actor) as session:
            gone = named(session, "juergen@example.de")
            assert gone.deleted_at is not None

    @pytest.mark.parametrize(
        "content, told",
        [
            (b"", "The file is empty"),
            (b"<html><table></table></html>", "The file is a web page"),
            (b"name,mail\nA\0nn,a@example.com\n", "line 2"),
        ],
    )
    def test_says_what_is_wrong_with_a_file_and_how_to_mend_it(
        self, content: bytes, told: str, browser_of: BrowserOf
    ) -> None:
        answer = upload(browser_of("Manager"), content)
        assert answer.status_int == 422
        assert told in answer.text

    def test_a_file_that_is_too_large_leads_back_to_the_form_with_the_reason(
        self, browser_of: BrowserOf, wsgi: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = wsgi.registry.settings["kontor"]
        values = {**settings.values, "upload_limit": 1 << 20}
        monkeypatch.setitem(wsgi.registry.settings, "kontor", dataclasses.replace(settings, values=values))
        page = browser_of("Manager").get("/imports")
        form = next(form for form in page.forms.values() if "file" in form.fields)
        form["file"] = Upload("large.csv", b"Last name\n" + b"Example\n" * (1 << 18))
        told = form.submit(status=413)
        assert "The file is larger than 1 MB" in told.text
        assert "file" in next(form for form in told.forms.values() if "file" in form.fields).fields

    def test_a_country_that_there_is_not_is_told_and_the_mapping_stays(self, browser_of: BrowserOf) -> None:
        page = upload(browser_of("Manager"), LIST).follow()
        form = mapping_form(page)
        form["country"] = "ZZ"
        assert "There is no such country" in form.submit("act", value="save").follow().text

    def test_lets_a_person_correct_the_proposals_and_keep_them_for_the_next_file(
        self, browser_of: BrowserOf
    ) -> None:
        browser = browser_of("Manager")
        page = upload(browser, b"A,B,C\nx,y,z\n").follow()
        form = mapping_form(page)
        form["field-0"], form["field-1"], form["field-2"] = "family_name", "street", "street"
        form["constant-field-0"], form["constant-0"] = "source", "event"
        form["mapping_name"] = "Trade fair"
        page = form.submit("act", value="keep").follow()
        form = mapping_form(page)
        assert (form["field-0"].value, form["field-2"].value, form["constant-0"].value) == (
            "family_name",
            "street",
            "event",
        )
        assert "y, z" in page.text

        page = upload(browser, b"C,A\nz,x\n").follow()
        kept = next(one for one in page.forms.values() if "saved" in one.fields)
        page = kept.submit("act", value="use").follow()
        form = mapping_form(page)
        assert (form["field-0"].value, form["field-1"].value) == ("street", "family_name")

    def test_reads_the_file_again_as_the_person_says(self, browser_of: BrowserOf) -> None:
        browser = browser_of("Manager")
        page = upload(browser, "Nachname;x\nŁoś;1\n".encode("cp1250")).follow()
        reading = next(one for one in page.forms.values() if "encoding" in one.fields)
        reading["encoding"] = "cp1250"
        assert "Łoś" in reading.submit("act", value="reread").follow().text

    def test_is_whole_in_chinese(self, browser_of: BrowserOf) -> None:
        browser = browser_of("Manager", locale="zh_Hans")
        page = upload(browser).follow()
        assert 'lang="zh-Hans"' in page.text
        assert "导入到字段" in page.text
        assert "电子邮箱无效" in page.text

    def test_is_closed_to_those_who_may_not_import_and_to_other_peoples_imports(
        self, browser_of: BrowserOf
    ) -> None:
        browser_of("Reader").get("/imports", status=403)
        mine = upload(browser_of("Manager")).follow().request.path
        browser_of("Manager").get(mine, status=404)
        browser_of("Manager").post(f"{mine}/act", {"act": "delete"}, status=404)


class TestApi:
    def post(self, browser: TestApp, content: bytes = LIST, **query: str) -> TestResponse:
        address = "/api/v1/imports?" + "&".join(
            f"{name}={value}" for name, value in {"entity": "contact", **query}.items()
        )
        return browser.post(address, content, content_type="text/csv", expect_errors=True)

    def test_takes_a_file_checks_it_runs_it_and_tells_the_result(
        self, browser_of: BrowserOf, work: Work
    ) -> None:
        browser = browser_of("Manager")
        made = self.post(browser, filename="a.csv")
        assert made.status_int == 201
        address = made.headers["Location"]
        assert made.json["profile"]["encoding"] == "cp1252"
        assert made.json["mapping_problems"] == []
        assert browser.post(f"{address}/check", status=202).json["state"] == "queued"
        work()
        assert browser.get(address).json["counts"] == {"created": 2, "failed": 1, "referenced": 2}
        browser.post(f"{address}/run", status=202)
        work()
        done = browser.get(address).json
        assert (done["state"], done["rows_done"], done["problems"]) == ("done", 3, {"email email.invalid": 1})
        rows = browser.get(f"{address}/rows").json["data"]
        assert [(row["line"], row["reasons"][0]["field"]) for row in rows] == [(3, "E-Mail")]
        assert browser.get("/api/v1/imports").json["data"][0]["id"] == done["id"]
        browser.post(f"{address}/undo", status=202)
        work()
        assert browser.get(address).json["counts"]["undo_deleted"] == 4
        browser.delete(address, status=204)
        browser.get(address, status=404)

    def test_takes_another_mapping_and_says_what_is_wrong_with_it(self, browser_of: BrowserOf) -> None:
        browser = browser_of("Manager")
        address = self.post(browser).headers["Location"]
        answer = browser.put_json(
            f"{address}/mapping", {"feeds": [{"field": "email", "columns": ["nowhere"]}]}
        )
        assert {item["code"] for item in answer.json["mapping_problems"]} == {
            "mapping.unknown_column",
            "mapping.required",
        }
        assert browser.post(f"{address}/run", status=409).json["code"] == "conflict"
        browser.put_json(f"{address}/mapping", {"feeds": 7}, status=422)

    @pytest.mark.parametrize(
        "query, content, status",
        [
            ({"entity": "user"}, LIST, 404),
            ({"entity": "nothing"}, LIST, 404),
            ({"encoding": "klingon"}, LIST, 422),
            ({"preset": "nothing"}, LIST, 422),
            ({"surplus": "1"}, LIST, 400),
            ({}, b"", 422),
            ({}, b"\x00\x01\x02", 422),
        ],
    )
    def test_refuses_what_does_not_fit_with_a_reason(
        self, query: dict[str, str], content: bytes, status: int, browser_of: BrowserOf
    ) -> None:
        answer = self.post(browser_of("Manager"), content, **query)
        assert answer.status_int == status
        assert answer.headers["Content-Type"].startswith("application/problem+json")

    def test_an_unknown_act_and_an_unknown_import_are_not_found(self, browser_of: BrowserOf) -> None:
        browser = browser_of("Manager")
        nowhere = f"/api/v1/imports/{UUID(int=7)}"
        for call in (browser.get, browser.delete):
            call(nowhere, status=404)
        browser.post(f"{nowhere}/run", status=404)
        browser.post(f"{nowhere}/explode", status=404)


class TestExport:
    def test_a_list_leaves_with_its_filter_and_comes_back_unchanged(
        self, browser_of: BrowserOf, upload: Any, runner: Any, sessions: sessionmaker[Session], actor: Actor
    ) -> None:
        runner.run(upload(LIST))
        runner.run(upload('E-mail,Last name,City\nx@example.com,"=HYPERLINK(1)",+Bern\n'))
        browser = browser_of("Manager")
        answer = browser.get("/contacts/export")
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="contacts-')
        rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))
        assert len(rows) == 3
        odd = next(row for row in rows if row["E-mail"] == "x@example.com")
        assert (odd["Family name"], odd["City"]) == ("'=HYPERLINK(1)", "'+Bern")
        anna = next(row for row in rows if row["External id"] == "1")
        assert (anna["Account"], anna["Country"]) == ("Muster GmbH", "DE")

        counts = runner.run(upload(answer.body))
        assert (counts["created"], counts["failed"], counts["referenced"]) == (0, 0, 0)

        only = browser.get("/contacts/export?filter[country]=CN")
        assert len(only.body.decode("utf-8-sig").splitlines()) == 2
        with db.open_session(sessions, actor) as session:
            told = session.execute(
                select(AuditEvent.action, AuditEvent.meta)
                .where(AuditEvent.event_class == "export")
                .order_by(AuditEvent.event_id)
            ).all()
        assert [(action, meta.get("rows")) for action, meta in told[-2:]] == [
            ("export", None),
            ("export_done", 1),
        ]
        log = browser_of("Audit administrator").get("/audit?class=export")
        assert (log.status_int, "Export finished" in log.text) == (200, True)

    def test_is_there_as_workbook_and_as_vcard(self, browser_of: BrowserOf, upload: Any, runner: Any) -> None:
        runner.run(upload(LIST))
        browser = browser_of("Manager")
        book = browser.get("/api/v1/contacts/export?format=xlsx&fields=name,email,account_id")
        table = CalamineWorkbook.from_filelike(io.BytesIO(book.body)).get_sheet_by_index(0).to_python()
        assert table[0] == ["Full name", "E-mail", "Account"]
        assert ["Anna Weiß", "anna@example.de", "Muster GmbH"] in table
        cards = list(vobject.readComponents(browser.get("/contacts/export?format=vcard").body.decode()))
        assert "Anna Weiß" in {card.fn.value for card in cards}
        assert {card.org.value[0] for card in cards} >= {"Muster GmbH"}

    def test_who_sees_personal_values_masked_gets_them_masked(
        self, browser_of: BrowserOf, upload: Any, runner: Any, sessions: sessionmaker[Session], actor: Actor
    ) -> None:
        runner.run(upload(LIST))
        with db.open_session(sessions, actor) as session:
            role = Role(
                name=f"Masked {new_id()}",
                permissions=["crm:contact:read", "crm:contact:export", str(Permission.LOGGED_IN)],
                field_rules=dict(LEVELS_READ),
            )
            session.add(role)
            db.commit(session)
            name = role.name
        browser = browser_of(name)
        for kind in ("csv", "xlsx", "vcard"):
            body = browser.get(f"/contacts/export?format={kind}").body
            assert body
            assert b"anna@example.de" not in body
        assert "/contacts/export" in browser.get("/contacts").text

    def test_is_refused_without_the_right_and_for_forms_that_do_not_exist(
        self, browser_of: BrowserOf
    ) -> None:
        browser_of("Reader").get("/contacts/export", status=403)
        browser = browser_of("Manager")
        browser.get("/api/v1/contacts/export?format=pdf", status=400)
        browser.get("/api/v1/accounts/export?format=vcard", status=400)
        browser.get("/api/v1/contacts/export?filter[nothing]=1", status=400)


class TestJob:
    def test_a_file_is_forgotten_when_its_time_is_over(
        self, upload: Any, runner: Any, work: Work, sessions: sessionmaker[Session], actor: Actor
    ) -> None:
        from datetime import timedelta

        from crm_server.kernel.clock import now
        from crm_server.kernel.jobs import defer

        old, fresh = upload(LIST), upload(LIST)
        runner.run(old)
        runner.run(fresh)
        with db.open_session(sessions, actor) as session:
            session.get_one(Import, old).created_at = now() - timedelta(days=31)
            defer(session, "imports.forget_old_files")
            db.commit(session)
        work()
        with db.open_session(sessions, actor) as session:
            assert [session.get_one(Import, key).has_file for key in (old, fresh)] == [False, True]


@pytest.fixture
def runner(sessions: sessionmaker[Session], entities: Any, actor: Actor) -> Any:
    from crm_server.domain.imports.run import Runner

    return Runner(sessions, entities, actor)


@pytest.fixture(autouse=True)
def _clean(sessions: sessionmaker[Session]) -> None:
    """Each test starts with empty tables."""
