# ruff: noqa: PLR0917 - fixtures are many
"""Custom fields in imports and exports: proposed, read, written, audited, undone and exported like others."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from python_calamine import CalamineWorkbook
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker
from webtest import TestApp

from compliance.audit.models import AuditEvent
from compliance.datamap import DataMap
from crm_server.cli.export import export
from crm_server.cli.importing import import_command
from crm_server.domain.contacts.models import Contact
from crm_server.domain.custom_fields.definitions import forget_in
from crm_server.domain.custom_fields.models import CustomField, CustomValue
from crm_server.domain.imports.custom import custom_fields, listed, widened
from crm_server.domain.imports.exporting import Export
from crm_server.domain.imports.models import Import, ImportRow
from crm_server.domain.imports.run import Runner
from crm_server.domain.imports.services import ImportLimits, ImportService
from crm_server.domain.imports.undo import Undo
from crm_server.domain.pipeline.models import Opportunity
from crm_server.importing.errors import ImportFileError
from crm_server.importing.mapping import ImportMapping
from crm_server.importing.texts import translate, translator
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import Actor
from crm_server.kernel.listing import ListQuery
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.services import records
from crm_server.settings import Settings
from security.access.masks import HIDDEN
from tests.payloads import payload_of

Upload = Callable[..., UUID]

_DIET = {"vegan": {"en": "Vegan", "zh_Hans": "纯素"}, "any": {"en": "Eats anything", "zh_Hans": "不限"}}
FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "shoe_size", "label_en": "Shoe size", "label_zh": "鞋码", "semantic": "integer",
     "policy": {"handling": "person_fact", "minimum": 20, "maximum": 60}},
    {"name": "diet", "label_en": "Diet", "label_zh": "饮食", "semantic": "choice",
     "policy": {"handling": "person_fact", "choices": _DIET}},
    {"name": "met_on", "label_en": "Met on", "label_zh": "相识日期", "semantic": "date",
     "policy": {"handling": "person_fact"}},
    {"name": "called_at", "label_en": "Called at", "semantic": "datetime", "policy": {"handling": "person_fact"}},
    {"name": "vip", "label_en": "Very important", "semantic": "boolean", "policy": {"handling": "person_fact"}},
    {"name": "motto", "label_en": "Motto", "semantic": "text", "policy": {"handling": "person_note", "max_length": 20}},
)  # fmt: skip

LIST = """External id,Last name,Shoe size,饮食,Met on,Called at,Very important,Motto
1,Ann,42,Vegan,31.03.2020,2026-01-05 10:00,yes,Onward
2,Bob,99,any,1.4.2020,,no,
3,Cyd,,Cheese,32.1.2020,,perhaps,This motto is longer than twenty
4,Dee,,,,,,
"""


class TestRun:
    def test_columns_are_proposed_by_label_in_both_languages_and_values_arrive_typed(
        self, fields: dict[str, UUID], upload: Upload, runner: Runner, reader: Session
    ) -> None:
        import_id = upload(LIST)
        mapping = ImportMapping.from_json(reader.get_one(Import, import_id).mapping)
        fed = {feed.field for feed in mapping.feeds}
        assert fed >= {f"custom.{name}" for name in fields}
        counts = runner.run(import_id)
        assert (counts["created"], counts["failed"]) == (2, 2)
        ann = reader.scalars(select(Contact).where(Contact.external_id == "1")).one()
        assert stored(reader, ann) == {
            "shoe_size": 42, "diet": "vegan", "met_on": dt.date(2020, 3, 31), "vip": True, "motto": "Onward",
            "called_at": dt.datetime(2026, 1, 5, 10, tzinfo=dt.UTC),
        }  # fmt: skip
        dee = reader.scalars(select(Contact).where(Contact.external_id == "4")).one()
        assert set(stored(reader, dee).values()) == {None}
        told = {
            row.line: {(item["field"], item["code"]) for item in row.problems or ()}
            for row in reader.scalars(select(ImportRow).where(ImportRow.outcome == "failed"))
        }
        assert told == {
            3: {("custom.shoe_size", "number.range")},
            4: {
                ("custom.diet", "choice.unknown"),
                ("custom.met_on", "date.impossible"),
                ("custom.vip", "boolean.unreadable"),
                ("custom.motto", "text.too_long"),
            },
        }

    def test_they_are_told_in_the_event_of_their_record_by_number(
        self, fields: dict[str, UUID], upload: Upload, runner: Runner, reader: Session
    ) -> None:
        # AUD-1: the value of a custom field changes with an event, whichever way it is written.
        runner.run(upload("External id,Last name,Shoe size,Diet\n1,Ann,42,纯素\n"))
        runner.run(upload("External id,Shoe size,Diet\n1,43,\n"))
        reader.rollback()
        ann = reader.scalars(select(Contact)).one()
        assert ann.version == 2
        first, second = reader.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == ann.id).order_by(AuditEvent.event_id)
        )
        size, diet = (reader.get_one(CustomField, fields[name]).number for name in ("shoe_size", "diet"))
        assert {size, diet} <= set(first.meta["fields"])
        created = changes(reader, first)
        assert (created[str(size)], created[str(diet)]) == ([None, 42], [None, "vegan"])
        assert (second.action, second.event_id, second.meta["fields"]) == ("update", ann.event_id, [size])
        assert changes(reader, second) == {str(size): [42, 43]}
        assert stored(reader, ann)["shoe_size"] == 43

    def test_a_dry_run_tells_the_same_and_writes_nothing(
        self, fields: dict[str, UUID], upload: Upload, runner: Runner, reader: Session
    ) -> None:
        del fields
        counts = runner.run(upload(LIST, phase="check"))
        assert (counts["created"], counts["failed"]) == (2, 2)
        assert counts["problem:custom.diet choice.unknown"] == 1
        assert reader.scalar(select(func.count()).select_from(CustomValue)) == 0

    def test_the_same_values_again_change_nothing_and_a_blank_cell_does_as_the_mapping_says(
        self, fields: dict[str, UUID], upload: Upload, runner: Runner, reader: Session
    ) -> None:
        del fields
        rows = "External id,Last name,Shoe size,Diet,Met on\n1,Ann,42,any,2020-03-31\n"
        runner.run(upload(rows))
        assert runner.run(upload(rows))["unchanged"] == 1
        blank = "External id,Last name,Shoe size,Diet,Met on\n1,Ann,,,\n"
        assert runner.run(upload(blank))["unchanged"] == 1

        def clear(mapping: ImportMapping) -> ImportMapping:
            return dataclasses.replace(mapping, blank="clear")

        assert runner.run(upload(blank, change=clear))["updated"] == 1
        reader.rollback()
        ann = reader.scalars(select(Contact)).one()
        assert set(stored(reader, ann).values()) == {None}
        assert ann.version == 2

    def test_a_required_field_must_be_filled_in(
        self, declare: Callable[..., UUID], upload: Upload, runner: Runner, reader: Session
    ) -> None:
        declare(
            name="badge", label_en="Badge", semantic="text",
            policy={"handling": "person_fact", "required": True},
        )  # fmt: skip
        counts = runner.run(upload("External id,Last name,Badge\n1,Ann,A-1\n2,Bob,\n"))
        assert (counts["created"], counts["failed"]) == (1, 1)
        note = reader.scalars(select(ImportRow)).one()
        assert [(item["field"], item["code"]) for item in note.problems or ()] == [
            ("custom.badge", "required")
        ]

    def test_a_field_that_was_taken_out_of_use_meanwhile_ends_the_import_with_its_reason(
        self,
        fields: dict[str, UUID],
        upload: Upload,
        runner: Runner,
        sessions: sessionmaker[Session],
        actor: Actor,
    ) -> None:
        import_id = upload(LIST)
        with db.open_session(sessions, actor) as session:
            fields_of: Any = records(session, "custom_field")
            fields_of.retire(fields["diet"])
            db.commit(session)
        with pytest.raises(ImportFileError):
            runner.run(import_id)
        with db.open_session(sessions, actor) as session:
            job = session.get_one(Import, import_id)
            assert (job.state, job.error) == ("failed", "mapping.unknown_field")


class TestMoney:
    @pytest.fixture(autouse=True)
    def _deal(self, declare: Callable[..., UUID], upload: Upload, runner: Runner) -> None:
        """A deal in dollars, and a custom sum that shares its currency."""
        declare(
            "opportunity", name="budget", label_en="Their budget", semantic="money",
            policy={"handling": "figures", "currency_field": "currency"},
        )  # fmt: skip
        runner.run(upload("External id,Name,Amount,Currency\n1,Big,1000.50,USD\n", entity="opportunity"))

    @pytest.mark.parametrize(
        "cell, currency, budget", [("2500", "USD", 250_000), ("2,500.5", "USD", 250_050), ("", "USD", None)]
    )
    def test_a_sum_without_a_currency_is_in_that_of_its_record(
        self, cell: str, currency: str, budget: int | None, upload: Upload, runner: Runner, reader: Session
    ) -> None:
        counts = runner.run(
            upload(f'External id,Their budget\n1,"{cell}"\n', entity="opportunity", currency="EUR")
        )
        assert counts["failed"] == 0
        deal = reader.scalars(select(Opportunity)).one()
        assert (deal.amount, deal.currency) == (100_050, currency)
        service = records(reader, "opportunity")
        assert service.custom is not None
        entity = datamap()["opportunity"]
        assert service.custom.load(entity, [deal.id])[deal.id] == {"budget": budget}


class TestUndo:
    def test_gives_changed_records_their_old_values_back(
        self,
        fields: dict[str, UUID],
        upload: Upload,
        runner: Runner,
        reader: Session,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
    ) -> None:
        del fields
        runner.run(upload("External id,Last name,Shoe size,Met on\n1,Ann,42,2020-03-31\n2,Bob,,\n"))
        second = upload(
            "External id,Last name,Shoe size,Diet,Met on\n1,Ann,43,any,2021-01-01\n2,Weber,44,vegan,\n3,Cyd,40,any,\n"
        )
        assert runner.run(second)["updated"] == 2
        with db.open_session(sessions, actor) as session:
            session.execute(update(Import).where(Import.id == second).values(state="queued", phase="undo"))
            session.commit()
        counts = Undo(sessions, entities, actor).run(second)
        assert (counts["undo_restored"], counts["undo_deleted"], counts["undo_kept"]) == (2, 1, 0)
        ann, bob = reader.scalars(
            select(Contact).where(Contact.deleted_at.is_(None)).order_by(Contact.external_id)
        )
        assert (stored(reader, ann)["shoe_size"], stored(reader, ann)["diet"]) == (42, None)
        assert stored(reader, ann)["met_on"] == dt.date(2020, 3, 31)
        assert (bob.family_name, set(stored(reader, bob).values())) == ("Bob", {None})
        told = changes(reader, reader.get_one(AuditEvent, ann.event_id))
        assert [43, 42] in told.values()
        assert ["any", None] in told.values()


class TestRights:
    def test_who_may_not_write_a_field_may_not_import_into_it(
        self,
        fields: dict[str, UUID],
        upload: Upload,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
    ) -> None:
        import_id = upload(LIST)
        # Of the fields only the motto is in the group of personal ones.
        levels = {"general": "write", "personal": "read"}
        narrow = dataclasses.replace(actor, all_permissions=False, fields=levels)
        with db.open_session(sessions, narrow) as session:
            service = ImportService(session, entities, ImportLimits(1 << 20), lambda _session, _key: None)
            problems = service.problems(session.get_one(Import, import_id))
            offered = custom_fields(widened(session, entities, entities["contact"], actor=narrow))
        denied = {problem.field for problem in problems if problem.code == "not_allowed"}
        assert denied & {f"custom.{name}" for name in fields} == {"custom.motto"}
        assert offered.keys() == {f"custom.{name}" for name in fields} - {"custom.motto"}


class TestExport:
    def test_they_are_columns_of_a_list_in_the_readers_language_and_come_back_unchanged(
        self, fields: dict[str, UUID], upload: Upload, runner: Runner, browser_of: Callable[..., TestApp]
    ) -> None:
        del fields
        runner.run(upload(LIST))
        answer = browser_of("Manager").get("/api/v1/contacts/export")
        rows = {row["External id"]: row for row in table(answer.body)}
        told = [rows["1"][name] for name in ("Shoe size", "Diet", "Met on", "Very important", "Motto")]
        assert told == ["42", "Vegan", "2020-03-31", "true", "Onward"]
        assert rows["4"]["Shoe size"] == ""

        counts = runner.run(upload(answer.body))
        assert (counts["unchanged"], counts["failed"]) == (2, 0)

        chinese = browser_of("Manager", locale="zh_Hans").get(
            "/contacts/export?fields=name,custom.diet,custom.shoe_size&sort=external_id"
        )
        assert list(csv.reader(io.StringIO(chinese.body.decode("utf-8-sig"), newline=""))) == [
            ["姓名", "饮食", "鞋码"],
            ["Ann", "纯素", "42"],
            ["Dee", "", ""],
        ]

    def test_a_workbook_has_them_as_numbers_and_dates(
        self, fields: dict[str, UUID], upload: Upload, runner: Runner, browser_of: Callable[..., TestApp]
    ) -> None:
        del fields
        runner.run(upload(LIST))
        browser = browser_of("Manager")
        book = browser.get(
            "/contacts/export?format=xlsx&fields=name,custom.shoe_size,custom.met_on&filter[external_id]=1"
        )
        rows = CalamineWorkbook.from_filelike(io.BytesIO(book.body)).get_sheet_by_index(0).to_python()
        assert rows == [["Full name", "Shoe size", "Met on"], ["Ann", 42.0, dt.date(2020, 3, 31)]]
        browser.get("/contacts/export?fields=custom.nothing", status=400)

    def test_field_rules_hide_and_mask_them(
        self,
        fields: dict[str, UUID],
        upload: Upload,
        runner: Runner,
        sessions: sessionmaker[Session],
        entities: DataMap,
        actor: Actor,
    ) -> None:
        del fields
        runner.run(upload(LIST))

        def exported(levels: dict[str, str]) -> list[dict[str, str]]:
            may = frozenset({"crm:contact:read"})
            narrow = dataclasses.replace(
                actor, all_permissions=False, permissions=may, scopes=rowrules.EVERYTHING, fields=levels
            )
            with db.open_session(sessions, narrow) as session:
                made = Export(
                    session, entities, entities["contact"], ListQuery(), narrow,
                    translate=translator("en"), custom=listed(session, entities),
                )  # fmt: skip
                return table(b"".join(made.file("csv", dt.date(2026, 1, 1)).blocks))

        masked = next(row for row in exported({"general": "masked", "personal": "read"}) if row["Motto"])
        assert (masked["Met on"], masked["Shoe size"], masked["Motto"]) == ("2020-**-**", HIDDEN, "Onward")
        rows = exported({"general": "read", "personal": "hidden"})
        assert "Motto" not in rows[0]
        assert {row["Shoe size"] for row in rows} == {"42", ""}

    def test_the_command_line_takes_them_in_and_gives_them_out(
        self,
        fields: dict[str, UUID],
        sessions: sessionmaker[Session],
        import_settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        del fields, sessions
        monkeypatch.setenv("KONTOR_DATABASE_URL", import_settings.database_url.replace("+psycopg2", ""))
        path = tmp_path / "list.csv"
        path.write_text("External id,Last name,饮食,鞋码\n1,Ann,不限,41\n")
        done = CliRunner().invoke(import_command, [str(path)])
        assert done.exit_code == 0, done.output
        out = CliRunner().invoke(export, ["contacts", "--fields", "name,custom.diet,custom.shoe_size"])
        assert out.output.lstrip("\ufeff").splitlines() == [
            "Full name,Diet,Shoe size",
            "Ann,Eats anything,41",
        ]


class TestWizard:
    def test_offers_them_by_label_and_shows_what_becomes_of_the_cells(
        self, fields: dict[str, UUID], browser_of: Callable[..., TestApp], work: Callable[[], None]
    ) -> None:
        del fields
        browser = browser_of("Manager")
        answer = browser.post("/api/v1/imports?entity=contact&filename=a.csv", LIST.encode(), status=201)
        key = answer.json["id"]
        page = browser.get(f"/imports/{key}")
        form = next(one for one in page.forms.values() if "field-0" in one.fields)
        assert form["field-2"].value == "custom.shoe_size"
        assert ("custom.motto", "Motto") in [(value, label) for value, _on, label in form["field-2"].options]
        page = form.submit("act", value="save").follow()
        assert "31.03.2020" in page
        assert "2020-03-31" in page
        browser.post(f"/api/v1/imports/{key}/run", status=202)
        work()
        counts = browser.get(f"/api/v1/imports/{key}").json["counts"]
        assert (counts["created"], counts["failed"]) == (2, 2)


def table(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")))


@pytest.fixture
def declare(
    sessions: sessionmaker[Session], actor: Actor, import_settings: Settings
) -> Iterator[Callable[..., UUID]]:
    """Declares custom fields, of contacts if nothing else is said; they are gone afterwards."""

    def make(entity: str = "contact", **raw: Any) -> UUID:
        with db.open_session(sessions, actor) as session:
            service: Any = records(session, "custom_field")
            key: UUID = service.declare(entity, raw).id
            db.commit(session)
        return key

    yield make
    owner = manage.owner_engine(import_settings.owner_database_url)
    with owner.begin() as connection:
        connection.execute(text("truncate crm.custom_field, crm.custom_value"))
    owner.dispose()
    with db.open_session(sessions, actor) as session:
        forget_in(session)


@pytest.fixture
def fields(declare: Callable[..., UUID]) -> dict[str, UUID]:
    return {raw["name"]: declare(**raw) for raw in FIELDS}


@pytest.fixture
def runner(sessions: sessionmaker[Session], entities: DataMap, actor: Actor) -> Runner:
    return Runner(sessions, entities, actor, translate=translate)


@pytest.fixture
def reader(sessions: sessionmaker[Session], actor: Actor) -> Any:
    with db.open_session(sessions, actor) as session:
        yield session


def stored(reader: Session, contact: Contact) -> dict[str, Any]:
    """The values of a contact by name, as the record service reads them."""
    service = records(reader, "contact")
    assert service.custom is not None
    return service.custom.load(datamap()["contact"], [contact.id])[contact.id]


def changes(reader: Session, event: AuditEvent) -> dict[str, Any]:
    found: dict[str, Any] = payload_of(reader, event.event_id)["changes"]
    return found
