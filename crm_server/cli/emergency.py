"""`kontor emergency`: emergency access (break-glass) where no browser is at hand, by the same service and rules.

Whoever may run this command is the operator of the machine, and is believed whom they name. The events say that they
came through the command line, and emergency access that began here waits for review like any other.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import click

from crm_server.cli.user import JSON, identity_tools, refusals_as_sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.services.emergency import EmergencyService


@click.group()
def emergency() -> None:
    """Take a role for a short time in an emergency, and review who did."""


@contextmanager
def _acting(login: str) -> Iterator[tuple[Session, EmergencyService]]:
    """A session on the authority of an account."""
    from dataclasses import replace

    from crm_server.domain.identity.actors import actor_of_user
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin
    from crm_server.kernel.errors import AppError, NotFound, ValidationFailed

    with identity_tools() as tools, refusals_as_sentences():
        with tools.session() as session:
            actor = actor_of_user(session, tools.services.users.find(session, login).id)
        if actor is None:
            raise NotFound
        acting = replace(actor, origin=Origin.CLI, auth_method="cli")
        try:
            with db.open_session(tools.factory, acting) as session:
                yield session, tools.services.emergency
                db.commit(session)
        except (NotFound, ValidationFailed):
            raise
        except AppError as refused:
            reason = getattr(refused, "reason", None)
            said = (refused.detail or refused.title).interpolate()
            raise click.ClickException(f"{said} ({reason})" if reason else said) from refused


@emergency.command("list")
@click.option("--open", "unreviewed", is_flag=True, help="Only what waits for review.")
@JSON
def list_(*, unreviewed: bool, as_json: bool) -> None:
    """List emergency access, newest first."""
    from crm_server.domain.identity import emergency_queries

    with identity_tools() as tools, tools.session() as session:
        rows = [row for row in emergency_queries.listed(session) if not (unreviewed and row.reviewed_at)]
    if as_json:
        click.echo(json.dumps([row.plain() for row in rows], default=str))
        return
    for row in rows:
        state = "running" if row.running else "reviewed" if row.reviewed_at else "to review"
        click.echo(f"{row.id}  {state:9}  {row.begun_at:%Y-%m-%d %H:%M} UTC  {row.role}  {row.person}")
    if not rows:
        click.echo("There is none.")


@emergency.command()
@click.argument("login")
@click.argument("role")
@click.option("--reason", required=True, help="What happened and what will be done.")
@click.option("--minutes", type=int, default=30, show_default=True)
@JSON
def begin(*, login: str, role: str, reason: str, minutes: int, as_json: bool) -> None:
    """Give an entitled account a role for some minutes. It counts with the account's next request."""
    with _acting(login) as (session, service):
        keys = {one.name: one.id for one in service.choices(session)}
        if role not in keys:
            raise click.ClickException(f"{role}: one of {', '.join(keys) or '(none)'} is expected.")
        taken = service.begin(session, keys[role], reason, minutes)
        data = {"id": str(taken.id), "role": role, "ends_at": taken.ends_at.isoformat()}
    click.echo(json.dumps(data) if as_json else f"{login} has {role} until {data['ends_at']}.")


@emergency.command()
@click.argument("login")
def end(*, login: str) -> None:
    """Take back what an account took, before its time is over."""
    with identity_tools() as tools, refusals_as_sentences(), tools.session() as session:
        tools.services.emergency.end(session, tools.services.users.find(session, login).id)
    click.echo(f"{login} has no emergency access.")


@emergency.command()
@click.argument("key", type=click.UUID)
@click.argument("reviewer")
@click.option("--text", required=True, help="What the look at it found.")
def review(*, key: UUID, reviewer: str, text: str) -> None:
    """Write the review of emergency access that is over, on behalf of somebody else who may review."""
    with _acting(reviewer) as (session, service):
        service.review(session, key, text)
    click.echo("The review is closed.")
