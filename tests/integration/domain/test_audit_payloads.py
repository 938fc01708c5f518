"""Payloads are sealed under the person's own audit key, and gone when it is. # AUD-6"""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from compliance.audit.events import Event, commitment, write
from compliance.audit.models import AuditEvent, AuditPayload
from crm_server.domain.audit import queries
from crm_server.domain.contacts.models import Contact
from crm_server.domain.subjects.models import DataSubject
from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys
from crm_server.models import datamap
from security.crypto.datakeys import KeyOwner
from security.crypto.document import document_kid
from security.crypto.errors import CryptoError
from tests.payloads import payload_of


def person(session: Session, name: str = "Ada Example") -> Contact:
    subject = DataSubject(id=new_id())
    session.add(subject)
    session.flush()
    made = Contact(subject_id=subject.id, family_name=name, name=name)
    session.add(made)
    session.flush()
    return made


def erase_audit_key(session: Session, keys: Keys, subject: object) -> None:
    data = keys.in_session(session)
    key = data.for_sealing(KeyOwner(keys.tenant, subject, "audit"))  # type: ignore[arg-type]
    data.erase(key.kid, new_id())


class TestSealing:
    def test_the_stored_payload_shows_nothing_and_opens_to_what_was_committed_to(
        self, session: Session
    ) -> None:
        contact = person(session, "Unmistakable")
        row = session.scalars(select(AuditPayload).where(AuditPayload.event_id == contact.event_id)).one()
        assert row.format == 1
        assert b"Unmistakable" not in row.body
        assert "Unmistakable" in str(payload_of(session, contact.event_id))

    def test_the_key_is_that_of_the_person(self, session: Session) -> None:
        contact = person(session)
        body = session.scalars(
            select(AuditPayload.body).where(AuditPayload.event_id == contact.event_id)
        ).one()
        owner = session.execute(
            text("select subject, class from keys.data_key where kid = :kid"), {"kid": document_kid(body)}
        ).one()
        assert tuple(owner) == (contact.subject_id, "audit")

    def test_64_kib_of_any_unicode_come_back_as_they_were(self, session: Session) -> None:
        said = "\u0000\u2028\u202e😀שלום\ufeff\r\n" * 3000
        assert len(said.encode()) > 65_536
        event = Event("change", "update", subjects=(person(session).subject_id,), payload={"text": said})
        write(session.connection(), Actor(new_id(), "Somebody", Origin.WEB), [event])
        assert payload_of(session, event.event_id)["text"] == said

    def test_a_payload_moved_to_another_event_does_not_open(self, session: Session, keys: Keys) -> None:
        one, other = person(session), person(session)
        body = session.scalars(select(AuditPayload.body).where(AuditPayload.event_id == one.event_id)).one()
        with pytest.raises(CryptoError):
            keys.payloads.open(session.connection(), other.event_id, body)

    def test_what_somebody_looked_for_is_under_their_own_key(self, session: Session) -> None:
        curious = Actor(new_id(), "Curious", Origin.WEB)
        event = Event("read", "list", payload={"q": "Secret Name"})
        write(session.connection(), curious, [event])
        body = session.scalars(select(AuditPayload.body).where(AuditPayload.event_id == event.event_id)).one()
        owner = session.scalar(
            text("select subject from keys.data_key where kid = :kid"), {"kid": document_kid(body)}
        )
        assert owner == curious.id
        assert payload_of(session, event.event_id) == {"q": "Secret Name"}

    def test_many_events_get_their_keys_in_two_statements(self, session: Session, keys: Keys) -> None:
        subjects = [new_id() for _ in range(50)]
        events = [Event("change", "update", subjects=(key,), payload={"count": 1}) for key in subjects]
        seen: list[str] = []

        from sqlalchemy import event as hooks

        engine = session.connection().engine
        hooks.listen(engine, "before_cursor_execute", lambda *told: seen.append(told[2]))
        write(session.connection(), Actor(new_id(), "X"), events)
        assert sum("data_key" in statement for statement in seen) <= 3
        assert all(payload_of(session, one.event_id, keys) == {"count": 1} for one in events[::10])


class TestErasure:
    def test_erasing_the_key_leaves_the_event_and_its_commitment_and_nothing_to_read(
        self, session: Session, keys: Keys
    ) -> None:
        contact = person(session)
        before = session.get_one(AuditEvent, contact.event_id)
        commit = before.payload_commit
        assert commit is not None
        erase_audit_key(session, keys, contact.subject_id)
        body = session.scalars(
            select(AuditPayload.body).where(AuditPayload.event_id == contact.event_id)
        ).one()
        assert keys.payloads.open(session.connection(), contact.event_id, body) is None
        shown = queries.one(session, datamap(), contact.event_id)
        assert shown is not None
        assert all(change.old is None and change.new is None for change in shown.changes)
        session.refresh(before)
        assert before.payload_commit == commit, "the leaf stays what it was, so every proof stays valid"

    def test_a_late_event_about_an_erased_person_keeps_no_payload(self, session: Session, keys: Keys) -> None:
        contact = person(session)
        erase_audit_key(session, keys, contact.subject_id)
        late = Event("change", "update", subjects=(contact.subject_id,), payload={"changes": {}})
        write(session.connection(), Actor(new_id(), "X"), [late])
        stored = session.get_one(AuditEvent, late.event_id)
        assert stored.payload_commit is None
        assert stored.meta["payload"] == "left_out"
        assert session.get(AuditPayload, late.event_id) is None


def test_the_commitment_depends_on_a_salt_that_only_the_payload_holds() -> None:
    assert commitment(b"\0" * 32, b"{}") != commitment(b"\1" + b"\0" * 31, b"{}")
