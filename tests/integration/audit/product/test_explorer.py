"""The audit administrator's pages: everything can be found, values only by those who may see them. # AUD-10, AUD-11"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from compliance.audit.events import Event, write
from crm_server.domain.approvals import events as approvals
from crm_server.domain.audit.words import ORIGINS, method_words, reason_word
from crm_server.domain.identity import events as identity
from crm_server.kernel.actor import Origin, system_actor
from security.identity.ldap.outcome import Outcome
from security.identity.throttle import ThrottleState
from security.identity.totp import TotpState
from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site

EVERYTHING = {"general": "read", "personal": "read", "financial": "read", "special": "read"}


def page(client: Client, path: str, status: int = 200) -> Any:
    """A page as HTML."""
    headers = {"Authorization": f"Bearer {client.token}", "Accept": "text/html"}
    return client.app.get(path, headers=headers, status=status)


def changed_contact(client: Client) -> str:
    made = client.post("/contacts", {"family_name": "Example", "email": "old@example.com"}, status=201).json
    client.patch(f"/contacts/{made['id']}", {"email": "new@example.com"}, made["version"], status=200)
    return str(made["id"])


class TestFinding:
    def test_events_are_found_by_record_person_action_class_outcome_and_time(
        self, login: Callable[..., Client]
    ) -> None:
        manager, auditor = login("Manager"), login("Audit administrator")
        contact = changed_contact(manager)
        found = auditor.get(f"/audit/events?record={contact}", status=200).json["data"]
        assert [item["action"] for item in found] == ["update", "create"]
        assert found[0]["entity"] == "contact"
        assert found[0]["fields"] == ["email"]
        assert found[0]["actor_id"] == str(manager.user_id)
        assert found[0]["actor"] == "Example User"
        by_person = auditor.get(f"/audit/events?person={manager.user_id}&class=change&action=create").json[
            "data"
        ]
        assert {item["record_id"] for item in by_person if item["entity"] == "contact"} == {contact}
        auditor.get("/contacts", status=403)
        denied = auditor.get(f"/audit/events?outcome=denied&person={auditor.user_id}").json["data"]
        assert len(denied) == 1
        day = found[0]["occurred_at"][:10]
        assert len(auditor.get(f"/audit/events?record={contact}&since={day}&until={day}").json["data"]) == 2
        assert auditor.get(f"/audit/events?record={contact}&until=2020-01-01").json["data"] == []

    def test_pages_follow_each_other_without_gap_or_repeat(self, login: Callable[..., Client]) -> None:
        manager, auditor = login("Manager"), login("Audit administrator")
        for number in range(7):
            manager.post("/accounts", {"name": f"Example {number}"}, status=201)
        seen: list[str] = []
        address = f"/audit/events?person={manager.user_id}&action=create&class=change&limit=3"
        after = ""
        while after is not None:
            answer = auditor.get(address + (f"&after={after}" if after else ""), status=200).json
            seen += [item["id"] for item in answer["data"]]
            after = answer["next"]
        assert len(seen) == len(set(seen)) == 7
        assert seen == sorted(seen, reverse=True)

    def test_what_can_not_be_understood_is_refused(self, login: Callable[..., Client]) -> None:
        auditor = login("Audit administrator")
        wrong = "since=never", "person=me", "class=nothing", "outcome=maybe", "limit=0", "after=x", "else=1"
        wrong = (*wrong, "since=2026-02-02&until=2026-02-01")
        for query in (*wrong, "until=", f"purpose={'x' * 101}"):
            assert auditor.get(f"/audit/events?{query}").status_int == 400, query


class TestWords:
    def test_codes_of_an_event_stand_beside_their_words_in_the_language_of_the_reader(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        auditor = login("Audit administrator")
        auditor.get("/contacts", status=403)
        (denied,) = auditor.get(f"/audit/events?outcome=denied&person={auditor.user_id}").json["data"]
        english = page(auditor, f"/audit/{denied['id']}").html.select_one("main").text
        for words in ("Refused deny", "The permission is missing crm:contact:read", "API token token"):
            assert words in english
        site.run(f"update identity.\"user\" set locale = 'zh_Hans' where id = '{auditor.user_id}'")
        chinese = page(auditor, f"/audit/{denied['id']}").html.select_one("main").text
        for words in ("缺少权限 crm:contact:read", "程序接口", "API 令牌 token"):
            assert words in chinese

    def test_facts_read_in_words_whatever_they_are(self, login: Callable[..., Client]) -> None:
        auditor = login("Audit administrator")
        differences = {"personal": ["masked", "read"]}
        rights: dict[str, Any] = {
            "gained": [],
            "lost": ["crm:contact:read"],
            "fields": differences,
            "scopes": {},
        }
        about = uuid4()
        asked = approvals.APPROVAL, {"kind": "audit.sink", "digest": "0" * 64}
        with auditor.app.app.registry.engine.begin() as connection:
            told = [
                identity.role("role_changed", about, members=2, **rights),
                identity.token("token_created", about, about, permissions=None, fields=["contact.email"]),
                Event(
                    "authorization",
                    "approval_requested",
                    object_type=asked[0],
                    object_ref=about,
                    meta=asked[1],
                ),
            ]
            write(connection, system_actor(), told)
        shown = {
            row["action"]: page(auditor, f"/audit/{row['id']}")
            .html.select_one("main")
            .get_text(" ", strip=True)
            for row in auditor.get(f"/audit/events?record={about}", status=200).json["data"]
        }
        page(auditor, f"/audit?record={about}")
        assert "personal masked → read" in shown["role_changed"]
        assert "Taken away lost crm:contact:read" in shown["role_changed"]
        assert "Fields fields contact.email" in shown["token_created"]
        assert "SIEM sink that gets nothing more audit.sink" in shown["approval_requested"]

    def test_reasons_have_words_as_far_as_they_are_known(self) -> None:
        known = {item.value for item in (*Outcome, *ThrottleState, *TotpState)} - {
            "allowed",
            "signed_in",
            "matched",
        }
        assert [code for code in known if reason_word(code) is None] == []
        assert str(reason_word("row:contact:update")) == "The record is not theirs to change"
        assert str(reason_word("audit:log:read")) == "The permission is missing"
        for code in (
            "something_new",
            "provider:server_error",
            "crm:contact:something",
            "row:contact:something",
        ):
            assert reason_word(code) is None
        assert [str(word) for word in method_words("password+totp")] == ["Password", "Code of an app"]
        assert method_words("password+something") == []
        assert set(ORIGINS) == {*Origin, "demo", "sealer", "sql"}


class TestRights:
    def test_only_audit_administrators_may_look(self, login: Callable[..., Client]) -> None:
        manager = login("Manager")
        manager.get("/audit/events", status=403)
        page(manager, "/audit", 403)
        auditor = login("Audit administrator")
        denied = auditor.get(f"/audit/events?person={manager.user_id}&outcome=denied").json["data"]
        assert [item["reason"] for item in denied] == ["audit:log:read"] * 2
        assert [item["facts"]["route"] for item in denied] == ["audit", "api_audit_events"]

    def test_what_the_rules_beyond_permissions_refuse_is_in_the_log_too(
        self, login: Callable[..., Client]
    ) -> None:
        product = login("Manager").post("/products", {"name": "Example"}, status=201).json["id"]
        narrow = login(own={"permissions": ["crm:product:read"], "field_rules": {"financial": "hidden"}})
        narrow.get(f"/products/{product}/price?currency=EUR", status=403)
        found = (
            login("Audit administrator")
            .get(f"/audit/events?person={narrow.user_id}&action=deny")
            .json["data"]
        )
        assert [item["reason"] for item in found] == ["field:financial"]

    def test_values_are_shown_to_those_alone_whose_roles_include_reading_them(
        self, login: Callable[..., Client]
    ) -> None:
        contact = changed_contact(login("Manager"))
        auditor = login("Audit administrator")
        event = auditor.get(f"/audit/events?record={contact}").json["data"][0]
        seen = auditor.get(f"/audit/events/{event['id']}", status=200).json
        assert seen["fields"] == ["email"]
        assert seen["changes"] == {}
        assert seen["withheld"] is True
        assert "example.com" not in page(auditor, f"/audit/{event['id']}").text

        both = login("Audit administrator", "Manager")
        seen = both.get(f"/audit/events/{event['id']}", status=200).json
        assert seen["changes"] == {"email": {"old": "old@example.com", "new": "new@example.com"}}
        assert "new@example.com" in page(both, f"/audit/{event['id']}").text

        masks = {
            "permissions": ["audit:log:read", "crm:contact:read"],
            "field_rules": EVERYTHING | {"personal": "masked"},
        }
        seen = login(own=masks).get(f"/audit/events/{event['id']}", status=200).json
        assert seen["changes"]["email"]["new"] not in {None, "new@example.com"}

    def test_looking_is_an_event(self, login: Callable[..., Client]) -> None:
        auditor = login("Audit administrator")
        auditor.get("/audit/events?class=change", status=200)
        page(auditor, "/audit")
        found = auditor.get(f"/audit/events?person={auditor.user_id}&action=audit_list").json["data"]
        assert len(found) == 2
        auditor.get(f"/audit/events/{found[0]['id']}", status=200)
        assert len(auditor.get(f"/audit/events?record={found[0]['id']}&action=audit_read").json["data"]) == 1


class TestPages:
    def test_events_read_in_words_and_lead_on(self, login: Callable[..., Client]) -> None:
        contact = changed_contact(login("Manager"))
        both = login("Audit administrator", "Manager")
        text = page(both, f"/audit?record={contact}").text
        assert "Example User" in text
        assert f'href="/contacts/{contact}"' in text
        assert ">E-mail" in text
        assert 'href="/audit"' in page(both, "/").text

    def test_an_empty_answer_says_so_and_offers_the_way_back(self, login: Callable[..., Client]) -> None:
        auditor = login("Audit administrator")
        text = page(auditor, "/audit?until=2020-01-01").text
        assert "No event of the log fits" in text
        assert "Show everything" in text
        assert "An id is expected here" in page(auditor, "/audit?record=x", 400).text
        page(auditor, "/audit/nothing", 404)

    def test_an_unsealed_event_can_not_be_proved_yet(self, login: Callable[..., Client]) -> None:
        auditor = login("Audit administrator")
        event = auditor.get("/audit/events").json["data"][0]
        assert event["index"] is None
        assert auditor.get(f"/audit/events/{event['id']}/proof").status_int == 409


class TestProof:
    def test_the_download_proves_the_event_to_anybody(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        site.start_sealer()
        contact = changed_contact(login("Manager"))
        site.wait_until_sealed()
        auditor = login("Audit administrator")
        event = auditor.get(f"/audit/events?record={contact}").json["data"][0]["id"]
        shown = page(auditor, f"/audit/{event}").text
        assert f'href="/audit/{event}/proof"' in shown
        answer = page(auditor, f"/audit/{event}/proof")
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            archive.extractall(tmp_path / "proof")
        (folder,) = (tmp_path / "proof").iterdir()
        checked = subprocess.run(
            [sys.executable, "-I", "verify.py", "."], cwd=folder, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert event in (folder / "events.jsonl").read_text()
        assert auditor.get(f"/audit/events?record={event}&action=audit_proof").json["data"]
