"""Emergency access: a short time, told at once, over by itself, reviewed by somebody else (AUTH-9, AUTH-15)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from click.testing import CliRunner, Result
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from webtest import TestApp

from compliance.audit.models import AuditEvent
from crm_server.app import main
from crm_server.cli.emergency import emergency
from crm_server.domain.identity.authentication import COOKIE
from crm_server.domain.identity.directory_models import CompanyDirectory
from crm_server.domain.identity.models import Emergency, Role, User, UserRole
from crm_server.kernel.actor import Actor
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, NotAllowed, NotFound, ValidationFailed
from crm_server.settings import Settings
from tests.conftest import close
from tests.integration.identity.conftest import World
from tests.integration.identity.test_roles import as_, browser_of
from tests.integration.identity.test_user_command import kontor

__all__ = ["kontor"]

REASON = "The directory is down and a certificate has expired"


@pytest.fixture(scope="module")
def application(identity_settings: Settings) -> Iterator[object]:
    made = main(identity_settings)
    made.registry.identity.login._refusal_seconds = 0
    yield made
    close(made)


def take(browser: TestApp, role: str = "System administrator", minutes: int = 30) -> None:
    page = browser.get("/emergency")
    filled = next(one for one in page.forms.values() if "minutes" in one.fields)
    filled["role"].select(text=next(t for _v, _s, t in filled["role"].options if t.startswith(role)))
    filled["minutes"], filled["reason"] = str(minutes), REASON
    filled.submit(status=303)


class TestTaking:
    def test_the_role_counts_at_once_and_ends_by_itself(self, application: object, world: World) -> None:
        person = world.user("Emergency access")
        browser = browser_of(application, person)
        browser.get("/users", status=403)
        before = browser.cookies[COOKIE]
        take(browser, minutes=5)
        assert browser.cookies[COOKIE] != before
        page = browser.get("/users")
        assert "Everything you do is reviewed" in page.text
        with world.session() as db:
            db.execute(
                update(UserRole)
                .where(UserRole.user_id == person.id, UserRole.expires_at.is_not(None))
                .values(expires_at=now() - timedelta(seconds=1))
            )
            db.commit()
        # No job has run: authentication itself looks at the end.
        browser.get("/users", status=403)

    def test_it_works_with_the_directory_down(self, application: object, world: World) -> None:  # AUTH-9
        with world.session() as db:
            db.add(
                CompanyDirectory(
                    name="Down", flavour="openldap", servers=["ldaps://127.0.0.1:1"], enabled=True,
                    bind_dn="cn=x", user_base="dc=x", group_base="dc=x",
                )
            )  # fmt: skip
            db.commit()
        try:
            browser = browser_of(application, world.user("Emergency access"))
            take(browser)
            assert browser.get("/users").status_int == 200
        finally:
            with world.session() as db:
                db.execute(text("delete from identity.directory where name = 'Down'"))
                db.commit()

    def test_the_beginning_is_an_event_of_the_highest_severity(
        self, application: object, world: World
    ) -> None:
        person = world.user("Emergency access")
        take(browser_of(application, person))
        with world.session() as db:
            event = db.scalars(
                select(AuditEvent).where(
                    AuditEvent.action == "emergency_begun", AuditEvent.subject_ref.contains([person.id])
                )
            ).one()
            assert event.severity == 4
            assert REASON not in str(event.meta)

    def test_it_is_given_back(self, application: object, world: World) -> None:
        browser = browser_of(application, world.user("Emergency access"))
        take(browser)
        page = browser.get("/emergency")
        next(one for one in page.forms.values() if one.action.endswith("/emergency/end")).submit()
        browser.get("/users", status=403)

    @pytest.mark.parametrize("reason,minutes", [("short", 10), (REASON, 0), (REASON, 61)])
    def test_without_a_reason_or_for_too_long_it_is_refused(
        self, world: World, reason: str, minutes: int
    ) -> None:
        person = world.user("Emergency access")
        with world.session() as db:
            role = db.scalars(select(Role.id).where(Role.name == "System administrator")).one()
        with world.session(entitled(person)) as db, pytest.raises(ValidationFailed):
            world.services.emergency.begin(db, role, reason, minutes)

    def test_only_who_is_entitled_takes_only_what_can_be_taken(self, world: World) -> None:
        person = world.user("Emergency access")
        with world.session() as db:
            ids = {role.name: role.id for role in db.scalars(select(Role))}
        with world.session(as_(person)) as db, pytest.raises(NotAllowed):
            world.services.emergency.begin(db, ids["System administrator"], REASON, 5)
        with world.session(entitled(person)) as db, pytest.raises(NotFound):
            world.services.emergency.begin(db, ids["Manager"], REASON, 5)

    def test_not_even_in_an_emergency_is_anybody_two_kinds_of_administrator(self, world: World) -> None:
        person = world.user("Emergency access", "Audit administrator")
        with world.session() as db:
            role = db.scalars(select(Role.id).where(Role.name == "System administrator")).one()
        with world.session(entitled(person)) as db, pytest.raises(Conflict):
            world.services.emergency.begin(db, role, REASON, 5)

    def test_to_be_entitled_takes_two_persons(self, world: World) -> None:
        from crm_server.domain.approvals.services import ApprovalRequired

        giver, person = world.user("Security administrator"), world.user()
        with world.session() as db:
            role = db.scalars(select(Role.id).where(Role.name == "Emergency access")).one()
        with world.session(as_(giver)) as db, pytest.raises(ApprovalRequired):
            world.services.users.set_roles(db, person.id, [role])


def entitled(user: User) -> Actor:
    from dataclasses import replace

    return replace(as_(user), permissions=frozenset({"emergency:access:use"}))


class TestReview:
    def test_reviewers_are_told_on_every_page_end_it_and_review_it(
        self, application: object, world: World
    ) -> None:
        person, reviewer = world.user("Emergency access"), world.user("Security administrator")
        browser = browser_of(application, person)
        take(browser)
        watching = browser_of(application, reviewer)
        assert "waiting for your review" in watching.get("/roles").text
        with world.session() as db:
            use = db.scalars(select(Emergency.id).where(Emergency.user_id == person.id)).one()

        def act(**values: str) -> None:
            page = watching.get("/emergency")
            filled = next(one for one in page.forms.values() if one.action.endswith(f"/{use}/review"))
            if "review" in values:
                filled["review"] = values["review"]
                filled.submit(status=303)
            else:
                filled.submit("stop", value="true", status=303)

        act(stop="true")
        browser.get("/users", status=403)
        act(review="One certificate renewed, nothing else.")
        with world.session() as db:
            row = db.get_one(Emergency, use)
            assert (row.reviewed_by, row.review) == (reviewer.id, "One certificate renewed, nothing else.")

    def test_nobody_reviews_their_own_and_nobody_rewrites(self, application: object, world: World) -> None:
        person = world.user("Emergency access")
        take(browser_of(application, person))
        with world.session() as db:
            use = db.scalars(select(Emergency.id).where(Emergency.user_id == person.id)).one()
            for statement, sentence in (
                (
                    "update identity.emergency set reviewed_by = user_id, reviewed_at = now() where id = :id",
                    "own",
                ),
                ("update identity.emergency set reason = 'x' where id = :id", "frozen"),
                (
                    "update identity.emergency set ends_at = ends_at + interval '1 day' where id = :id",
                    "frozen",
                ),
                ("delete from identity.emergency where id = :id", "permission denied"),
            ):
                with pytest.raises(DBAPIError, match=sentence), db.begin_nested():
                    db.execute(text(statement), {"id": use})

    def test_the_clock_of_the_job_notes_the_end(self, application: object, world: World) -> None:
        person = world.user("Emergency access")
        take(browser_of(application, person), minutes=1)
        with time_machine.travel(now() + timedelta(minutes=2)), world.session() as db:
            assert world.services.emergency.tick(db) >= 1
            db.commit()
        with world.session() as db:
            row = db.scalars(select(Emergency).where(Emergency.user_id == person.id)).one()
            assert row.ended_at is not None
            assert not db.scalars(
                select(UserRole).where(UserRole.user_id == person.id, UserRole.expires_at.is_not(None))
            ).all()


class TestCommandLine:
    """`kontor emergency`: the same service and rules where no browser is at hand."""

    def run(self, kontor: CliRunner, *arguments: str) -> Result:
        return kontor.invoke(emergency, arguments)

    def test_a_role_is_taken_listed_given_back_and_reviewed(
        self, kontor: CliRunner, application: object, world: World
    ) -> None:
        person, reviewer = world.user("Emergency access"), world.user("Security administrator")
        browser = browser_of(application, person)
        wrong = self.run(kontor, "begin", person.login, "System administrator", "--reason", "short")
        assert wrong.exit_code == 1
        assert "reason: Say in at least 10 characters" in wrong.output
        unknown = self.run(kontor, "begin", person.login, "Emperor", "--reason", REASON)
        assert "System administrator" in unknown.output
        begun = self.run(kontor, "begin", person.login, "System administrator", "--reason", REASON, "--json")
        assert begun.exit_code == 0, begun.output
        key = json.loads(begun.output)["id"]
        assert browser.get("/users").status_int == 200
        (row,) = [
            one for one in json.loads(self.run(kontor, "list", "--open", "--json").output) if one["id"] == key
        ]
        assert (row["role"], row["running"]) == ("System administrator", True)
        early = self.run(kontor, "review", key, reviewer.login, "--text", "All in order")
        assert "It is not over yet." in early.output
        assert self.run(kontor, "end", person.login).exit_code == 0
        browser.get("/users", status=403)
        own = self.run(kontor, "review", key, person.login, "--text", "All in order")
        assert own.exit_code == 1
        assert self.run(kontor, "review", key, reviewer.login, "--text", "All in order").exit_code == 0
        assert key not in self.run(kontor, "list", "--open").output
        with world.session() as db:
            query = select(AuditEvent.origin, AuditEvent.auth_method).where(
                AuditEvent.action == "emergency_begun"
            )
            assert ("cli", "cli") in {tuple(one) for one in db.execute(query)}

    def test_who_is_not_entitled_takes_nothing(self, kontor: CliRunner, world: World) -> None:
        for login in (world.user("User").login, "nobody-there"):
            refused = self.run(kontor, "begin", login, "System administrator", "--reason", REASON)
            assert refused.exit_code == 1
            assert "Traceback" not in refused.output
