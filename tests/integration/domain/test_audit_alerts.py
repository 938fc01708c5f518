"""Rules over the log raise alarms once, as events of the log."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from compliance.audit.events import Event, write
from crm_server.domain.approvals.services import ApprovalRequired
from crm_server.domain.audit import alerts
from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.errors import ValidationFailed
from crm_server.kernel.ids import new_id


def act(session: Session, count: int, event: Callable[[], Event]) -> Actor:
    """So many events by a person who did nothing else."""
    somebody = Actor(new_id(), "Somebody", Origin.WEB, purpose="sales")
    write(session.connection(), somebody, [event() for _ in range(count)])
    return somebody


class TestRules:
    def test_many_denials_are_told_once(self, session: Session) -> None:
        guilty = act(session, 20, lambda: Event("authorization", "deny", "denied"))
        act(session, 19, lambda: Event("authorization", "deny", "denied"))
        found = [one for one in alerts.examine(session) if one.rule == "denials"]
        assert [(one.actor, one.count) for one in found] == [(guilty.id, 20)]
        assert [one for one in alerts.examine(session) if one.actor == guilty.id] == []
        told = session.execute(
            text(
                "select severity, meta from audit.event where action = 'alert_denials' and object_ref = :actor"
            ),
            {"actor": guilty.id},
        ).one()
        assert told.severity == 4
        assert told.meta["count"] == 20

    def test_each_record_of_a_list_counts_as_read(self, session: Session) -> None:
        greedy = act(session, 20, lambda: Event("read", "list", meta={"count": 100}))
        act(session, 20, lambda: Event("read", "list", meta={"count": 99}))
        found = {one.actor: one.count for one in alerts.examine(session) if one.rule == "mass_reads"}
        assert found == {greedy.id: 2000}

    def test_whoever_touches_a_honey_record_is_told(self, session: Session) -> None:
        bait = new_id()
        alerts.change(
            session,
            "honey",
            {"enabled": "true", "threshold": "1", "minutes": "60", "records": f"{bait}\n"},
        )
        curious = act(session, 1, lambda: Event("read", "read", object_type=2, object_ref=bait))
        act(session, 5, lambda: Event("read", "read", object_type=2, object_ref=new_id()))
        assert [one.actor for one in alerts.examine(session) if one.rule == "honey"] == [curious.id]

    def test_odd_hours_go_by_the_persons_own_clock(self, session: Session) -> None:
        zone, hour = session.execute(
            text(
                "select name, extract(hour from now() at time zone name)::int from pg_timezone_names "
                "where name in ('Asia/Shanghai', 'America/Los_Angeles', 'Europe/Berlin', 'Pacific/Auckland') "
                "order by abs(extract(hour from now() at time zone name) - 2) limit 1"
            )
        ).one()
        user = new_id()
        session.execute(
            text(
                "insert into identity.\"user\" (id, login, name, timezone) values (:id, :login, 'Night Owl', :zone)"
            ),
            {"id": user, "login": f"owl-{user}", "zone": zone},
        )
        inside = {"from": str(max(0, hour - 1)), "to": str(min(24, hour + 2))}
        outside = {"from": str((hour + 2) % 23), "to": str((hour + 2) % 23 + 1)}
        owl = Actor(user, "Night Owl", Origin.WEB)
        write(session.connection(), owl, [Event("read", "read") for _ in range(20)])
        rule = {"enabled": "true", "threshold": "20", "minutes": "60"}
        alerts.change(session, "hours", rule | inside, released=True)
        assert [one for one in alerts.examine(session) if one.rule == "hours"] == []
        alerts.change(session, "hours", rule | outside, released=True)
        assert [one.actor for one in alerts.examine(session) if one.rule == "hours"] == [user]

    def test_a_disabled_rule_finds_nothing(self, session: Session) -> None:
        act(session, 30, lambda: Event("authorization", "deny", "denied"))
        alerts.change(session, "denials", {"enabled": "", "threshold": "20", "minutes": "10"}, released=True)
        assert [one for one in alerts.examine(session) if one.rule == "denials"] == []

    @pytest.mark.parametrize(
        "code, given, field",
        [
            ("denials", {"threshold": "0", "minutes": "10"}, "/threshold"),
            ("denials", {"threshold": "5", "minutes": "1441"}, "/minutes"),
            ("hours", {"threshold": "5", "minutes": "10", "from": "24", "to": "5"}, "/from"),
            ("honey", {"threshold": "1", "minutes": "10", "records": "not-an-id"}, "/records"),
        ],
    )
    def test_what_makes_no_sense_is_refused_at_its_field(
        self, session: Session, code: str, given: dict[str, str], field: str
    ) -> None:
        with pytest.raises(ValidationFailed) as refused:
            alerts.change(session, code, given)
        assert [item.pointer for item in refused.value.errors] == [field]

    def test_the_figures_of_the_week_count_by_day(self, session: Session) -> None:
        before = alerts.figures(session)
        act(session, 3, lambda: Event("authentication", "login", "failure"))
        act(session, 2, lambda: Event("export", "export"))
        after = alerts.figures(session)
        assert len(after.days) == 7
        assert after.failed_logins[-1] == before.failed_logins[-1] + 3
        assert after.exports[-1] == before.exports[-1] + 2


class TestMilder:
    @pytest.mark.parametrize(
        "code,change,milder",
        [
            ("denials", {"threshold": "21"}, True),
            ("denials", {"minutes": "9"}, True),
            ("denials", {"enabled": ""}, True),
            ("denials", {"threshold": "5", "minutes": "60"}, False),
            ("hours", {"from": "5"}, True),
            ("hours", {"to": "23"}, True),
            ("hours", {"from": "7", "to": "20"}, False),
        ],
    )
    def test_a_rule_that_would_find_less_takes_a_second_person(
        self, session: Session, code: str, change: dict[str, str], milder: bool
    ) -> None:
        usual = next(rule for rule in alerts.rules(session) if rule.code == code)
        given = alerts.given_of(usual) | change
        if not milder:
            alerts.change(session, code, given)
            return
        with pytest.raises(ApprovalRequired):
            alerts.change(session, code, given)
        alerts.change(session, code, given, released=True)

    def test_a_honey_record_is_taken_away_by_two_persons_only(self, session: Session) -> None:
        usual = alerts.given_of(next(rule for rule in alerts.rules(session) if rule.code == "honey"))
        one, other = str(uuid4()), str(uuid4())
        alerts.change(session, "honey", usual | {"records": f"{one}\n{other}"})
        with pytest.raises(ApprovalRequired):
            alerts.change(session, "honey", usual | {"records": one})
