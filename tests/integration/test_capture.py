"""Audit capture by construction (AUD-1, AUD-2): ORM, bulk statements and raw SQL, against a real PostgreSQL."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from compliance.audit.capture import NoActorError
from compliance.audit.models import AuditEvent
from crm_server.domain.accounts.models import Account
from crm_server.domain.contacts.models import Contact
from crm_server.domain.identity.models import ApiToken, User
from crm_server.domain.identity.services.login import Client
from crm_server.domain.identity.services.sessions import SessionService
from crm_server.domain.subjects.models import DataSubject
from crm_server.domain.subjects.services import new_subject
from crm_server.kernel.ids import new_id
from crm_server.services import records
from tests.payloads import payload_of


def events_of(session: Session, record_id: UUID) -> list[AuditEvent]:
    session.flush()
    return list(
        session.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == record_id).order_by(AuditEvent.event_id)
        )
    )


def events_about(session: Session, *keys: UUID) -> list[AuditEvent]:
    session.flush()
    about = AuditEvent.object_ref.in_(keys) | AuditEvent.subject_ref.overlap(list(keys))
    return list(session.scalars(select(AuditEvent).where(about).order_by(AuditEvent.event_id)))


class TestCapture:
    def test_a_created_object_writes_one_event_with_its_values_in_the_payload(self, session: Session) -> None:
        account = Account(name="Example GmbH", kind="customer")
        session.add(account)
        session.flush()
        (event,) = events_of(session, account.id)
        assert (event.event_class, event.action, event.object_type) == ("change", "create", 1)
        assert account.event_id == event.event_id
        assert payload_of(session, event.event_id)["changes"]["20"] == [None, "Example GmbH"]

    def test_a_change_writes_the_old_and_the_new_value(self, session: Session) -> None:
        account = Account(name="Old")
        session.add(account)
        session.flush()
        account.name = "New"
        event = events_of(session, account.id)[-1]
        assert event.action == "update"
        assert event.meta == {"fields": [20], "version": 2}
        assert payload_of(session, event.event_id)["changes"] == {"20": ["Old", "New"]}

    def test_a_bulk_update_of_n_rows_writes_n_events(self, session: Session) -> None:
        accounts = [Account(name=f"Bulk {number}", grade="a") for number in range(5)]
        session.add_all(accounts)
        session.flush()
        session.execute(update(Account).where(Account.grade == "a").values(grade="b"))
        for account in accounts:
            event = events_of(session, account.id)[-1]
            assert event.action == "update"
            assert event.meta["capture"] == "trigger"
            assert "grade" in event.meta["columns"]

    def test_a_bulk_delete_of_n_rows_writes_n_events_that_outlive_the_rows(self, session: Session) -> None:
        accounts = [Account(name=f"Gone {number}", grade="d") for number in range(3)]
        session.add_all(accounts)
        session.flush()
        session.execute(delete(Account).where(Account.grade == "d"))
        assert [events_of(session, account.id)[-1].action for account in accounts] == ["purge"] * 3

    def test_raw_sql_is_caught_and_raises_the_version(self, session: Session) -> None:
        account = Account(name="Raw")
        session.add(account)
        session.flush()
        session.execute(text("update crm.account set grade = 'c' where id = :id"), {"id": account.id})
        event = events_of(session, account.id)[-1]
        assert event.meta == {"capture": "trigger", "columns": ["grade"]}
        assert session.execute(
            text("select version, event_id from crm.account where id = :id"), {"id": account.id}
        ).one() == (2, event.event_id)

    @pytest.mark.parametrize("also", ["", ", name = 'Renamed'"], ids=["alone", "beside a change"])
    def test_when_something_was_last_used_is_no_change_of_it(self, session: Session, also: str) -> None:
        user = User(login=f"user-{new_id()}", name="Example User")
        session.add(user)
        session.flush()
        token = ApiToken(user_id=user.id, name="Script", prefix="example0", token_hash=b"x" * 32)
        session.add(token)
        session.flush()
        for table, column, key in (
            ("api_token", "last_used_at", token.id),
            ("user", "last_login_at", user.id),
        ):
            before = len(events_of(session, key))
            session.execute(
                text(f'update identity."{table}" set {column} = now(){also} where id = :id'),
                {"id": key},
            )
            version = session.scalar(
                text(f'select version from identity."{table}" where id = :id'),
                {"id": key},
            )
            assert (len(events_of(session, key)) - before, version) == ((1, 2) if also else (0, 1))

    def test_a_login_is_no_change_of_the_user(self, session: Session) -> None:
        user = User(login=f"user-{new_id()}", name="Example User")
        session.add(user)
        session.flush()
        SessionService().begin(session, user, "password", Client(None))
        session.refresh(user)
        assert (user.version, user.last_login_at is not None) == (1, True)
        assert [event.action for event in events_of(session, user.id) if event.event_class == "change"] == [
            "create"
        ]

    def test_a_core_insert_without_event_is_caught(self, session: Session) -> None:
        key = new_id()
        session.execute(insert(Account.__table__).values(id=key, name="Core"))  # type: ignore[arg-type]
        assert [event.action for event in events_of(session, key)] == ["create"]

    def test_a_failure_rolls_back_both_the_change_and_its_event(self, session: Session) -> None:
        account = Account(name="Doomed")
        savepoint = session.begin_nested()
        session.add(account)
        session.flush()
        key = account.id
        savepoint.rollback()
        assert events_of(session, key) == []
        assert session.scalar(select(Account.id).where(Account.id == key)) is None

    def test_a_session_without_an_actor_can_not_write(self, session: Session) -> None:
        del session.info["kontor.actor"]
        session.add(Account(name="Nobody"))
        with pytest.raises(NoActorError):
            session.flush()

    @pytest.mark.parametrize(
        "statement",
        [
            "update audit.event set action = 'nothing'",
            "delete from audit.event",
            "truncate audit.event",
            "update audit.event_payload set body = ''",
            (
                "insert into crm.change (entity, record_id, operation, version, changed_at) "
                "values (1, gen_random_uuid(), 'create', 1, now())"
            ),
        ],
    )
    def test_the_application_role_can_not_bend_the_log(self, session: Session, statement: str) -> None:
        with pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text(statement))


class TestPersons:
    """A data subject that begins with a record is told of by the record's event. # AUD-1"""

    @pytest.mark.parametrize("entity", ["contact", "lead"])
    def test_one_event_tells_of_a_record_and_of_the_person_that_begins_with_it(
        self, session: Session, entity: str
    ) -> None:
        account = {"account_id": str(records(session, "account").create({"name": "Example AG"}).id)}
        given = account if entity == "contact" else {}
        made = records(session, entity).create({"family_name": "Example", "email": "ada@example.com"} | given)
        (event,) = events_about(session, made.id, made.subject_id)
        assert (event.action, event.object_ref, event.subject_ref) == ("create", made.id, [made.subject_id])
        assert event.meta["person"] == "new"
        session.expire_all()
        assert made.event_id == session.get_one(DataSubject, made.subject_id).event_id == event.event_id

    def test_of_two_records_that_begin_with_a_person_one_says_that_they_are_new(
        self, session: Session
    ) -> None:
        subject = new_subject(session)
        for name in ("First", "Second"):
            session.add(Contact(subject_id=subject, family_name=name, name=name))
        session.flush()
        told = [event.meta.get("person") for event in events_about(session, subject)]
        assert sorted(told, key=str) == [None, "new"]

    def test_a_record_of_a_known_person_does_not_say_that_they_are_new(self, session: Session) -> None:
        subject = records(session, "contact").create({"family_name": "Example"}).subject_id
        again = records(session, "contact").create({"family_name": "Example"}, subject_id=subject)
        (event,) = events_of(session, again.id)
        assert "person" not in event.meta

    def test_a_person_who_begins_alone_has_an_event_of_their_own(self, session: Session) -> None:
        subject = new_subject(session)
        (event,) = events_of(session, subject)
        assert (event.action, event.meta) == ("create", {"fields": [], "version": 1})
        assert session.get_one(DataSubject, subject).event_id == event.event_id

    def test_a_failure_rolls_back_the_record_the_person_and_the_event(self, session: Session) -> None:
        savepoint = session.begin_nested()
        made = records(session, "contact").create({"family_name": "Doomed"})
        key, subject = made.id, made.subject_id
        savepoint.rollback()
        assert events_about(session, key, subject) == []
        assert session.get(DataSubject, subject) is None


class TestChangeFeed:
    def test_every_way_of_writing_reaches_the_feed(self, session: Session) -> None:
        account = Account(name="Feed")
        session.add(account)
        session.flush()
        session.execute(update(Account).where(Account.id == account.id).values(grade="b"))
        session.execute(text("delete from crm.account where id = :id"), {"id": account.id})
        rows = session.execute(
            text("select operation, version from crm.change where record_id = :id order by seq"),
            {"id": account.id},
        ).all()
        assert rows == [("create", 1), ("update", 2), ("purge", 2)]
