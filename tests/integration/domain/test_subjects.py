"""One person that was kept as two, and two that were kept as one: joined and split by sealing anew."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from crm_server.domain.documents.models import Attachment, AttachmentChunk
from crm_server.domain.documents.sealing import reopen
from crm_server.domain.keys.services import erase_subject
from crm_server.domain.subjects import services as subjects
from crm_server.models import datamap
from security.crypto.chunks import open_stream
from tests.integration.domain.conftest import Service

FILE = b"What was agreed.\n" * 100


def made(service: Service, name: str) -> tuple[Any, Any, Any]:
    """A contact with a case and a file."""
    contact = service("contact").create({"family_name": name, "email": f"{name.lower()}@example.com"})
    case = service("case").create({"title": f"Case of {name}", "contact_id": str(contact.id)})
    file = service("attachment").store(("contact", contact.id), "agreed.txt", io.BytesIO(FILE))  # type: ignore[attr-defined]
    return contact, case, file


def content(session: Session, file: Attachment) -> bytes:
    chunks = session.scalars(
        select(AttachmentChunk.body)
        .where(AttachmentChunk.attachment_id == file.id)
        .order_by(AttachmentChunk.number)
    )
    return b"".join(open_stream(reopen(session, file, file.subject_id), [bytes(body) for body in chunks]))


def owners(session: Session, *items: Any) -> set[UUID]:
    """The subjects of the keys that the documents of these records name."""
    found = set()
    for item in items:
        column = next(iter(datamap()[item.__entity__.name].documents.values())).column
        statement = (
            f"select subject from keys.data_key where kid = (select substr({column}, 3, 16) "
            f"from {item.__table__.fullname} where id = :id)"
        )
        found.add(session.execute(text(statement), {"id": item.id}).scalar_one())
    return found


def test_a_person_that_is_split_in_two_is_erased_without_the_other(
    session: Session, service: Service
) -> None:
    """Records of two people under one subject: a wrong merge that is taken back."""
    first, second = made(service, "Anna"), made(service, "Beate")
    one = first[0].subject_id
    subjects.join(session, datamap(), second[0].subject_id, one)
    assert owners(session, *first, *second) == {one}
    other = subjects.split(session, datamap(), second)
    assert owners(session, *first) == {one}
    assert owners(session, *second) == {other}
    session.expire_all()
    assert (second[0].email, second[1].title) == ("beate@example.com", "Case of Beate")
    assert content(session, second[2]) == FILE
    erase_subject(session, one)
    session.expire_all()
    assert (first[0].family_name, first[1].title) == (None, None)
    assert (second[0].family_name, second[1].title) == ("Beate", "Case of Beate")
    assert content(session, second[2]) == FILE


def test_the_subject_that_was_joined_is_gone_and_its_old_keys_open_nothing(
    session: Session, service: Service
) -> None:
    first, second = made(service, "Anna"), made(service, "Beate")
    gone = second[0].subject_id
    subjects.join(session, datamap(), gone, first[0].subject_id)
    found = session.execute(
        text("select count(*) from crm.data_subject where id = :id"), {"id": gone}
    ).scalar()
    assert found == 0
    erase_subject(session, gone)
    session.expire_all()
    assert second[0].family_name == "Beate"
    assert content(session, second[2]) == FILE


def test_only_records_about_one_person_are_split_off(session: Session, service: Service) -> None:
    first, second = made(service, "Anna"), made(service, "Beate")
    for wrong in ([], [first[0], second[0]]):
        with pytest.raises(ValueError, match="about one person"):
            subjects.split(session, datamap(), wrong)
