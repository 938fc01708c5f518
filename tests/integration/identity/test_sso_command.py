"""`kontor sso`: the way to a working provider without a page."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete

from crm_server.cli.sso import sso as command
from crm_server.domain.identity.sso_models import SsoProvider
from crm_server.settings import Settings
from tests.integration.identity.conftest import World
from tests.integration.identity.providers import SECRET, CanailleServer


@pytest.fixture
def run(world: World, identity_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    values = identity_settings.values
    for name in ("database_url", "owner_database_url", "state_dir"):
        monkeypatch.setenv(f"KONTOR_{name.upper()}", str(values[name]))
    monkeypatch.setenv("KONTOR_OUTGOING_NETWORKS", "127.0.0.0/8,::1")
    if values.get("key_ring"):
        monkeypatch.setenv("KONTOR_KEY_RING", str(values["key_ring"]))

    def call(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(command, list(arguments), input=typed)

    yield call
    with world.session() as session:
        session.execute(delete(SsoProvider).where(SsoProvider.name == "By command"))
        session.commit()


def test_a_provider_is_added_tested_mapped_and_enabled(  # AUTH-10
    run: object, canaille: CanailleServer
) -> None:
    ca = str(canaille.authority.ca_file)
    made = run(  # type: ignore[operator]
        "add", "By command", "--issuer", canaille.issuer, "--client-id", "kontor", "--ca-file", ca, "--scim",
        "--trust", "mfa", "--json", typed=SECRET + "\n",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["redirect_uri"].endswith("/callback")
    tested = run("test", "By command", "--json")  # type: ignore[operator]
    assert tested.exit_code == 0, tested.output
    assert [one["step"] for one in json.loads(tested.output)] == [
        "address",
        "metadata",
        "keys",
        "authorization",
    ]
    token = run("token", "By command", "Provisioning")  # type: ignore[operator]
    assert token.output.startswith("kntr_")
    assert run("enable", "By command").exit_code == 0  # type: ignore[operator]
    listed = json.loads(run("list", "--json").output)  # type: ignore[operator]
    assert [one["enabled"] for one in listed if one["name"] == "By command"] == [True]
    assert run("release-brake", "By command").exit_code == 0  # type: ignore[operator]
    assert run("disable", "By command").exit_code == 0  # type: ignore[operator]
    assert SECRET not in made.output + tested.output


def test_what_cannot_work_is_told_with_its_reason(run: object, canaille: CanailleServer) -> None:
    wrong = run("add", "By command", "--issuer", "http://x", "--client-id", "kontor")  # type: ignore[operator]
    assert wrong.exit_code == 1
    assert "issuer" in wrong.output
    made = run("add", "By command", "--issuer", canaille.issuer, "--client-id", "kontor")  # type: ignore[operator]
    assert made.exit_code == 0, made.output
    # Without the authority of the provider its certificate is not valid.
    tested = run("test", "By command")  # type: ignore[operator]
    assert tested.exit_code == 1
    assert "FAIL metadata" in tested.output
    assert "certificate" in tested.output
    missing = run("test", "No such provider")  # type: ignore[operator]
    assert missing.exit_code == 1
