"""`kontor import` and `kontor export`, as an operator runs them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from crm_server.cli.export import export
from crm_server.cli.importing import import_command
from crm_server.domain.contacts.models import Contact
from crm_server.domain.imports.models import Import
from crm_server.domain.imports.run import Runner
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.migrations import manage
from crm_server.settings import Settings
from tests.data.importing import generate

Kontor = Callable[..., Result]

Full = Callable[..., AbstractContextManager[None]]

NO_ROOM = """
create sequence crm.batches;
grant usage on sequence crm.batches to public;
create function crm.no_room() returns trigger language plpgsql as $$
begin
  if nextval('crm.batches') > {after} then
    raise exception 'could not extend file' using errcode = 'disk_full';
  end if;
  return null;
end $$;
create trigger no_room after insert on {table} for each statement execute function crm.no_room();
"""
ROOM = "drop trigger no_room on {table}; drop function crm.no_room(); drop sequence crm.batches"

LIST = "E-mail,First name,Last name,Phone\na@example.com,Anna,Schmidt,030 123456\nbroken,Bob,Brown,\n"


class TestImport:
    def test_imports_a_file_tells_the_counts_and_writes_the_error_file(
        self, kontor: Kontor, tmp_path: Path, count: Callable[[], int]
    ) -> None:
        path, errors = tmp_path / "list.csv", tmp_path / "errors.csv"
        path.write_text(LIST)
        done = kontor(import_command, str(path), "--errors", str(errors))
        # 4: done in part.
        assert done.exit_code == 4
        assert "1 created" in done.output
        assert "line 3: E-mail: Not a valid e-mail address" in done.output
        assert count() == 1
        rows = list(csv.DictReader(errors.read_text(encoding="utf-8-sig").splitlines()))
        assert [row["Last name"] for row in rows] == ["Brown"]

    def test_a_dry_run_writes_nothing_and_json_is_for_programs(
        self, kontor: Kontor, tmp_path: Path, count: Callable[[], int]
    ) -> None:
        path = tmp_path / "list.csv"
        path.write_text(LIST)
        done = kontor(import_command, str(path), "--dry-run", "--json")
        told = json.loads(done.output)
        assert (told["state"], told["counts"]) == ("checked", {"created": 1, "failed": 1})
        assert count() == 0

    @pytest.mark.usefixtures("another_at_work")
    @pytest.mark.parametrize(
        "table,after",
        # The file and the lists have keys of their own.
        [("crm.import_made", 2), ("keys.data_key", 5), ("crm.contact", 2)],
    )
    def test_a_full_disk_stops_an_import_and_it_goes_on_when_there_is_room(
        self,
        kontor: Kontor,
        tmp_path: Path,
        count: Callable[[], int],
        full: Full,
        table: str,
        after: int,
    ) -> None:
        path = tmp_path / "list.csv"
        path.write_text("E-mail,Last name\n" + "".join(f"p{n}@example.com,Person\n" for n in range(4)))
        with full(table, after):
            stopped = kontor(import_command, str(path))
        assert stopped.exit_code == 1
        assert "The disk of the database is full." in stopped.output
        # Two batches are kept, and nothing of the third.
        assert count() == 2
        resumed = kontor(import_command, *stopped.output.split("kontor import ")[1].split())
        assert resumed.exit_code == 0
        assert "4 created" in resumed.output
        assert count() == 4

    def test_an_export_of_another_crm_needs_no_mapping(
        self, kontor: Kontor, tmp_path: Path, count: Callable[[], int]
    ) -> None:
        path = tmp_path / "zoho.csv"
        data, expected = generate.zoho_contacts(rows=300)
        path.write_bytes(data)
        done = kontor(import_command, str(path), "--country", "cn", "--json")
        told = json.loads(done.output)
        assert told["mapping"]["preset"] == "zoho-contacts"
        assert told["counts"]["created"] == count()
        assert told["counts"]["failed"] == len(expected.bad_rows)

    def test_a_printed_mapping_can_be_edited_and_used(
        self, kontor: Kontor, tmp_path: Path, sessions: sessionmaker[Session], actor: Actor
    ) -> None:
        path, mapping = tmp_path / "list.csv", tmp_path / "mapping.json"
        path.write_text("Wer,Wo\nAnna Schmidt,Bern\n")
        printed = json.loads(kontor(import_command, str(path), "--show-mapping").output)
        printed["feeds"] = [{"field": "@full_name", "columns": ["Wer"]}, {"field": "city", "columns": ["Wo"]}]
        mapping.write_text(json.dumps(printed))
        assert kontor(import_command, str(path), "--mapping", str(mapping)).exit_code == 0
        with db.open_session(sessions, actor) as session:
            assert session.scalars(select(Contact)).one().city == "Bern"
            assert session.scalar(select(func.count()).select_from(Import)) == 1

    def test_an_import_can_be_taken_back(
        self, kontor: Kontor, tmp_path: Path, count: Callable[[], int]
    ) -> None:
        path = tmp_path / "list.csv"
        path.write_text(LIST)
        key = json.loads(kontor(import_command, str(path), "--json").output)["id"]
        undone = kontor(import_command, "--undo", key, "--json")
        assert json.loads(undone.output) == {"id": key, "deleted": 1, "restored": 0, "kept": 0}
        assert count() == 0

    @pytest.mark.parametrize(
        "content, told",
        [
            ("", "The file is empty"),
            ("<html></html>", "web page"),
            ("a,b\n1,2\n", "A required field is fed by no column"),
        ],
    )
    def test_says_in_one_sentence_why_a_file_can_not_be_imported(
        self, content: str, told: str, kontor: Kontor, tmp_path: Path
    ) -> None:
        path = tmp_path / "list.csv"
        path.write_text(content)
        done = kontor(import_command, str(path))
        assert done.exit_code == 1
        assert told in done.output

    @pytest.mark.parametrize(
        "option, value", [("--country", "ZZZ"), ("--country", "ZZ"), ("--currency", "XQQ")]
    )
    def test_a_country_or_currency_that_there_is_not_is_refused_before_anything_is_kept(
        self, option: str, value: str, kontor: Kontor, tmp_path: Path
    ) -> None:
        path = tmp_path / "list.csv"
        path.write_text("E-mail,Last name\na@example.com,A\n")
        done = kontor(import_command, str(path), option, value)
        assert done.exit_code == 2
        assert "-letter code" in done.output


class TestExport:
    def test_writes_a_filtered_list_and_counts_its_rows(self, kontor: Kontor, tmp_path: Path) -> None:
        path, out = tmp_path / "list.csv", tmp_path / "out.csv"
        path.write_text("E-mail,Last name,City,Country\na@example.com,A,Bern,CH\nb@example.com,B,Paris,FR\n")
        kontor(import_command, str(path))
        done = kontor(
            export, "contacts", "--filter", "country=CH", "--fields", "name,city", "-o", str(out), "--json"
        )
        assert json.loads(done.output)["rows"] == 1
        assert out.read_text(encoding="utf-8-sig").splitlines() == ["Full name,City", "A,Bern"]
        assert "BEGIN:VCARD" in kontor(export, "contact", "--format", "vcard").output

    def test_names_the_lists_that_there_are(self, kontor: Kontor) -> None:
        done = kontor(export, "customers")
        assert done.exit_code == 2
        assert "contacts" in done.output


@pytest.fixture
def another_at_work(
    upload: Callable[..., UUID],
    sessions: sessionmaker[Session],
    actor: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An import that listens: others leave it lists of what they make, here after every row."""
    monkeypatch.setitem(Runner.__init__.__kwdefaults__ or {}, "batch", 1)
    other = upload("E-mail,Last name\nz@example.com,Zimmer\n")
    with db.open_session(sessions, actor) as session:
        session.execute(update(Import).where(Import.id == other).values(state="working"))
        db.commit(session)


@pytest.fixture
def full(import_settings: Settings) -> Full:
    """PostgreSQL finds no room for the rows of a table, from the transaction on that comes after so many."""

    @contextmanager
    def without_room(table: str, after: int) -> Iterator[None]:
        owner = manage.owner_engine(import_settings.owner_database_url)
        with owner.begin() as connection:
            connection.exec_driver_sql(NO_ROOM.format(table=table, after=after))
        try:
            yield
        finally:
            with owner.begin() as connection:
                connection.exec_driver_sql(ROOM.format(table=table))
            owner.dispose()

    return without_room


@pytest.fixture
def kontor(
    import_settings: Settings, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> Kontor:
    del sessions  # empties the tables afterwards
    monkeypatch.setenv("KONTOR_DATABASE_URL", import_settings.database_url.replace("+psycopg2", ""))

    def run(command: Any, *words: str) -> Result:
        return CliRunner().invoke(command, list(words))

    return run


@pytest.fixture
def count(sessions: sessionmaker[Session], actor: Actor) -> Callable[[], int]:
    def live() -> int:
        with db.open_session(sessions, actor) as session:
            query = select(func.count()).select_from(Contact).where(Contact.deleted_at.is_(None))
            return int(session.scalar(query) or 0)

    return live
