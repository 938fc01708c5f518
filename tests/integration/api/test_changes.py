"""The change feed under concurrent writers: nothing is missed, nothing comes twice, and order never goes back."""

from __future__ import annotations

import random
import threading
import time
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from crm_server.domain.accounts.models import Account
from tests.integration.api.conftest import Client, open_db


def follow(client: Client, cursor: str, **more: Any) -> tuple[list[dict[str, Any]], str]:
    """All changes after a cursor."""
    found: list[dict[str, Any]] = []
    while True:
        query = "&".join(f"{name}={value}" for name, value in {"cursor": cursor, **more}.items())
        page = client.get(f"/changes?{query}", status=200).json
        found += page["data"]
        cursor = page["next_cursor"]
        if not page["more"]:
            return found, cursor


def now(client: Client) -> str:
    cursor: str = client.get("/changes?cursor=now", status=200).json["next_cursor"]
    return cursor


class TestFeed:
    def test_every_kind_of_change_is_told(self, manager: Client) -> None:
        cursor = now(manager)
        key = manager.post("/accounts", {"name": "Told"}).json["id"]
        manager.patch(f"/accounts/{key}", {"grade": "a"}, 1, status=200)
        manager.delete(f"/accounts/{key}", status=204)
        manager.post(f"/accounts/{key}/restore", status=200)
        manager.delete(f"/accounts/{key}", status=204)
        manager.post(f"/accounts/{key}/purge", status=204)
        found, after = follow(manager, cursor)
        told = [(item["operation"], item["version"]) for item in found if item["id"] == key]
        operations = ["create", "update", "delete", "restore", "delete", "purge"]
        assert told == list(zip(operations, [1, 2, 3, 4, 5, 5], strict=True))
        assert follow(manager, after)[0] == []

    def test_a_transaction_that_commits_late_is_late_and_not_missed(
        self, manager: Client, api_engine: Engine
    ) -> None:
        cursor = now(manager)
        with open_db(api_engine) as slow:
            early = Account(name="Early, but slow")
            slow.add(early)
            slow.flush()
            later = manager.post("/accounts", {"name": "Later, but quick"}).json["id"]
            # The quick one is committed; it waits, for the slow one stands before it.
            held, cursor = follow(manager, cursor)
            assert [item["id"] for item in held if item["id"] in {later, str(early.id)}] == []
            slow.commit()
        found, _cursor = follow(manager, cursor)
        assert [item["id"] for item in found if item["id"] in {later, str(early.id)}] == [
            str(early.id),
            later,
        ]

    def test_nothing_is_missed_with_concurrent_writers(self, manager: Client, api_engine: Engine) -> None:
        cursor = now(manager)
        written: dict[UUID, int] = {}
        lock = threading.Lock()
        done = threading.Event()

        def write(seed: int) -> None:
            chance = random.Random(seed)
            for number in range(15):
                with open_db(api_engine) as session:
                    made = [Account(name=f"Writer {seed} {number}") for _ in range(chance.randint(1, 3))]
                    session.add_all(made)
                    session.flush()
                    time.sleep(chance.random() / 100)
                    if chance.random() < 0.3:
                        with session.begin_nested():
                            made[0].grade = "a"
                            session.flush()
                    if chance.random() < 0.2:
                        session.rollback()
                        continue
                    session.commit()
                    with lock:
                        written.update({item.id: item.version for item in made})

        threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
        told: list[dict[str, Any]] = []
        for thread in threads:
            thread.start()
        while not done.is_set():
            if not any(thread.is_alive() for thread in threads):
                done.set()
            page = manager.get(f"/changes?limit=7&cursor={cursor}", status=200).json
            told += page["data"]
            cursor = page["next_cursor"]
        for thread in threads:
            thread.join()
        rest, _cursor = follow(manager, cursor, limit=7)
        told += rest
        versions: dict[str, list[int]] = {}
        for item in told:
            versions.setdefault(item["id"], []).append(item["version"])
        for key, version in written.items():
            assert versions[str(key)] == list(range(1, version + 1))
        assert len(told) == sum(written.values())

    def test_only_kinds_that_the_reader_may_read_are_told(self, login: Any, manager: Client) -> None:
        own = {
            "permissions": ["integration:changes:read", "crm:tag:read"],
            "field_rules": {"general": "read"},
        }
        client = login(own=own)
        cursor = now(manager)
        manager.post("/accounts", {"name": "Unseen"}, status=201)
        tag = manager.post("/tags", {"name": f"Seen {cursor}"[:60]}, status=201).json["id"]
        assert [(item["entity"], item["id"]) for item in follow(client, cursor)[0]] == [("tag", tag)]
        client.get("/changes?entity=account", status=400)
        assert {item["entity"] for item in follow(manager, cursor, entity="account")[0]} == {"account"}

    @pytest.mark.parametrize(
        "query", ["cursor=x", "cursor=WyIxIiwtMl0", "limit=0", "limit=1001", "limit=x", "entity=x", "x=1"]
    )
    def test_a_parameter_that_means_nothing(self, manager: Client, query: str) -> None:
        assert manager.get(f"/changes?{query}", status=400).json["parameter"] == query.partition("=")[0]
