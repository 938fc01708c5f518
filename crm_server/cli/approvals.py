"""`kontor approvals`: see requests that take two persons, and withdraw those made on the command line.

Releasing takes a person who is logged in, so it can't be done here.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@contextmanager
def _session() -> Iterator[Session]:
    import crm_server.approvals
    import crm_server.models  # noqa: F401 - maps all tables
    from crm_server.cli.opened import session_maker
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.settings import load

    with (
        session_maker(load(), pool_size=2) as factory,
        db.open_session(factory, system_actor(Origin.CLI)) as session,
    ):
        yield session
        db.commit(session)


@click.group()
def approvals() -> None:
    """See and withdraw requests that take two persons."""


@approvals.command("list")
@click.option("--state", help="Only these: pending, released, executed, vetoed, withdrawn, expired, failed.")
@JSON
def list_(*, state: str | None, as_json: bool) -> None:
    """List requests, newest first; the open ones come before the rest."""
    from crm_server.domain.approvals import queries
    from crm_server.domain.approvals.queries import STATES

    if state is not None and state not in STATES:
        raise click.UsageError(f"--state {state}: one of {', '.join(STATES)} is expected.")
    with _session() as session:
        rows = queries.inbox(session, state=state)
    if as_json:
        click.echo(json.dumps([row.plain() for row in rows], default=str))
        return
    for row in rows:
        click.echo(
            f"{row.id}  {row.state:9}  {row.requested_at:%Y-%m-%d %H:%M} UTC  {row.kind}  {row.requester}"
        )
    if not rows:
        click.echo("No such requests.")


@approvals.command()
@click.argument("key", type=click.UUID)
@JSON
def show(*, key: UUID, as_json: bool) -> None:
    """Show one request with its parameters and its fingerprint."""
    from crm_server.domain.approvals import queries

    with _session() as session:
        row = queries.one(session, key)
    if as_json:
        click.echo(json.dumps(row.plain(), default=str))
        return
    for name, value in row.plain().items():
        click.echo(f"{name:17} {'-' if value is None else value}")


@approvals.command()
@click.argument("key", type=click.UUID)
def withdraw(*, key: UUID) -> None:
    """Withdraw a request that was made on the command line."""
    from crm_server.domain.approvals.services import ApprovalService

    with _session() as session:
        ApprovalService(session).withdraw(key)
    click.echo("Withdrawn.")


@approvals.command()
@JSON
def kinds(*, as_json: bool) -> None:
    """List what takes two persons, and the permission of the second one."""
    import crm_server.approvals  # noqa: F401 - registers the kinds
    from crm_server.domain.approvals.services import known

    found = {name: kind.permission for name, kind in sorted(known().items())}
    if as_json:
        click.echo(json.dumps(found))
    else:
        for name, permission in found.items():
            click.echo(f"{name:30} {permission}")
