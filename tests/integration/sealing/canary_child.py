"""The workload of the canary test (ENC-2), in a process of its own; its log and temporary files are searched."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import text
from webtest import TestApp

from crm_server import tasks
from crm_server.app import main
from crm_server.kernel.actor import system_actor
from crm_server.settings import load
from tests.searching import searching, with_search


class Work:
    """Calls of the API with canaries in them."""

    def __init__(self, canaries: dict[str, Any]) -> None:
        self.canaries = canaries
        self.more: dict[str, str] = canaries["more"]
        self.settings = with_search(load(), Path(os.environ["TMPDIR"]) / "s")
        self.site = main(self.settings)
        environ = {
            "HTTP_HOST": "localhost",
            "wsgi.url_scheme": "https",
            "kontor.identity": system_actor(),
            "HTTP_AUTHORIZATION": "Bearer none",
        }
        self.api = TestApp(self.site, extra_environ=environ)
        self.made: dict[str, str] = {}

    def call(
        self, method: str, path: str, body: Any = None, status: int | None = None, **headers: str
    ) -> Any:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.api._gen_request(
            method, "/api/v1" + path, params=raw, content_type=kind, headers=given, expect_errors=True
        )
        assert status is None or answer.status_int == status, (path, answer.text)
        return answer

    def records(self) -> None:
        """Records with a canary in every sealed field, and bad input of every kind."""
        fact = {
            "name": "nickname",
            "label_en": "Name",
            "semantic": "text",
            "policy": {"handling": "person_fact"},
        }
        self.call("POST", "/contacts/custom-fields", fact, 201)
        for entity, collection, more in (
            ("contact", "contacts", {"country": "DE", "external_id": "twice"}),
            ("lead", "leads", {}),
            ("case", "cases", {}),
            ("activity", "activities", {"kind": "call"}),
        ):
            body = dict(self.canaries[entity]) | more
            if entity in ("case", "activity"):
                body["contact_id"] = self.made["contact"]
            if entity == "contact":
                body["custom"] = {"nickname": self.more["custom"]}
            key = self.call("POST", f"/{collection}", body, 201, Idempotency_Key=f"once-{entity}").json["id"]
            self.made[entity] = key
            # A taken external id, a broken reference, a wrong type, a lost update.
            self.call("POST", f"/{collection}", body | {"owner_id": "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e"})
            self.call("POST", f"/{collection}", body | {"external_id": "twice"})
            self.call("PATCH", f"/{collection}/{key}", self.canaries[entity], If_Match='"9"')
            self.call("GET", f"/{collection}/{key}")
            self.call("GET", f"/{collection}?limit=50")
        comment = {"body": self.canaries["case_comment"]["body"]}
        self.call("POST", f"/cases/{self.made['case']}/case-comments", comment, 201)

    def files(self) -> None:
        """An attachment, a saved view, and an import of which a row is refused."""
        more = self.more
        place = f"/contacts/{self.made['contact']}/attachments?filename={quote(more['filename'])}.txt"
        stored = self.call("POST", place, more["file"].encode() * 5000, 201).json["id"]
        assert more["file"] in self.call("GET", f"/attachments/{stored}/content", None, 200).text
        condition = {"field": "family_name", "operator": "contains", "value": more["view"]}
        view = {"name": "Mine", "definition": {"filter": condition}}
        self.call("POST", "/contacts/views", view, 201)
        assert self.call("GET", "/contacts/views").json["data"][0]["definition"] == view["definition"]
        lines = (
            "First name;Last name;E-mail",
            f"Ann;{more['imported']};{more['mail']}",
            f"Ben;{more['refused']};not an address",
        )
        upload = "/imports?entity=contact&filename=people.csv"
        key = self.call("POST", upload, "\n".join(lines).encode(), 201).json["id"]
        for act in ("check", "run"):
            self.call("POST", f"/imports/{key}/{act}", None, 202)
            tasks.worker(self.settings).run(until_empty=True)
        assert self.call("GET", f"/imports/{key}").json["counts"]["created"] == 1

    def searches(self) -> None:
        """Searches and exports, with the search service running."""
        with searching(self.settings):
            found = self.call("GET", "/contacts?q=" + quote(self.more["imported"]), None, 200).json["data"]
            assert [one["family_name"] for one in found] == [self.more["imported"]]
            part = quote(self.canaries["contact"]["family_name"][:12])
            self.call("GET", f"/contacts?sort=-family_name&filter[family_name][contains]={part}", None, 200)
            self.call("GET", "/contacts?filter[email]=" + quote(self.more["mail"]), None, 200)
            for kind in ("csv", "xlsx", "vcard"):
                assert len(self.call("GET", f"/contacts/export?format={kind}", None, 200).body) > 100
            # The filter of a mass export that waits for a second person.
            asked = {"reason": "For the campaign"}
            place = f"/contacts/export/release?format=csv&filter[family_name][contains]={part}"
            self.call("POST", place, asked, 201)
        tasks.worker(self.settings).run(until_empty=True)

    def statements(self) -> None:
        """What constraints refuse; the server would quote the row if it were not told to be terse."""
        canary = self.canaries["contact"]["family_name"]
        for statement in (
            "insert into crm.contact (id, country) values (gen_random_uuid(), :canary)",
            "update crm.contact set sealed_identity = convert_to(:canary, 'UTF8')",
        ):
            with self.site.registry.engine.connect() as connection:
                try:
                    connection.execute(text("select set_config('kontor.rows', '*', true)"))
                    connection.execute(text(statement), {"canary": canary})
                    connection.commit()
                except Exception as error:  # noqa: BLE001 - any refusal will do; what it writes is looked at.
                    sys.stdout.write(f"refused {type(error).__name__}\n")

    def crash(self) -> None:
        """Abort a copy of this process, which holds everything in memory: it must leave no picture of it."""
        if os.fork() == 0:
            os.chdir(os.environ["TMPDIR"])
            os.abort()
        assert os.WCOREDUMP(os.wait()[1]) is False


if __name__ == "__main__":
    work = Work(json.loads(sys.argv[1]))
    for step in (work.records, work.files, work.searches, work.statements, work.crash):
        step()
