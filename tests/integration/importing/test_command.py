"""`kontor import` and `kontor export`, as an operator runs them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from crm_server.cli.export import export
from crm_server.cli.importing import import_command
from crm_server.domain.contacts.models import Contact
from crm_server.domain.imports.models import Import
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.settings import Settings
from tests.data.importing import generate

Kontor = Callable[..., Result]

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
