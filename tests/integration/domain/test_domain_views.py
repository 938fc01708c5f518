"""The acts of domains over HTTP: each reaches its service, keeps to its permission, and refuses what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from webtest import TestApp

from crm_server.app import main
from crm_server.kernel.ids import new_id
from crm_server.local.postgres import Cluster
from tests.conftest import close, copy_database, settings_of
from tests.integration.api.conftest import Client, make_token


@pytest.fixture(scope="module")
def application(cluster: Cluster, template: str) -> Iterator[Any]:
    copy_database(cluster, template, "kontor_domains")
    settings = settings_of(
        cluster, "kontor_domains", KONTOR_LOG_LEVEL="warning", KONTOR_UPLOAD_LIMIT="200000"
    )
    made = main(settings)
    yield made
    close(made)


def client(application: Any, *roles: str, **own: Any) -> Client:
    app = TestApp(application, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})
    token, user_id = make_token(application.registry.engine, *roles, **own)
    return Client(app, token, user_id)


@pytest.fixture(scope="module")
def manager(application: Any) -> Client:
    return client(application, "Manager")


@pytest.fixture(scope="module")
def reader(application: Any) -> Client:
    return client(application, "Reader")


@pytest.fixture(scope="module")
def admin(application: Any) -> Client:
    return client(application, "System administrator")


def made(manager: Client, collection: str, **values: Any) -> dict[str, Any]:
    found: dict[str, Any] = manager.post(f"/{collection}", values, status=201).json
    return found


class TestLeads:
    def test_a_conversion_that_is_repeated_with_its_key_happens_once(self, manager: Client) -> None:
        lead = made(manager, "leads", family_name="Beispiel", company="Example AG")
        path, body = f"/leads/{lead['id']}/convert", {"opportunity": {"name": "First order"}}
        first = manager.post(path, body, status=200, If_Match='"1"', Idempotency_Key="convert-1").json
        again = manager.post(path, body, status=200, If_Match='"1"', Idempotency_Key="convert-1").json
        assert first == again
        assert manager.get(f"/contacts/{first['contact_id']}", status=200).json["name"] == "Beispiel"
        assert (
            manager.get(f"/opportunities/{first['opportunity_id']}", status=200).json["name"] == "First order"
        )
        refused = manager.post(path, {}, status=409).json
        assert refused["contact_id"] == first["contact_id"]

    @pytest.mark.parametrize(
        "body,pointer",
        [
            ({"nonsense": 1}, "/nonsense"),
            ({"account_id": "x"}, "/account_id"),
            ({"opportunity": 1}, "/opportunity"),
            ({"contact_id": str(new_id())}, "/contact_id"),
        ],
    )
    def test_what_does_not_fit_is_named(self, manager: Client, body: dict[str, Any], pointer: str) -> None:
        lead = made(manager, "leads", family_name="Beispiel")
        answer = manager.post(f"/leads/{lead['id']}/convert", body, status=422).json
        assert [item["pointer"] for item in answer["errors"]] == [pointer]

    def test_a_reader_converts_nothing(self, manager: Client, reader: Client) -> None:
        lead = made(manager, "leads", family_name="Beispiel")
        reader.post(f"/leads/{lead['id']}/convert", {}, status=403)

    def test_another_method_is_refused_as_such(self, manager: Client) -> None:
        answer = manager.get(f"/leads/{new_id()}/convert", status=405)
        assert answer.headers["Allow"] == "POST"


class TestPipeline:
    def test_an_opportunity_moves_over_the_board(self, manager: Client, reader: Client) -> None:
        deal = made(manager, "opportunities", name="Deal", amount=1000, currency="EUR")
        shown = reader.get(f"/pipelines/{deal['pipeline_id']}/board", status=200).json
        assert shown["columns"][0]["name"] == "Prospecting"
        assert shown["columns"][0]["sums"]["EUR"] >= 1000
        following = shown["columns"][1]["stage_id"]
        moved = manager.post(
            f"/opportunities/{deal['id']}/move", {"stage_id": following}, status=200, If_Match='"1"'
        )
        assert moved.json["probability"] == shown["columns"][1]["probability"]
        cards = reader.get(f"/stages/{following}/cards?limit=1", status=200).json["data"]
        assert cards[0]["id"] == deal["id"]
        manager.post(f"/opportunities/{deal['id']}/move", {"stage_id": following}, status=428)
        manager.post(f"/opportunities/{deal['id']}/move", {"stage_id": following}, status=412, If_Match='"1"')

    def test_a_loss_without_reason_is_refused_at_its_place(self, manager: Client) -> None:
        deal = made(manager, "opportunities", name="Deal")
        lost = manager.get(f"/pipelines/{deal['pipeline_id']}/board").json["columns"][-1]["stage_id"]
        path = f"/opportunities/{deal['id']}/move"
        answer = manager.post(path, {"stage_id": lost}, status=422, If_Match='"1"').json
        assert answer["errors"][0]["pointer"] == "/lost_reason"
        manager.post(path, {"stage_id": lost, "lost_reason": "price"}, status=200, If_Match='"1"')

    @pytest.mark.parametrize("query", ["limit=0", "limit=x", "after=x", "owner_id=x", "nonsense=1"])
    def test_a_query_that_does_not_fit_is_a_bad_query(self, manager: Client, query: str) -> None:
        deal = made(manager, "opportunities", name="Deal")
        manager.get(f"/stages/{deal['stage_id']}/cards?{query}", status=400)


class TestAround:
    def test_the_timeline_of_a_record(self, manager: Client, reader: Client) -> None:
        contact = made(manager, "contacts", family_name="Beispiel")
        made(manager, "activities", title="Call", kind="call", contact_id=contact["id"])
        first = reader.get(f"/contacts/{contact['id']}/timeline?limit=1", status=200).json
        second = reader.get(
            f"/contacts/{contact['id']}/timeline?limit=1&after={first['next_cursor']}", status=200
        ).json
        assert {first["data"][0]["kind"], second["data"][0]["kind"]} == {"activity", "change"}
        assert second["next_cursor"] is None
        reader.get(f"/contacts/{new_id()}/timeline", status=404)

    def test_hierarchy_and_decision_chain_of_an_account(self, manager: Client, reader: Client) -> None:
        top = made(manager, "accounts", name="Top")
        below = made(manager, "accounts", name="Below", parent_id=top["id"])
        contact = made(manager, "contacts", family_name="Beispiel", email="anna@example.com")
        manager.post(
            f"/accounts/{below['id']}/contact-roles",
            {"contact_id": contact["id"], "role": "approver"},
            status=201,
        )
        assert [
            item["id"] for item in reader.get(f"/accounts/{below['id']}/hierarchy", status=200).json["above"]
        ] == [top["id"]]
        (link,) = reader.get(f"/accounts/{below['id']}/decision-chain", status=200).json["data"]
        assert (link["role"], link["contact"]["email"]) == ("approver", "a***@example.com")

    def test_the_price_of_a_product(self, manager: Client) -> None:
        product = made(manager, "products", name="Pump")
        prices = made(manager, "price-lists", name="Always", currency="EUR")
        manager.post(
            f"/price-lists/{prices['id']}/prices",
            {"product_id": product["id"], "unit_price": 900},
            status=201,
        )
        assert (
            manager.get(f"/products/{product['id']}/price?currency=EUR", status=200).json["unit_price"] == 900
        )
        manager.get(f"/products/{product['id']}/price?currency=USD", status=404)
        manager.get(f"/products/{product['id']}/price?currency=none", status=400)

    def test_tags(self, manager: Client, reader: Client) -> None:
        account = made(manager, "accounts", name="Example AG")
        path = f"/accounts/{account['id']}/tags"
        tag = manager.post(path, {"name": "Over HTTP"}, status=200).json
        reader.post(path, {"name": "No"}, status=403)
        assert [item["name"] for item in reader.get(path, status=200).json["data"]] == ["Over HTTP"]
        other = made(manager, "tags", name="Other")
        assert manager.post(f"/tags/{tag['id']}/merge", {"into": other["id"]}, status=200).json == {
            "records": 1
        }
        manager.delete(f"{path}/{other['id']}", status=204)
        assert manager.get(path).json["data"] == []

    def test_the_bin(self, manager: Client) -> None:
        account = made(manager, "accounts", name="Thrown away")
        manager.delete(f"/accounts/{account['id']}", status=204)
        found = manager.get("/bin/records?entity=account&limit=1", status=200).json["data"]
        assert found[0]["title"] == "Thrown away"
        manager.get("/bin/records?entity=nothing", status=400)
        manager.post("/bin/records", {}, status=405)


class TestFiles:
    def test_a_file_goes_up_and_comes_down_and_is_never_shown_in_the_page(
        self, manager: Client, reader: Client
    ) -> None:
        account = made(manager, "accounts", name="Example AG")
        path = f"/accounts/{account['id']}/attachments"
        content = "Grüße\n".encode() * 20_000
        sent = manager.post(f"{path}?filename=letter.txt", content, status=201, Content_Type="text/plain")
        assert sent.json["size"] == len(content)
        (listed,) = reader.get(path, status=200).json["data"]
        # Whoever sees personal data masked sees that there is a file, and not what is in it.
        reader.get(f"/attachments/{listed['id']}/content", status=403)
        got = manager.get(f"/attachments/{listed['id']}/content", status=200)
        assert got.body == content
        assert got.headers["Content-Disposition"].startswith('attachment; filename="letter.txt"')
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        reader.delete(f"/attachments/{listed['id']}", status=403)
        manager.delete(f"/attachments/{listed['id']}", status=204)
        manager.get(f"/attachments/{listed['id']}/content", status=404)

    @pytest.mark.parametrize(
        "name,content,status",
        [
            ("letter.exe", b"MZ\x90\0", 415),
            ("page.html", b"<html></html>", 415),
            ("letter.pdf", b"<html></html>", 415),
            ("large.txt", b"a" * 300_000, 413),
            ("empty.txt", b"", 400),
            ("", b"hello", 400),
        ],
    )
    def test_what_is_not_accepted(self, manager: Client, name: str, content: bytes, status: int) -> None:
        account = made(manager, "accounts", name="Example AG")
        path = f"/accounts/{account['id']}/attachments"
        manager.post(
            f"{path}?filename={name}", content, status=status, Content_Type="application/octet-stream"
        )


class TestViewsAndFields:
    def test_saved_views(self, manager: Client, reader: Client) -> None:
        body = {"name": "Mine", "definition": {"columns": ["name"]}, "shared": True}
        shared = manager.post("/contacts/views", body, status=201).json
        reader.post("/contacts/views", body, status=403)
        assert shared["id"] in [item["id"] for item in reader.get("/contacts/views", status=200).json["data"]]
        assert reader.get("/accounts/views", status=200).json["data"] == []
        path = f"/contacts/views/{shared['id']}"
        assert manager.patch(path, {"name": "Ours"}, 1, status=200).json["name"] == "Ours"
        manager.delete(f"/accounts/views/{shared['id']}", status=404)
        manager.delete(path, status=204)

    def test_an_administrator_adds_a_field_that_everybody_then_fills_in(
        self, manager: Client, admin: Client
    ) -> None:
        body = {
            "name": "shoe_size",
            "label_en": "Shoe size",
            "semantic": "integer",
            "policy": {"handling": "person_fact"},
        }
        manager.post("/contacts/custom-fields", body, status=403)
        field = admin.post("/contacts/custom-fields", body, status=201).json
        assert (field["number"], field["policy"]["handling"]["privacy"]) == (10_001, "identifier")
        contact = made(manager, "contacts", family_name="Beispiel", custom={"shoe_size": 43})
        assert manager.get(f"/contacts/{contact['id']}").json["custom"] == {"shoe_size": 43}
        path = f"/contacts/custom-fields/{field['id']}"
        assert admin.patch(path, {"label_en": "Size"}, 1, status=200).json["label_en"] == "Size"
        admin.delete(path, status=204)
        manager.post("/contacts", {"family_name": "Muster", "custom": {"shoe_size": 1}}, status=422)
        assert admin.post("/contacts/custom-fields", body, status=201).json["number"] == 10_002
