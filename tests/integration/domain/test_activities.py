"""Activities and the timeline: everything that happened around a record, in one stream."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm_server.domain.activities.queries import Timeline, timeline
from crm_server.kernel.clock import now
from crm_server.kernel.errors import BadQuery, NotAllowed, NotFound, ValidationFailed
from crm_server.kernel.ids import new_id
from crm_server.models import datamap
from tests.integration.domain.conftest import Service, codes


def kinds(found: Timeline) -> list[str]:
    return sorted(item.kind for item in found.items)


class TestActivity:
    def test_done_has_a_time_and_opening_takes_it_away(self, service: Service) -> None:
        task = service("activity").create({"title": "Send offer"})
        assert (task.status, task.done_at) == ("open", None)
        service("activity").update(task.id, {"status": "done"}, version=1)
        assert task.done_at is not None
        service("activity").update(task.id, {"status": "open"}, version=task.version)
        assert task.done_at is None

    def test_a_note_is_done_when_it_is_written(self, service: Service) -> None:
        assert service("activity").create({"title": "Seen at the fair", "kind": "note"}).status == "done"

    def test_it_belongs_to_the_person_that_it_is_about(self, service: Service) -> None:
        contact = service("contact").create({"family_name": "Beispiel"})
        lead = service("lead").create({"family_name": "Muster"})
        activity = service("activity").create({"title": "Call", "lead_id": str(lead.id)})
        assert activity.subject_id == lead.subject_id
        service("activity").update(activity.id, {"contact_id": str(contact.id)}, version=1)
        assert activity.subject_id == contact.subject_id
        service("activity").update(
            activity.id, {"contact_id": None, "lead_id": None}, version=activity.version
        )
        assert activity.subject_id is None

    def test_it_does_not_end_before_it_starts(self, service: Service) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("activity").create(
                {"title": "Meet", "starts_at": "2026-01-02T10:00:00Z", "ends_at": "2026-01-02T09:00:00Z"}
            )
        assert codes(refused) == {"/ends_at": "order"}

    def test_a_participant_is_a_contact_or_a_user(self, service: Service) -> None:
        activity = service("activity").create({"title": "Meet", "kind": "meeting"})
        with pytest.raises(ValidationFailed) as refused:
            service("participant").create({"activity_id": str(activity.id)})
        assert codes(refused) == {"/contact_id": "one_person"}

    def test_it_stands_on_the_timeline_at_the_time_it_happened(
        self, session: Session, service: Service
    ) -> None:
        activity = service("activity").create({"title": "Meet", "starts_at": "2020-01-02T10:00:00Z"})
        session.refresh(activity)
        assert activity.happened_at == activity.starts_at


@pytest.fixture
def story(session: Session, service: Service) -> dict[str, Any]:
    account = service("account").create({"name": "Example AG"})
    contact = service("contact").create({"family_name": "Beispiel", "account_id": str(account.id)})
    deal = service("opportunity").create({"name": "Deal", "account_id": str(account.id), "amount": 500})
    service("activity").create({"title": "Call", "kind": "call", "contact_id": str(contact.id)})
    meeting = service("activity").create({"title": "Meet", "kind": "meeting"})
    service("participant").create({"activity_id": str(meeting.id), "contact_id": str(contact.id)})
    case = service("case").create({"title": "Broken", "contact_id": str(contact.id)})
    service("case_comment").create({"case_id": str(case.id), "body": "We look at it."})
    service("case").update(case.id, {"status": "closed"}, version=1)
    service("attachment").store(("contact", contact.id), "notes.txt", io.BytesIO(b"hello"))
    service("contact").update(contact.id, {"job_title": "Buyer"}, version=1)
    return {"account": account, "contact": contact, "deal": deal, "case": case}


class TestTimeline:
    def test_a_contact_shows_all_kinds_of_happenings(self, session: Session, story: dict[str, Any]) -> None:
        found = timeline(session, datamap(), "contact", story["contact"].id)
        assert kinds(found) == [
            "activity",
            "activity",
            "attachment",
            "case_closed",
            "case_opened",
            "case_resolved",
            "change",
            "change",
        ]
        moments = [item.at for item in found.items]
        assert moments == sorted(moments, reverse=True)
        change = next(item for item in found.items if item.kind == "change")
        assert change.data == {"action": "update", "fields": ["job_title"]}

    def test_an_account_includes_its_contacts_and_opportunities(
        self, session: Session, story: dict[str, Any]
    ) -> None:
        found = timeline(session, datamap(), "account", story["account"].id)
        assert {"activity", "attachment", "stage", "change", "case_opened"} <= set(kinds(found))
        assert {item.entity for item in found.items if item.kind == "change"} == {
            "account",
            "contact",
            "opportunity",
        }
        (stage,) = [item for item in found.items if item.kind == "stage"]
        assert (stage.data["to_stage"], stage.data["amount"]) == ("Prospecting", 500)

    def test_a_case_shows_its_comments(self, session: Session, story: dict[str, Any]) -> None:
        found = timeline(session, datamap(), "case", story["case"].id)
        assert kinds(found) == ["change", "change", "comment"]

    def test_its_pages_follow_each_other_without_gaps_or_repeats(
        self, session: Session, story: dict[str, Any]
    ) -> None:
        whole = timeline(session, datamap(), "account", story["account"].id).items
        seen: list[Any] = []
        after = None
        while True:
            page = timeline(session, datamap(), "account", story["account"].id, limit=2, after=after)
            seen += page.items
            after = page.next
            if after is None:
                break
        assert [(item.kind, item.id) for item in seen] == [(item.kind, item.id) for item in whole]

    def test_what_the_actor_may_not_read_is_left_out(
        self, session: Session, story: dict[str, Any], user: Callable[..., Any]
    ) -> None:
        user("crm:contact:read", "crm:activity:read", personal="masked")
        found = timeline(session, datamap(), "contact", story["contact"].id)
        assert not any(item.kind.startswith("case") for item in found.items)
        assert {item.data["title"] for item in found.items if item.kind == "activity"} == {"***"}
        user("crm:activity:read")
        with pytest.raises(NotAllowed):
            timeline(session, datamap(), "contact", story["contact"].id)

    def test_no_record_and_no_cursor_of_this_timeline(self, session: Session) -> None:
        with pytest.raises(NotFound):
            timeline(session, datamap(), "contact", new_id())

    def test_a_foreign_cursor_is_a_bad_query(self, session: Session, story: dict[str, Any]) -> None:
        with pytest.raises(BadQuery):
            timeline(session, datamap(), "contact", story["contact"].id, after="bm9uc2Vuc2U=")

    def test_a_page_of_a_long_history_reads_no_more_than_it_shows(
        self, session: Session, service: Service
    ) -> None:
        contact = service("contact").create({"family_name": "Beispiel"})
        session.execute(
            text(
                "insert into crm.activity (id, kind, status, contact_id, done_at) "
                "select gen_random_uuid(), 'call', 'done', :id, now() - n * interval '1 hour' "
                "from generate_series(1, 3000) n"
            ),
            {"id": contact.id},
        )
        session.execute(text("analyze crm.activity"))
        found = timeline(session, datamap(), "contact", contact.id, limit=20)
        assert len(found.items) == 20
        assert found.items[-1].at > now() - timedelta(hours=21)
