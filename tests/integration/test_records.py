"""The life of a record: field rules, references, lost updates with mine, theirs and original, bin and purge."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from crm_server.domain.accounts.models import Account
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.errors import (
    LostUpdate,
    NotAllowed,
    NotFound,
    PreconditionRequired,
    ValidationFailed,
)
from crm_server.services import records


def act_as(session: Session, **changes: object) -> Actor:
    limited = replace(session.info[db.ACTOR], all_permissions=False, **changes)  # type: ignore[arg-type]
    session.info[db.ACTOR] = limited
    return limited


class TestRecords:
    def test_every_problem_is_told_at_once_with_its_pointer(self, session: Session) -> None:
        with pytest.raises(ValidationFailed) as caught:
            records(session, "account").create(
                {
                    "kind": "friend",
                    "email": "nobody",
                    "colour": "red",
                    "version": 3,
                    "parent_id": str(uuid4()),
                }
            )
        found = {item.pointer: item.code for item in caught.value.errors}
        assert found == {
            "/kind": "choice",
            "/email": "email",
            "/colour": "unknown_field",
            "/version": "read_only",
            "/name": "required",
            "/parent_id": "unknown",
        }

    def test_a_reference_to_a_record_in_the_bin_is_refused(self, session: Session) -> None:
        service = records(session, "account")
        parent = service.create({"name": "Parent"})
        service.delete(parent.id)
        with pytest.raises(ValidationFailed) as caught:
            service.create({"name": "Child", "parent_id": str(parent.id)})
        assert [(item.pointer, item.code) for item in caught.value.errors] == [("/parent_id", "unknown")]

    def test_a_lost_update_carries_mine_theirs_and_the_original(self, session: Session) -> None:
        service = records(session, "account")
        account = service.create({"name": "First", "billing_city": "Berlin"})
        service.update(account.id, {"name": "Theirs"}, version=1)
        service.update(account.id, {"billing_city": "Köln"}, version=2)
        with pytest.raises(LostUpdate) as caught:
            service.update(account.id, {"name": "Mine"}, version=1)
        lost = caught.value
        assert lost.version == 3
        assert lost.mine == {"name": "Mine"}
        assert (lost.theirs["name"], lost.theirs["billing_city"]) == ("Theirs", "Köln")
        assert lost.original is not None
        assert (lost.original["name"], lost.original["billing_city"]) == ("First", "Berlin")

    def test_where_the_history_has_a_gap_the_original_is_unknown_and_not_guessed(
        self, session: Session
    ) -> None:
        service = records(session, "account")
        account = service.create({"name": "First"})
        session.execute(update(Account).where(Account.id == account.id).values(grade="b"))
        session.refresh(account)
        with pytest.raises(LostUpdate) as caught:
            service.update(account.id, {"name": "Mine"}, version=1)
        assert caught.value.original is None

    def test_a_change_without_a_version_is_refused(self, session: Session) -> None:
        service = records(session, "account")
        account = service.create({"name": "First"})
        with pytest.raises(PreconditionRequired):
            service.update(account.id, {"name": "Second"}, version=None)

    def test_a_record_goes_to_the_bin_comes_back_and_is_purged_for_good(self, session: Session) -> None:
        service = records(session, "account")
        account = service.create({"name": "Bin"})
        service.delete(account.id)
        with pytest.raises(NotFound):
            service.get(account.id)
        service.restore(account.id)
        assert service.get(account.id).deleted_at is None
        service.delete(account.id)
        service.purge(account.id)
        actions = session.execute(
            text("select action from audit.event where object_ref = :id order by event_id"),
            {"id": account.id},
        ).scalars()
        assert list(actions) == ["create", "delete", "restore", "delete", "purge"]

    def test_without_the_permission_nothing_happens(self, session: Session) -> None:
        act_as(session, permissions=frozenset({"crm:account:read"}))
        with pytest.raises(NotAllowed) as caught:
            records(session, "account").create({"name": "No"})
        assert caught.value.reason == "crm:account:create"

    def test_field_rules_of_the_role_hold_for_writing(self, session: Session) -> None:
        act_as(
            session,
            permissions=frozenset({"crm:account:create"}),
            fields={"general": "write", "financial": "read"},
        )
        with pytest.raises(ValidationFailed) as caught:
            records(session, "account").create({"name": "No", "annual_revenue": 5, "currency": "EUR"})
        assert [(item.pointer, item.code) for item in caught.value.errors] == [
            ("/annual_revenue", "not_allowed")
        ]
