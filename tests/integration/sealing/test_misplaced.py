"""ENC-3, ENC-6: a document that was moved, put back or altered doesn't open, and somebody is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from compliance.audit.models import AuditEvent
from crm_server.kernel.errors import AppError
from crm_server.kernel.ids import new_id
from crm_server.kernel.opening import DocumentUnreadable, Opener, packed, read_rows
from crm_server.models import datamap
from crm_server.services import records
from tests.integration.sealing.conftest import Patient

Make = Callable[..., Patient]
PLACES = ("sealed_identity", "sealed_support")


def put(session: Session, patient: Patient, column: str, blob: bytes | None) -> None:
    """Change a document past the application, as somebody with rights on the database would."""
    session.execute(
        text(f"update crm.patient set {column} = :blob where id = :id"), {"blob": blob, "id": patient.id}
    )
    session.expire_all()


def troubles(reason: str) -> float:
    return REGISTRY.get_sample_value("kontor_document_troubles_total", {"reason": reason}) or 0.0


def refused(patient: Patient, name: str = "name") -> str:
    """The reason for which a field can't be read; checks that the error holds no value."""
    with pytest.raises(DocumentUnreadable) as error:
        getattr(patient, name)
    seen: Any = error.value
    while seen is not None:
        assert "Anna" not in repr(seen) + str(seen)
        seen = seen.__cause__ or seen.__context__
    return error.value.reason


class TestMoved:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        first=st.tuples(st.integers(0, 3), st.sampled_from(PLACES)),
        second=st.tuples(st.integers(0, 3), st.sampled_from(PLACES)),
    )
    def test_no_two_documents_can_be_swapped(
        self, session: Session, patient: Make, first: tuple[int, str], second: tuple[int, str]
    ) -> None:
        """ENC-3, for rows of the same and of other persons, and for the documents of one row."""
        with session.begin_nested() as point:
            shared = new_id()
            people = [
                patient(subject_id=subject, name=f"Anna {number}", complaint=f"Complaint {number}")
                for number, subject in enumerate((shared, shared, new_id(), None))
            ]
            # Making one expunges the others.
            people = [session.get(Patient, one.id) for one in people]
            (one, column), (other, place) = (people[first[0]], first[1]), (people[second[0]], second[1])
            left, right = getattr(one, column), getattr(other, place)
            if (one, column) != (other, place):
                put(session, one, column, right)
                put(session, other, place, left)
                fields = {"sealed_identity": "name", "sealed_support": "complaint"}
                assert refused(one, fields[column]) == "document-moved"
                assert refused(other, fields[place]) == "document-moved"
            point.rollback()
            session.expunge_all()

    def test_a_document_of_another_table_is_refused(self, session: Session, patient: Make) -> None:
        """ENC-3, between tables: a comment on a case and a patient of the same person, class and version."""
        contact = records(session, "contact").create({"family_name": "Kern"})
        case = records(session, "case").create({"title": "Broken", "contact_id": str(contact.id)})
        comment = records(session, "case_comment").create({"case_id": str(case.id), "body": "Anna is angry"})
        blob, subject = comment.sealed_support, comment.subject_id
        found = patient(subject_id=subject, id=comment.id, complaint="Anna coughs")
        put(session, found, "sealed_support", blob)
        assert refused(found, "complaint") == "document-moved"

    def test_an_older_version_is_refused(self, session: Session, patient: Make) -> None:
        """ENC-3: what was put back says so, with an error of its own."""
        found = patient()
        old = found.sealed_identity
        found.email = "new@example.com"
        session.flush()
        put(session, found, "sealed_identity", old)
        assert refused(found) == "document-rolled-back"

    def test_an_altered_body_is_refused(self, session: Session, patient: Make) -> None:
        found = patient()
        blob = bytearray(found.sealed_identity)
        blob[-1] ^= 1
        put(session, found, "sealed_identity", bytes(blob))
        assert refused(found) == "document-altered"

    def test_another_subject_on_the_row_is_refused(self, session: Session, patient: Make) -> None:
        found = patient()
        session.execute(
            text("update crm.patient set subject_id = :other where id = :id"),
            {"other": new_id(), "id": found.id},
        )
        session.expire_all()
        assert refused(found) == "document-moved"


class TestUnknownKeys:
    def unknown(self, session: Session, found: Patient) -> None:
        blob = found.sealed_identity
        put(session, found, "sealed_identity", blob[:2] + os.urandom(16) + blob[18:])

    def test_an_unknown_key_is_an_alarm_and_never_an_erasure(self, session: Session, patient: Make) -> None:
        """ENC-6."""
        found = patient()
        self.unknown(session, found)
        before = troubles("key-missing")
        with structlog.testing.capture_logs() as lines:
            assert refused(found) == "key-missing"
        assert troubles("key-missing") == before + 1
        assert [line["code"] for line in lines] == ["key-missing"]
        assert "Anna" not in repr(lines)
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == found.id, AuditEvent.event_class == "detection")
        ).one()
        assert (event.outcome, event.reason, event.severity) == ("failure", "key-missing", 5)

    def test_the_error_of_an_unreadable_document_is_one_that_a_client_can_tell(self) -> None:
        error = DocumentUnreadable("key-missing")
        assert isinstance(error, AppError)
        assert (error.status, error.code, error.extra) == (
            500,
            "document_unreadable",
            {"reason": "key-missing"},
        )


class TestRows:
    """The same, for rows that a statement reads without the ORM."""

    def comment(self, session: Session, body: str = "Anna is angry") -> Any:
        contact = records(session, "contact").create({"family_name": "Kern"})
        case = records(session, "case").create({"title": "Broken", "contact_id": str(contact.id)})
        return records(session, "case_comment").create({"case_id": str(case.id), "body": body})

    def read(self, session: Session, *keys: Any) -> dict[Any, dict[str, Any]]:
        return read_rows(session, datamap()["case_comment"], ("body", "public"), keys)

    def test_what_opens_comes_with_what_columns_hold(self, session: Session) -> None:
        one, other = self.comment(session), self.comment(session, "All is well")
        assert self.read(session, one.id, other.id) == {
            one.id: {"id": one.id, "body": "Anna is angry", "public": False},
            other.id: {"id": other.id, "body": "All is well", "public": False},
        }

    def test_one_damaged_document_hides_no_other_row(self, session: Session) -> None:
        one, other = self.comment(session), self.comment(session, "All is well")
        session.execute(
            text("update crm.case_comment set sealed_support = :blob where id = :id"),
            {"blob": other.sealed_support, "id": one.id},
        )
        before = troubles("document-moved")
        found = self.read(session, one.id, other.id)
        assert (found[one.id]["body"], found[one.id]["unreadable"]) == (None, "document-moved")
        assert found[other.id]["body"] == "All is well"
        assert troubles("document-moved") == before + 1
        told = session.scalars(select(AuditEvent).where(AuditEvent.event_class == "detection")).all()
        assert [event.object_ref for event in told] == [one.id]

    def test_an_erased_key_is_told_even_while_the_cache_has_it(self, session: Session) -> None:
        """ENC-6, and ENC-15 for a node that has not heard yet."""
        one = self.comment(session)
        assert self.read(session, one.id)[one.id]["body"] == "Anna is angry"
        keys = session.info["kontor.keys"]
        kept = keys.cache.get(one.sealed_support[2:18])
        session.execute(
            text(
                "update keys.data_key set state = 'erased', wrapped = null, erased_at = now(), erase_event = :event "
                "where kid = :kid"
            ),
            {"event": new_id(), "kid": one.sealed_support[2:18]},
        )
        assert kept is not None
        assert keys.cache.get(one.sealed_support[2:18]) is kept
        found = self.read(session, one.id)[one.id]
        assert (found["body"], found["erased"]) == (None, True)
        assert "unreadable" not in found

    def test_an_unknown_key_is_an_alarm(self, session: Session) -> None:
        one = self.comment(session)
        blob = one.sealed_support
        session.execute(
            text("update crm.case_comment set sealed_support = :blob where id = :id"),
            {"blob": blob[:2] + os.urandom(16) + blob[18:], "id": one.id},
        )
        assert self.read(session, one.id)[one.id]["unreadable"] == "key-missing"

    def test_a_key_that_was_lost_from_the_cache_is_unwrapped_again(self, session: Session) -> None:
        one = self.comment(session)
        session.info["kontor.keys"].cache.clear()
        assert self.read(session, one.id)[one.id]["body"] == "Anna is angry"

    def test_a_reader_of_everything_meets_the_same_troubles_and_goes_on(self, session: Session) -> None:
        """Documents one by one, as the search service reads them: moved, without a key, empty, and well."""
        one, other, lost = self.comment(session), self.comment(session, "All is well"), self.comment(session)
        change = text("update crm.case_comment set sealed_support = :blob where id = :id")
        session.execute(change, {"blob": other.sealed_support, "id": one.id})
        blob = lost.sealed_support
        session.execute(change, {"blob": blob[:2] + os.urandom(16) + blob[18:], "id": lost.id})
        entity = datamap()["case_comment"]
        (document,) = entity.documents.values()
        read = text(f"select {packed(entity, document, 't')} from crm.case_comment t where t.id = :id")
        blobs = [bytes(session.scalar(read, {"id": key})) for key in (one.id, other.id, lost.id)]
        opener = Opener(session.info["kontor.keys"])
        moved, well, unknown, none = opener.open_each(entity, document, [*blobs, None])
        assert (moved, unknown, none) == ("document-moved", "key-missing", {})
        assert [well] == opener.open_all(entity, document, [blobs[1].hex()])
        assert "All is well" in well.values()
        assert [trouble.record for trouble in opener.troubles] == [one.id, lost.id]

    def test_what_a_list_opened_is_remembered_with_its_key_and_nobody_can_alter_it(
        self, session: Session
    ) -> None:
        """ENC-15: it is bounded and dropped as the keys are; the key alone leads to it."""
        one, cache = self.comment(session), session.info["kontor.keys"].cache
        first = self.read(session, one.id)
        _column, _text, fields = cache.get(one.sealed_support[2:18]).shown
        assert "Anna is angry" in fields.values()
        with pytest.raises(TypeError):
            fields[1] = "altered"
        assert self.read(session, one.id) == first
        cache.drop(one.sealed_support[2:18])
        assert self.read(session, one.id) == first
        assert "Anna" not in repr(cache) + repr(cache.get(one.sealed_support[2:18]))

    def test_a_document_that_was_altered_since_it_was_remembered_is_refused(self, session: Session) -> None:
        """ENC-3: with the right place, version, salt and commitment, as long as one bit of the body differs."""
        one = self.comment(session)
        assert self.read(session, one.id)[one.id]["body"] == "Anna is angry"
        for at in (70, 90, -1):
            blob = bytearray(one.sealed_support)
            blob[at] ^= 1
            change = text("update crm.case_comment set sealed_support = :blob where id = :id")
            session.execute(change, {"blob": bytes(blob), "id": one.id})
            assert self.read(session, one.id)[one.id]["unreadable"] == "document-altered"

    def test_a_document_that_changed_since_it_was_remembered_is_opened(self, session: Session) -> None:
        one = self.comment(session)
        assert self.read(session, one.id)[one.id]["body"] == "Anna is angry"
        one.body = "Anna is pleased"
        session.flush()
        assert self.read(session, one.id)[one.id]["body"] == "Anna is pleased"

    def test_a_long_document_is_not_remembered(self, session: Session) -> None:
        one = self.comment(session, "Anna is angry. " * 300)
        assert self.read(session, one.id)[one.id]["body"].startswith("Anna is angry")
        assert not session.info["kontor.keys"].cache.get(one.sealed_support[2:18]).shown[2]

    def test_an_opener_keeps_no_value(self, session: Session) -> None:
        assert "Anna" not in repr(Opener(session.info["kontor.keys"]))
