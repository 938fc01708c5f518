"""`kontor user` against a real database."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from crm_server.cli.user import user
from crm_server.domain.identity.services.login import Step
from crm_server.settings import Settings
from tests.integration.identity.conftest import CLIENT, GOOD, World


@pytest.fixture
def kontor(monkeypatch: pytest.MonkeyPatch, identity_settings: Settings, world: World) -> CliRunner:
    url = identity_settings.database_url.replace("postgresql+psycopg2", "postgresql")
    monkeypatch.setenv("KONTOR_DATABASE_URL", url)
    monkeypatch.setenv("KONTOR_STATE_DIR", str(identity_settings.state_dir))
    return CliRunner()


def run(kontor: CliRunner, *arguments: str, text: str | None = None) -> Result:
    return kontor.invoke(user, arguments, input=text)


class TestUserCommand:
    def test_a_user_is_invited_by_a_link_that_sets_the_password(
        self, kontor: CliRunner, world: World
    ) -> None:
        result = run(kontor, "add", "cli-1", "First", "--role", "User", "--role", "Reader", "--json")
        assert result.exit_code == 0, result.output
        made = json.loads(result.output)
        assert made["state"] == "invited"
        token = made["link"].rpartition("/")[2]
        world.services.links.redeem(token, GOOD, CLIENT)
        assert world.services.login.password("cli-1", GOOD, CLIENT).step is Step.SIGNED_IN
        rows = json.loads(run(kontor, "list", "--json").output)
        (row,) = [row for row in rows if row["login"] == "cli-1"]
        assert row["roles"] == ["Reader", "User"]
        assert row["second_factor"] is False

    def test_a_trial_reads_the_password_from_standard_input(self, kontor: CliRunner, world: World) -> None:
        result = run(kontor, "add", "cli-2", "Second", "--password-stdin", text=GOOD + "\n")
        assert (result.exit_code, result.output) == (0, "cli-2 can log in.\n")
        assert world.services.login.password("cli-2", GOOD, CLIENT).step is Step.SIGNED_IN

    def test_a_weak_password_creates_nobody(self, kontor: CliRunner) -> None:
        result = run(kontor, "add", "cli-3", "Third", "--password-stdin", text="short\n")
        assert result.exit_code == 1
        assert "Use at least 15 characters" in result.output
        assert "cli-3" not in run(kontor, "list").output

    def test_an_unknown_role_creates_nobody(self, kontor: CliRunner) -> None:
        assert run(kontor, "add", "cli-4", "Fourth", "--role", "Emperor").exit_code == 1
        assert "cli-4" not in run(kontor, "list").output

    def test_disable_role_and_reset(self, kontor: CliRunner, world: World) -> None:
        run(kontor, "add", "cli-5", "Fifth", "--password-stdin", text=GOOD + "\n")
        assert run(kontor, "role", "cli-5", "Manager").output == "cli-5 now has: Manager.\n"
        assert run(kontor, "disable", "cli-5").output == "cli-5 is disabled.\n"
        assert world.services.login.password("cli-5", GOOD, CLIENT).step is Step.REFUSED
        assert run(kontor, "enable", "CLI-5").output == "cli-5 is active.\n"
        link = json.loads(run(kontor, "reset", "cli-5", "--factors", "--json").output)["link"]
        assert world.services.links.look(link.rpartition("/")[2], CLIENT) == "reset"
        assert run(kontor, "disable", "nobody-there").exit_code == 1
        assert "Manager" in run(kontor, "roles").output
