"""Sealed fields behave like attributes: read, set, expired, rolled back, audited; and never stand in clear."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from compliance.audit.models import AuditEvent
from compliance.datamap.documents import DetachedDocumentError, UnfitValueError, erased
from compliance.datamap.sealed import SealedInStatementError
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import keys_of
from security.crypto.errors import CommitmentMismatch, KeyErased
from tests.integration.sealing.conftest import Patient
from tests.payloads import payload_of

Make = Callable[..., Patient]


def opened(patient: Patient) -> set[str]:
    return set(patient.__dict__["_kontor_documents"].opened)


def stored(session: Session, patient: Patient) -> dict[str, Any]:
    """The row as the database has it."""
    row = session.execute(select(Patient.__table__).where(Patient.__table__.c.id == patient.id)).one()
    return dict(row._mapping)


class TestReading:
    def test_a_sealed_field_reads_like_any_attribute(self, patient: Make) -> None:
        found = patient(birth_date=date(1980, 2, 29), complaint="Sore throat")
        assert (found.name, found.email, found.birth_date) == (
            "Anna Kern",
            "anna@example.com",
            date(1980, 2, 29),
        )
        assert getattr(found, "complaint") == "Sore throat"  # noqa: B009 - that it works is the point

    def test_a_document_is_opened_when_one_of_its_fields_is_first_read(self, patient: Make) -> None:
        found = patient(complaint="Sore throat")
        assert "_kontor_documents" not in found.__dict__
        assert found.ward is None
        assert found.email == "anna@example.com"
        assert opened(found) == {"identity"}
        document = found.__dict__["_kontor_documents"].opened["identity"][1]
        assert found.name == document[21], "the second field comes from the document that is open"

    def test_a_field_without_a_value_is_none_and_a_row_without_values_has_no_document(
        self, session: Session, patient: Make
    ) -> None:
        found = patient()
        assert (found.birth_date, found.complaint) == (None, None)
        assert stored(session, found)["sealed_support"] is None

    def test_a_copy_reads_as_well(self, patient: Make) -> None:
        assert copy.copy(patient()).email == "anna@example.com"

    def test_a_row_of_nobody_is_sealed_under_the_key_of_the_installation(
        self, session: Session, patient: Make
    ) -> None:
        found = patient(subject_id=None)
        assert found.name == "Anna Kern"
        key = keys_of(session).by_id(found.sealed_identity[2:18])
        assert key.subject == keys_of(session).tenant.bytes

    def test_an_object_that_left_its_session_says_so(self, session: Session, patient: Make) -> None:
        found = patient()
        session.expunge(found)
        with pytest.raises(DetachedDocumentError, match="has left its session"):
            found.email  # noqa: B018 - reading is the act

    def test_the_class_has_no_such_column(self) -> None:
        assert "email" not in Patient.__table__.c
        with pytest.raises(SealedInStatementError, match="email is sealed"):
            select(Patient).where(Patient.email == "anna@example.com")
        with pytest.raises(SealedInStatementError):
            select(Patient).order_by(Patient.name)

    def test_no_repr_shows_a_value(self, patient: Make) -> None:
        found = patient()
        assert found.email
        assert "anna" not in repr(found) + repr(found.__dict__["_kontor_documents"]) + repr(Patient.email)


class TestWriting:
    def test_a_change_is_sealed_by_the_flush_under_the_next_version(
        self, session: Session, patient: Make
    ) -> None:
        found = patient(complaint="Sore throat")
        before = stored(session, found)
        found.email = "anna.kern@example.com"
        assert found.email == "anna.kern@example.com"
        session.flush()
        after = stored(session, found)
        assert after["sealed_version"] == before["sealed_version"] + 1
        assert after["version"] == before["version"] + 1
        assert after["sealed_identity"] != before["sealed_identity"]
        assert after["sealed_support"] != before["sealed_support"], (
            "the documents of a row share their version"
        )
        session.expunge_all()
        again = session.get(Patient, after["id"])
        assert (again.email, again.name, again.complaint) == (
            "anna.kern@example.com",
            "Anna Kern",
            "Sore throat",
        )

    def test_setting_what_is_there_changes_nothing(self, session: Session, patient: Make) -> None:
        found = patient()
        before = stored(session, found)
        found.email = "anna@example.com"
        found.name = "Somebody Else"
        found.name = "Anna Kern"
        session.flush()
        assert stored(session, found) == before

    def test_a_change_of_columns_alone_seals_nothing(self, session: Session, patient: Make) -> None:
        found = patient()
        before = stored(session, found)
        found.ward = "3"
        session.flush()
        after = stored(session, found)
        assert after["sealed_identity"] == before["sealed_identity"]
        assert after["sealed_version"] == before["sealed_version"]

    def test_the_last_value_of_a_class_takes_its_document_along(
        self, session: Session, patient: Make
    ) -> None:
        found = patient(complaint="Sore throat")
        found.complaint = None
        session.flush()
        assert stored(session, found)["sealed_support"] is None

    def test_expiring_and_refreshing_drop_what_was_not_flushed(self, session: Session, patient: Make) -> None:
        found = patient()
        for forget in (session.expire, session.refresh):
            found.email = "other@example.com"
            forget(found)
            assert found.email == "anna@example.com"
        session.flush()
        assert stored(session, found)["version"] == 1

    def test_a_rollback_brings_the_stored_value_back(self, session: Session, patient: Make) -> None:
        found = patient()
        session.commit()
        found.email = "other@example.com"
        session.flush()
        session.rollback()
        assert found.email == "anna@example.com"

    def test_an_object_that_was_rolled_back_can_be_added_again(self, session: Session) -> None:
        made = Patient(subject_id=new_id(), name="Anna Kern")
        session.add(made)
        session.flush()
        session.rollback()
        session.add(made)
        session.flush()
        session.expire_all()
        assert made.name == "Anna Kern", "its first key was rolled back, so it got another"

    def test_a_stale_object_is_refused(self, session: Session, patient: Make) -> None:
        found = patient()
        assert found.email
        session.execute(text("update crm.patient set ward = '9' where id = :id"), {"id": found.id})
        found.email = "other@example.com"
        with pytest.raises(StaleDataError):
            session.flush()

    def test_a_new_person_gets_the_documents_sealed_anew(self, session: Session, patient: Make) -> None:
        found, other = patient(complaint="Sore throat"), new_id()
        old = found.sealed_identity
        found.subject_id = other
        session.flush()
        assert found.sealed_identity[2:18] != old[2:18]
        assert keys_of(session).by_id(found.sealed_identity[2:18]).subject == other.bytes
        session.expire_all()
        assert (found.name, found.complaint) == ("Anna Kern", "Sore throat")

    @pytest.mark.parametrize("name,value", [("name", None), ("name", "x" * 41)], ids=["required", "too long"])
    def test_what_a_constraint_would_refuse_is_refused(
        self, session: Session, patient: Make, name: str, value: Any
    ) -> None:
        found = patient()
        setattr(found, name, value)
        with pytest.raises(UnfitValueError, match="name: ") as refused:
            session.flush()
        assert "xxx" not in str(refused.value)


class TestAudit:
    def test_old_and_new_values_are_told_by_number(self, session: Session, patient: Make) -> None:
        found = patient()
        found.email, found.ward = "new@example.com", "3"
        session.flush()
        event = session.get(AuditEvent, found.event_id)
        assert (event.action, event.meta["fields"]) == ("update", [22, 25])
        payload = payload_of(session, found.event_id)
        assert payload["changes"] == {"22": ["anna@example.com", "new@example.com"], "25": [None, "3"]}

    def test_a_creation_tells_every_value_once(self, session: Session, patient: Make) -> None:
        found = patient(birth_date=date(1980, 2, 29))
        events = session.scalars(select(AuditEvent).where(AuditEvent.object_ref == found.id)).all()
        assert [(one.action, one.meta["fields"]) for one in events] == [("create", [21, 22, 23])]
        payload = payload_of(session, events[0].event_id)
        assert payload["changes"]["23"] == [None, "1980-02-29"]

    def test_a_document_that_is_sealed_anew_by_core_is_told_by_the_database(
        self, session: Session, patient: Make
    ) -> None:
        found = patient()
        session.execute(
            update(Patient.__table__).where(Patient.__table__.c.id == found.id).values(sealed_identity=None)
        )
        told = session.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == found.id, AuditEvent.action == "update")
        ).all()
        assert [one.meta["capture"] for one in told] == ["trigger"]


class TestErased:
    def erase(self, session: Session, found: Patient) -> None:
        keys_of(session).data.erase(found.sealed_identity[2:18], new_id())
        session.expire_all()

    def test_fields_of_an_erased_person_are_empty_and_say_so(self, session: Session, patient: Make) -> None:
        found = patient(complaint="Sore throat")
        assert not erased(found)
        self.erase(session, found)
        assert (found.name, found.email, found.complaint) == (None, None, "Sore throat")
        assert erased(found)

    def test_columns_of_an_erased_person_can_still_be_changed(self, session: Session, patient: Make) -> None:
        found = patient()
        self.erase(session, found)
        found.ward = "3"
        session.flush()
        assert stored(session, found)["ward"] == "3"

    def test_nothing_is_sealed_for_an_erased_person(self, session: Session, patient: Make) -> None:
        found = patient()
        self.erase(session, found)
        found.email = "back@example.com"
        with pytest.raises(KeyErased):
            session.flush()


class TestInClear:
    def test_no_statement_can_put_a_value_where_the_document_belongs(
        self, session: Session, patient: Make
    ) -> None:
        found = patient()
        with pytest.raises(IntegrityError, match="sealed_identity_is_sealed"):
            session.execute(
                text("update crm.patient set sealed_identity = :value where id = :id"),
                {"value": b"Anna Kern " * 40, "id": found.id},
            )

    def test_the_row_holds_no_value(self, session: Session, patient: Make) -> None:
        found = patient(complaint="Sore throat")
        row = session.execute(text("select p::text from crm.patient p where id = :id"), {"id": found.id})
        line = row.scalar_one()
        for value in (b"Anna", b"anna@example.com", b"Sore"):
            assert value.decode() not in line
            assert value.hex() not in line

    def test_another_key_does_not_open_it(self, session: Session, patient: Make) -> None:
        one, other = patient(), patient()
        vault = keys_of(session)
        with pytest.raises(CommitmentMismatch):
            vault.column(901, "identity").open(
                vault.by_id(other.sealed_identity[2:18]),
                one.sealed_identity,
                one.id.bytes,
                one.subject_id.bytes,
                one.sealed_version,
            )


class TestTogether:
    def test_key_and_row_are_committed_together_or_not_at_all(self, engine: Engine, session: Session) -> None:
        """ENC-7, for a transaction that is rolled back."""
        subject = new_id()
        session.add(Patient(subject_id=subject, name="Anna Kern"))
        session.flush()
        count = text("select count(*) from keys.data_key where subject = :subject")
        assert (
            session.scalar(count, {"subject": subject}) == 2
        )  # One for the document, one for the payload of its event.
        session.rollback()
        assert session.scalar(count, {"subject": subject}) == 0
