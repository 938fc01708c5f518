"""Contacts and leads: their data subject, their name, the decision chain, and what becomes of a lead."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from compliance.audit.models import AuditEvent
from crm_server.domain.contacts.queries import decision_chain
from crm_server.domain.subjects.models import DataSubject
from crm_server.kernel.errors import Conflict, LostUpdate, NotAllowed, ValidationFailed
from crm_server.models import datamap
from crm_server.services import records
from tests.integration.domain.conftest import Service, codes


def person(**more: Any) -> dict[str, Any]:
    return {"family_name": "Beispiel", "given_name": "Anna", "email": "anna@example.com"} | more


class TestDataSubject:
    @pytest.mark.parametrize("entity", ["contact", "lead"])
    def test_it_is_made_with_the_person(self, session: Session, service: Service, entity: str) -> None:
        made = service(entity).create(person())
        assert session.get(DataSubject, made.subject_id) is not None

    def test_a_refused_contact_leaves_none_behind(self, session: Session, service: Service) -> None:
        before = session.execute(text("select count(*) from crm.data_subject")).scalar()
        with pytest.raises(ValidationFailed):
            service("contact").create(person(email="nonsense"))
        assert session.execute(text("select count(*) from crm.data_subject")).scalar() == before

    def test_purging_the_last_record_of_a_person_removes_it(self, session: Session, service: Service) -> None:
        contact = service("contact").create(person())
        service("contact").delete(contact.id)
        service("contact").purge(contact.id)
        session.expire_all()
        assert session.get(DataSubject, contact.subject_id) is None

    def test_it_stays_while_something_else_is_known_of_the_person(
        self, session: Session, service: Service
    ) -> None:
        contact = service("contact").create(person())
        service("activity").create({"title": "Call", "kind": "call", "contact_id": str(contact.id)})
        service("contact").delete(contact.id)
        service("contact").purge(contact.id)
        session.expire_all()
        assert session.get(DataSubject, contact.subject_id) is not None


class TestName:
    def test_it_is_composed_and_follows_its_parts(self, service: Service) -> None:
        contact = service("contact").create(person())
        assert contact.name == "Anna Beispiel"
        service("contact").update(contact.id, {"family_name": "王", "given_name": "小明"}, version=1)
        assert contact.name == "王小明"

    def test_nobody_writes_it_directly(self, service: Service) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("contact").create(person(name="Another"))
        assert codes(refused) == {"/name": "read_only"}


class TestReportsTo:
    def test_nobody_stands_above_themselves(self, service: Service) -> None:
        boss = service("contact").create(person())
        clerk = service("contact").create(person(reports_to_id=str(boss.id)))
        with pytest.raises(ValidationFailed) as refused:
            service("contact").update(boss.id, {"reports_to_id": str(clerk.id)}, version=1)
        assert codes(refused) == {"/reports_to_id": "cycle"}

    def test_the_decision_chain_goes_from_the_top_down(self, session: Session, service: Service) -> None:
        account = service("account").create({"name": "Example AG"})
        boss = service("contact").create(person(given_name="Boss"))
        clerk = service("contact").create(person(given_name="Clerk", reports_to_id=str(boss.id)))
        other = service("contact").create(person(given_name="Other"))
        for contact, role, influence in (
            (clerk, "user", 2),
            (other, "billing", 1),
            (boss, "decision_maker", 5),
        ):
            service("contact_role").create(
                {
                    "contact_id": str(contact.id),
                    "account_id": str(account.id),
                    "role": role,
                    "influence": influence,
                }
            )
        chain = decision_chain(session, datamap(), account_id=account.id)
        assert [(link.contact["name"], link.level, link.influence) for link in chain] == [
            ("Boss Beispiel", 0, 5),
            ("Other Beispiel", 0, 1),
            ("Clerk Beispiel", 1, 2),
        ]
        assert chain[2].reports_to_id == boss.id

    def test_a_role_belongs_to_an_account_or_an_opportunity(self, service: Service) -> None:
        contact = service("contact").create(person())
        with pytest.raises(ValidationFailed) as refused:
            service("contact_role").create({"contact_id": str(contact.id), "role": "user"})
        assert codes(refused) == {"/account_id": "one_parent"}

    def test_there_is_one_main_contact(self, session: Session, service: Service) -> None:
        account = service("account").create({"name": "Example AG"})
        roles = [
            service("contact_role").create(
                {
                    "contact_id": str(service("contact").create(person()).id),
                    "account_id": str(account.id),
                    "role": "user",
                    "is_primary": True,
                }
            )
            for _ in range(2)
        ]
        session.expire_all()
        assert [role.is_primary for role in roles] == [False, True]


class TestConversion:
    def test_a_lead_becomes_account_contact_and_opportunity_of_the_same_person(
        self, session: Session, service: Service
    ) -> None:
        lead = service("lead").create(person(company="Example AG", source="web", phone="+49 30 1234567"))
        activity = service("activity").create(
            {"title": "First call", "kind": "call", "lead_id": str(lead.id)}
        )
        file = service("attachment").store(("lead", lead.id), "notes.txt", io.BytesIO(b"hello"))
        tag = service("tag").add(("lead", lead.id), name="Trade fair")
        done = service("lead").convert(
            lead.id, version=1, opportunity={"name": "First order", "amount": 100_00}
        )
        contact = service("contact").get(done.contact_id)
        deal = service("opportunity").get(done.opportunity_id)
        assert (contact.subject_id, contact.account_id) == (lead.subject_id, done.account_id)
        assert (contact.name, contact.phone, contact.source) == ("Anna Beispiel", "+49301234567", "web")
        assert service("account").get(done.account_id).name == "Example AG"
        assert (deal.account_id, deal.contact_id, deal.amount) == (done.account_id, contact.id, 100_00)
        assert (activity.contact_id, activity.account_id, activity.opportunity_id) == (
            contact.id,
            done.account_id,
            deal.id,
        )
        assert (file.record_id, file.record_type) == (contact.id, 2)
        assert service("tag").of_record(("contact", contact.id)) == [
            {"id": tag.id, "name": "Trade fair", "colour": "blue"}
        ]
        assert (lead.status, lead.converted_contact_id) == ("converted", contact.id)
        assert lead.converted_at is not None

    def test_a_second_conversion_is_refused_and_says_what_was_made(self, service: Service) -> None:
        lead = service("lead").create(person(company="Example AG"))
        done = service("lead").convert(lead.id)
        with pytest.raises(Conflict) as refused:
            service("lead").convert(lead.id)
        assert refused.value.extra["contact_id"] == done.contact_id

    def test_an_existing_contact_takes_over_the_person(self, session: Session, service: Service) -> None:
        contact = service("contact").create(person())
        account = service("account").create({"name": "There already"})
        lead = service("lead").create(person(company="Example AG"))
        old_subject = lead.subject_id
        activity = service("activity").create({"title": "Call", "kind": "call", "lead_id": str(lead.id)})
        done = service("lead").convert(lead.id, account_id=account.id, contact_id=contact.id)
        session.expire_all()
        assert (done.account_id, done.contact_id, done.opportunity_id) == (account.id, contact.id, None)
        assert lead.subject_id == contact.subject_id == activity.subject_id
        assert contact.account_id == account.id
        assert session.get(DataSubject, old_subject) is None

    def test_a_private_person_needs_no_account(self, service: Service) -> None:
        done = service("lead").convert(service("lead").create(person()).id)
        assert done.account_id is None

    def test_a_conversion_is_taken_back_as_if_it_had_not_been(
        self, service: Service, session: Session
    ) -> None:
        lead = service("lead").create(person(company="Back AG"))
        call = service("activity").create({"kind": "call", "title": "Asked", "lead_id": str(lead.id)})
        done = service("lead").convert(lead.id, opportunity={"name": "Back deal"})
        session.refresh(call)
        assert call.contact_id == done.contact_id
        again = service("lead").revert(lead.id)
        assert (again.status, again.converted_contact_id, again.converted_at) == ("working", None, None)
        assert (call.contact_id, call.opportunity_id, call.lead_id) == (None, None, lead.id)
        assert call.subject_id == lead.subject_id
        for entity, key in (("contact", done.contact_id), ("account", done.account_id)):
            assert service(entity).get(key, deleted=True).deleted_at is not None
        assert service("lead").convert(lead.id).contact_id != done.contact_id

    def test_a_conversion_stays_when_what_it_made_was_changed_or_the_person_was_known(
        self, service: Service
    ) -> None:
        lead = service("lead").create(person())
        done = service("lead").convert(lead.id)
        contact = service("contact").get(done.contact_id)
        service("contact").update(contact.id, {"job_title": "Changed"}, version=contact.version)
        with pytest.raises(Conflict) as changed:
            service("lead").revert(lead.id)
        assert "was changed since" in str(changed.value.detail)
        known = service("contact").create(person())
        other = service("lead").create(person())
        service("lead").convert(other.id, contact_id=known.id)
        with pytest.raises(Conflict) as joined:
            service("lead").revert(other.id)
        assert "joined" in str(joined.value.detail)
        with pytest.raises(Conflict):
            service("lead").revert(service("lead").create(person()).id)

    def test_a_converted_lead_is_history(self, service: Service) -> None:
        lead = service("lead").create(person())
        service("lead").convert(lead.id)
        with pytest.raises(Conflict):
            service("lead").update(lead.id, {"status": "new"}, version=lead.version)

    def test_status_converted_is_not_set_by_hand(self, service: Service) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("lead").create(person(status="converted"))
        assert codes(refused) == {"/status": "use_convert"}

    def test_a_stale_version_is_refused(self, service: Service) -> None:
        lead = service("lead").create(person())
        service("lead").update(lead.id, {"rating": "hot"}, version=1)
        with pytest.raises(LostUpdate):
            service("lead").convert(lead.id, version=1)

    def test_who_may_not_make_accounts_converts_no_lead_to_one(
        self, session: Session, service: Service, user: Callable[..., Any]
    ) -> None:
        lead = service("lead").create(person(company="Example AG"))
        user("crm:lead:update", "crm:contact:create")
        with pytest.raises(NotAllowed):
            records(session, "lead").convert(lead.id)  # type: ignore[attr-defined]

    def test_it_writes_one_event_for_the_lead(self, session: Session, service: Service) -> None:
        lead = service("lead").create(person())
        service("lead").convert(lead.id)
        events = session.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == lead.id).order_by(AuditEvent.event_id)
        ).all()
        assert [event.action for event in events] == ["create", "update"]
        assert events[1].subject_ref == [lead.subject_id]
