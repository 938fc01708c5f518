"""`kontor user`: users from the command line, for the first administrator, for automation and for
emergencies.

It does what the pages do, through the same services and with the same audit events. Nobody's password passes
through it: a new user gets a one-time link, except where a trial reads a password from standard input.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import select

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.domain.identity.services import IdentityServices
    from crm_server.settings import Settings

JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
NOTHING_TO_SAY = "-"


@dataclass(frozen=True, slots=True)
class _Tools:
    services: IdentityServices
    factory: sessionmaker[Session]
    host: str

    @contextmanager
    def session(self) -> Iterator[Session]:
        from crm_server.kernel import db
        from crm_server.kernel.actor import Origin, system_actor

        with db.open_session(self.factory, system_actor(Origin.CLI)) as session:
            yield session
            db.commit(session)

    def link(self, token: str) -> str:
        return f"https://{self.host}/welcome/{token}"


@contextmanager
def identity_tools() -> Iterator[_Tools]:
    """The services of identity for one command."""
    from crm_server.cli.opened import session_maker
    from crm_server.domain.identity import services
    from crm_server.kernel.hot import Hot
    from crm_server.settings import load

    settings = load()
    hot = Hot(settings)
    try:
        with session_maker(settings) as factory:
            yield _Tools(services.make(factory, hot), factory, _address(settings))
    finally:
        hot.dispose()


def _address(settings: Settings) -> str:
    """Host under which people reach the CRM; with the port that `bin/kontor` tells of a trial."""
    port = os.environ.get("KONTOR_PORT")
    return f"{settings.hosts[0]}:{port}" if port else settings.hosts[0]


@contextmanager
def refusals_as_sentences() -> Iterator[None]:
    """Turn refusals into sentences that name each problem."""
    from crm_server.kernel.errors import NotFound, ValidationFailed

    try:
        yield
    except ValidationFailed as failed:
        lines = [f"{error.pointer.lstrip('/')}: {error.message.interpolate()}" for error in failed.errors]
        raise click.ClickException("\n  ".join(["Nothing was changed.", *lines])) from failed
    except NotFound as missing:
        raise click.ClickException(
            "There is nothing of this name. `kontor user list` and `kontor user roles` show users and roles."
        ) from missing


def _say(as_json: bool, data: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(data) if as_json else text)


@click.group()
def user() -> None:
    """Manage users."""


@user.command()
@click.argument("login")
@click.argument("name")
@click.option("--email", help="E-mail address.")
@click.option("--role", "roles", multiple=True, help="Role to give; repeat for several.")
@click.option("--locale", default="en", show_default=True, type=click.Choice(["en", "zh_Hans"]))
@click.option(
    "--password-stdin", is_flag=True, help="Read the first password from standard input; for trials."
)
@JSON
def add(
    *,
    login: str,
    name: str,
    email: str | None,
    roles: tuple[str, ...],
    locale: str,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Create a user and print the one-time link with which they set their first password."""
    from crm_server.domain.identity.services import Client

    password = sys.stdin.readline().rstrip("\n") if password_stdin else None
    with identity_tools() as tools, refusals_as_sentences():
        with tools.session() as session:
            made = tools.services.users.create(session, login, name, email, locale)
            if roles:
                tools.services.users.set_roles(session, made.id, _role_ids(session, roles))
            if password is not None:
                tools.services.links.check(made, password)
            token = tools.services.links.make(session, made)
        data = {"id": str(made.id), "login": made.login}
        if password is not None:
            tools.services.links.redeem(token, password, Client(None))
            _say(as_json, data | {"state": "active"}, f"{made.login} can log in.")
        else:
            link = tools.link(token)
            text = f"{made.login} was created. This link works once, within three days:\n  {link}"
            _say(as_json, data | {"state": "invited", "link": link}, text)


@user.command("list")
@JSON
def list_(*, as_json: bool) -> None:
    """List the users with their roles."""
    from crm_server.domain.identity import queries

    with identity_tools() as tools, tools.session() as session:
        rows = queries.users(session)
    if as_json:
        click.echo(json.dumps([row.plain() for row in rows]))
        return
    width = max([len(row.login) for row in rows], default=5)
    for row in rows:
        roles = ", ".join(row.roles) or NOTHING_TO_SAY
        click.echo(f"{row.login:{width}}  {row.state:8}  {row.factors:10}  {roles}")


@user.command()
@JSON
def roles(*, as_json: bool) -> None:
    """List the roles."""
    from crm_server.domain.identity.models import Role

    with identity_tools() as tools, tools.session() as session:
        found = [
            (role.name, role.description or "") for role in session.scalars(select(Role).order_by(Role.name))
        ]
    if as_json:
        click.echo(json.dumps([{"name": name, "description": text} for name, text in found]))
    else:
        for name, text in found:
            click.echo(f"{name}: {text}")


@user.command()
@click.argument("login")
@JSON
def disable(*, login: str, as_json: bool) -> None:
    """Disable a user: sessions and API tokens end at once."""
    _set_state(login, enabled=False, as_json=as_json)


@user.command()
@click.argument("login")
@JSON
def enable(*, login: str, as_json: bool) -> None:
    """Enable a user again."""
    _set_state(login, enabled=True, as_json=as_json)


def _set_state(login: str, *, enabled: bool, as_json: bool) -> None:
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        found = tools.services.users.find(session, login)
        tools.services.users.set_state(session, found.id, enabled=enabled)
        _say(as_json, {"login": found.login, "state": found.state}, f"{found.login} is {found.state}.")


@user.command()
@click.argument("login")
@click.argument("roles", nargs=-1)
@JSON
def role(*, login: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Give a user exactly these roles; none takes all away."""
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        found = tools.services.users.find(session, login)
        tools.services.users.set_roles(session, found.id, _role_ids(session, roles))
        text = f"{found.login} now has: {', '.join(roles) or NOTHING_TO_SAY}."
        _say(as_json, {"login": found.login, "roles": list(roles)}, text)


@user.command()
@click.argument("login")
@click.option("--factors", is_flag=True, help="Remove the second factors as well, for a lost telephone.")
@JSON
def reset(*, login: str, factors: bool, as_json: bool) -> None:
    """Print a one-time link with which a user sets a new password; ends their sessions."""
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        found = tools.services.users.find(session, login)
        if factors:
            tools.services.factors.remove_all(session, found.id, "reset_by_operator")
        tools.services.sessions.end_all(session, found.id, "reset")
        link = tools.link(tools.services.links.make(session, found))
        _say(
            as_json,
            {"login": found.login, "link": link},
            f"This link works once, for a short time:\n  {link}",
        )


def _role_ids(session: Session, names: tuple[str, ...]) -> list[UUID]:
    from crm_server.domain.identity.models import Role
    from crm_server.kernel.errors import NotFound

    found = {role.name: role.id for role in session.scalars(select(Role).where(Role.name.in_(names)))}
    if set(names) - set(found):
        raise NotFound
    return list(found.values())
