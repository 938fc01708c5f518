"""`kontor doctor` finds what is broken, says what to do, and gives nothing away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from crm_server.cli.doctor import doctor
from crm_server.doctor import Finding, Level, examine
from crm_server.local import certificate
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.settings import Settings
from security.crypto import native
from tests.conftest import copy_database, settings_of


@pytest.fixture(scope="module")
def sick(cluster: Cluster, template: str) -> str:
    """A database that tests may break."""
    copy_database(cluster, template, "kontor_doctor")
    return "kontor_doctor"


def settings_for(cluster: Cluster, name: str, state: Path, **more: str) -> Settings:
    assets = state / "assets"
    assets.mkdir(exist_ok=True)
    (assets / "manifest.json").write_text("{}")
    return settings_of(cluster, name, KONTOR_STATE_DIR=str(state), KONTOR_ASSETS_DIR=str(assets), **more)


def by_check(findings: list[Finding]) -> dict[str, Level]:
    worst = {Level.OK: 0, Level.WARNING: 1, Level.ERROR: 2}
    found: dict[str, Level] = {}
    for item in findings:
        found[item.check] = max(item.level, found.get(item.check, Level.OK), key=worst.__getitem__)
        assert (item.remedy == "") is (item.level is Level.OK)
    return found


class TestHealthy:
    def test_a_fresh_installation_lacks_only_its_other_processes(
        self, cluster: Cluster, sick: str, tmp_path: Path
    ) -> None:
        certificate.ensure(tmp_path / "tls")
        found = by_check(examine(settings_for(cluster, sick, tmp_path)))
        assert (found.pop("native") is Level.OK) is (native.NATIVE is not None)
        assert found.pop("worker") is Level.WARNING
        assert found.pop("sealing") is Level.WARNING
        assert found.pop("search") is Level.WARNING
        assert set(found.values()) == {Level.OK}
        assert {"database", "schema", "drift", "rights", "jobs", "disk", "certificate", "assets"} <= set(
            found
        )


class TestBroken:
    @pytest.mark.parametrize("profile", ["standard", "strict"])
    def test_a_native_module_that_was_not_built_is_a_hint_where_it_would_be_used(
        self, profile: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(native, "NATIVE", None)
        settings = settings_for(cluster, "no_such_database", tmp_path, KONTOR_CRYPTO_PROFILE=profile)
        hints = [item for item in examine(settings) if item.check == "native"]
        assert [item.level for item in hints] == ([Level.WARNING] if profile == "standard" else [])
        assert all("apt-get install gcc python3-dev libssl-dev" in item.remedy for item in hints)

    def test_a_database_that_does_not_answer(self, cluster: Cluster, tmp_path: Path) -> None:
        found = by_check(examine(settings_for(cluster, "no_such_database", tmp_path)))
        assert found["database"] is Level.ERROR

    def test_a_database_without_schema(self, cluster: Cluster, tmp_path: Path) -> None:
        passwords = {role: cluster.password_of(role) for role in manage.ROLES}
        manage.init(cluster.superuser_url, "kontor_empty", passwords)
        found = by_check(examine(settings_for(cluster, "kontor_empty", tmp_path)))
        assert found["schema"] is Level.ERROR

    @pytest.mark.parametrize(
        "damage,repair,check",
        [
            (
                "grant update on audit.event to kontor_app",
                "revoke update on audit.event from kontor_app",
                "rights",
            ),
            (
                "revoke select on crm.contact from kontor_app",
                "grant select on crm.contact to kontor_app",
                "rights",
            ),
            (
                "alter table crm.account add column stray int",
                "alter table crm.account drop column stray",
                "drift",
            ),
            (
                "alter table crm.tag disable trigger capture_update; drop trigger capture_update on crm.tag",
                "select kontor.attach_record_triggers('crm.tag'::regclass, 19::smallint, true)",
                "drift",
            ),
            (
                """insert into jobs.procrastinate_jobs (queue_name, task_name, status)
                   values ('default', 'import', 'todo');
                   update jobs.procrastinate_events set at = now() - interval '1 hour'""",
                "delete from jobs.procrastinate_jobs",
                "jobs",
            ),
        ],
    )
    def test_damage_is_found(
        self, cluster: Cluster, sick: str, tmp_path: Path, damage: str, repair: str, check: str
    ) -> None:
        owner = manage.owner_engine(cluster.url_for(manage.OWNER, sick))
        with owner.begin() as connection:
            connection.execute(text(damage))
        try:
            assert by_check(examine(settings_for(cluster, sick, tmp_path)))[check] is Level.ERROR
        finally:
            with owner.begin() as connection:
                connection.execute(text(repair))

    def test_failed_jobs_are_named(self, cluster: Cluster, sick: str, tmp_path: Path) -> None:
        owner = manage.owner_engine(cluster.url_for(manage.OWNER, sick))
        with owner.begin() as connection:
            connection.execute(
                text(
                    "insert into jobs.procrastinate_jobs (queue_name, task_name, status) "
                    "values ('default', 'bin_purge', 'failed')"
                )
            )
        findings = examine(settings_for(cluster, sick, tmp_path))
        with owner.begin() as connection:
            connection.execute(text("delete from jobs.procrastinate_jobs"))
        assert "bin_purge (1)" in " ".join(item.text for item in findings)

    def test_missing_assets_and_a_broken_certificate(
        self, cluster: Cluster, sick: str, tmp_path: Path
    ) -> None:
        (tmp_path / "tls").mkdir()
        (tmp_path / "tls" / "localhost.pem").write_text("nonsense")
        settings = settings_for(cluster, sick, tmp_path)
        (tmp_path / "assets" / "manifest.json").unlink()
        found = by_check(examine(settings))
        assert (found["assets"], found["certificate"]) == (Level.ERROR, Level.ERROR)

    def test_a_state_folder_that_is_not_there(self, cluster: Cluster, sick: str, tmp_path: Path) -> None:
        settings = settings_for(cluster, sick, tmp_path)
        gone = Settings({**settings.values, "state_dir": tmp_path / "gone"})
        assert by_check(examine(gone))["disk"] is Level.ERROR


class TestCommand:
    @pytest.fixture
    def environment(
        self, cluster: Cluster, sick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Any:
        settings = settings_for(cluster, sick, tmp_path)
        monkeypatch.setenv("KONTOR_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("KONTOR_STATE_DIR", str(tmp_path))
        monkeypatch.setenv("KONTOR_ASSETS_DIR", str(settings.assets_dir))
        return settings

    def test_its_exit_code_and_its_json_say_the_same(self, environment: Any) -> None:
        done = CliRunner().invoke(doctor, ["--json"])
        assert (done.exit_code, json.loads(done.output)["ok"]) == (0, True)
        (environment.assets_dir / "manifest.json").unlink()
        done = CliRunner().invoke(doctor, ["--json"])
        assert (done.exit_code, json.loads(done.output)["ok"]) == (1, False)

    def test_it_gives_no_secret_away(
        self, environment: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = "not-the-password"
        url = cluster.url_for(manage.APP, "kontor_doctor").replace(cluster.password_of(manage.APP), secret)
        monkeypatch.setenv("KONTOR_DATABASE_URL", url)
        done = CliRunner().invoke(doctor, [])
        assert secret not in done.output
