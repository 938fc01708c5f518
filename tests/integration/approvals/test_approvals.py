"""Two-person release: one mechanism, held by the service and by the database (AUTH-15, ENC-9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from compliance.audit.models import AuditEvent
from compliance.datamap.text import _
from crm_server.domain.approvals import kinds, queries
from crm_server.domain.approvals.models import Approval
from crm_server.domain.approvals.services import (
    ApprovalRequired,
    ApprovalService,
    Kind,
    Release,
    fingerprint,
)
from crm_server.domain.identity.models import User
from crm_server.kernel import db
from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, NotAllowed, NotFound, ValidationFailed
from crm_server.kernel.ids import new_id
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.settings import load
from tests.conftest import copy_database

PERMISSION = "release:test:act"
DONE: list[Release] = []


def act(_session: Session, release: Release) -> Mapping[str, Any]:
    DONE.append(release)
    if release.parameters.get("impossible"):
        raise Conflict(_("This can't be done any more."))
    return {"done": 1}


@pytest.fixture(autouse=True)
def kinds_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_KINDS", {})
    DONE.clear()
    kinds.register(Kind("test.act", _("Act"), PERMISSION, execute=act))
    kinds.register(Kind("test.claim", _("Claimed act"), PERMISSION))
    kinds.register(
        Kind("test.timer", _("Timed act"), PERMISSION, execute=act, unless_vetoed=timedelta(hours=2))
    )


@pytest.fixture
def own_engine(cluster: Cluster, template: str) -> Iterator[Engine]:
    """A database of one test alone, for what commits."""
    copy_database(cluster, template, "kontor_approvals")
    made = db.create_app_engine(
        load({"KONTOR_DATABASE_URL": cluster.url_for(manage.APP, "kontor_approvals")})
    )
    yield made
    made.dispose()


class People:
    """Persons who act in the one transaction of a test."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def make(self, *permissions: str) -> Actor:
        key = new_id()
        self.session.info[db.ACTOR] = system_actor(Origin.CLI)
        self.session.add(User(id=key, login=f"p{key.hex}", name="Person"))
        self.session.flush()
        return Actor(id=key, name="Person", permissions=frozenset(permissions), auth_method="password")

    def as_(self, actor: Actor) -> ApprovalService:
        self.session.info[db.ACTOR] = actor
        return ApprovalService(self.session)


@pytest.fixture
def people(session: Session) -> People:
    return People(session)


@pytest.fixture
def asker(people: People) -> Actor:
    return people.make(PERMISSION)


@pytest.fixture
def second(people: People) -> Actor:
    return people.make(PERMISSION)


def steps(session: Session, approval: Approval) -> list[str]:
    query = select(AuditEvent.action).where(
        AuditEvent.object_ref == approval.id, AuditEvent.action.like("approval%")
    )
    return list(session.scalars(query.order_by(AuditEvent.event_id)))


class TestRelease:
    def test_a_second_person_releases_and_it_is_carried_out_once(
        self, people: People, asker: Actor, second: Actor
    ) -> None:
        asked = people.as_(asker).request("test.act", {"b": 2, "a": 1}, "  because  of it ")
        assert asked.reason == "because of it"
        assert DONE == []
        done = people.as_(second).release(asked.id)
        assert (done.state, done.result) == ("executed", {"done": 1})
        assert DONE[0].released_by == (second.id,)
        assert DONE[0].requested_by == asker.id
        with pytest.raises(Conflict):
            people.as_(second).release(asked.id)
        assert len(DONE) == 1
        assert steps(people.session, asked) == [
            "approval_requested", "approval_released", "approval_executed",
        ]  # fmt: skip

    def test_nobody_releases_their_own_request(self, people: People, asker: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        with pytest.raises(NotAllowed) as refused:
            people.as_(asker).release(asked.id)
        assert refused.value.reason == "own_request"
        with pytest.raises(NotAllowed):
            people.as_(asker).veto(asked.id)

    def test_who_lacks_the_permission_does_not_even_learn_of_it(self, people: People, asker: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        stranger = people.make()
        for attempt in (people.as_(stranger).release, people.as_(stranger).withdraw):
            with pytest.raises(NotFound):
                attempt(asked.id)
        with pytest.raises(NotFound):
            queries.one(people.session, asked.id)
        assert queries.inbox(people.session) == []

    def test_a_program_of_the_system_is_no_second_person(self, people: People, asker: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        for origin in (Origin.CLI, Origin.JOB, Origin.SYSTEM):
            with pytest.raises(NotAllowed, match="not_allowed"):
                people.as_(system_actor(origin)).release(asked.id)

    def test_what_was_asked_for_on_the_command_line_takes_two_others(
        self, people: People, asker: Actor, second: Actor
    ) -> None:
        asked = people.as_(system_actor(Origin.CLI)).request("test.act", {}, "because")
        assert people.as_(asker).release(asked.id).state == "pending"
        with pytest.raises(Conflict):
            people.as_(asker).release(asked.id)
        assert people.as_(second).release(asked.id).state == "executed"
        assert set(DONE[0].released_by) == {asker.id, second.id}

    def test_a_veto_is_final(self, people: People, asker: Actor, second: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        vetoed = people.as_(second).veto(asked.id, "not today")
        assert (vetoed.state, vetoed.remark, vetoed.decided_by) == ("vetoed", "not today", second.id)
        with pytest.raises(Conflict):
            people.as_(second).release(asked.id)
        assert DONE == []

    def test_who_asked_withdraws_and_nobody_else(self, people: People, asker: Actor, second: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        with pytest.raises(NotFound):
            people.as_(second).withdraw(asked.id)
        assert people.as_(asker).withdraw(asked.id).state == "withdrawn"

    def test_a_request_without_reason_and_the_same_request_again_are_refused(
        self, people: People, asker: Actor
    ) -> None:
        with pytest.raises(ValidationFailed):
            people.as_(asker).request("test.act", {}, " \n ")
        people.as_(asker).request("test.act", {"a": 1}, "because")
        with pytest.raises(Conflict):
            people.as_(asker).request("test.act", {"a": 1}, "because again")
        people.as_(asker).request("test.act", {"a": 2}, "something else")

    def test_an_act_that_fails_leaves_nothing_and_says_why(
        self, people: People, asker: Actor, second: Actor
    ) -> None:
        asked = people.as_(asker).request("test.act", {"impossible": True}, "because")
        failed = people.as_(second).release(asked.id)
        assert failed.state == "failed"
        assert "any more" in (failed.remark or "")
        assert steps(people.session, asked)[-1] == "approval_failed"
        with pytest.raises(Conflict):
            people.as_(second).release(asked.id)


class TestTime:
    def test_a_request_expires(self, people: People, asker: Actor, second: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        with time_machine.travel(now() + timedelta(days=3, seconds=1)):
            with pytest.raises(Conflict):
                people.as_(second).release(asked.id)
            assert queries.waiting(people.session) == 0
            assert people.as_(system_actor()).tick() >= 1
        assert asked.state == "expired"

    def test_a_timer_carries_out_unless_somebody_refuses(
        self, people: People, asker: Actor, second: Actor
    ) -> None:  # ENC-9
        # The database looks at its own clock, so the requests are made in the past.
        with time_machine.travel(now() - timedelta(hours=3)):
            lets = people.as_(asker).request("test.timer", {"n": 1}, "because")
            stops = people.as_(asker).request("test.timer", {"n": 2}, "because")
            people.as_(second).veto(stops.id)
        people.as_(system_actor()).tick()
        assert (lets.state, stops.state) == ("executed", "vetoed")
        assert [one.parameters for one in DONE] == [{"n": 1}]
        assert DONE[0].released_by == ()

    def test_before_its_time_a_timer_does_nothing(self, people: People, asker: Actor) -> None:
        asked = people.as_(asker).request("test.timer", {}, "because")
        people.as_(system_actor()).tick()
        assert asked.state == "pending"


class TestClaim:
    def test_a_release_is_claimed_once_and_only_for_what_was_released(
        self, people: People, asker: Actor, second: Actor
    ) -> None:
        asked = people.as_(asker).request("test.claim", {"list": "contact"}, "because")
        with pytest.raises(ApprovalRequired):
            people.as_(asker).claim("test.claim", {"list": "contact"})
        people.as_(second).release(asked.id)
        with pytest.raises(ApprovalRequired):
            people.as_(asker).claim("test.claim", {"list": "lead"})
        with pytest.raises(ApprovalRequired):
            people.as_(second).claim("test.claim", {"list": "contact"})
        assert people.as_(asker).claim("test.claim", {"list": "contact"}).id == asked.id
        with pytest.raises(ApprovalRequired):
            people.as_(asker).claim("test.claim", {"list": "contact"})

    def test_the_fingerprint_does_not_depend_on_order_and_tells_all_else(self) -> None:
        assert fingerprint("a", {"x": 1, "y": 2}) == fingerprint("a", {"y": 2, "x": 1})
        assert len({fingerprint("a", {"x": 1}), fingerprint("b", {"x": 1}), fingerprint("a", {"x": 2})}) == 3


class TestInbox:
    def test_it_counts_what_waits_for_a_person(self, people: People, asker: Actor, second: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        assert queries.waiting(people.session) == 0
        people.as_(second)
        assert queries.waiting(people.session) == 1
        (row,) = [one for one in queries.inbox(people.session) if one.id == asked.id]
        assert row.may_decide
        assert not row.mine
        people.as_(people.make())
        assert queries.waiting(people.session) == 0


def refused(session: Session, statement: str, sentence: str, **values: Any) -> None:
    with pytest.raises(DBAPIError, match=sentence), session.begin_nested():
        session.execute(text(statement), values)


class TestTheDatabaseHoldsTheRule:
    """Whatever statement the application role sends."""

    def test_what_was_asked_for_is_frozen(self, people: People, asker: Actor) -> None:
        asked = people.as_(asker).request("test.act", {"a": 1}, "because")
        for change in (
            "parameters = '{}'",
            "reason = 'x'",
            "kind = 'x'",
            "requested_by = null",
            "needed = 0",
        ):
            statement = f"update identity.approval set {change} where id = :key"
            refused(people.session, statement, "frozen", key=asked.id)

    def test_nothing_is_released_without_a_second_person(self, people: People, asker: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        update = "update identity.approval set state = '{}' where id = :key"
        refused(people.session, update.format("released"), "second person", key=asked.id)
        refused(people.session, update.format("executed"), "does not follow", key=asked.id)
        vote = "insert into identity.approval_vote (approval_id, user_id) values (:key, :user)"
        refused(people.session, vote, "own request", key=asked.id, user=asker.id)

    def test_what_is_decided_does_not_come_back(self, people: People, asker: Actor, second: Actor) -> None:
        asked = people.as_(asker).request("test.act", {}, "because")
        people.as_(second).release(asked.id)
        update = "update identity.approval set state = :state where id = :key"
        for state in ("pending", "released"):
            refused(people.session, update, "does not follow", key=asked.id, state=state)

    def test_nothing_is_deleted_and_no_yes_is_changed(self, people: People, asker: Actor) -> None:
        asked: UUID = people.as_(asker).request("test.act", {}, "because").id
        for statement in (
            "delete from identity.approval where id = :key",
            "delete from identity.approval_vote where approval_id = :key",
            "update identity.approval_vote set voted_at = now() where approval_id = :key",
        ):
            refused(people.session, statement, "permission denied", key=asked)


class TestAtTheSameTime:
    def test_two_releases_at_once_carry_out_once(self, own_engine: Engine) -> None:
        """Both wait for the row; the second finds it decided."""
        factory = db.session_factory(own_engine)
        with db.open_session(factory, system_actor(Origin.CLI)) as setup:
            made = People(setup)
            asker, first, other = (made.make(PERMISSION) for _n in range(3))
            asked = made.as_(asker).request("test.act", {"n": str(new_id())}, "because").id
            setup.commit()
        with db.open_session(factory, first) as one, db.open_session(factory, other) as two:
            ApprovalService(one).release(asked)
            two.execute(text("set local lock_timeout = '200ms'"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                ApprovalService(two).release(asked)
            two.rollback()
            one.commit()
            with pytest.raises(Conflict):
                ApprovalService(two).release(asked)
        assert len(DONE) == 1
