"""`kontor db`: make, migrate and check the database."""

from __future__ import annotations

import json
import os
import secrets
import sys

import click

from crm_server.migrations import manage
from crm_server.settings import SettingsError, load

JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@click.group()
def db() -> None:
    """Make, migrate and check the database."""


def _owner_url() -> str:
    url: str = load().owner_database_url
    if not url:
        raise SettingsError(
            "KONTOR_OWNER_DATABASE_URL is not set. Migrations run as the owner role; set its address."
        )
    return url


@db.command()
@click.option("--superuser-url", envvar="KONTOR_SUPERUSER_URL", required=True, help="Address of a superuser.")
@click.option("--database", default="kontor", show_default=True, help="Name of the database.")
@JSON
def init(superuser_url: str, database: str, as_json: bool) -> None:
    """Create the database roles and the database; repeatable.

    Passwords are read from KONTOR_PASSWORD_<ROLE> (OWNER, APP, SEALER, BI, MONITOR); a missing one is made up
    and printed once.
    """
    passwords, made = {}, {}
    for role in manage.ROLES:
        given = os.environ.get(f"KONTOR_PASSWORD_{role.removeprefix('kontor_').upper()}")
        passwords[role] = given or secrets.token_urlsafe(32)
        if not given:
            made[role] = passwords[role]
    manage.init(superuser_url, database, passwords)
    if as_json:
        click.echo(json.dumps({"database": database, "passwords": made}))
    else:
        click.echo(f"Database {database} and its roles are ready.")
        for role, password in made.items():
            click.echo(f"  {role}: {password}")


@db.command()
@JSON
def upgrade(as_json: bool) -> None:
    """Migrate to this release."""
    before, newest = manage.current(_owner_url())
    manage.upgrade(_owner_url())
    if as_json:
        click.echo(json.dumps({"from": before, "to": newest}))
    else:
        click.echo(
            f"The schema is at {newest}." if before == newest else f"Migrated from {before} to {newest}."
        )


@db.command()
@JSON
def check(as_json: bool) -> None:
    """Compare the database with the models; exit code 1 when they differ."""
    found = manage.drift(_owner_url())
    if as_json:
        click.echo(json.dumps({"drift": [item.text for item in found]}))
    else:
        for item in found:
            click.echo(item.text)
        click.echo("The schema fits." if not found else f"{len(found)} differences.")
    if found:
        sys.exit(1)


@db.command("datamap-lock")
@JSON
def datamap_lock(as_json: bool) -> None:
    """Give new entities and fields their place in the ledger of numbers (for developers)."""
    from crm_server import datamap_lock as ledger
    from crm_server.models import datamap

    try:
        added = ledger.extend(datamap())
    except ledger.NumberReusedError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"added": added}))
    else:
        click.echo(
            f"{len(added)} numbers added to {ledger.PATH.name}." if added else "The ledger is complete."
        )
