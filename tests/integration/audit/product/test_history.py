"""Who looked at this person, what was changed of a record, and the proof of it. # AUD-9, AUD-10"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.api.conftest import Client
from tests.integration.audit.product.conftest import Site


def page(client: Client, path: str, status: int = 200) -> str:
    found = client.app.get(path, headers={"Authorization": f"Bearer {client.token}"}, status=status)
    return str(found.text)


class TestHistory:
    def test_old_and_new_values_are_shown_to_whom_may_see_them_and_the_whole_can_be_proven(
        self, site: Site, login: Callable[..., Client], tmp_path: Path
    ) -> None:
        site.start_sealer()
        manager = login("Manager")
        made = manager.post("/accounts", {"name": "First GmbH"}, status=201).json
        manager.patch(f"/accounts/{made['id']}", {"name": "Second GmbH"}, made["version"], status=200)
        site.wait_until_sealed()
        address = f"/audit-history/account/{made['id']}"
        both = login("Manager", "Audit administrator")
        shown = page(both, address)
        assert "First GmbH" in shown
        assert "Second GmbH" in shown
        alone = login("Audit administrator")
        assert "First GmbH" not in page(alone, address)
        page(manager, address, 403)
        site.wait_until_sealed()
        answer = both.app.get(
            f"{address}/proof", headers={"Authorization": f"Bearer {both.token}"}, status=200
        )
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            archive.extractall(tmp_path / "proof")
        (folder,) = (tmp_path / "proof").iterdir()
        checked = subprocess.run(
            [sys.executable, "-I", "verify.py", "."], cwd=folder, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout
        assert len(list((folder / "proofs").iterdir())) >= 2
        told = {
            action
            for (action,) in site.run(
                "select action from audit.event where event_class in ('read', 'export')"
            )
        }
        assert {"audit_history", "audit_proof"} <= told, "looking at the history is an event"

    def test_who_looked_at_a_person_includes_lists_and_searches_that_returned_them(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        manager = login("Manager")
        person = manager.post("/contacts", {"family_name": "Watched"}, status=201).json
        other = manager.post("/contacts", {"family_name": "Unwatched"}, status=201).json
        curious = login("Manager")
        curious.get("/contacts?fields=name", status=200)
        curious.get(f"/contacts/{person['id']}", status=200)
        curious.get(f"/contacts/{other['id']}", status=200)
        audit = login("Audit administrator")
        found = audit.get(f"/audit/events?subject={person['subject_id']}&class=read", status=200).json["data"]
        assert {(row["action"], row["actor_id"]) for row in found} == {
            ("list", str(curious.user_id)),
            ("read", str(curious.user_id)),
        }
        assert "Audit history" in page(login("Manager", "Audit administrator"), f"/contacts/{person['id']}")
        assert "Audit history" not in page(manager, f"/contacts/{person['id']}")


class TestSearches:
    def test_a_search_is_kept_for_its_maker_alone_and_found_events_leave_as_a_table(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        login("Manager").post("/accounts", {"name": "=Formula GmbH"}, status=201)
        mine, others = login("Audit administrator"), login("Audit administrator")
        headers = {"Authorization": f"Bearer {mine.token}"}
        mine.app.post(
            "/audit-searches", {"name": "New accounts", "action": "create"}, headers=headers, status=303
        )
        assert "New accounts" in page(mine, "/audit")
        assert "New accounts" not in page(others, "/audit")
        ((key,),) = site.run("select id::text from audit.saved_search")
        foreign = {"Authorization": f"Bearer {others.token}"}
        mine.app.post(f"/audit-searches/{key}/remove", headers=foreign, status=404)
        table = page(mine, "/audit-table?action=create")
        assert table.lstrip("\ufeff").startswith("time,person_id,person,class")
        assert "create" in table
        assert "Formula" not in table
        assert site.run("select count(*) from audit.event where action = 'audit_table'") == [(1,)]
        mine.app.post(f"/audit-searches/{key}/remove", headers=headers, status=303)
        assert site.run("select count(*) from audit.saved_search") == [(0,)]

    def test_a_search_that_is_not_saved_says_why(self, site: Site, login: Callable[..., Client]) -> None:
        auditor = login("Audit administrator")
        headers = {"Authorization": f"Bearer {auditor.token}", "Accept": "text/html"}

        def save(name: str) -> str:
            answer = auditor.app.post(
                "/audit-searches", {"name": name, "action": "create"}, headers=headers, status=303
            )
            return str(answer.follow(headers=headers).text)

        assert "the search needs a name" in save(" ")
        assert "Saved." in save("First")
        rows = "insert into audit.saved_search (id, user_id, name, filters, version, event_id)"
        made = "select gen_random_uuid(), user_id, n::text, filters, 1, gen_random_uuid()"
        site.run(f"{rows} {made} from audit.saved_search, generate_series(2, 50) n")
        assert "you have 50 searches" in save("One too many")
        assert "Saved." in save("First")
        assert site.run("select count(*) from audit.saved_search") == [(50,)]

    @pytest.mark.parametrize(
        "path", ["/audit-alerts", "/audit-retention", "/audit-sinks", "/audit-sinks/new"]
    )
    def test_the_pages_are_for_audit_administrators_alone(
        self, site: Site, login: Callable[..., Client], path: str
    ) -> None:
        page(login("Manager"), path, 403)
        if not path.endswith("new"):
            assert "<h1" in page(login("Audit administrator"), path)
