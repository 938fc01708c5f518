"""Idempotency keys: what a client repeats, even in parallel, happens once."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from tests.integration.api.conftest import Client


def count(engine: Engine, name: str) -> int:
    with engine.connect() as connection:
        found: int = connection.execute(
            text("select count(*) from crm.account where name = :name"), {"name": name}
        ).scalar_one()
    return found


class TestIdempotencyKey:
    def test_a_repeat_gets_the_first_answer_and_makes_nothing(
        self, manager: Client, api_engine: Engine
    ) -> None:
        name, key = f"Once {uuid4()}", str(uuid4())
        first = manager.post("/accounts", {"name": name}, Idempotency_Key=key, status=201)
        again = manager.post("/accounts", {"name": name}, Idempotency_Key=key, status=201)
        assert again.json == first.json
        assert (again.headers["Location"], again.headers["ETag"]) == (
            first.headers["Location"],
            first.headers["ETag"],
        )
        assert again.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        assert count(api_engine, name) == 1

    def test_the_same_key_with_another_request_is_refused(self, manager: Client) -> None:
        key = str(uuid4())
        manager.post("/accounts", {"name": "X"}, Idempotency_Key=key, status=201)
        for path, body in (("/accounts", {"name": "Y"}), ("/tags", {"name": "X"})):
            answer = manager.post(path, body, Idempotency_Key=key, status=422)
            assert answer.json["code"] == "idempotency_key_reused"

    def test_a_key_belongs_to_its_user(self, manager: Client, user: Client, api_engine: Engine) -> None:
        name, key = f"Two users {uuid4()}", str(uuid4())
        manager.post("/accounts", {"name": name}, Idempotency_Key=key, status=201)
        user.post("/accounts", {"name": name}, Idempotency_Key=key, status=201)
        assert count(api_engine, name) == 2

    def test_what_failed_may_be_tried_again_with_the_same_key(
        self, manager: Client, api_engine: Engine
    ) -> None:
        key, tag = str(uuid4()), f"Tag {uuid4()}"
        manager.post("/tags", {"name": tag}, status=201)
        manager.post("/tags", {"name": tag}, Idempotency_Key=key, status=422)
        with api_engine.connect() as connection:
            kept = text("select count(*) from kontor.idempotency_key where key = :key")
            assert connection.execute(kept, {"key": key}).scalar_one() == 0

    def test_parallel_repeats_make_one_record(self, manager: Client, api_engine: Engine) -> None:
        name, key = f"Race {uuid4()}", str(uuid4())
        answers: list[Any] = []
        barrier = threading.Barrier(6)

        def repeat() -> None:
            barrier.wait()
            answers.append(manager.post("/accounts", {"name": name}, Idempotency_Key=key))

        threads = [threading.Thread(target=repeat) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status_int for answer in answers] == [201] * 6
        assert len({answer.json["id"] for answer in answers}) == 1
        assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 5
        assert count(api_engine, name) == 1

    def test_a_repeat_after_the_record_is_gone_still_says_what_happened(self, manager: Client) -> None:
        key = str(uuid4())
        made = manager.post("/accounts", {"name": "Gone"}, Idempotency_Key=key, status=201).json["id"]
        manager.delete(f"/accounts/{made}", status=204)
        manager.post(f"/accounts/{made}/purge", status=204)
        again = manager.post("/accounts", {"name": "Gone"}, Idempotency_Key=key, status=201)
        assert again.json == {"id": made}

    def test_after_a_day_a_key_may_be_used_again(self, manager: Client, api_engine: Engine) -> None:
        key = str(uuid4())
        manager.post("/accounts", {"name": "Old"}, Idempotency_Key=key, status=201)
        with api_engine.begin() as connection:
            connection.execute(
                text(
                    "update kontor.idempotency_key set created_at = now() - interval '25 hours' where key = :key"
                ),
                {"key": key},
            )
        fresh = manager.post("/accounts", {"name": "New"}, Idempotency_Key=key, status=201)
        assert (fresh.json["name"], "Idempotency-Replayed" in fresh.headers) == ("New", False)

    @pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b"])
    def test_a_key_that_is_none(self, manager: Client, key: str) -> None:
        assert manager.post("/accounts", {"name": "X"}, Idempotency_Key=key).status_int == 400


class TestBulk:
    def test_each_item_stands_for_itself(self, manager: Client, api_engine: Engine) -> None:
        name = f"Bulk {uuid4()}"
        old = manager.post("/accounts", {"name": "Old"}).json["id"]
        gone = manager.post("/accounts", {"name": "Gone"}).json["id"]
        items = [
            {"action": "create", "data": {"name": name}},
            {"action": "create", "data": {"nonsense": 1}},
            {"action": "update", "id": old, "version": 1, "data": {"grade": "a"}},
            {"action": "update", "id": old, "version": 1, "data": {"grade": "b"}},
            {"action": "delete", "id": gone},
            {"action": "delete", "id": str(uuid4())},
            {"action": "create", "data": {"name": name, "parent_id": str(uuid4())}},
            {"action": "create", "data": {"name": name}},
        ]
        answer = manager.post("/accounts/bulk", {"items": items}, status=200).json
        statuses = [result["status"] for result in answer["results"]]
        assert statuses == [201, 422, 200, 412, 204, 404, 422, 201]
        assert (answer["succeeded"], answer["failed"]) == (4, 4)
        assert [error["pointer"] for error in answer["results"][1]["error"]["errors"]] == [
            "/nonsense",
            "/name",
        ]
        assert answer["results"][3]["error"]["version"] == 2
        assert count(api_engine, name) == 2
        assert manager.get(f"/accounts/{old}").json["grade"] == "a"

    def test_what_the_database_refuses_does_not_spoil_the_items_after_it(self, manager: Client) -> None:
        name = f"Taken {uuid4()}"[:60]
        items = [
            {"action": "create", "data": {"name": given}} for given in (name, name.upper(), f"{name[:-1]}!")
        ]
        results = manager.post("/tags/bulk", {"items": items}, status=200).json["results"]
        assert [result["status"] for result in results] == [201, 422, 201]
        assert results[1]["error"]["errors"][0] | {"message": ""} == {
            "pointer": "/name",
            "code": "taken",
            "message": "",
        }

    def test_all_or_nothing(self, manager: Client, api_engine: Engine) -> None:
        name = f"Nothing {uuid4()}"
        items = [
            {"action": "create", "data": {"name": name}},
            {"action": "create", "data": {"name": name, "kind": "friend"}},
        ]
        answer = manager.post("/accounts/bulk", {"mode": "all", "items": items}, status=422)
        assert answer.json["errors"][0]["pointer"] == "/items/1/data/kind"
        assert count(api_engine, name) == 0
        items[1]["data"] = {"name": name}
        manager.post("/accounts/bulk", {"mode": "all", "items": items}, status=200)
        assert count(api_engine, name) == 2

    def test_a_repeated_bulk_makes_nothing_twice(self, manager: Client, api_engine: Engine) -> None:
        name, key = f"Bulk once {uuid4()}", str(uuid4())
        body = {
            "items": [
                {"action": "create", "data": {"name": name}},
                {"action": "create", "data": {"a\x00": 1}},
            ]
        }
        first = manager.post("/accounts/bulk", body, Idempotency_Key=key, status=200)
        again = manager.post("/accounts/bulk", body, Idempotency_Key=key, status=200)
        assert again.json["results"][0] == first.json["results"][0]
        assert count(api_engine, name) == 1

    def test_rights_are_asked_item_by_item(self, login: Any) -> None:
        own = {"permissions": ["crm:account:read", "crm:account:create"], "field_rules": {"general": "write"}}
        client = login(own=own)
        made = client.post("/accounts", {"name": "Mine"}, status=201).json["id"]
        items = [{"action": "create", "data": {"name": "X"}}, {"action": "delete", "id": made}]
        results = client.post("/accounts/bulk", {"items": items}, status=200).json["results"]
        assert [result["status"] for result in results] == [201, 403]

    @pytest.mark.parametrize(
        "body,pointer",
        [
            ({}, "/items"), ({"items": []}, "/items"), ({"items": {}}, "/items"), ({"items": [1]}, "/items/0/action"),
            ({"items": [{"action": "create"}]}, "/items/0/data"), ({"items": [{"action": "delete"}]}, "/items/0/id"),
            ({"items": [{"action": "update", "id": "1", "version": 1, "data": {}}]}, "/items/0/id"),
            ({"items": [{"action": "delete", "id": str(uuid4()), "version": True}]}, "/items/0/version"),
            ({"items": [{"action": "create", "data": {}, "x": 1}]}, "/items/0/x"), ({"items": [], "x": 1}, "/x"),
            ({"mode": "some", "items": []}, "/mode"), ({"items": [{"action": "create", "data": {}}] * 1001}, "/items"),
        ],
    )  # fmt: skip
    def test_a_wrong_form_is_refused_as_a_whole(
        self, manager: Client, body: dict[str, Any], pointer: str
    ) -> None:
        answer = manager.post("/accounts/bulk", body, status=422)
        assert pointer in [error["pointer"] for error in answer.json["errors"]]

    def test_a_thousand_at_once(self, manager: Client, api_engine: Engine) -> None:
        name = f"Thousand {uuid4()}"
        items = [{"action": "create", "data": {"name": name}}] * 1000
        answer = manager.post("/accounts/bulk", {"items": items}, status=200).json
        assert answer["succeeded"] == 1000
        assert count(api_engine, name) == 1000
