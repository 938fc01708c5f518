"""Two imports into one table at the same time: each recognises at once what the other has just made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from compliance.datamap import DataMap
from crm_server.domain.contacts.models import Contact
from crm_server.domain.imports.models import ImportMade
from crm_server.domain.imports.run import Runner
from crm_server.domain.imports.sealedkeys import SealedKeys
from crm_server.kernel import db
from crm_server.kernel.actor import Actor

Turns = Callable[..., None]


def test_an_import_recognises_what_another_one_makes_without_opening_it(
    together: Turns, sessions: sessionmaker[Session], actor: Actor, opened: list[UUID]
) -> None:
    told: list[int] = []

    def look() -> None:
        with sessions() as session:
            told.append(session.execute(select(func.count()).select_from(ImportMade)).scalar_one())
            assert "p5@" not in str(session.execute(text("select t::text from crm.import_made t")).all())

    # Each has a row a batch, by turns; what both have in common the other one has made in the turn before.
    together(["p1", "p3", "p5", "p6"], ["p2", "p4", "p5", "p6"], after={5: look})
    with db.open_session(sessions, actor) as session:
        found = session.scalars(select(Contact)).all()
        assert sorted(contact.email for contact in found) == [f"p{n}@example.com" for n in range(1, 7)]
        assert {contact.version for contact in found} == {1}
        first = next(contact.id for contact in found if contact.email == "p1@example.com")
        # They have ended, so nobody need know of their batches any more.
        assert session.scalar(select(func.count()).select_from(ImportMade)) == 0
    assert told
    assert told[0] >= 1
    # Nobody listened yet when the first row was written. Tokens of records of other tests may have been met as well.
    assert {contact.id for contact in found} & set(opened) <= {first}


def test_what_somebody_changes_meanwhile_is_recognised_by_its_new_value(
    together: Turns, sessions: sessionmaker[Session], actor: Actor
) -> None:
    def move() -> None:
        with db.open_session(sessions, actor) as session:
            (contact,) = [one for one in session.scalars(select(Contact)) if one.email == "p3@example.com"]
            contact.email = "moved@example.com"
            db.commit(session)

    # The third turn makes p3 and its list; then it is moved; the second file has its new address in the sixth.
    together(["p1", "p3", "p5"], ["p2", "p4", "moved"], after={3: move})
    with db.open_session(sessions, actor) as session:
        mails = sorted(contact.email for contact in session.scalars(select(Contact)))
        assert mails == [
            "moved@example.com", "p1@example.com", "p2@example.com", "p4@example.com", "p5@example.com",
        ]  # fmt: skip


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Records that were opened to be recognised."""
    found: list[UUID] = []
    real = SealedKeys._open

    def noted(self: SealedKeys, session: Session, records: Iterable[str]) -> None:
        wanted = list(records)
        found.extend(map(UUID, wanted))
        real(self, session, wanted)

    monkeypatch.setattr(SealedKeys, "_open", noted)
    return found


@pytest.fixture
def together(
    upload: Callable[..., UUID], sessions: sessionmaker[Session], entities: DataMap, actor: Actor
) -> Turns:
    """Runs two files by turns, a row each; ``after`` says what is done when so many turns are over."""

    def run(*files: Iterable[str], after: dict[int, Callable[[], None]] | None = None) -> None:
        turns = [threading.Semaphore(1), threading.Semaphore(0)]
        acts, done = after or {}, 0

        def one(place: int, import_id: UUID) -> Any:
            mine, other = turns[place], turns[1 - place]

            def pause(_done: int, _total: int) -> None:
                nonlocal done
                done += 1
                if done in acts:
                    acts[done]()
                other.release()
                assert mine.acquire(timeout=60)

            assert mine.acquire(timeout=60)
            try:
                return Runner(sessions, entities, actor, batch=1).run(import_id, pause)
            finally:
                # The other one may have turns left.
                other.release(1_000)

        ids = [
            upload("E-mail,Last name\n" + "".join(f"{name}@example.com,{name.title()}\n" for name in names))
            for names in files
        ]
        with ThreadPoolExecutor(2) as pool:
            for counts in list(pool.map(one, (0, 1), ids)):
                assert not counts["failed"]

    return run
