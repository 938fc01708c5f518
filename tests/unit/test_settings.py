"""Settings: every problem is told at once, in an operator's words, and the page in docs/ is up to date."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from crm_server.settings import SettingsError, load

URL = {"KONTOR_DATABASE_URL": "postgresql://app@localhost/kontor"}


class TestSettings:
    def test_defaults_are_enough_beside_the_database(self) -> None:
        settings = load(URL)
        assert settings.pool_size == 8
        assert settings.database_url == "postgresql+psycopg2://app@localhost/kontor"

    def test_every_problem_is_told_at_once_with_its_variable(self) -> None:
        with pytest.raises(SettingsError) as caught:
            load({"KONTOR_POOL_SIZE": "many", "KONTOR_LOG_LEVEL": "loud", "KONTOR_TYPO": "1"})
        text = str(caught.value)
        assert "KONTOR_DATABASE_URL is not set" in text
        assert "KONTOR_POOL_SIZE: must be a whole number from 1 to 200" in text
        assert "KONTOR_LOG_LEVEL: must be one of" in text
        assert "KONTOR_TYPO: no such setting" in text

    def test_a_secret_is_read_from_a_file(self, tmp_path: Path) -> None:
        secret = tmp_path / "url"
        secret.write_text("postgresql://app:secret@localhost/kontor\n")
        settings = load({"KONTOR_DATABASE_URL_FILE": str(secret)})
        assert settings.database_url.endswith("app:secret@localhost/kontor")
        assert "secret" not in repr(settings)

    def test_a_missing_secret_file_is_one_sentence(self) -> None:
        with pytest.raises(SettingsError, match="KONTOR_DATABASE_URL_FILE: can't be read"):
            load({"KONTOR_DATABASE_URL_FILE": "/nowhere/url"})

    def test_the_page_in_docs_is_what_the_table_says(self) -> None:
        made = subprocess.run(
            [sys.executable, "-c", "from crm_server.cli import main; main()", "settings", "--markdown"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert Path("docs/settings.md").read_text(encoding="utf-8") == made


def test_settings_reach_another_process() -> None:
    settings = load({"KONTOR_DATABASE_URL": "postgresql://user@host/kontor"})
    assert pickle.loads(pickle.dumps(settings)).database_url == settings.database_url
