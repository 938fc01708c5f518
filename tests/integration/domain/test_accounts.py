"""The hierarchy of accounts has no cycles, and it can be read from both ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from crm_server.domain.accounts.queries import MAX_DEPTH, ancestors, subtree
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.errors import ValidationFailed
from crm_server.services import records
from tests.integration.domain.conftest import Service, codes


def chain(service: Service, length: int) -> list[Any]:
    made: list[Any] = []
    for level in range(length):
        parent: UUID | None = made[-1].id if made else None
        raw: dict[str, Any] = {"name": f"Level {level}"}
        made.append(service("account").create(raw | ({"parent_id": str(parent)} if parent else {})))
    return made


class TestHierarchy:
    def test_ancestors_and_subtree_meet_in_the_middle(self, session: Session, service: Service) -> None:
        top, middle, bottom = chain(service, 3)
        assert [item.id for item in ancestors(session, bottom.id)] == [bottom.id, middle.id, top.id]
        assert [(item.id, item.distance) for item in subtree(session, top.id)] == [
            (top.id, 0),
            (middle.id, 1),
            (bottom.id, 2),
        ]

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_a_cycle_is_refused(self, service: Service, place: int) -> None:
        accounts = chain(service, 3)
        with pytest.raises(ValidationFailed) as refused:
            service("account").update(accounts[0].id, {"parent_id": str(accounts[place].id)}, version=1)
        assert codes(refused) == {"/parent_id": "cycle"}

    def test_it_has_a_greatest_depth(self, service: Service) -> None:
        accounts = chain(service, MAX_DEPTH)
        with pytest.raises(ValidationFailed) as refused:
            service("account").create({"name": "Too deep", "parent_id": str(accounts[-1].id)})
        assert codes(refused) == {"/parent_id": "too_deep"}

    def test_moving_a_subtree_counts_its_depth(self, service: Service) -> None:
        tall, other = chain(service, MAX_DEPTH - 1), chain(service, 2)
        with pytest.raises(ValidationFailed):
            service("account").update(tall[0].id, {"parent_id": str(other[-1].id)}, version=1)
        service("account").update(tall[0].id, {"parent_id": str(other[0].id)}, version=1)
        assert tall[0].parent_id == other[0].id

    def test_an_account_in_the_bin_is_no_parent(self, service: Service) -> None:
        gone = service("account").create({"name": "Gone"})
        service("account").delete(gone.id)
        with pytest.raises(ValidationFailed) as refused:
            service("account").create({"name": "New", "parent_id": str(gone.id)})
        assert codes(refused) == {"/parent_id": "unknown"}

    def test_two_accounts_can_not_become_each_others_parent_at_the_same_moment(self, engine: Engine) -> None:
        factory = db.session_factory(engine)
        with db.open_session(factory, system_actor()) as session:
            one, other = (records(session, "account").create({"name": name}) for name in ("One", "Other"))
            db.commit(session)

        def put_below(child: UUID, parent: UUID) -> str:
            with db.open_session(factory, system_actor()) as session:
                try:
                    records(session, "account").update(child, {"parent_id": str(parent)}, version=1)
                    db.commit(session)
                except ValidationFailed:
                    return "refused"
                return "done"

        with ThreadPoolExecutor(2) as pool:
            results = pool.map(put_below, (one.id, other.id), (other.id, one.id))
            assert sorted(results) == ["done", "refused"]
        with db.open_session(factory, system_actor()) as session:
            for key in (one.id, other.id):
                records(session, "account").delete(key)
                records(session, "account").purge(key)
            db.commit(session)
