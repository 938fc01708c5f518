"""Attachments go in and out in chunks, and only what is allowed, to whom it is allowed."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from compliance.audit.models import AuditEvent
from crm_server.domain.documents.models import CHUNK_BYTES, AttachmentChunk
from crm_server.domain.documents.sealing import reopen
from crm_server.domain.documents.services import stream
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.errors import BadRequest, NotAllowed, NotFound, TooLarge, UnsupportedMedia
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys, keys_of
from crm_server.models import datamap
from crm_server.services import records
from crm_server.settings import Settings
from security.crypto.chunks import open_stream
from security.crypto.document import document_kid
from security.crypto.errors import DocumentAltered, StreamTruncated
from tests.integration.domain.conftest import Service


@pytest.fixture
def contact(service: Service) -> Any:
    return service("contact").create({"family_name": "Beispiel"})


def stored(session: Session, made: Any) -> list[bytes]:
    """The chunks as the database has them."""
    query = select(AttachmentChunk.body).where(AttachmentChunk.attachment_id == made.id)
    return [bytes(body) for body in session.scalars(query.order_by(AttachmentChunk.number))]


def read_all(session: Session, made: Any) -> bytes:
    return b"".join(open_stream(reopen(session, made, made.subject_id), stored(session, made)))


class Endless:
    """A stream of `size` bytes that exists nowhere as a whole, given out in odd pieces."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, wanted: int = -1) -> bytes:
        number = min(self.left, wanted, 50_000)
        self.left -= number
        return b"a" * number


class TestStoring:
    def test_a_file_comes_out_as_it_went_in(self, session: Session, service: Service, contact: Any) -> None:
        content = "Grüße\n".encode() * 40_000
        made = service("attachment").store(("contact", contact.id), "folder/letter.txt", io.BytesIO(content))
        session.execute(text("set constraints all immediate"))
        assert read_all(session, made) == content
        # Nonce and tag stand beside each chunk of padded content.
        assert {len(body) for body in stored(session, made)[:-1]} == {CHUNK_BYTES + 12 + 16}
        assert (made.filename, made.media_type, made.size) == ("letter.txt", "text/plain", len(content))
        assert made.sha256 == hashlib.sha256(content).hexdigest()
        assert made.subject_id == contact.subject_id
        assert [item.id for item in service("attachment").of(("contact", contact.id))] == [made.id]

    def test_memory_does_not_grow_with_the_file(self, service: Service, contact: Any) -> None:
        tracemalloc.start()
        service("attachment").store(("contact", contact.id), "large.txt", Endless(30_000_000))
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8_000_000

    def test_more_than_the_limit_is_refused(self, session: Session, service: Service, contact: Any) -> None:
        class Small:
            upload_limit = 100_000
            default_country = "DE"

        session.info[db.SETTINGS] = Small()
        with pytest.raises(TooLarge):
            service("attachment").store(("contact", contact.id), "large.txt", Endless(200_000))

    def test_an_empty_file_is_refused(self, service: Service, contact: Any) -> None:
        with pytest.raises(BadRequest):
            service("attachment").store(("contact", contact.id), "empty.txt", io.BytesIO(b""))

    def test_a_program_that_calls_itself_a_letter_is_refused(self, service: Service, contact: Any) -> None:
        with pytest.raises(UnsupportedMedia):
            service("attachment").store(
                ("contact", contact.id), "letter.pdf", io.BytesIO(b"MZ\x90\0" + b"\0" * 999)
            )

    def test_an_archive_is_no_letter_however_large_it_is(self, service: Service, contact: Any) -> None:
        for parts, sound in ((("a.txt",), False), (("[Content_Types].xml", "word/document.xml"), True)):
            target = io.BytesIO()
            with zipfile.ZipFile(target, "w") as made:
                made.writestr("word/media/image1.png", bytes(3 * CHUNK_BYTES))
                for part in parts:
                    made.writestr(part, "x")
            target.seek(0)
            store = service("attachment").store
            if sound:
                assert store(("contact", contact.id), "letter.docx", target).size > 3 * CHUNK_BYTES
            else:
                with pytest.raises(UnsupportedMedia):
                    store(("contact", contact.id), "letter.docx", target)

    def test_there_is_no_place_without_a_record(self, service: Service) -> None:
        with pytest.raises(NotFound):
            service("attachment").store(("contact", new_id()), "a.txt", io.BytesIO(b"a"))
        with pytest.raises(NotFound):
            service("attachment").store(("user", new_id()), "a.txt", io.BytesIO(b"a"))


class TestSealing:
    @pytest.mark.parametrize("size", [1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES])
    def test_a_file_of_any_size_opens_and_the_database_holds_nothing_of_it(
        self, session: Session, service: Service, contact: Any, size: int
    ) -> None:
        # ENC-2, ENC-16
        content = (b"canary-9d1f " * (size // 12 + 1))[:size]
        made = service("attachment").store(("contact", contact.id), "canary-name.txt", io.BytesIO(content))
        bodies = stored(session, made)
        session.flush()
        row = session.execute(
            text("select a::text from crm.attachment a where id = :id"), {"id": made.id}
        ).scalar_one()
        assert b"canary" not in b"".join(bodies)
        assert "canary" not in row
        assert size < 16 or content[:16] not in b"".join(bodies)
        assert read_all(session, made) == content

    @pytest.mark.parametrize("change", ["altered", "moved", "cut"])
    def test_a_chunk_that_was_altered_moved_or_taken_away_is_noticed(
        self, session: Session, service: Service, contact: Any, change: str
    ) -> None:
        # ENC-16
        content = bytes(range(48, 58)) * 20_000
        made = service("attachment").store(("contact", contact.id), "a.txt", io.BytesIO(content))
        chunk = "crm.attachment_chunk"
        statement = {
            "altered": f"update {chunk} set body = set_byte(body, 50, get_byte(body, 50) # 1) "
            "where number = 1 and attachment_id = :id",
            "moved": f"update {chunk} c set body = o.body from {chunk} o where c.attachment_id = :id "
            "and o.attachment_id = :id and c.number = 1 and o.number = 0",
            "cut": f"delete from {chunk} where attachment_id = :id "
            f"and number = (select max(number) from {chunk} where attachment_id = :id)",
        }[change]
        session.execute(text(statement), {"id": made.id})
        with pytest.raises((DocumentAltered, StreamTruncated)):
            read_all(session, made)

    def test_a_file_follows_its_record_to_another_person(
        self, session: Session, service: Service, contact: Any
    ) -> None:
        lead = service("lead").create({"family_name": "Beispiel"})
        content = b"a letter " * 20_000
        made = service("attachment").store(("lead", lead.id), "letter.txt", io.BytesIO(content))
        before = made.stream
        service("lead").convert(lead.id, contact_id=contact.id)
        session.expire_all()
        assert (made.record_id, made.subject_id) == (contact.id, contact.subject_id)
        assert made.stream[2:18] != before[2:18], "it is sealed under the other person's key"
        assert read_all(session, made) == content
        assert made.filename == "letter.txt"

    def test_a_file_of_an_erased_person_is_gone(
        self, session: Session, service: Service, contact: Any
    ) -> None:
        made = service("attachment").store(("contact", contact.id), "a.txt", io.BytesIO(b"a"))
        keys_of(session).data.erase(document_kid(made.stream), new_id())
        with pytest.raises(NotFound):
            service("attachment").open(made.id)


class TestRights:
    def test_they_are_those_of_the_record(
        self, session: Session, service: Service, contact: Any, user: Callable[..., Any]
    ) -> None:
        made = service("attachment").store(("contact", contact.id), "a.txt", io.BytesIO(b"a"))
        user("crm:contact:read", personal="read")
        narrow = records(session, "attachment")
        assert narrow.open(made.id).id == made.id  # type: ignore[attr-defined]
        with pytest.raises(NotAllowed):
            narrow.store(("contact", contact.id), "b.txt", io.BytesIO(b"b"))  # type: ignore[attr-defined]
        with pytest.raises(NotAllowed):
            narrow.remove(made.id)  # type: ignore[attr-defined]
        user("crm:account:read")
        with pytest.raises(NotAllowed):
            records(session, "attachment").open(made.id)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("level", ["masked", "hidden"])
    def test_no_mask_reaches_into_a_file_so_it_stays_closed_to_who_sees_masks(
        self, session: Session, service: Service, contact: Any, user: Callable[..., Any], level: str
    ) -> None:
        place = ("contact", contact.id)
        made = service("attachment").store(place, "a.txt", io.BytesIO(b"a"))
        user("crm:contact:read", personal=level)
        narrow = records(session, "attachment")
        assert [item.id for item in narrow.of(place)] == [made.id]  # type: ignore[attr-defined]
        with pytest.raises(NotAllowed) as refused:
            narrow.open(made.id)  # type: ignore[attr-defined]
        assert refused.value.reason == "field:personal"

    def test_reading_one_is_an_event(self, session: Session, service: Service, contact: Any) -> None:
        made = service("attachment").store(("contact", contact.id), "a.txt", io.BytesIO(b"a"))
        service("attachment").open(made.id)
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == made.id, AuditEvent.event_class == "read")
        ).one()
        assert (event.action, event.subject_ref) == ("download", [contact.subject_id])


class TestLeaving:
    def test_a_removed_one_is_gone_for_readers(self, service: Service, contact: Any) -> None:
        made = service("attachment").store(("contact", contact.id), "a.txt", io.BytesIO(b"a"))
        service("attachment").remove(made.id)
        assert service("attachment").of(("contact", contact.id)) == []
        with pytest.raises(NotFound):
            service("attachment").open(made.id)

    def test_purging_a_record_takes_its_files_along(
        self, session: Session, service: Service, contact: Any
    ) -> None:
        service("attachment").store(("contact", contact.id), "a.txt", io.BytesIO(b"a"))
        service("contact").delete(contact.id)
        service("contact").purge(contact.id)
        assert session.scalar(text("select count(*) from crm.attachment_chunk")) == 0
        assert (
            session.scalar(
                text("select count(*) from crm.data_subject where id = :id"), {"id": contact.subject_id}
            )
            == 0
        )


class TestStreaming:
    @pytest.fixture
    def committed(self, engine: Engine, settings: Settings, keys: Keys) -> Iterator[Any]:
        """A file that another session can see; removed afterwards."""
        factory = db.session_factory(engine, settings, keys)
        content = bytes(range(32, 127)) * 20_000
        with db.open_session(factory, system_actor()) as session:
            account = records(session, "account").create({"name": "Stream"})
            made = records(session, "attachment").store(("account", account.id), "a.txt", io.BytesIO(content))  # type: ignore[attr-defined]
            db.commit(session)
        yield factory, made.id, content
        with db.open_session(factory, system_actor()) as session:
            records(session, "account").delete(account.id)
            records(session, "account").purge(account.id)
            db.commit(session)

    def test_content_is_given_out_in_chunks_and_holds_no_connection_between_them(
        self, committed: Any, engine: Engine
    ) -> None:
        factory, key, content = committed
        busy = engine.pool.checkedout()  # type: ignore[attr-defined]
        received = b""
        for chunk in stream(factory, system_actor(), key):
            assert len(chunk) <= CHUNK_BYTES
            assert engine.pool.checkedout() == busy  # type: ignore[attr-defined]
            received += chunk
        assert received == content


def test_attachments_belong_to_records_that_have_pages() -> None:
    assert not datamap()["attachment"].exposed
