"""The life of a record over the API, and what is refused on the way."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.integration.api.conftest import Client, open_db
from tests.payloads import payload_of

KEY = "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e"


class TestLife:
    def test_a_record_is_made_read_changed_binned_restored_and_purged(self, manager: Client) -> None:
        made = manager.post("/accounts", {"name": "Example GmbH", "employees": 12}, status=201)
        assert made.headers["ETag"] == '"1"'
        path = made.headers["Location"].removeprefix("https://localhost")
        assert path == f"/api/v1/accounts/{made.json['id']}"
        read = manager.get(path, status=200)
        assert read.json == made.json
        assert (read.json["name"], read.json["employees"], read.json["owner_id"]) == (
            "Example GmbH", 12, str(manager.user_id),
        )  # fmt: skip
        changed = manager.patch(path, {"employees": None}, 1, status=200)
        assert (changed.json["version"], changed.json["employees"], changed.headers["ETag"]) == (
            2,
            None,
            '"2"',
        )
        manager.delete(path, status=204)
        manager.get(path, status=404)
        assert manager.get(f"{path}?deleted=true", status=200).json["deleted_by"] == str(manager.user_id)
        assert [row["id"] for row in manager.get("/accounts?deleted=true&limit=200").json["data"]].count(
            made.json["id"]
        ) == 1
        assert manager.post(f"{path}/restore", status=200).json["deleted_at"] is None
        manager.post(f"{path}/purge", status=404)
        manager.delete(path, If_Match='"1"', status=412)
        manager.delete(path, status=204)
        manager.post(f"{path}/purge", status=204)
        manager.get(f"{path}?deleted=true", status=404)

    def test_a_lost_update_brings_mine_theirs_and_the_original(self, manager: Client) -> None:
        path = manager.post("/accounts", {"name": "One", "grade": "a"}).headers["Location"]
        path = path.removeprefix("https://localhost")
        manager.patch(path, {"name": "Two"}, 1, status=200)
        lost = manager.patch(path, {"name": "Three"}, 1, status=412)
        assert lost.content_type == "application/problem+json"
        assert (lost.json["code"], lost.json["version"]) == ("lost_update", 2)
        assert lost.json["mine"] == {"name": "Three"}
        assert (lost.json["theirs"]["name"], lost.json["original"]["name"]) == ("Two", "One")

    def test_a_change_says_which_version_it_changes(self, manager: Client) -> None:
        path = (
            manager.post("/accounts", {"name": "One"}).headers["Location"].removeprefix("https://localhost")
        )
        assert manager.patch(path, {"name": "Two"}, None, status=428).json["code"] == "precondition_required"
        manager.call("PATCH", path, {"name": "Two"}, If_Match="*", status=428)
        for wrong in ("1", 'W/"1"', '"x"', '"1", "2"', '"99999999999"'):
            manager.call("PATCH", path, {"name": "Two"}, If_Match=wrong, status=400)
        manager.call("PATCH", path, {"name": "Two"}, If_Match='"7"', status=400)

    def test_a_version_that_the_client_has_is_not_sent_again(self, manager: Client) -> None:
        path = (
            manager.post("/accounts", {"name": "One"}).headers["Location"].removeprefix("https://localhost")
        )
        same = manager.get(path, If_None_Match='"9", W/"1"', status=304)
        assert (same.body, same.headers["ETag"]) == (b"", '"1"')
        manager.get(path, If_None_Match='"2"', status=200)
        # The label of the owner may have changed without the account.
        manager.get(f"{path}?include=owner", If_None_Match='"1"', status=200)

    def test_fields_and_labels_are_chosen(self, manager: Client) -> None:
        account = manager.post("/accounts", {"name": "Parent"}).json["id"]
        contact = manager.post("/contacts", {"family_name": "Example", "account_id": account}).json["id"]
        found = manager.get(
            f"/contacts/{contact}?fields=name,account_id&include=account,owner,reports_to"
        ).json
        assert found == {
            "id": contact, "version": 1, "name": "Example", "account_id": account,
            "account": {"id": account, "name": "Parent"},
            "owner": {"id": str(manager.user_id), "name": "Example User"}, "reports_to": None,
        }  # fmt: skip

    def test_reading_one_and_listing_are_audit_events_with_their_references(
        self, manager: Client, api_engine: Engine, wsgi: Any
    ) -> None:
        contact = manager.post("/contacts", {"family_name": "Audited"}).json
        read = manager.get(f"/contacts/{contact['id']}").headers["X-Request-Id"]
        listed = manager.get("/contacts?filter[family_name]=Audited&fields=name").headers["X-Request-Id"]
        missed = manager.get(f"/contacts/{KEY}", status=404).headers["X-Request-Id"]
        query = text(
            "select event_class, action, object_type, object_ref::text, subject_ref::text[], meta, purpose, "
            "(select format from audit.event_payload p where p.event_id = e.event_id), "
            "payload_commit is not null from audit.event e where request_id = :id"
        )
        with api_engine.connect() as connection:
            one = connection.execute(query, {"id": read}).one()
            many = connection.execute(query, {"id": listed}).one()
            assert connection.execute(query, {"id": missed}).all() == []
        assert one == (
            "read",
            "read",
            2,
            contact["id"],
            [contact["subject_id"]],
            {},
            "operation",
            None,
            False,
        )
        assert many[:2] == ("read", "list")
        assert (many[4], many[5]) == ([contact["subject_id"]], {"count": 1, "refs": [contact["id"]]})
        # What was searched for is personal: it stands in the payload, which erasure deletes, and not in the event.
        assert (many[7], many[8]) == (1, True)
        with open_db(api_engine) as session:
            (event_id,) = session.execute(
                text("select event_id from audit.event where request_id = :id"), {"id": listed}
            ).one()
            told = payload_of(session, event_id, wsgi.registry.keys)
        assert "Audited" in str(told["filter"])


class TestRefusals:
    @pytest.mark.parametrize(
        "body,pointer,code",
        [
            ({}, "/name", "required"),
            ({"name": "X", "nonsense": 1}, "/nonsense", "unknown_field"),
            ({"name": "X", "a/b~c": 1}, "/a~1b~0c", "unknown_field"),
            ({"name": "X", "version": 1}, "/version", "read_only"),
            ({"name": "X", "event_id": None}, "/event_id", "unknown_field"),
            ({"name": 1}, "/name", "type"),
            ({"name": " "}, "/name", "required"),
            ({"name": "x" * 201}, "/name", "too_long"),
            ({"name": "a\x00b"}, "/name", "control_character"),
            ({"name": "X", "kind": "friend"}, "/kind", "choice"),
            ({"name": "X", "employees": "12"}, "/employees", "type"),
            ({"name": "X", "employees": -1}, "/employees", "range"),
            ({"name": "X", "employees": True}, "/employees", "type"),
            ({"name": "X", "billing_country": "XX"}, "/billing_country", "country"),
            ({"name": "X", "parent_id": "1"}, "/parent_id", "id"),
            ({"name": "X", "parent_id": KEY}, "/parent_id", "unknown"),
            ({"name": "X", "email": "nobody"}, "/email", "email"),
            ({"name": "X", "custom": {"none": 1}}, "/custom/none", "unknown_field"),
            ({"name": "X", "custom": 1}, "/custom", "type"),
        ],
    )
    def test_each_wrong_value_is_named_by_a_pointer(
        self, manager: Client, body: dict[str, Any], pointer: str, code: str
    ) -> None:
        answer = manager.post("/accounts", body, status=422)
        assert answer.content_type == "application/problem+json"
        assert answer.json["code"] == "validation"
        assert (pointer, code) in [(item["pointer"], item["code"]) for item in answer.json["errors"]]
        assert answer.json["request_id"] == answer.headers["X-Request-Id"]

    def test_all_problems_are_told_at_once(self, manager: Client) -> None:
        errors = manager.post("/accounts", {"kind": "x", "grade": 1, "y": 2}, status=422).json["errors"]
        assert {item["pointer"] for item in errors} == {"/kind", "/grade", "/y", "/name"}

    @pytest.mark.parametrize(
        "body,status",
        [
            (b"", 400), (b"{", 400), (b"[]", 400), (b"1", 400), (b'"x"', 400), (b"null", 400), (b"\xff\xfe{}", 400),
            (b'{"name": "\xff"}', 400), (b'{"name": "\\ud800"}', 400), (b'{"name": NaN}', 400),
            (b'{"name": 1e999}', 400), (b'{"a":' * 30 + b"1" + b"}" * 30, 400), (b"[" * 100_000, 400),
            (b'{"name": "' + b"x" * 2_000_001 + b'"}', 413),
        ],
    )  # fmt: skip
    def test_a_body_that_is_no_small_json_object(self, manager: Client, body: bytes, status: int) -> None:
        answer = manager.post("/accounts", body)
        assert answer.status_int in {status, 422}
        assert answer.content_type == "application/problem+json"

    @pytest.mark.parametrize(
        "media_type",
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "", "x"],
    )
    def test_another_media_type_is_refused(self, manager: Client, media_type: str) -> None:
        answer = manager.post("/accounts", b'{"name": "X"}', Content_Type=media_type)
        assert (answer.status_int, answer.json["code"]) == (415, "unsupported_media_type")

    def test_errors_speak_the_language_of_the_client(self, manager: Client) -> None:
        english = manager.get("/contacts/x?", Accept_Language="fr", status=404)
        chinese = manager.post("/accounts", {}, Accept_Language="zh-CN,zh;q=0.9", status=422)
        assert english.headers["Content-Language"] == "en"
        assert chinese.headers["Content-Language"] == "zh-Hans"

    @pytest.mark.parametrize(
        "query", ["x=1", "fields=nonsense", "include=nonsense", "fields=event_id", "deleted=x"]
    )
    def test_a_parameter_that_means_nothing(self, manager: Client, query: str) -> None:
        answer = manager.get(f"/contacts/{KEY}?{query}", status=400)
        assert answer.json["parameter"] == query.partition("=")[0]


@pytest.fixture(scope="module")
def contact(manager: Client) -> dict[str, Any]:
    body = {
        "family_name": "Masked",
        "given_name": "Lena",
        "email": "lena@example.com",
        "phone": "+493012345678",
        "birth_date": "1980-05-06",
        "job_title": "Buyer",
    }
    made: dict[str, Any] = manager.post("/contacts", body, status=201).json
    return made


class TestFieldRules:
    def test_masked_fields_are_masked_in_reads_lists_and_labels(
        self, reader: Client, manager: Client, contact: dict[str, Any]
    ) -> None:
        expected = {
            "name": "L*** M***",
            "email": "l***@example.com",
            "phone": "***78",
            "birth_date": "1980-**-**",
        }
        read = reader.get(f"/contacts/{contact['id']}", status=200).json
        listed = reader.get(f"/contacts?filter[id]={contact['id']}", status=200).json["data"][0]
        for found in (read, listed):
            assert {name: found[name] for name in expected} == expected
            assert found["job_title"] == "Buyer"
        case = manager.post("/cases", {"title": "T", "contact_id": contact["id"]}).json["id"]
        label = reader.get(f"/cases/{case}?include=contact").json["contact"]
        assert label == {"id": contact["id"], "name": "L*** M***"}

    @pytest.mark.parametrize(
        "query",
        [
            "filter[email]=lena@example.com",
            "sort=name",
            "filter[name][contains]=Le",
            "filter[email][is_null]=true",
        ],
    )
    def test_a_masked_field_can_not_be_guessed_by_filter_or_sort(self, reader: Client, query: str) -> None:
        assert reader.get(f"/contacts?{query}", status=400).json["code"] == "bad_query"

    def test_nor_by_free_text_nor_through_another_record(
        self, reader: Client, contact: dict[str, Any]
    ) -> None:
        assert reader.get("/contacts?q=Masked", status=200).json["data"] == []
        reader.get("/cases?filter[contact.name]=Lena%20Masked", status=400)

    def test_a_hidden_field_is_not_there_at_all(self, login: Any, contact: dict[str, Any]) -> None:
        own = {"permissions": ["crm:contact:read", "crm:contact:update"], "field_rules": {"general": "read"}}
        client = login(own=own)
        found = client.get(f"/contacts/{contact['id']}", status=200).json
        assert "email" not in found
        assert found["job_title"] == "Buyer"
        client.get(f"/contacts/{contact['id']}?fields=email", status=400)
        refused = client.patch(f"/contacts/{contact['id']}", {"email": "x@example.com"}, 1, status=422)
        assert refused.json["errors"][0]["code"] == "not_allowed"
        # Without the right to read accounts, their names are no way around it.
        client.get("/contacts?filter[account.name]=x", status=400)
        client.get("/contacts?include=account", status=400)

    def test_meta_tells_each_reader_what_they_may_use(self, reader: Client, manager: Client) -> None:
        def email(client: Client) -> dict[str, Any]:
            entities = {item["name"]: item for item in client.get("/meta", status=200).json["entities"]}
            found: dict[str, Any] = {item["name"]: item for item in entities["contact"]["fields"]}["email"]
            return found

        assert (email(manager)["access"], email(reader)["access"]) == ("write", "masked")
        assert email(reader)["operators"] == []
        assert "contains" in email(manager)["operators"]


class TestStatements:
    def test_reading_one_takes_one_round_trip(self, manager: Client, statements: list[str]) -> None:
        key = manager.post("/accounts", {"name": "Counted"}).json["id"]
        for _ in range(4):
            manager.get(f"/accounts/{key}?include=owner")
        statements.clear()
        manager.get(f"/accounts/{key}?include=owner", status=200)
        assert [name[:5] for name in statements] == ["list_"]

    def test_a_list_takes_one_round_trip(self, manager: Client, statements: list[str]) -> None:
        wanted = "filter[country]=DE&filter[account.name][contains]=x"
        path = f"/contacts?{wanted}&sort=-created_at&include=account&count=exact"
        for _ in range(4):
            manager.get(path)
        statements.clear()
        manager.get(path, status=200)
        assert [name[:5] for name in statements] == ["list_"]

    def test_a_change_takes_a_known_number_of_statements(
        self, manager: Client, statements: list[str]
    ) -> None:
        key = manager.post("/accounts", {"name": "Counted"}).json["id"]
        statements.clear()
        manager.patch(f"/accounts/{key}", {"grade": "b"}, 1, status=200)
        assert len(statements) <= 8, "\n".join(statements)


class TestOwnDatabase:
    def test_a_browser_session_needs_the_form_token_for_changes(
        self, test_app: Any, api_engine: Engine, manager: Client
    ) -> None:
        from crm_server.domain.identity.models import LoginSession
        from security.identity.sessions import digest_session_token, new_session_token

        made = new_session_token()
        token = getattr(made, "text", made)
        with open_db(api_engine) as session:
            session.add(
                LoginSession(
                    user_id=manager.user_id, token_hash=digest_session_token(token), auth_method="password"
                )
            )
            session.commit()
        cookie = {"Cookie": f"__Host-kontor={token}"}
        assert test_app.get("/api/v1/accounts", headers=cookie).status_int == 200
        refused = test_app.post_json("/api/v1/accounts", {"name": "X"}, headers=cookie, status=403)
        assert refused.json["code"] == "csrf"
