"""`kontor sso`: connect a provider of single sign-on, test it, say what its groups mean, make tokens for SCIM."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import select

from crm_server.cli.user import JSON, identity_tools, refusals_as_sentences

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.domain.identity.sso_models import SsoProvider


@click.group()
def sso() -> None:
    """Connect a provider of single sign-on (OpenID Connect, SCIM)."""


@sso.command()
@click.argument("name")
@click.option(
    "--issuer", required=True, help="How the provider calls itself: https://sso.example.com/realms/main."
)
@click.option("--client-id", required=True, help="The name under which Kontor is registered there.")
@click.option("--scopes", default="openid profile email", show_default=True)
@click.option("--identity-claim", default="sub", show_default=True, help="Claim with the lasting id.")
@click.option("--login-claim", default="preferred_username", show_default=True)
@click.option("--groups-claim", default="groups", show_default=True)
@click.option(
    "--trust", "trusted", multiple=True, help="Value of amr or acr that counts as a second factor; repeat."
)
@click.option("--scim", is_flag=True, help="Accounts and groups come by SCIM alone.")
@click.option(
    "--ca-file", type=click.Path(exists=True, path_type=Path), help="PEM file of the authorities to trust."
)
@JSON
def add(  # noqa: PLR0913 - one parameter for each option of the command
    *,
    name: str,
    issuer: str,
    client_id: str,
    scopes: str,
    identity_claim: str,
    login_claim: str,
    groups_claim: str,
    trusted: tuple[str, ...],
    scim: bool,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Add a provider or change it; the client's secret is read from standard input.

    The log-in page offers it after `kontor sso enable NAME`.
    """
    from crm_server.domain.identity.sso_models import SsoProvider

    secret = sys.stdin.readline().rstrip("\n")
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        row = session.scalars(select(SsoProvider).where(SsoProvider.name == name)).one_or_none()
        values = {
            "name": name,
            "issuer": issuer,
            "client_id": client_id,
            "scopes": scopes,
            "identity_claim": identity_claim,
            "login_claim": login_claim,
            "groups_claim": groups_claim,
            "trusted_methods": sorted(trusted),
            "provisioning": "scim" if scim else "login",
            "authorities": ca_file.read_text("ascii") if ca_file else None,
        }
        row = row or tools.services.sso.draft()
        tools.services.sso.save(session, row, values, secret)
        callback = f"https://{tools.host}/sso/{row.id}/callback"
        _say(
            as_json,
            {"id": str(row.id), "name": name, "redirect_uri": callback},
            f"{name} is set up. Register this redirect address there:\n  {callback}\n"
            f"Then test it: kontor sso test {name}",
        )


@sso.command()
@click.argument("name")
@JSON
def test(*, name: str, as_json: bool) -> None:
    """Ask a provider what a log-in would ask, without logging anybody in. Exit code 1 when a step fails."""
    from crm_server.domain.identity.labels import provider_trouble

    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        try:
            steps = tools.services.sso.test(session, _row(session, name))
        except ValueError as wrong:
            raise click.ClickException(str(wrong)) from wrong
    if as_json:
        plain = [
            {"step": one.code, "passed": one.passed, "detail": one.detail, "ms": one.milliseconds}
            for one in steps
        ]
        click.echo(json.dumps(plain))
    for step in () if as_json else steps:
        click.echo(f"{'ok  ' if step.passed else 'FAIL'} {step.code}: {step.detail} ({step.milliseconds} ms)")
        trouble = provider_trouble(step)
        if trouble is not None:
            click.echo(f"     → {trouble.interpolate()}")
    if not all(step.passed for step in steps):
        sys.exit(1)


@sso.command("list")
@JSON
def list_(*, as_json: bool) -> None:
    """List the providers."""
    from crm_server.domain.identity import sso_queries

    with identity_tools() as tools, tools.session() as session:
        rows = [
            {"name": row.name, "enabled": row.enabled, "issuer": row.issuer, "accounts": row.provisioning}
            for row in sso_queries.providers(session)
        ]
    if as_json:
        click.echo(json.dumps(rows))
    for row in () if as_json else rows:
        click.echo(f"{row['name']}  {'enabled' if row['enabled'] else 'not enabled'}  {row['issuer']}")


@sso.command("map")
@click.argument("name")
@click.argument("group")
@click.argument("kind", type=click.Choice(["login", "role", "team", "territory"]))
@click.argument("target", required=False)
@JSON
def map_(*, name: str, group: str, kind: str, target: str | None, as_json: bool) -> None:
    """Say what membership in a group gives: log-in, or a role, team or territory by name."""
    from crm_server.domain.identity.models import Role, Team, Territory
    from crm_server.domain.identity.services.sso import source_of
    from crm_server.kernel.errors import NotFound

    kinds: dict[str, Any] = {"role": Role, "team": Team, "territory": Territory}
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        row = _row(session, name)
        wanted = None
        if kind in kinds:
            model = kinds[kind]
            wanted = session.scalars(select(model.id).where(model.name == target)).first()
            if wanted is None:
                raise NotFound
        key, label = tools.services.sso.group_named(session, row, group)
        tools.services.groups.map_group(session, source_of(row), key, label, kind, wanted)
        tools.services.scim.govern_all(session, row)
        text = f"{label} gives {kind} {target or ''}".rstrip() + "."
        _say(as_json, {"group": label, "kind": kind}, text)


@sso.command()
@click.argument("name")
@click.argument("label")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 366))
@JSON
def token(*, name: str, label: str, days: int, as_json: bool) -> None:
    """Make a token for SCIM and print it, this once."""
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        text = tools.services.scim.make_token(session, _row(session, name), label, days)
        _say(as_json, {"token": text, "address": f"https://{tools.host}/scim/v2"}, text)


@sso.command("release-brake")
@click.argument("name")
@JSON
def release_brake(*, name: str, as_json: bool) -> None:
    """Let SCIM disable any number of accounts for one hour."""
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        tools.services.scim.release_brake(session, _row(session, name))
        _say(as_json, {"name": name}, "For one hour SCIM may disable any number of accounts.")


@sso.command()
@click.argument("name")
@JSON
def enable(*, name: str, as_json: bool) -> None:
    """Offer a provider at log-in."""
    _enable(name, enabled=True, as_json=as_json)


@sso.command()
@click.argument("name")
@JSON
def disable(*, name: str, as_json: bool) -> None:
    """Leave a provider out of log-in, and end the sessions that began there."""
    _enable(name, enabled=False, as_json=as_json)


def _enable(name: str, *, enabled: bool, as_json: bool) -> None:
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        tools.services.sso.set_state(session, _row(session, name), enabled=enabled)
        text = f"{name} is {'enabled' if enabled else 'disabled'}."
        _say(as_json, {"name": name, "enabled": enabled}, text)


def _row(session: Session, name: str) -> SsoProvider:
    from crm_server.domain.identity import sso_queries

    return sso_queries.provider_named(session, name)


def _say(as_json: bool, data: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(data) if as_json else text)
