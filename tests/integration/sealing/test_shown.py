"""What API and pages show of sealed records: values, masks, the word of erasure, and errors that tell nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from webtest import TestApp

from crm_server.app import main
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.ids import new_id
from crm_server.services import records
from crm_server.settings import Settings
from tests.conftest import close

MASKED = {"general": "read", "personal": "masked", "financial": "read"}


@pytest.fixture(scope="module")
def application(settings: Settings) -> Iterator[Any]:
    app = main(settings)
    yield app
    close(app)


@pytest.fixture
def made(engine: Engine, application: Any) -> Any:
    """Makes records that the application sees, as the application's own process seals them."""
    info = {db.ACTOR: system_actor(), db.KEYS: application.registry.keys}

    def make(entity: str, **values: Any) -> UUID:
        with Session(engine, info=dict(info)) as session:
            record = records(session, entity).create(values)
            session.commit()
            return UUID(str(record.id))

    return make


def client(application: Any, **changes: Any) -> TestApp:
    actor = system_actor()
    if changes:
        actor = Actor(id=actor.id, name="Reader", scopes=rowrules.EVERYTHING, **changes)
    environ = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "https", "kontor.identity": actor}
    return TestApp(application, extra_environ=environ)


def erase(engine: Engine, contact: UUID) -> None:
    """Erase the keys of a contact's person, as the erasure of a person does."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "update keys.data_key k set state = 'erased', wrapped = null, erased_at = now(), erase_event = :event "
                "from crm.contact c where c.id = :id and k.subject = c.subject_id"
            ),
            {"event": new_id(), "id": contact},
        )


def spoil(engine: Engine, contact: UUID) -> None:
    """Name a key in the document that never was."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "update crm.contact set sealed_identity = overlay(sealed_identity placing :kid from 3 for 16) "
                "where id = :id"
            ),
            {"kid": os.urandom(16), "id": contact},
        )


class TestValues:
    def test_a_record_is_read_and_listed_with_its_sealed_fields(self, application: Any, made: Any) -> None:
        key = made("contact", given_name="Anna", family_name="Kern", email="anna@example.com", country="DE")
        app = client(application)
        row = app.get(f"/api/v1/contacts/{key}").json
        assert (row["name"], row["email"], row["country"]) == ("Anna Kern", "anna@example.com", "DE")
        assert list(row)[:2] == ["id", "version"]
        assert not {"sealed_identity", "sealed_version"} & row.keys()
        listed = app.get("/api/v1/contacts?limit=1&fields=name,email&sort=-created_at").json["data"][0]
        assert listed == {
            "id": str(key),
            "version": 1,
            "name": "Anna Kern",
            "email": "anna@example.com",
        }

    def test_a_masked_field_is_masked_after_it_was_opened(self, application: Any, made: Any) -> None:
        key = made("contact", given_name="Anna", family_name="Kern", email="anna@example.com")
        app = client(application, permissions=frozenset({"crm:contact:read"}), fields=MASKED)
        row = app.get(f"/api/v1/contacts/{key}").json
        assert (row["name"], row["email"]) == ("A*** K***", "a***@example.com")

    def test_who_sees_no_personal_field_gets_no_document_opened(self, application: Any, made: Any) -> None:
        key = made("lead", given_name="Anna", family_name="Kern", company="Kern Ltd")
        app = client(application, permissions=frozenset({"crm:lead:read"}), fields={"general": "read"})
        row = app.get(f"/api/v1/leads/{key}?fields=company,status").json
        assert row["company"] == "Kern Ltd"
        assert "name" not in app.get(f"/api/v1/leads/{key}").json

    def test_a_reference_shows_the_sealed_name_of_where_it_leads(self, application: Any, made: Any) -> None:
        person = made("contact", given_name="Anna", family_name="Kern")
        key = made("case", title="Broken", contact_id=str(person))
        row = client(application).get(f"/api/v1/cases/{key}?include=contact").json
        assert row["contact"] == {"id": str(person), "name": "Anna Kern"}

    def test_a_record_of_nobody_is_sealed_as_well(self, application: Any, made: Any, engine: Engine) -> None:
        key = made("activity", title="Water the plants", kind="task")
        assert client(application).get(f"/api/v1/activities/{key}").json["title"] == "Water the plants"
        with engine.connect() as connection:
            row = connection.execute(
                text("select a::text from crm.activity a where id = :id"), {"id": key}
            ).first()
        # Row rules may hide the row from a bare connection; what it shows must not be the title.
        assert row is None or "Water" not in row[0]

    def test_a_change_over_the_api_keeps_what_it_did_not_name(self, application: Any, made: Any) -> None:
        key = made("contact", given_name="Anna", family_name="Kern", email="anna@example.com")
        with Session(application.registry.engine) as session:
            session.info |= {db.ACTOR: system_actor(), db.KEYS: application.registry.keys}
            service = records(session, "contact")
            service.update(key, {"family_name": "Kern-Weiß"}, version=1)
            session.commit()
        row = client(application).get(f"/api/v1/contacts/{key}").json
        assert (row["name"], row["email"], row["version"]) == ("Anna Kern-Weiß", "anna@example.com", 2)


class TestErased:
    def test_the_api_says_that_a_person_was_erased(self, application: Any, made: Any, engine: Engine) -> None:
        """ENC-6, and at once: a key in the cache of this process does not count."""
        key = made("contact", given_name="Anna", family_name="Kern", country="DE")
        app = client(application)
        assert app.get(f"/api/v1/contacts/{key}").json["name"] == "Anna Kern"
        erase(engine, key)
        row = app.get(f"/api/v1/contacts/{key}").json
        assert (row["name"], row["erased"], row["country"]) == (None, True, "DE")

    def test_the_page_says_it_in_words(self, application: Any, made: Any, engine: Engine) -> None:
        key = made("contact", given_name="Anna", family_name="Kern")
        case = made("case", title="Broken", contact_id=str(key))
        erase(engine, key)
        app = client(application)
        page = app.get(f"/contacts/{key}")
        assert "The keys of this person were erased" in page.text
        assert "Anna" not in page.text
        assert "Erased" in app.get(f"/cases/{case}").text
        assert "Erased" in app.get("/contacts").text


class TestUnreadable:
    def test_reading_one_is_refused_with_a_code_and_without_a_value(
        self, application: Any, made: Any, engine: Engine
    ) -> None:
        key = made("contact", given_name="Anna", family_name="Kern")
        spoil(engine, key)
        answer = client(application).get(f"/api/v1/contacts/{key}", status=500)
        assert (answer.json["code"], answer.json["reason"]) == ("document_unreadable", "key-missing")
        assert "Anna" not in answer.text
        page = client(application).get(f"/contacts/{key}", status=500)
        assert "Anna" not in page.text

    def test_a_list_shows_the_others(self, application: Any, made: Any, engine: Engine) -> None:
        sound = made("contact", family_name="Sound")
        broken = made("contact", family_name="Broken")
        spoil(engine, broken)
        rows = client(application).get("/api/v1/contacts?limit=2&sort=-created_at").json["data"]
        found = {row["id"]: row for row in rows}
        assert found[str(sound)]["name"] == "Sound"
        assert (found[str(broken)]["name"], found[str(broken)]["unreadable"]) == (None, "key-missing")

    def test_a_document_that_was_put_back_has_an_error_of_its_own(
        self, application: Any, made: Any, engine: Engine
    ) -> None:
        key = made("contact", given_name="Anna", family_name="Kern")
        with engine.begin() as connection:
            connection.execute(
                text("update crm.contact set sealed_version = sealed_version + 1 where id = :id"),
                {"id": key},
            )
        answer = client(application).get(f"/api/v1/contacts/{key}", status=500)
        assert answer.json["reason"] == "document-rolled-back"
