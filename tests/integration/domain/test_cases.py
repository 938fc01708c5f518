"""Cases go from status to status by the rules, and comments belong to who wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from crm_server.domain.cases.services import TRANSITIONS
from crm_server.kernel.errors import NotAllowed, ValidationFailed
from crm_server.services import records
from tests.integration.domain.conftest import Service, codes

STATUSES = tuple(TRANSITIONS)


class TestStatus:
    @pytest.mark.parametrize("before", STATUSES)
    @pytest.mark.parametrize("after", STATUSES)
    def test_only_the_allowed_steps_can_be_taken(self, service: Service, before: str, after: str) -> None:
        case = service("case").create({"title": "Broken", "status": before})
        if after == before or after in TRANSITIONS[before]:
            service("case").update(case.id, {"status": after}, version=1)
            assert case.status == after
        else:
            with pytest.raises(ValidationFailed) as refused:
                service("case").update(case.id, {"status": after}, version=1)
            assert codes(refused) == {"/status": "transition"}

    def test_times_follow_the_status(self, service: Service) -> None:
        case = service("case").create({"title": "Broken"})
        assert (case.resolved_at, case.closed_at) == (None, None)
        service("case").update(case.id, {"status": "resolved"}, version=case.version)
        resolved = case.resolved_at
        assert resolved is not None
        assert case.closed_at is None
        service("case").update(case.id, {"status": "closed"}, version=case.version)
        assert case.resolved_at == resolved
        assert case.closed_at is not None
        service("case").update(case.id, {"status": "open"}, version=case.version)
        assert (case.resolved_at, case.closed_at) == (None, None)

    def test_the_database_numbers_it(self, service: Service) -> None:
        first, second = (service("case").create({"title": "Broken"}) for _ in range(2))
        assert second.number == first.number + 1 > 1001


class TestCustomer:
    def test_account_and_person_come_with_the_contact(self, session: Session, service: Service) -> None:
        account = service("account").create({"name": "Example AG"})
        contact = service("contact").create({"family_name": "Beispiel", "account_id": str(account.id)})
        other = service("contact").create({"family_name": "Muster"})
        case = service("case").create({"title": "Broken", "contact_id": str(contact.id)})
        assert (case.account_id, case.subject_id) == (account.id, contact.subject_id)
        comment = service("case_comment").create({"case_id": str(case.id), "body": "Seen."})
        assert (comment.subject_id, comment.public) == (contact.subject_id, False)
        service("case").update(case.id, {"contact_id": str(other.id)}, version=1)
        assert case.subject_id == comment.subject_id == other.subject_id


class TestComments:
    def test_only_who_wrote_one_may_change_it(
        self, session: Session, service: Service, user: Callable[..., Any]
    ) -> None:
        case = service("case").create({"title": "Broken"})
        comment = service("case_comment").create({"case_id": str(case.id), "body": "Seen."})
        user("crm:case:update")
        with pytest.raises(NotAllowed):
            records(session, "case_comment").update(comment.id, {"body": "Changed"}, version=1)
        with pytest.raises(NotAllowed):
            records(session, "case_comment").delete(comment.id)
        own = records(session, "case_comment").create({"case_id": str(case.id), "body": "Mine."})
        records(session, "case_comment").update(own.id, {"body": "Mine, changed."}, version=1)
        assert own.body == "Mine, changed."
