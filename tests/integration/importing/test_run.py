# ruff: noqa: E501, PLR0917 - tables of real-life cells are read across; fixtures are many
"""Imports against a real PostgreSQL: creating, updating, failing, going on after a kill, and undoing."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from compliance.audit.models import AuditEvent
from compliance.datamap import DataMap
from crm_server.domain.accounts.models import Account
from crm_server.domain.audit.facts import FACTS
from crm_server.domain.contacts.models import Contact
from crm_server.domain.identity.models import User
from crm_server.domain.imports.models import Import, ImportRow
from crm_server.domain.imports.run import Runner
from crm_server.domain.imports.sealing import old_values
from crm_server.domain.imports.services import ImportLimits, ImportService
from crm_server.domain.imports.undo import Undo
from crm_server.domain.pipeline.models import Opportunity, StageChange
from crm_server.domain.subjects.models import DataSubject
from crm_server.domain.subjects.services import new_subject
from crm_server.importing.errors import ImportFileError
from crm_server.importing.mapping import Feed, ImportMapping
from crm_server.kernel import db
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.rowrules import flat, working
from tests.data.importing import generate
from tests.payloads import payload_of

Upload = Callable[..., UUID]

SMALL = """External id,Salutation,First name,Last name,E-mail,Phone,Company,Country,Birthday
1,Ms,Anna,Schmidt,Anna@Example.com,030 123456,Acme,Germany,14.03.1980
2,Mr,伟,王,wang@example.cn,+86 138 0013 8000,示例公司,中国,1990-12-01
3,,Bob,Brown,not a mail,,Acme,,
4,,No,Name,,,,Narnia,31.02.1990
5,,Only,,only@example.com,,,,
"""


class TestSealing:
    def test_nothing_of_an_import_stands_in_the_database_in_clear(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        # ENC-2, ENC-16
        runner.run(upload("E-mail,Last name,City\ncanary1@example.com,Canaryson,Canaryville\n"))
        runner.run(upload("E-mail,Last name,City\ncanary1@example.com,Canaryborn,Canaryborough\n"))
        tables = (
            "crm.contact",
            "crm.import_chunk",
            "crm.import_row",
            "search.token",
            "audit.event_payload",
            "keys.data_key",
        )
        for table in tables:
            rows = reader.execute(text(f"select t::text from {table} t")).scalars().all()
            assert rows, table
            told = "".join(rows).lower()
            assert "canary" not in told, table
            assert b"canary".hex() not in told, table
            assert b"Canary".hex() not in told, table
        contact = reader.scalars(select(Contact)).one()
        assert (contact.family_name, contact.city) == ("Canaryborn", "Canaryborough")

    def test_a_removed_import_takes_the_keys_of_its_file_and_of_the_old_values_along(
        self, upload: Upload, runner: Runner, sessions: sessionmaker[Session], actor: Actor, entities: DataMap
    ) -> None:
        runner.run(upload("E-mail,Last name\na@example.com,Old\n"))
        import_id = upload("E-mail,Last name\na@example.com,New\n")
        runner.run(import_id)
        with db.open_session(sessions, actor) as session:
            job = session.get_one(Import, import_id)
            owners = [job.file_id, job.id]
            service = ImportService(session, entities, ImportLimits(1 << 20), lambda _session, _key: None)
            service.delete(import_id)
            db.commit(session)
        with db.open_session(sessions, actor) as session:
            states = session.execute(
                text("select state, wrapped from keys.data_key where subject = any(:owners)"),
                {"owners": owners},
            ).all()
        assert len(states) >= len(owners)
        assert {tuple(row) for row in states} == {("erased", None)}


class TestNames:
    @pytest.mark.parametrize("name", ["\u200b\u2060", "\u202e\u202c", "\u3164"])
    def test_a_name_that_nobody_can_see_is_no_name(
        self, name: str, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        assert runner.run(upload(f"Last name,City\n{name},Bern\n"))["failed"] == 1
        assert reader.scalar(select(func.count()).select_from(Contact)) == 0


class TestRun:
    def test_creates_what_is_sound_and_tells_line_field_and_reason_of_the_rest(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        import_id = upload(SMALL)
        counts = runner.run(import_id)
        assert (counts["created"], counts["failed"], counts["referenced"]) == (2, 3, 2)
        anna = reader.scalars(select(Contact).where(Contact.external_id == "1")).one()
        assert (anna.name, anna.salutation, anna.email, anna.phone) == (
            "Anna Schmidt",
            "ms",
            "Anna@example.com",
            "+4930123456",
        )
        assert (anna.birth_date, anna.country, anna.import_id) == (dt.date(1980, 3, 14), "DE", import_id)
        wang = reader.scalars(select(Contact).where(Contact.external_id == "2")).one()
        assert wang.name == "王伟"
        assert reader.get_one(Account, anna.account_id).name == "Acme"
        failed = reader.scalars(
            select(ImportRow).where(ImportRow.outcome == "failed").order_by(ImportRow.ordinal)
        ).all()
        told = {row.line: [(item["field"], item["code"]) for item in row.problems or ()] for row in failed}
        assert told == {
            4: [("email", "email.invalid")],
            5: [("country", "country.unknown"), ("birth_date", "date.impossible")],
            6: [("family_name", "required")],
        }
        job = reader.get_one(Import, import_id)
        assert (job.state, job.rows_done, job.rows_total) == ("done", 5, 5)

    def test_a_failed_row_leaves_no_company_behind(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        runner.run(upload("First name,Last name,E-mail,Company\nBob,Brown,not a mail,Ghost Ltd\n"))
        assert reader.scalar(select(func.count()).select_from(Account)) == 0

    def test_each_record_has_its_event_with_values_and_its_place_in_the_change_feed(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        # AUD-1: no change without an event, by whichever way it is written.
        runner.run(upload(SMALL))
        for contact in reader.scalars(select(Contact)):
            event = reader.scalars(select(AuditEvent).where(AuditEvent.object_ref == contact.id)).one()
            assert (event.event_id, event.action, event.subject_ref) == (
                contact.event_id,
                "create",
                [contact.subject_id],
            )
            payload = payload_of(reader, event.event_id)
            assert payload["changes"][str(24)] == [None, contact.family_name]
            feed = reader.execute(
                text("select operation, version from crm.change where record_id = :id"), {"id": contact.id}
            )
            assert feed.all() == [("create", 1)]
            # The data subject behind the person came with the record, and the same event tells of both.
            assert reader.get_one(DataSubject, contact.subject_id).event_id == event.event_id
            assert event.meta["person"] == "new"
            assert event.meta.keys() <= FACTS.keys()

    def test_a_dry_run_tells_the_same_and_writes_nothing(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        import_id = upload(SMALL, phase="check")
        counts = runner.run(import_id)
        assert (counts["created"], counts["failed"], counts["referenced"]) == (2, 3, 2)
        assert reader.scalar(select(func.count()).select_from(Contact)) == 0
        assert reader.scalar(select(func.count()).select_from(Account)) == 0
        assert reader.scalar(select(func.count()).select_from(ImportRow)) == 3
        assert reader.get_one(Import, import_id).state == "checked"

    def test_the_same_file_again_changes_nothing(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        runner.run(upload(SMALL))
        before = reader.execute(select(Contact.id, Contact.version)).all()
        counts = runner.run(upload(SMALL))
        assert (counts["created"], counts["unchanged"], counts["referenced"]) == (0, 2, 0)
        reader.rollback()
        assert reader.execute(select(Contact.id, Contact.version)).all() == before

    def test_an_update_by_key_keeps_what_is_blank_and_notes_what_it_overwrites(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        runner.run(
            upload("E-mail,First name,Last name,City,Phone\na@example.com,Anna,Schmidt,Bern,030 123456\n")
        )
        import_id = upload("E-mail,First name,Last name,City,Phone\nA@EXAMPLE.com,Anna,Weber,,030 654321\n")
        counts = runner.run(import_id)
        assert (counts["updated"], counts["created"]) == (1, 0)
        anna = reader.scalars(select(Contact)).one()
        assert (anna.name, anna.city, anna.phone, anna.version) == ("Anna Weber", "Bern", "+4930654321", 2)
        note = reader.scalars(select(ImportRow).where(ImportRow.import_id == import_id)).one()
        assert old_values(reader, note) == {
            "family_name": "Schmidt", "phone": "+4930123456", "name": "Anna Schmidt", "email": "a@example.com",
        }  # fmt: skip
        event = reader.get_one(AuditEvent, anna.event_id)
        assert (event.action, event.meta["version"]) == ("update", 2)

    @pytest.mark.parametrize(
        "duplicates, created, skipped, names",
        [("skip", 1, 2, ["Anna"]), ("create", 3, 0, ["Anna", "Anne", "Annie"]), ("update", 1, 0, ["Annie"])],
    )
    def test_rows_that_repeat_a_record_follow_the_mapping(
        self,
        duplicates: str,
        created: int,
        skipped: int,
        names: list[str],
        upload: Upload,
        runner: Runner,
        reader: Session,
    ) -> None:
        rows = (
            "E-mail,First name,Last name\na@example.com,Anna,S\na@example.com,Anne,S\na@example.com,Annie,S\n"
        )
        counts = runner.run(
            upload(rows, change=lambda mapping: dataclasses.replace(mapping, duplicates=duplicates))
        )
        assert (counts["created"], counts["skipped"]) == (created, skipped)
        assert sorted(contact.given_name for contact in reader.scalars(select(Contact))) == names

    def test_a_value_that_the_database_refuses_is_the_error_of_its_row_alone(
        self,
        upload: Upload,
        runner: Runner,
        reader: Session,
        sessions: sessionmaker[Session],
        import_settings: Any,
    ) -> None:
        from crm_server.migrations import manage

        owner = manage.owner_engine(import_settings.owner_database_url)
        with owner.begin() as connection:
            connection.execute(
                text("alter table crm.contact add constraint ck_contact_country_test check (country <> 'AQ')")
            )
        try:
            rows = "".join(f"{n},P{n},{'AQ' if n == 7 else 'CH'},Firm {n}\n" for n in range(20))
            counts = runner.run(upload("External id,Last name,Country,Company\n" + rows))
        finally:
            with owner.begin() as connection:
                connection.execute(text("alter table crm.contact drop constraint ck_contact_country_test"))
        assert (counts["created"], counts["failed"], counts["merged"], counts["referenced"]) == (19, 1, 0, 19)
        assert reader.scalar(select(func.count()).select_from(Contact)) == 19
        assert reader.scalar(select(func.count()).select_from(Account)) == 19
        note = reader.scalars(select(ImportRow)).one()
        assert (note.line, (note.problems or [{}])[0]["field"]) == (9, "country")

    def test_a_file_that_turns_out_unreadable_ends_as_failed_with_its_reason(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        import_id = upload(
            "Last name\nA\n", change=lambda mapping: dataclasses.replace(mapping, entity="contact")
        )
        reader.execute(update(Import).where(Import.id == import_id).values(mapping={"feeds": 1}))
        reader.commit()
        with pytest.raises(ImportFileError):
            runner.run(import_id)
        reader.rollback()
        job = reader.get_one(Import, import_id)
        assert (job.state, job.error) == ("failed", "mapping.invalid")

    def test_opportunities_find_stage_account_and_owner_and_start_their_history(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        stages = reader.execute(
            text(
                "select s.name, s.kind, s.probability from crm.stage s join crm.pipeline p on p.id = s.pipeline_id where p.is_default order by s.position"
            )
        ).all()
        first, won = stages[0], next(stage for stage in stages if stage.kind == "won")
        rows = f'Deal,Company,Stage,Amount,Close date\nSmall,Acme,{first.name},"1.234,56 €",31.3.2026\nBig,Acme,{won.name.upper()},¥5万,2026-04-01\nBad,Acme,Nowhere,1,2026-04-01\n'
        counts = runner.run(upload(rows, entity="opportunity"))
        assert (counts["created"], counts["failed"], counts["referenced"]) == (2, 1, 1)
        small, big = reader.scalars(select(Opportunity).order_by(Opportunity.name.desc())).all()
        assert (small.amount, small.currency, small.status, small.probability) == (
            123456,
            "EUR",
            "open",
            first.probability,
        )
        assert (big.amount, big.currency, big.status, big.probability, big.closed_at is not None) == (
            5_000_000,
            "CNY",
            "won",
            100,
            True,
        )
        history = reader.scalars(select(StageChange).where(StageChange.opportunity_id == big.id)).all()
        assert [(step.from_stage_id, step.to_stage_id) for step in history] == [(None, big.stage_id)]


class TestExternalId:
    def test_two_living_records_of_a_kind_do_not_share_one(
        self, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        rows = "External id,Last name\n7,One\n8,Two\n7,Three\n"
        counts = runner.run(
            upload(rows, change=lambda it: dataclasses.replace(it, key=(), duplicates="create"))
        )
        assert (counts["created"], counts["failed"]) == (2, 1)
        refused = reader.scalars(select(ImportRow).where(ImportRow.outcome == "failed")).one()
        assert [(item["field"], item["code"]) for item in refused.problems or ()] == [
            ("external_id", "taken")
        ]


class TestHierarchy:
    @pytest.fixture(autouse=True)
    def _chain(self, sessions: sessionmaker[Session], actor: Actor) -> None:
        """A1 stands on top, A10 at the bottom of as many levels as there may be; B1 to B3 are another group."""
        with db.open_session(sessions, actor) as session:
            for name, levels in (("A", 10), ("B", 3)):
                parent = None
                for level in range(1, levels + 1):
                    account = Account(name=f"{name}{level}", external_id=f"{name}{level}", parent_id=parent)
                    session.add(account)
                    session.flush()
                    parent = account.id
            db.commit(session)

    @pytest.mark.parametrize(
        "name, parent, refusal",
        [
            ("New", "A9", None),
            ("New", "A10", "too_deep"),
            ("B1", "A7", None),
            ("B1", "A8", "too_deep"),
            ("B2", "A8", None),
            ("B1", "B3", "cycle"),
            ("B1", "B1", "cycle"),
        ],
    )
    def test_a_row_may_make_no_circle_and_no_more_levels_than_the_account_service(
        self, name: str, parent: str, refusal: str | None, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        rows = f"External id,Name,Parent account\n{name},{name},{parent}\nOther,Other,B1\n"
        counts = runner.run(upload(rows, entity="account"))
        notes = reader.scalars(select(ImportRow).where(ImportRow.outcome == "failed")).all()
        told = [(item["field"], item["code"]) for note in notes for item in note.problems or ()]
        assert told == ([("parent_id", refusal)] if refusal else [])
        assert counts["created"] + counts["updated"] == (1 if refusal else 2)
        above = reader.scalar(
            select(Account.name).where(
                Account.id == select(Account.parent_id).where(Account.name == name).scalar_subquery()
            )
        )
        assert above == (parent if refusal is None else None)


class TestRecognising:
    def test_what_others_change_between_two_batches_is_seen_by_the_second(
        self,
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        def write(mail: str, name: str, old: str | None = None) -> None:
            with db.open_session(sessions, actor) as session:
                found = [one for one in session.scalars(select(Contact)) if one.email == old] if old else []
                contact = found[0] if found else Contact(subject_id=new_subject(session), family_name=name)
                contact.email = mail
                session.add(contact)
                db.commit(session)

        write("moved@example.com", "Moved")
        write("gone@example.com", "Gone")

        def meanwhile(done: int, _total: int) -> None:
            if done == 2:
                write("new@example.com", "New")
                write("there@example.com", "Moved", "moved@example.com")
                with db.open_session(sessions, actor) as session:
                    for one in session.scalars(select(Contact)):
                        if one.family_name == "Gone":
                            one.deleted_at = dt.datetime.now(dt.UTC)
                    db.commit(session)

        rows = ["a", "b", "new", "there", "moved", "gone"]
        mails = "".join(f"{name}@example.com,X\n" for name in rows)
        import_id = upload(f"E-mail,City\n{mails}", change=_with_names)
        counts = Runner(sessions, entities, actor, batch=2).run(import_id, meanwhile)
        # The old address of the one and that of the deleted one belong to nobody any more.
        assert (counts["created"], counts["updated"], counts["failed"]) == (4, 2, 0)
        reader.rollback()
        live = [one for one in reader.scalars(select(Contact)) if one.deleted_at is None]
        assert sorted((one.email or "").partition("@")[0] for one in live) == sorted(rows)


def _with_names(mapping: ImportMapping) -> ImportMapping:
    """A contact needs a name; these rows have none."""
    return dataclasses.replace(mapping, feeds=(*mapping.feeds, Feed("family_name", (), constant="X")))


class TestRowRules:
    @pytest.fixture
    def colleagues(self, sessions: sessionmaker[Session]) -> tuple[User, User]:
        with db.open_session(sessions, system_actor()) as session:
            made = tuple(User(login=f"seller-{new_id()}", name="Example Seller") for _ in range(2))
            session.add_all(made)
            db.commit(session)
        return made  # type: ignore[return-value]

    @pytest.mark.parametrize("phase", ["check", "run"])
    def test_a_row_outside_the_scope_of_the_importer_fails_alone(
        self,
        phase: str,
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        reader: Session,
        colleagues: tuple[User, User],
    ) -> None:
        me, other = colleagues
        seller = Actor(
            me.id, "Seller", permissions=frozenset({"crm:contact:create", "crm:contact:update", "crm:contact:read"}),
            scopes=flat(working()), fields={"identity": "write"},
        )  # fmt: skip
        rows = f"Last name,Owner\nMine,{me.login}\nTheirs,{other.login}\nAlso,{me.login}\nNobody,\n"
        import_id = upload(rows, phase=phase)
        counts = Runner(sessions, entities, seller).run(import_id)
        assert (counts["created"], counts["failed"]) == (3, 1)
        assert counts["problem: row.scope"] == 1
        (note,) = reader.scalars(select(ImportRow).where(ImportRow.import_id == import_id))
        assert (note.line, note.outcome, note.problems[0]["code"]) == (3, "failed", "row.scope")
        found = {row.family_name for row in reader.scalars(select(Contact))}
        assert found == (set() if phase == "check" else {"Mine", "Also", "Nobody"})

    def test_a_row_that_gives_a_record_away_fails_alone(
        self,
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        reader: Session,
        colleagues: tuple[User, User],
    ) -> None:
        me, other = colleagues
        narrow = {"contact:read": ["own"], "contact:update": ["own"]}
        seller = Actor(
            me.id, "Seller", permissions=frozenset({"crm:contact:create", "crm:contact:update", "crm:contact:read"}),
            scopes=flat(narrow), fields={"identity": "write"},
        )  # fmt: skip
        head = "E-mail,Last name,Owner\n"
        Runner(sessions, entities, seller).run(
            upload(f"{head}a@example.com,A,{me.login}\nb@example.com,B,\n")
        )
        import_id = upload(f"{head}a@example.com,A2,{other.login}\nb@example.com,B2,{me.login}\n")
        counts = Runner(sessions, entities, seller).run(import_id)
        assert (counts["updated"], counts["failed"]) == (1, 1)
        outcomes = {
            note.line: (note.outcome, note.problems and note.problems[0]["code"])
            for note in reader.scalars(select(ImportRow).where(ImportRow.import_id == import_id))
        }
        assert outcomes == {2: ("failed", "row.scope"), 3: ("updated", None)}
        assert {row.family_name for row in reader.scalars(select(Contact))} == {"A", "B2"}


class TestResume:
    def test_a_killed_run_goes_on_behind_its_last_committed_batch(
        self,
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        rows = "External id,Last name\n" + "".join(f"{n},P{n}\n" for n in range(2500))
        import_id = upload(rows)

        class KilledError(BaseException):
            """Stands for the process's end: nothing catches it."""

        def stop(done: int, _total: int) -> None:
            if done == 1000:
                raise KilledError

        with pytest.raises(KilledError):
            Runner(sessions, entities, actor, batch=1000).run(import_id, stop)
        assert reader.scalar(select(func.count()).select_from(Contact)) == 1000
        reader.rollback()
        heard: list[tuple[int, int]] = []
        counts = Runner(sessions, entities, actor, batch=1000).run(
            import_id, lambda done, total: heard.append((done, total))
        )
        assert heard == [(2000, 2500), (2500, 2500)]
        assert (counts["created"], counts["merged"], counts["updated"]) == (2500, 0, 0)
        assert reader.scalar(select(func.count(func.distinct(Contact.external_id)))) == 2500

    def test_two_workers_do_not_do_a_batch_twice(
        self,
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        import_id = upload("Last name\n" + "".join(f"P{n}\n" for n in range(30)))
        second = Runner(sessions, entities, actor, batch=10)

        def meddle(done: int, _total: int) -> None:
            if done == 10:
                second.run(import_id)

        Runner(sessions, entities, actor, batch=10).run(import_id, meddle)
        assert reader.scalar(select(func.count()).select_from(Contact)) == 30

    def test_an_import_that_was_stopped_goes_no_further(
        self,
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        import_id = upload("Last name\n" + "".join(f"P{n}\n" for n in range(30)))

        def stop(done: int, _total: int) -> None:
            if done == 10:
                reader.execute(update(Import).where(Import.id == import_id).values(state="stopped"))
                reader.commit()

        Runner(sessions, entities, actor, batch=10).run(import_id, stop)
        assert reader.scalar(select(func.count()).select_from(Contact)) == 10


class TestUndo:
    def undo(self, sessions: sessionmaker[Session], entities: DataMap, actor: Actor, import_id: UUID) -> Any:
        with db.open_session(sessions, actor) as session:
            session.execute(update(Import).where(Import.id == import_id).values(state="queued", phase="undo"))
            session.commit()
        return Undo(sessions, entities, actor).run(import_id)

    def test_puts_created_records_into_the_bin_and_restores_changed_ones(
        self,
        upload: Upload,
        runner: Runner,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        runner.run(upload("E-mail,Last name,City,Birthday\na@example.com,Old,Bern,1980-03-14\n"))
        second = upload(
            "E-mail,Last name,City,Birthday,Company\na@example.com,New,Basel,1981-01-01,\nb@example.com,Fresh,,,Acme\n"
            "a@example.com,Newer,Chur,,\nb@example.com,Fresher,,,\n"
        )
        counts = runner.run(second)
        assert (counts["created"], counts["updated"], counts["merged"], counts["referenced"]) == (1, 1, 2, 1)
        counts = self.undo(sessions, entities, actor, second)
        assert counts["undo_kept"] == 0
        live = reader.scalars(select(Contact).where(Contact.deleted_at.is_(None))).one()
        assert (live.family_name, live.name, live.city, live.birth_date) == (
            "Old",
            "Old",
            "Bern",
            dt.date(1980, 3, 14),
        )
        assert (
            reader.scalars(select(Contact).where(Contact.deleted_at.is_not(None))).one().email
            == "b@example.com"
        )
        assert reader.scalars(select(Account)).one().deleted_at is not None
        assert reader.get_one(Import, second).state == "undone"
        actions = reader.scalars(
            select(AuditEvent.action).where(AuditEvent.object_ref == live.id).order_by(AuditEvent.event_id)
        ).all()
        assert actions[0] == "create"
        assert set(actions[1:]) == {"update"}

    def test_leaves_alone_what_somebody_has_changed_since_and_says_so(
        self,
        upload: Upload,
        runner: Runner,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        runner.run(upload("E-mail,Last name\na@example.com,Old\n"))
        second = upload("E-mail,Last name\na@example.com,New\nb@example.com,Fresh\nc@example.com,Untouched\n")
        runner.run(second)
        with db.open_session(sessions, actor) as session:
            for contact in session.scalars(select(Contact)):
                if contact.email in {"a@example.com", "b@example.com"}:
                    contact.city = "Bern"
            session.commit()
        counts = self.undo(sessions, entities, actor, second)
        assert (counts["undo_deleted"], counts["undo_restored"], counts["undo_kept"]) == (1, 0, 2)
        assert sorted(
            contact.family_name
            for contact in reader.scalars(select(Contact).where(Contact.deleted_at.is_(None)))
        ) == [
            "Fresh",
            "New",
        ]
        kept = reader.scalars(select(ImportRow).where(ImportRow.outcome == "kept")).one()
        assert (kept.problems or [{}])[-1]["code"] == "undo.kept"

    def test_leaves_a_change_that_can_no_longer_be_taken_back_and_takes_back_the_others(
        self,
        upload: Upload,
        runner: Runner,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        with db.open_session(sessions, actor) as session:
            top, below, other = (Account(name=name, external_id=name) for name in ("Top", "Below", "Other"))
            session.add_all([top, below, other])
            session.flush()
            below.parent_id = top.id
            db.commit(session)
        rows = "External id,Name,Parent account,City\nBelow,Below,Other,Bern\nOther,Other,,Basel\n"
        second = upload(rows, entity="account")
        runner.run(second)
        with db.open_session(sessions, actor) as session:
            # By now the former parent stands below: going back would close a circle.
            session.get_one(Account, top.id).parent_id = below.id
            db.commit(session)
        counts = self.undo(sessions, entities, actor, second)
        assert (counts["undo_restored"], counts["undo_kept"]) == (1, 1)
        kept = reader.scalars(select(ImportRow).where(ImportRow.outcome == "kept")).one()
        assert kept.record_id == below.id
        assert (
            reader.get_one(Account, below.id).parent_id,
            reader.get_one(Account, other.id).billing_city,
        ) == (
            other.id,
            None,
        )

    def test_keeps_a_company_that_others_use_by_now(
        self,
        upload: Upload,
        runner: Runner,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
        reader: Session,
    ) -> None:
        first = upload("E-mail,Last name,Company\na@example.com,A,Acme\n")
        runner.run(first)
        runner.run(upload("E-mail,Last name,Company\nb@example.com,B,Acme\n"))
        counts = self.undo(sessions, entities, actor, first)
        assert (counts["undo_deleted"], counts["undo_kept"]) == (1, 1)
        assert reader.scalars(select(Account)).one().deleted_at is None


class TestRealFiles:
    @pytest.mark.parametrize(
        "make, country",
        [
            (generate.salesforce_contacts, "US"),
            (generate.hubspot_contacts, "DE"),
            (generate.zoho_contacts, "CN"),
            (generate.dynamics_contacts, "US"),
        ],
    )
    def test_ten_thousand_rows_with_dirt_arrive(
        self, make: Any, country: str, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        data, expected = make()
        import_id = upload(data, country=country)
        counts = runner.run(import_id)
        assert counts["created"] + counts["merged"] + counts["failed"] == expected.rows
        # A row without a family name that repeats an earlier one loses nothing and is merged.
        assert len(expected.bad_rows) - 5 <= counts["failed"] <= len(expected.bad_rows)
        stored = reader.scalar(
            select(func.count()).select_from(Contact).where(Contact.import_id == import_id)
        )
        assert stored == counts["created"]
        events = reader.scalar(
            select(func.count())
            .select_from(AuditEvent)
            .where(AuditEvent.event_id.in_(select(Contact.event_id)))
        )
        assert events == stored
        assert reader.get_one(Import, import_id).state == "done"


@pytest.fixture
def runner(sessions: sessionmaker[Session], entities: DataMap, actor: Actor) -> Runner:
    return Runner(sessions, entities, actor)


@pytest.fixture
def reader(sessions: sessionmaker[Session], actor: Actor) -> Any:
    with db.open_session(sessions, actor) as session:
        yield session


def test_a_hand_written_mapping_runs_without_a_preset(
    upload: Upload, runner: Runner, reader: Session
) -> None:
    mapping = ImportMapping(
        "contact",
        (
            Feed("@full_name", ("Wer",)),
            Feed("source", constant="event"),
            Feed("account_id", ("Wo",), missing="create"),
        ),
    )
    runner.run(upload("Wer;Wo\nDr. Anna Schmidt;Acme\n", change=lambda _mapping: mapping))
    anna = reader.scalars(select(Contact)).one()
    assert (anna.salutation, anna.given_name, anna.family_name, anna.source) == (
        "dr",
        "Anna",
        "Schmidt",
        "event",
    )
