"""What audit administrators set, over the API: with their permission, and what weakens the log with a second person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crm_server.kernel.ids import new_id
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site

BASE = "/api/v1/audit"


@pytest.fixture
def auditor(login: Callable[..., Client]) -> Client:
    return login("Audit administrator")


class TestApi:
    def test_searches_are_kept_and_forgotten_by_their_owner(
        self, auditor: Client, login: Callable[..., Client]
    ) -> None:
        kept = auditor.post(
            f"{BASE}/searches", {"name": "Refusals", "filters": {"outcome": "denied"}}, status=201
        )
        again = auditor.post(
            f"{BASE}/searches", {"name": "Refusals", "filters": {"class": "export"}}, status=201
        )
        assert again.json["id"] == kept.json["id"], "the same name replaces"
        assert auditor.get(f"{BASE}/searches").json["data"] == [
            {"id": kept.json["id"], "name": "Refusals", "filters": {"class": "export"}}
        ]
        other = login("Audit administrator")
        assert other.get(f"{BASE}/searches").json["data"] == []
        other.delete(f"{BASE}/searches/{kept.json['id']}", status=404)
        auditor.delete(f"{BASE}/searches/{kept.json['id']}", status=204)
        refused = auditor.post(f"{BASE}/searches", {"name": "x", "filters": {"colour": "red"}}, status=422)
        assert refused.json["errors"][0]["pointer"] == "/filters"

    def test_a_milder_rule_and_shorter_retention_are_asked_for(self, auditor: Client, site: Site) -> None:
        codes = [rule["code"] for rule in auditor.get(f"{BASE}/rules").json["data"]]
        assert codes == ["hours", "mass_reads", "denials", "honey"]
        asked = auditor.post(
            f"{BASE}/rules/denials/release",
            {"threshold": 90, "reason": "A scanner runs this week"},
            status=201,
        )
        auditor.post(f"{BASE}/rules/denials/release", {"threshold": 5, "reason": "Stricter"}, status=409)
        kept = auditor.post(
            f"{BASE}/retention/release",
            {"months": {"read": 12}, "reason": "Agreed with the council"},
            status=201,
        )
        auditor.post(f"{BASE}/retention/release", {"months": {"read": 5}, "reason": "Too short"}, status=422)
        found = site.run("select id::text, kind from identity.approval order by created_at")
        assert found == [(asked.json["id"], "audit.rule"), (kept.json["id"], "audit.retention")]
        months = {row["class"]: row["months"] for row in auditor.get(f"{BASE}/retention").json["data"]}
        assert months["read"] == 72, "it counts when somebody else has released it"

    def test_settings_take_a_fresh_proof_that_a_program_does_not_have(self, auditor: Client) -> None:
        refused = auditor.patch(f"{BASE}/rules/denials", {"threshold": 5}, None, status=403)
        assert refused.json["code"] == "not_allowed"
        auditor.post(
            f"{BASE}/sinks", {"name": "x", "transport": "file", "address": "x", "format": "ocsf"}, status=403
        )

    def test_alerts_and_the_history_of_a_record_are_read(
        self, auditor: Client, login: Callable[..., Client]
    ) -> None:
        made = login("Manager").post("/api/v1/accounts", {"name": "Example Works"}, status=201).json
        rows = auditor.get(f"{BASE}/history/account/{made['id']}").json["data"]
        assert [(row["action"], row["record_id"]) for row in rows] == [("create", made["id"])]
        figures: dict[str, Any] = auditor.get(f"{BASE}/alerts").json["figures"]
        assert len(figures["days"]) == len(figures["denials"]) == 7
        auditor.get(f"{BASE}/history/unheard/{new_id()}", status=404)

    def test_others_are_refused(self, login: Callable[..., Client]) -> None:
        manager = login("Manager")
        for path in (
            "events",
            "alerts",
            "rules",
            "retention",
            "searches",
            "sinks",
            f"history/account/{new_id()}",
        ):
            manager.get(f"{BASE}/{path}", status=403)
