"""Parts, actions, tags and files of records over the API."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.api.conftest import Client


@pytest.fixture(scope="module")
def pipeline(manager: Client) -> dict[str, Any]:
    made = manager.post("/pipelines", {"name": f"Pipeline {uuid4()}"}, status=201).json["id"]
    stages = {
        name: manager.post(
            "/stages",
            {
                "name": name,
                "pipeline_id": made,
                "kind": kind,
                "position": position,
                "probability": probability,
            },
            status=201,
        ).json["id"]
        for position, (name, kind, probability) in enumerate(
            [("New", "open", 10), ("Offer", "open", 50), ("Won", "won", 100), ("Lost", "lost", 0)]
        )
    }
    return {"id": made, "stages": stages}


class TestActions:
    def test_a_lead_is_converted_once_however_often_it_is_asked(
        self, manager: Client, pipeline: dict[str, Any]
    ) -> None:
        lead = manager.post("/leads", {"family_name": "Example", "company": "Example AG"}, status=201).json[
            "id"
        ]
        deal = {"name": "Deal", "pipeline_id": pipeline["id"], "stage_id": pipeline["stages"]["New"]}
        key = str(uuid4())
        first = manager.post(f"/leads/{lead}/convert", {"opportunity": deal}, Idempotency_Key=key, status=200)
        again = manager.post(f"/leads/{lead}/convert", {"opportunity": deal}, Idempotency_Key=key, status=200)
        assert again.json == first.json
        contact = manager.get(f"/contacts/{first.json['contact_id']}?include=account", status=200).json
        assert (contact["name"], contact["account"]["name"]) == ("Example", "Example AG")
        assert manager.get(f"/opportunities/{first.json['opportunity_id']}").json["name"] == "Deal"
        refused = manager.post(f"/leads/{lead}/convert", {}, status=409).json
        assert refused["contact_id"] == first.json["contact_id"]
        manager.post(f"/leads/{lead}/convert", {"account_id": "1", "x": 1}, status=422)

    def test_a_conversion_is_taken_back(self, manager: Client) -> None:
        lead = manager.post("/leads", {"family_name": "Zurück", "company": "Zurück KG"}).json["id"]
        made = manager.post(f"/leads/{lead}/convert", {}, status=200).json
        back = manager.post(f"/leads/{lead}/revert-conversion", {}, status=200).json
        assert (back["status"], back["converted_contact_id"]) == ("working", None)
        manager.get(f"/contacts/{made['contact_id']}", status=404)
        assert manager.post(f"/leads/{lead}/revert-conversion", {}, status=409).json["code"] == "conflict"

    def test_what_is_wrong_with_a_part_of_a_conversion_is_told_at_the_part(self, manager: Client) -> None:
        lead = manager.post("/leads", {"family_name": "Example", "company": "Example AG"}, status=201).json
        told = manager.post(f"/leads/{lead['id']}/convert", {"opportunity": {"x": 1}}, status=422).json[
            "errors"
        ]
        assert "/opportunity/x" in {item["pointer"] for item in told}
        assert all(item["pointer"].startswith("/opportunity/") for item in told)

    def test_a_deal_moves_along_its_pipeline(self, manager: Client, pipeline: dict[str, Any]) -> None:
        stages = pipeline["stages"]
        deal = manager.post(
            "/opportunities",
            {"name": "Deal", "pipeline_id": pipeline["id"], "stage_id": stages["New"]},
            status=201,
        ).json["id"]
        path = f"/opportunities/{deal}/move"
        manager.post(path, {"stage_id": stages["Offer"]}, status=428)
        moved = manager.post(path, {"stage_id": stages["Offer"]}, If_Match='"1"', status=200)
        assert (moved.json["probability"], moved.json["status"]) == (50, "open")
        manager.post(path, {"stage_id": stages["Won"]}, If_Match='"1"', status=412)
        manager.post(path, {"stage_id": str(uuid4())}, If_Match=moved.headers["ETag"], status=422)
        won = manager.post(path, {"stage_id": stages["Won"]}, If_Match=moved.headers["ETag"], status=200)
        assert won.json["status"] == "won"
        history = manager.get(f"/opportunities/{deal}/stage-changes", status=200).json["data"]
        assert {item["to_stage_id"] for item in history} >= {stages["Offer"], stages["Won"]}
        refused = manager.post(f"/opportunities/{deal}/stage-changes", {}, status=405)
        assert refused.headers["Allow"] == "GET, HEAD"
        assert manager.call("PUT", f"/opportunities/{deal}/stage-changes", {}).headers["Allow"] == "GET, HEAD"

    def test_tags_are_put_on_and_taken_off(self, manager: Client) -> None:
        account = manager.post("/accounts", {"name": "Tagged"}).json["id"]
        name = f"Tag {uuid4()}"
        tag = manager.post(f"/accounts/{account}/tags", {"name": name}, status=200).json["id"]
        manager.post(f"/accounts/{account}/tags", {"tag_id": tag}, status=200)
        assert [
            item["name"] for item in manager.get(f"/accounts/{account}/tags", status=200).json["data"]
        ] == [name]
        manager.delete(f"/accounts/{account}/tags/{tag}", status=204)
        assert manager.get(f"/accounts/{account}/tags").json["data"] == []
        manager.post(f"/accounts/{account}/tags", {}, status=422)
        manager.post(f"/accounts/{uuid4()}/tags", {"name": name}, status=404)

    def test_files_go_in_and_come_out_as_they_were(self, manager: Client, login: Any) -> None:
        account = manager.post("/accounts", {"name": "With file"}).json["id"]
        body = b"%PDF-1.7\n" + b"x" * 200_000
        kind = {"Content_Type": "application/octet-stream"}
        path = f"/accounts/{account}/attachments"
        made = manager.post(f"{path}?filename=Offer.pdf", body, status=201, **kind)
        assert (made.json["filename"], made.json["size"], made.json["media_type"]) == (
            "Offer.pdf",
            len(body),
            "application/pdf",
        )
        assert [item["id"] for item in manager.get(path, status=200).json["data"]] == [made.json["id"]]
        sent = manager.get(f"/attachments/{made.json['id']}/content", status=200)
        assert sent.body == body
        assert "attachment" in sent.headers["Content-Disposition"]
        assert "sandbox" in sent.headers["Content-Security-Policy"]
        assert len(login("Reader").get(path, status=200).json["data"]) == 1
        refused = login("Reader").get(f"/attachments/{made.json['id']}/content", status=403).json
        assert (refused["reason"], "personal data" in refused["detail"]) == ("field:personal", True)
        stranger = login(own={"permissions": ["crm:tag:read"], "field_rules": {"general": "read"}})
        stranger.get(f"/attachments/{made.json['id']}/content", status=404)
        manager.delete(f"/attachments/{made.json['id']}", status=204)
        manager.get(f"/attachments/{made.json['id']}/content", status=404)
        manager.post(path, body, status=400, **kind)
        manager.post(f"{path}?filename=empty.txt", b"", status=400, **kind)


class TestParts:
    def test_lines_of_a_deal_live_below_it(self, manager: Client, pipeline: dict[str, Any]) -> None:
        body = {"name": "Deal", "pipeline_id": pipeline["id"], "stage_id": pipeline["stages"]["New"]}
        deal = manager.post("/opportunities", body, status=201).json["id"]
        other = manager.post("/opportunities", body, status=201).json["id"]
        path = f"/opportunities/{deal}/opportunity-lines"
        line = {"description": "Machine", "quantity_milli": 2000, "unit_price": 50000}
        made = manager.post(path, line, status=201)
        assert (made.json["total"], made.json["opportunity_id"], made.headers["ETag"]) == (
            100000,
            deal,
            '"1"',
        )
        one = made.headers["Location"].removeprefix("https://localhost")
        assert manager.get(one, status=200).json == made.json
        assert manager.get(f"{one}?fields=total").json == {
            "id": made.json["id"],
            "version": 1,
            "total": 100000,
        }
        changed = manager.patch(one, {"discount_percent": 10}, 1, status=200)
        assert changed.json["total"] == 90000
        assert [item["total"] for item in manager.get(f"{path}?sort=position").json["data"]] == [90000]
        # It does not hang on the other deal, and does not go there.
        manager.get(f"/opportunities/{other}/opportunity-lines/{made.json['id']}", status=404)
        manager.patch(one, {"opportunity_id": other}, 2, status=422)
        manager.delete(f"/opportunities/{other}/opportunity-lines/{made.json['id']}", status=404)
        manager.delete(one, status=204)
        assert manager.get(path).json["data"] == []
        manager.get(f"/opportunities/{uuid4()}/opportunity-lines", status=404)

    def test_who_may_only_read_the_record_may_only_read_its_parts(
        self, manager: Client, reader: Client
    ) -> None:
        case = manager.post("/cases", {"title": "Broken"}, status=201).json["id"]
        manager.post(f"/cases/{case}/case-comments", {"body": "Seen"}, status=201)
        assert len(reader.get(f"/cases/{case}/case-comments", status=200).json["data"]) == 1
        reader.post(f"/cases/{case}/case-comments", {"body": "No"}, status=403)

    def test_a_part_is_reached_from_each_record_that_it_ties(self, manager: Client) -> None:
        account = manager.post("/accounts", {"name": "Tied"}).json["id"]
        contact = manager.post("/contacts", {"family_name": "Tied"}).json["id"]
        made = manager.post(
            f"/accounts/{account}/contact-roles", {"contact_id": contact, "role": "approver"}, status=201
        ).json
        listed = manager.get(f"/contacts/{contact}/contact-roles?include=account", status=200).json["data"]
        assert [(item["id"], item["account"]["name"]) for item in listed] == [(made["id"], "Tied")]
