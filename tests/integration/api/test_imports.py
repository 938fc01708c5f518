"""Imports and exports over the API, as a program uses them: file, mapping, refusals with their places, files back."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.conftest import Client

FILE = b"Name;Mail\nExample;a@example.com\n"
RAW = {"Content_Type": "application/octet-stream"}


@pytest.fixture
def key(manager: Client) -> str:
    made = manager.post("/imports?entity=contact&filename=a.csv", FILE, status=201, **RAW)
    assert made.headers["Location"].endswith(made.json["id"])
    return str(made.json["id"])


class TestMapping:
    def test_what_is_wrong_with_it_is_told_at_its_place(self, manager: Client, key: str) -> None:
        feeds = [{"field": "family_name", "columns": ["Name"]}, {"field": "email", "columns": ["Post"]}]
        path = f"/imports/{key}/mapping"
        kept = manager.call("PUT", path, {"feeds": feeds, "key": ["email", "city"]}, status=200).json
        assert {(item["pointer"], item["code"]) for item in kept["mapping_problems"]} == {
            ("/feeds/1", "mapping.unknown_column"),
            ("/key/1", "mapping.key"),
        }

    @pytest.mark.parametrize(
        "body,pointer,code",
        [
            ({}, "/feeds", "required"),
            ({"feeds": 1}, "/feeds", "type"),
            ({"feeds": [{"field": "email"}, {"columns": []}]}, "/feeds/1/field", "required"),
            ({"feeds": [{"field": "email", "columns": [1]}]}, "/feeds/0/columns/0", "type"),
            ({"feeds": [{"field": "email", "colums": []}]}, "/feeds/0/colums", "unknown_field"),
            ({"feeds": [], "options": {"zone": "Nowhere/No"}}, "/options/zone", "unknown"),
            ({"feeds": [], "options": {"country": "xyz"}}, "/options/country", "country"),
            ({"feeds": [], "options": {"currency": "EURO"}}, "/options/currency", "currency"),
            ({"feeds": [], "duplicates": "both"}, "/duplicates", "type"),
            ({"feeds": [], "y": 1}, "/y", "unknown_field"),
            ({"feeds": [{"field": "a\0"}]}, "/feeds/0/field", "characters"),
            ({"feeds": [{"field": "email"}] * 501}, "/feeds", "too_many"),
        ],
    )
    def test_one_that_can_not_be_read_is_refused_with_the_place(
        self, manager: Client, key: str, body: dict[str, Any], pointer: str, code: str
    ) -> None:
        answer = manager.call("PUT", f"/imports/{key}/mapping", body, status=422).json
        assert (answer["code"], answer["reason"]) == ("file_refused", "mapping.invalid")
        assert "on our side" not in answer["title"]
        assert (pointer, code) in [(item["pointer"], item["code"]) for item in answer["errors"]]


class TestRepeats:
    def test_an_upload_that_is_sent_twice_with_its_key_is_one_import(self, manager: Client) -> None:
        key = {"Idempotency_Key": f"k-{uuid4()}", **RAW}
        first = manager.post("/imports?entity=contact&filename=a.csv", FILE, status=201, **key)
        again = manager.post("/imports?entity=contact&filename=a.csv", FILE, status=201, **key)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (again.json["id"], again.headers["Location"]) == (first.json["id"], first.headers["Location"])
        other = manager.post(
            "/imports?entity=contact&filename=a.csv", FILE + b"B;b@example.com\n", status=422, **key
        )
        assert other.json["code"] == "idempotency_key_reused"


class TestFiles:
    def test_a_refused_file_says_that_it_is_the_file_in_the_language_of_the_client(
        self, manager: Client
    ) -> None:
        for language, title in (
            ("en", "The file, or the mapping for it, can't be used as it is."),
            ("zh-CN", "文件或其映射无法按原样使用。"),
        ):
            answer = manager.post(
                "/imports?entity=contact", b"%PDF-1.7", status=422, Accept_Language=language, **RAW
            ).json
            assert (answer["code"], answer["title"]) == ("file_refused", title)

    def test_an_encoding_that_does_not_fit_is_no_error_of_ours(self, manager: Client) -> None:
        for encoding in ("utf-16", "utf-16-be", "gb18030", "latin", "idna"):
            path = f"/imports?entity=contact&encoding={encoding}"
            assert manager.post(path, FILE, **RAW).status_int in {201, 422}

    def test_a_list_leaves_as_a_file(self, manager: Client) -> None:
        name = f"Export {uuid4()}"
        manager.post("/accounts", {"name": name}, status=201)
        sent = manager.get(
            f"/accounts/export?fields=name&filter[name]={name.replace(' ', '%20')}", status=200
        )
        assert sent.content_type == "text/csv"
        assert name in sent.text
        assert manager.get("/accounts/export?format=vcard", status=400).json["parameter"] == "format"
