"""`kontor directory`: connect a company directory, say what its groups mean, test it, compare it with our accounts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
from sqlalchemy import select

from crm_server.cli.user import JSON, identity_tools, refusals_as_sentences

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.domain.identity.directory_models import CompanyDirectory

HELD = 4
"""Exit code of a comparison that the brake stopped: done in part."""


@click.group()
def directory() -> None:
    """Connect a company directory."""


@directory.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["active_directory", "openldap"]), required=True)
@click.option(
    "--server", "servers", multiple=True, required=True, help="ldaps://host[:port] or starttls://host[:port]."
)
@click.option("--bind-dn", required=True, help="Name of the service account.")
@click.option("--user-base", required=True, help="Where people are.")
@click.option("--group-base", required=True, help="Where groups are.")
@click.option("--user-filter", help="Which entries are people.")
@click.option(
    "--ca-file", type=click.Path(exists=True, path_type=Path), help="PEM file of the authorities to trust."
)
@JSON
def add(  # noqa: PLR0913 - one parameter for each option of the command
    *,
    name: str,
    kind: str,
    servers: tuple[str, ...],
    bind_dn: str,
    user_base: str,
    group_base: str,
    user_filter: str | None,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Add a directory or change it; the service account's password is read from standard input.

    It takes part in log-in after `kontor directory enable NAME`.
    """
    from crm_server.domain.identity.directory_models import CompanyDirectory

    password = sys.stdin.readline().rstrip("\n")
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        row = session.scalars(select(CompanyDirectory).where(CompanyDirectory.name == name)).one_or_none()
        values = {
            "name": name,
            "flavour": kind,
            "servers": list(servers),
            "bind_dn": bind_dn,
            "user_base": user_base,
            "group_base": group_base,
            "user_filter": user_filter,
            "authorities": ca_file.read_text("ascii") if ca_file else None,
        }
        row = row or tools.services.directories.draft()
        tools.services.directories.save(session, row, values, password)
        _say(
            as_json,
            {"id": str(row.id), "name": name},
            f"{name} is set up. Test it: kontor directory test USER",
        )


@directory.command()
@click.argument("login", metavar="[USER]", required=False)
@click.option("--directory", "name", help="Name of one directory; all of them if left out.")
@JSON
def test(*, name: str | None, login: str | None, as_json: bool) -> None:
    """Test each server of the directories, and how one person looks from here. Needs no password of the person."""
    from crm_server.domain.identity import directory_queries
    from crm_server.domain.identity.directory_models import CompanyDirectory
    from crm_server.domain.identity.labels import directory_trouble
    from crm_server.domain.identity.services.directories import source_of
    from security.identity.ldap.diagnosis import diagnose

    tested = []
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        every = select(CompanyDirectory).order_by(CompanyDirectory.name)
        for row in [_row(session, name)] if name else session.scalars(every).all():
            for report in diagnose(tools.services.directories.client(row), login):
                groups = {str(one.id) for one in report.groups}
                tested.append((row.name, report, directory_queries.gives(session, source_of(row), groups)))
    if not tested:
        raise click.ClickException("There is no directory yet. Connect one: kontor directory add --help")
    if as_json:
        plain = [{"directory": place, **_plain(report), "gives": found} for place, report, found in tested]
        click.echo(json.dumps(plain))
    for place, report, found in () if as_json else tested:
        click.echo(f"{place}: {report.server}  {report.tls.version if report.tls else ''}".rstrip())
        for step in report.steps:
            mark = "ok  " if step.passed else "FAIL"
            click.echo(f"  {mark} {step.code.replace('_', ' ')}: {step.detail} ({step.milliseconds} ms)")
            trouble = directory_trouble(step)
            if trouble is not None:
                click.echo(f"       → {trouble.interpolate()}")
        for group in report.groups:
            click.echo(f"       group {group.id}  {group.name}")
        for kind, target in found:
            click.echo(f"       gives {kind} {target}".rstrip())
    if not any(report.passed for _place, report, _found in tested):
        sys.exit(1)


@directory.command("map")
@click.argument("name")
@click.argument("group", metavar="GROUP-ID")
@click.argument("kind", type=click.Choice(["login", "role", "team", "territory"]))
@click.argument("target", required=False)
@JSON
def map_(*, name: str, group: str, kind: str, target: str | None, as_json: bool) -> None:
    """Say what membership in a group gives: log-in, or a role, team or territory by name."""
    from crm_server.domain.identity.models import Role, Team, Territory
    from crm_server.domain.identity.services.directories import source_of
    from crm_server.kernel.errors import NotFound
    from security.identity.ldap.listing import group_by_id

    kinds: dict[str, Any] = {"role": Role, "team": Team, "territory": Territory}
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        row = _row(session, name)
        key = None
        if kind in kinds:
            model = kinds[kind]
            key = session.scalars(select(model.id).where(model.name == target)).first()
            if key is None:
                raise NotFound
        found = group_by_id(tools.services.directories.client(row), UUID(group))
        if found is None:
            raise click.ClickException("The directory has no group with this id.")
        tools.services.groups.map_group(session, source_of(row), str(found.id), found.name, kind, key)
        _say(
            as_json,
            {"group": found.name, "kind": kind},
            f"{found.name} gives {kind} {target or ''}".rstrip() + ".",
        )


@directory.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--force", is_flag=True, help="Disable accounts even if they are more than the brake allows.")
@JSON
def sync(*, name: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Compare a directory with the accounts. Exit code 4: too many would be disabled, so none was."""
    from security.identity.ldap import DirectoryFailure

    with identity_tools() as tools, refusals_as_sentences():
        try:
            with tools.session() as session:
                result = tools.services.directories.compare(
                    session, _row(session, name), apply=not dry_run, force=force
                )
        except DirectoryFailure as failure:
            raise click.ClickException(f"Nothing was changed. {failure.detail}") from failure
    text = (
        f"{result.active} active accounts, {result.to_disable} to disable, {len(result.changes)} changes"
        f"{' (nothing changed)' if dry_run else ''}."
    )
    if result.held:
        text += " That is more than the brake allows: nobody was disabled. Look, then repeat with --force."
    _say(as_json, result.plain(), text)
    if result.held:
        sys.exit(HELD)


@directory.command()
@click.argument("name")
@JSON
def enable(*, name: str, as_json: bool) -> None:
    """Let log-in ask this directory."""
    _enable(name, enabled=True, as_json=as_json)


@directory.command()
@click.argument("name")
@JSON
def disable(*, name: str, as_json: bool) -> None:
    """Leave this directory out of log-in; sessions go on."""
    _enable(name, enabled=False, as_json=as_json)


def _enable(name: str, *, enabled: bool, as_json: bool) -> None:
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        _row(session, name).enabled = enabled
        _say(
            as_json, {"name": name, "enabled": enabled}, f"{name} is {'enabled' if enabled else 'disabled'}."
        )


def _row(session: Session, name: str) -> CompanyDirectory:
    from crm_server.domain.identity.directory_models import CompanyDirectory

    found = session.scalars(select(CompanyDirectory).where(CompanyDirectory.name == name)).one_or_none()
    if found is None:
        raise click.ClickException(
            f"There is no directory of the name {name}. The page Directories lists them."
        )
    return found


def _plain(report: Any) -> dict[str, Any]:
    return {
        "server": str(report.server),
        "passed": report.passed,
        "tls": report.tls.version if report.tls else None,
        "steps": [
            {"step": one.code, "passed": one.passed, "detail": one.detail, "ms": one.milliseconds}
            for one in report.steps
        ],
        "groups": [{"id": str(one.id), "name": one.name} for one in report.groups],
    }


def _say(as_json: bool, data: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(data) if as_json else text)
